"""The one table between our errors and gRPC's status codes; no other module knows a code."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc

from kvnode.errors import MessageError, MismatchError, PeerError
from kvnode.rpc.http2.errors import CallError

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


def refusal(error: PeerError) -> CallError:
    """Return how a call ends because of this error."""
    return CallError(code_of(error), str(error)[:_DETAILS_CHARACTERS])


async def refuse(context: grpc.aio.ServicerContext[Any, Any], error: PeerError) -> NoReturn:
    """End a call that grpcio serves with what the table says."""
    failure = refusal(error)
    await context.abort(failure.code, failure.details)


def error_of(failure: CallError | grpc.aio.AioRpcError) -> PeerError:
    """Return our error for a call that failed."""
    if isinstance(failure, CallError):
        code, details = failure.code, failure.details
    else:
        code, details = failure.code(), failure.details() or "no details"
    kind = _ERRORS.get(code, PeerError)
    return kind(details if kind is not PeerError else f"{code.name.lower()}: {details}")


def is_expired(failure: CallError) -> bool:
    """Whether a call failed only because nobody answered it in time."""
    return failure.code is grpc.StatusCode.DEADLINE_EXCEEDED
