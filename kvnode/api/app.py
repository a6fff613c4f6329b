"""The worker's REST application: routes, and what happens to every request before and after its handler."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Coroutine
from functools import cache
from itertools import count
from time import perf_counter
from typing import Any

from sanic import Sanic
from sanic.config import Config
from sanic.http import Http
from sanic.response import BaseHTTPResponse

from kvnode.api import problems
from kvnode.api.answers import Answer
from kvnode.api.body import BODY_TIMEOUT_S, ENVELOPE_BYTES, discard_body
from kvnode.api.gate import Gate, overloaded
from kvnode.api.kv import KeyResource
from kvnode.api.requests import REQUEST_ID_HEADER, ApiRequest, KeyRouter
from kvnode.api.service import KeyService
from kvnode.api.views import Views
from kvnode.config import ClusterConfig, Limits, LoggingConfig
from kvnode.connections import HEAD_S, IDLE_S
from kvnode.errors import RequestError
from kvnode.logs import get_logger
from kvnode.metrics import HTTP_REQUEST_SECONDS, HTTP_REQUESTS

Handler = Callable[..., Coroutine[Any, Any, Answer]]
Api = Sanic[Config, Gate]

READ = ["GET", "HEAD"]
LOGGED_PATH_CHARACTERS = 256
CLIENT_GONE = 499
"""The customary code, for metrics and logs: nobody is there to receive it."""
NO_HEAD = "NONE"
"""The method that Sanic gives to a request whose head could not be read."""

_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "OPTIONS"})
PROBED = "/readyz"
"""Answered with 503 as a matter of course, and asked all the time: not logged as a failure."""

_numbers = count(1)
_log = get_logger()


def create_app(
    service: KeyService, *, cluster: ClusterConfig, worker: int, limits: Limits, logging: LoggingConfig
) -> Api:
    """Make the application of worker number ``worker``; run it with ``RestServer``. Its ctx is a Gate."""
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
    app.register_middleware(_finisher(gate, limits.slow_request_ms / 1000), "response")
    return app


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


def _finisher(gate: Gate, slow_s: float) -> Callable[[ApiRequest, BaseHTTPResponse], None]:
    """Return what is done with every answer, errors included, before it is sent."""

    def finish(request: ApiRequest, response: BaseHTTPResponse) -> None:
        response.headers[REQUEST_ID_HEADER] = request.request_id
        if gate.draining and isinstance(request.stream, Http):
            request.stream.keep_alive = False
        elapsed_s = perf_counter() - request.started_s
        method = request.method if request.method in _METHODS else "other"
        count_request, observe_seconds = _measures(method, response.status)
        count_request()
        observe_seconds(elapsed_s)
        failed = response.status >= 500 and request.path != PROBED  # noqa: PLR2004
        if request.traced or elapsed_s >= slow_s or failed:
            _log_request(request, response.status, elapsed_s)

    return finish


@cache
def _measures(method: str, status: int) -> tuple[Callable[[], None], Callable[[float], None]]:
    """Return what counts a request and what takes its time: looking them up costs more than using them."""
    return HTTP_REQUESTS.labels(method, status).inc, HTTP_REQUEST_SECONDS.labels(method).observe


def _log_request(request: ApiRequest, status: int, elapsed_s: float) -> None:
    write = _log.warning if status >= 500 else _log.info  # noqa: PLR2004
    write(
        "request_answered",
        request_id=request.request_id,
        method=request.method,
        path=request.path[:LOGGED_PATH_CHARACTERS],
        status=status,
        duration_ms=round(elapsed_s * 1000, 3),
    )
