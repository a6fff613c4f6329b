"""The worker's REST application: routes, and what happens to every request before and after its handler."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any

from sanic import Sanic
from sanic.config import Config
from sanic.http import Http
from sanic.response import BaseHTTPResponse

from kvnode.api import problems
from kvnode.api.answers import Answer
from kvnode.api.audit import Audit
from kvnode.api.body import BODY_TIMEOUT_S, ENVELOPE_BYTES, discard_body
from kvnode.api.express import Express
from kvnode.api.gate import Gate, overloaded
from kvnode.api.kv import KeyResource
from kvnode.api.requests import REQUEST_ID_HEADER, ApiRequest, KeyRouter
from kvnode.api.service import KeyService
from kvnode.api.views import Views
from kvnode.config import ClusterConfig, Limits, LoggingConfig
from kvnode.connections import HEAD_S, IDLE_S
from kvnode.errors import RequestError
from kvnode.logs import get_logger

Handler = Callable[..., Coroutine[Any, Any, Answer]]
Api = Sanic[Config, Gate]

READ = ["GET", "HEAD"]
CLIENT_GONE = 499
"""The customary code, for metrics and logs: nobody is there to receive it."""
NO_HEAD = "NONE"
"""The method that Sanic gives to a request whose head could not be read."""

_numbers = count(1)
_log = get_logger()


def create_app(
    service: KeyService, *, cluster: ClusterConfig, worker: int, limits: Limits, logging: LoggingConfig
) -> tuple[Api, Express]:
    """Make the application of worker number ``worker``, and the lane beside it; run them with ``RestServer``.

    The application's ctx is the Gate of both.
    """
    gate = Gate(limits.inflight_requests, limits.body_bytes)
    app: Api = Sanic(
        f"worker-{worker}-{next(_numbers)}",
        config=_config(limits),
        ctx=gate,
        router=KeyRouter(),
        request_class=ApiRequest,
        strict_slashes=True,
        configure_logging=False,
    )
    keys = KeyResource(service, worker, limits, gate)
    views = Views(service, cluster, worker, gate)

    def route(path: str, name: str, handler: Handler, methods: list[str]) -> None:
        app.add_route(handler, path, methods, name=name, stream=True)

    admit = _admission(gate, logging.sample)
    route("/kv/<key:path>", "key_get", admit(keys.get), READ)
    route("/kv/<key:path>", "key_put", admit(keys.put), ["PUT"])
    route("/kv/<key:path>", "key_delete", admit(keys.delete), ["DELETE"])
    route("/partition/<key:path>", "partition", _checked(views.partition), READ)
    for name in ("healthz", "readyz", "status", "metrics"):
        route(f"/{name}", name, _checked(getattr(views, name)), READ)
    app.error_handler.add(Exception, _explain)
    app.error_handler.add(CancelledError, _explain)
    audit = Audit(limits.slow_request_ms / 1000)
    app.register_middleware(_finisher(gate, audit), "response")
    return app, Express(service, worker, limits, gate, audit, logging.sample)


def _config(limits: Limits) -> Config:
    """Return Sanic's configuration: nothing from the environment, no banners, our limits."""
    config = Config(env_prefix=None)
    config.update(
        {
            "ACCESS_LOG": False,
            "AUTO_EXTEND": False,
            "MOTD": False,
            "REQUEST_MAX_SIZE": limits.value_bytes + ENVELOPE_BYTES,
            "REQUEST_MAX_HEADER_SIZE": problems.HEAD_BYTES,
            "REQUEST_TIMEOUT": HEAD_S,
            "KEEP_ALIVE_TIMEOUT": IDLE_S,
            "RESPONSE_TIMEOUT": int(2 * BODY_TIMEOUT_S + limits.request_timeout_ms / 1000),
            # Sanic rewrites its own classes at the first start and cannot do it twice in a process.
            "TOUCHUP": not getattr(Http, "__touched__", False),
        }
    )
    return config


def _checked(handler: Handler) -> Handler:
    """Refuse a request with a fault of its own before its handler."""

    async def handle(request: ApiRequest, **_path: str) -> Answer:
        if request.fault is not None:
            raise request.fault
        if request.method != "PUT":
            await discard_body(request)
        return await handler(request)

    return handle


def _admission(gate: Gate, share: float) -> Callable[[Handler], Handler]:
    """Return what puts the gate, and the choice to trace a request, before a handler."""

    def admit(handler: Handler) -> Handler:
        checked = _checked(handler)

        async def handle(request: ApiRequest, **_path: str) -> Answer:
            request.sample(share)
            if gate.full:
                raise overloaded(f"this worker already answers {gate.limit} requests")
            return await checked(request)

        return handle

    return admit


def _explain(request: ApiRequest, error: Exception | CancelledError) -> Answer:
    """Turn whatever was raised into a problem; a defect of ours is logged in full."""
    fault = error if isinstance(error, RequestError) else request.fault
    if fault is not None:
        return problems.refused(fault, write=request.is_write)
    if not isinstance(error, Exception):
        return Answer(status=CLIENT_GONE)
    response = problems.broken(error, write=request.is_write, reached=request.method != NO_HEAD)
    if response.status == 500:  # noqa: PLR2004
        _log.error("request_crashed", request_id=request.request_id, path=request.path, exc_info=error)
    return response


def _finisher(gate: Gate, audit: Audit) -> Callable[[ApiRequest, BaseHTTPResponse], None]:
    """Return what is done with every answer, errors included, before it is sent."""

    def finish(request: ApiRequest, response: BaseHTTPResponse) -> None:
        response.headers[REQUEST_ID_HEADER] = request.request_id
        if gate.draining and isinstance(request.stream, Http):
            request.stream.keep_alive = False
        audit.note(
            request.method,
            request.path,
            response.status,
            started_s=request.started_s,
            request_id=request.request_id,
            traced=request.traced,
        )

    return finish
