"""The one table between our errors and gRPC's status codes; no other module knows a code."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc

from kvnode.errors import MessageError, MismatchError, PeerError

_DETAILS_CHARACTERS = 500
"""Details travel in a header of limited size."""

_TABLE: tuple[tuple[type[PeerError], grpc.StatusCode], ...] = (
    (MessageError, grpc.StatusCode.INVALID_ARGUMENT),
    (MismatchError, grpc.StatusCode.FAILED_PRECONDITION),
    (PeerError, grpc.StatusCode.UNAVAILABLE),
)

_ERRORS = {code: kind for kind, code in _TABLE}


def code_of(error: PeerError) -> grpc.StatusCode:
    """Return the status code that tells a peer of this error."""
    return next(code for kind, code in _TABLE if isinstance(error, kind))


async def refuse(context: grpc.aio.ServicerContext[Any, Any], error: PeerError) -> NoReturn:
    """End a call with what the table says."""
    await context.abort(code_of(error), str(error)[:_DETAILS_CHARACTERS])


def error_of(failure: grpc.aio.AioRpcError) -> PeerError:
    """Return our error for a call that failed."""
    kind = _ERRORS.get(failure.code(), PeerError)
    details = failure.details() or "no details"
    return kind(details if kind is not PeerError else f"{failure.code().name.lower()}: {details}")


def is_expired(failure: grpc.aio.AioRpcError) -> bool:
    """Whether a call failed only because nobody answered it in time."""
    return failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED
