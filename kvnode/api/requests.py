"""A request as this package sees it: its raw target, its id, and whether its way is traced."""

from __future__ import annotations

import re
from contextlib import suppress
from random import getrandbits, random
from time import perf_counter
from typing import Any

from sanic.exceptions import BadURL, MethodNotAllowed, URITooLong
from sanic.request import Request
from sanic.router import Router

from kvnode.errors import RequestError

REQUEST_ID_HEADER = "x-request-id"
KEYED_ROUTES = ("/kv/", "/partition/")

METHODS = ("DELETE", "GET", "HEAD", "PUT")

_REQUEST_ID = re.compile(r"[\x20-\x7e]{1,128}")
_WRITES = frozenset({"PUT", "DELETE"})


def new_id() -> str:
    """Return an id that is new for all practical purposes; it guards nothing."""
    return f"{getrandbits(64):016x}"


class ApiRequest(Request):
    """Sanic's request with ours beside it.

    ``request_id`` is the client's or a new one. ``traced``: the client sent one, or the request is
    sampled, so every node that it touches logs it. ``fault``: why it is refused, whatever it asks.
    """

    __slots__ = ("fault", "request_id", "started_s", "traced")

    def __init__(self, url_bytes: bytes, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Keep a malformed target as a fault: Sanic would close the connection without an answer."""
        self.fault: RequestError | None = None
        self.traced = False
        self.started_s = perf_counter()
        try:
            super().__init__(url_bytes, *args, **kwargs)
            self.path  # noqa: B018 - fails if the target has none
        except (BadURL, URITooLong, AttributeError):
            super().__init__(b"*", *args, **kwargs)
            self.fault = RequestError("invalid_target", "the target is no path: expected one like /kv/my-key")
        if b"#" in url_bytes:
            self.fault = RequestError("invalid_target", "# in the request target: expected %23")
        self.request_id = self._identify()

    @property
    def is_write(self) -> bool:
        """Whether a key would have been written."""
        return self.method in _WRITES and self.path.startswith(KEYED_ROUTES[0])

    @property
    def trace_id(self) -> str | None:
        """The id to hand on, if the request is traced."""
        return self.request_id if self.traced else None

    def sample(self, share: float) -> None:
        """Trace this request with the probability ``share``, if it is not traced anyway."""
        self.traced = self.traced or (share > 0 and random() < share)

    def key_text(self, prefix: str) -> str:
        """Return the target's path after ``prefix``, as it was sent."""
        return self.path[len(prefix) :]

    def _identify(self) -> str:
        sent = self.headers.getall(REQUEST_ID_HEADER, ())
        if not sent:
            return new_id()
        if len(sent) == 1 and _REQUEST_ID.fullmatch(sent[0]):
            self.traced = True
            return str(sent[0])
        self.fault = self.fault or RequestError(
            "invalid_request_id", "X-Request-ID: expected once, 1 to 128 characters of printable ASCII"
        )
        return new_id()


class KeyRouter(Router):
    """Sanic's router, except that nothing in a key (``//``, dots, escapes) takes part in routing."""

    def get(self, path: str, method: str, host: str | None) -> Any:  # type: ignore[override]  # noqa: ANN401, ARG002
        """Find the route of a path: all keys of a route look alike, and hosts do not matter."""
        for prefix in KEYED_ROUTES:
            if path.startswith(prefix):
                path = prefix + "-"
        try:
            return super().get(path, method, None)
        except MethodNotAllowed:
            allowed = [other for other in METHODS if self._has(path, other)]
            raise MethodNotAllowed(method=method, allowed_methods=allowed) from None

    def _has(self, path: str, method: str) -> bool:
        with suppress(MethodNotAllowed):
            super().get(path, method, None)
            return True
        return False
