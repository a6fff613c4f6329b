"""Reading a request's body, within a size and a time."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from sanic.http import Http
from sanic.request import Request

from kvnode.api.gate import Body, Gate
from kvnode.errors import RequestError

ENVELOPE_BYTES = 65536
"""What may stand around a value of full size: field name, white space, line breaks."""

DISCARD_BYTES = 32 * 1024 * 1024
"""How much of a body that is too large is read and dropped, so that its sender hears the answer."""

BODY_TIMEOUT_S = 30.0
HEADSTART_S = 5.0
BYTES_PER_S = 65536
"""A body that comes more slowly than this after its headstart is not waited for."""

TOO_SLOW = (
    f"the body came too slowly: expected {BYTES_PER_S} bytes a second after {HEADSTART_S:g} s, "
    f"and its end within {BODY_TIMEOUT_S:g} s"
)

_IDENTITY = frozenset({"", "identity"})


def require_json(request: Request) -> None:
    """Refuse a body that is declared to be anything but JSON in UTF-8. Raises RequestError."""
    encoding = request.headers.get("content-encoding", "")
    if encoding.strip().lower() not in _IDENTITY:
        raise RequestError("unsupported_media_type", f"Content-Encoding {encoding!r:.60}: expected none")
    declared = request.headers.get("content-type")
    if declared is None or declared == "application/json":
        return
    kind, *parameters = (part.strip().lower() for part in declared.split(";"))
    allowed = {"", "charset=utf-8", 'charset="utf-8"'}
    if kind != "application/json" or not allowed.issuperset(parameters):
        raise RequestError(
            "unsupported_media_type", f"Content-Type {declared!r:.60}: expected application/json in UTF-8"
        )


async def read_body(request: Request, value_bytes: int, held: Body) -> bytes:
    """Read the body of a value of at most ``value_bytes``. Raises RequestError (413, 408, 503)."""
    limit = value_bytes + ENVELOPE_BYTES
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S) as patience:
            body = await _read(request, limit, held, patience)
    except TimeoutError:
        _give_up(request)
        raise RequestError("body_timeout", TOO_SLOW) from None
    if body is None:
        _give_up(request)
        raise RequestError(
            "body_too_large",
            f"the body is too large: expected a value of {value_bytes} bytes and {ENVELOPE_BYTES} around it",
        )
    return body


async def discard_body(request: Request) -> None:
    """Read a body that nobody wants, within a size and a time. Raises RequestError."""
    if isinstance(request.stream, Http) and request.stream.request_body:
        with Gate(0, ENVELOPE_BYTES).body() as held:
            await read_body(request, 0, held)


async def _read(request: Request, limit: int, held: Body, patience: asyncio.Timeout) -> bytes | None:
    """Return the body, or None when there is more than ``limit`` bytes of it."""
    began_s = asyncio.get_running_loop().time()
    patience.reschedule(began_s + min(BODY_TIMEOUT_S, HEADSTART_S))
    parts: list[bytes] = []
    size = 0
    declared = _declared_bytes(request)
    if not isinstance(request.stream, Http) or declared > limit + DISCARD_BYTES:
        return None
    if declared > limit and "expect" in request.headers:
        return None
    while (part := await request.stream.read()) is not None:
        size += len(part)
        patience.reschedule(began_s + min(BODY_TIMEOUT_S, HEADSTART_S + size / BYTES_PER_S))
        if size <= limit:
            held.add(len(part))
            parts.append(part)
        elif size > limit + DISCARD_BYTES:
            return None
        else:
            parts.clear()
    return b"".join(parts) if size <= limit else None


def _give_up(request: Request) -> None:
    """Wait for no more of the body: the connection is closed once the answer is sent."""
    if isinstance(request.stream, Http):
        request.stream.request_body = None
        request.stream.keep_alive = False


def _declared_bytes(request: Request) -> int:
    """Return the Content-Length, 0 when there is none."""
    with suppress(ValueError):
        return int(request.headers.get("content-length", "0"))
    return 0
