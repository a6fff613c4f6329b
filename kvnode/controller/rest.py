"""The controller's HTTP routes. Handlers say what a request means; who knows the answer stands elsewhere."""

from __future__ import annotations

from typing import Any, Final, Protocol

import msgspec
from sanic import HTTPResponse, Request, Sanic
from sanic.exceptions import MethodNotAllowed, SanicException

from kvnode.controller.answers import json, problem
from kvnode.controller.assets import Assets
from kvnode.controller.log_window import LEVELS, LogQuery, LogWindow
from kvnode.controller.proxy import Proxy
from kvnode.controller.status import ClusterStatus
from kvnode.controller.target import key_of
from kvnode.controller.view import ClusterView
from kvnode.core.status import KeyPage, StoredKey
from kvnode.errors import PeerError, RequestError
from kvnode.logs import get_logger
from kvnode.metrics import CONTENT_TYPE

METHODS: Final = ("GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS")
MAX_KEYS: Final = 200
MAX_LINES: Final = 1000
PREVIEW_BYTES: Final = 4096
"""Longer values are cut in key listings; ``GET /kv/{key}`` has them whole."""

log = get_logger()


class KeyLister(Protocol):
    """Asks a worker what its disk holds."""

    async def list_keys(self, worker: int, prefix: str, after: str, limit: int) -> KeyPage:
        """Return one page in key order. Raises PeerError when the worker cannot be asked."""


class Source(Protocol):
    """What the routes answer from."""

    view: ClusterView
    logs: LogWindow
    proxy: Proxy
    lister: KeyLister
    assets: Assets

    def status(self, *, ring: bool) -> ClusterStatus:
        """Return the view as of now."""

    def metrics(self) -> bytes:
        """Return Prometheus text."""


class ListedKey(msgspec.Struct, frozen=True):
    """One key of a listing. ``value`` is None, and ``truncated`` true, for one that is too long to preview."""

    key: str
    partition: int
    version: str
    size_bytes: int
    value: msgspec.Raw | None
    truncated: bool


def add_routes(app: Sanic[Any, Any], source: Source) -> None:
    """Add every route but Socket.IO's."""

    async def kv(request: Request, key: str = "") -> HTTPResponse:  # noqa: ARG001
        return await source.proxy.handle(request)

    async def partition(request: Request, key: str = "") -> HTTPResponse:  # noqa: ARG001
        return json(_place(source.view, key_of(request.raw_url, b"/partition/")))

    async def status(_: Request) -> HTTPResponse:
        return json(source.status(ring=True))

    async def keys(request: Request, worker: int) -> HTTPResponse:
        return await _keys(request, worker, source)

    async def logs(request: Request) -> HTTPResponse:
        return json(source.logs.select(_log_query(request)))

    async def healthz(_: Request) -> HTTPResponse:
        return json({"status": "ok", "controller": True})

    async def readyz(_: Request) -> HTTPResponse:
        reasons = source.view.readiness()
        state = "not_ready" if reasons else "ready"
        return json({"ready": not reasons, "state": state, "reasons": reasons}, 503 if reasons else 200)

    async def metrics(_: Request) -> HTTPResponse:
        return HTTPResponse(source.metrics(), content_type=CONTENT_TYPE)

    async def asset(request: Request, path: str = "") -> HTTPResponse:
        answer = source.assets.answer(path, request.headers.get("if-none-match"))
        return answer or problem(404, f"there is nothing at {request.path}")

    for prefix, handler in (("/kv/", kv), ("/partition/", partition)):
        methods = METHODS if handler is kv else ("GET",)
        app.add_route(handler, prefix, methods=methods, name=f"{handler.__name__}_empty")
        app.add_route(handler, prefix + "<key:path>", methods=methods, name=handler.__name__)
    app.add_route(status, "/status")
    app.add_route(keys, "/workers/<worker:int>/keys")
    app.add_route(logs, "/logs")
    app.add_route(healthz, "/healthz")
    app.add_route(readyz, "/readyz")
    app.add_route(metrics, "/metrics")
    app.add_route(asset, "/", name="index", methods=("GET", "HEAD"))
    app.add_route(asset, "/<path:path>", name="asset", methods=("GET", "HEAD"))
    app.exception(Exception)(_refused)


async def _refused(request: Request, error: Exception) -> HTTPResponse:
    """Turn whatever a handler or Sanic raised into a problem."""
    if isinstance(error, RequestError):
        return problem(400, error.detail)
    if isinstance(error, PeerError):
        return problem(503, str(error))
    if isinstance(error, MethodNotAllowed):
        return problem(405, str(error), headers={"allow": error.headers.get("Allow", "")})
    if isinstance(error, SanicException) and error.status_code < 500:  # noqa: PLR2004
        return problem(error.status_code, str(error))
    log.error("request_failed", path=request.path, exc_info=error)
    return problem(500, "the controller failed on this request; its log says more")


async def _keys(request: Request, worker: int, source: Source) -> HTTPResponse:
    if worker not in source.view.workers:
        return problem(404, f"there is no worker {worker}")
    limit = _number(request, "limit", default=50, highest=MAX_KEYS)
    prefix, after = request.args.get("prefix", ""), request.args.get("after", "")
    page = await source.lister.list_keys(worker, prefix, after, limit)
    keys = [_listed(key) for key in page.keys]
    return json({"worker": worker, "keys": keys, "next_after": page.next_after or None})


def _listed(key: StoredKey) -> ListedKey:
    shown = key.value is not None and len(key.value) <= PREVIEW_BYTES
    value = msgspec.Raw(key.value) if shown and key.value is not None else None
    return ListedKey(key.key, key.partition, str(key.version), key.size_bytes, value, not shown)


def _place(view: ClusterView, key: str) -> dict[str, object]:
    place = view.place(key)
    return {
        "key": key,
        "partition": place.partition,
        "primary_address": view.rest_address(place.replicas[0]),
        "primary_id": place.replicas[0],
        "replica_node_ids": list(place.replicas),
        "replica_addresses": [view.rest_address(worker) for worker in place.replicas],
        "leader_id": place.leader or None,
    }


def _log_query(request: Request) -> LogQuery:
    level = request.args.get("level", "")
    if level and level not in LEVELS:
        raise RequestError("invalid_level", f"level must be one of {', '.join(LEVELS)}; it is {level!r}")
    return LogQuery(
        node=request.args.get("node", ""),
        level=level,
        text=request.args.get("text", ""),
        request_id=request.args.get("request_id", ""),
        before=_number(request, "before", default=0, highest=1 << 62),
        limit=_number(request, "limit", default=300, highest=MAX_LINES),
    )


def _number(request: Request, name: str, *, default: int, highest: int) -> int:
    """Return a query field that is a whole number from 1 to ``highest``."""
    text = request.args.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= highest:  # noqa: PLR2004
        return int(text)
    raise RequestError(
        f"invalid_{name}", f"{name} must be a whole number from 1 to {highest}; it is {text!r}"
    )
