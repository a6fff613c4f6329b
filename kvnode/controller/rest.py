"""The controller's HTTP routes. Handlers say what a request means; who knows the answer stands elsewhere."""

from __future__ import annotations

from typing import Any, Final, Protocol

import msgspec
from sanic import HTTPResponse, Request, Sanic
from sanic.exceptions import MethodNotAllowed, NotFound, SanicException

from kvnode.controller.answers import Outcome, json, problem
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

READ: Final = ("GET", "HEAD")
WRITES: Final = frozenset({"PUT", "DELETE", "POST", "PATCH"})
METHODS: Final = ("GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS")
RESOURCES: Final = (
    "/ (the dashboard), /kv/{key}, /partition/{key}, /status, /workers/{id}/keys, /logs, /healthz, /readyz, "
    "/metrics"
)
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
    """One key of a listing. ``value`` is None, and ``truncated`` true, when it is too long to preview."""

    key: str
    partition: int
    version: str
    size_bytes: int
    value: msgspec.Raw | None
    truncated: bool


class Routes:
    """The handlers. A ``key`` argument is Sanic's; keys are read from the raw target."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def add_to(self, app: Sanic[Any, Any]) -> None:
        """Add every route but Socket.IO's, and the answer to whatever goes wrong."""
        for suffix, name in (("", "empty"), ("<key:path>", "key")):
            app.add_route(self.kv, f"/kv/{suffix}", methods=METHODS, name=f"kv_{name}")
            app.add_route(self.partition, f"/partition/{suffix}", methods=READ, name=f"partition_{name}")
        app.add_route(self.keys, "/workers/<worker:int>/keys", methods=READ)
        for handler in (self.status, self.logs, self.healthz, self.readyz, self.metrics):
            app.add_route(handler, f"/{handler.__name__}", methods=READ)
        for number, path in enumerate(("", *self._source.assets.paths)):
            app.add_route(self.asset, f"/{path}", methods=READ, name=f"asset_{number}")
        app.exception(Exception)(_refused)

    async def kv(self, request: Request, key: str = "") -> HTTPResponse:  # noqa: ARG002
        """Send the request on to a worker."""
        return await self._source.proxy.handle(request)

    async def partition(self, request: Request, key: str = "") -> HTTPResponse:  # noqa: ARG002
        """Say where a key lives."""
        return json(_place(self._source.view, key_of(request.raw_url, b"/partition/")))

    async def status(self, _: Request) -> HTTPResponse:
        """Show the whole cluster."""
        return json(self._source.status(ring=True))

    async def keys(self, request: Request, worker: int) -> HTTPResponse:
        """List the keys on one worker's disk."""
        if worker not in self._source.view.workers:
            return problem(404, f"there is no worker {worker}")
        limit = _number(request, "limit", default=50, highest=MAX_KEYS)
        prefix, after = request.args.get("prefix", ""), request.args.get("after", "")
        page = await self._source.lister.list_keys(worker, prefix, after, limit)
        keys = [_listed(key) for key in page.keys]
        return json({"worker": worker, "keys": keys, "next_after": page.next_after or None})

    async def logs(self, request: Request) -> HTTPResponse:
        """Search the log window."""
        return json(self._source.logs.select(_log_query(request)))

    async def healthz(self, _: Request) -> HTTPResponse:
        """Say that the process serves."""
        return json({"status": "ok", "node": "controller"})

    async def readyz(self, _: Request) -> HTTPResponse:
        """Say whether most of the cluster reports, or why not."""
        reasons = self._source.view.readiness()
        state = "not_ready" if reasons else "ready"
        return json({"ready": not reasons, "state": state, "reasons": reasons}, 503 if reasons else 200)

    async def metrics(self, _: Request) -> HTTPResponse:
        """Answer Prometheus."""
        return HTTPResponse(self._source.metrics(), content_type=CONTENT_TYPE)

    async def asset(self, request: Request) -> HTTPResponse:
        """Serve a file of the dashboard."""
        path = request.path.removeprefix("/")
        return self._source.assets.answer(path, request.headers.get("if-none-match"))


async def _refused(request: Request, error: Exception) -> HTTPResponse:
    """Turn whatever a handler or Sanic raised into a problem; only what is sent on can be a write."""
    writes = request.method in WRITES and request.path.startswith("/kv/")
    outcome: Outcome | None = "not_stored" if writes else None
    match error:
        case RequestError():
            status = 503 if error.kind == "overloaded" else 400
            return problem(status, error.detail, kind=error.kind, outcome=outcome)
        case PeerError():
            return problem(503, str(error))
        case NotFound():
            return problem(404, f"no such resource: expected one of {RESOURCES}", outcome=outcome)
        case MethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods or ()))
            words = f"{error.method!r:.20} is not allowed here: expected one of {allowed}"
            return problem(405, words, headers={"allow": allowed})
        case SanicException() if error.status_code < 500:  # noqa: PLR2004
            return problem(error.status_code, str(error), outcome=outcome)
    log.error("request_failed", path=request.path, exc_info=error)
    words = "the controller failed on this request; its log says more"
    return problem(500, words, outcome="unknown" if writes else None)


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
