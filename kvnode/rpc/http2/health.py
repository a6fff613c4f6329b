"""The standard health service: what any gRPC health probe asks."""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from kvnode.rpc.http2.errors import CallError
from kvnode.rpc.http2.server import Routes, ServerCall, Streaming, Unary
from kvnode.rpc.http2.stream import Receiver

_PATH = "/grpc.health.v1.Health/"
_Status = health_pb2.HealthCheckResponse


def health_routes(services: Iterable[str]) -> Routes:
    """Return the methods of the health service of a server of ``services``, which serves while it listens."""
    known = frozenset(("", *services))

    async def check(data: bytes, _: ServerCall) -> bytes:
        service = _service(data)
        if service not in known:
            raise CallError(grpc.StatusCode.NOT_FOUND, f"there is no service {service!r}")
        return _Status(status=_Status.SERVING).SerializeToString()

    return {
        f"{_PATH}Check": Unary(check),
        f"{_PATH}Watch": Streaming(lambda call: _Watcher(call, known)),
    }


class _Watcher(Receiver):
    """Tells one caller how a service is, which does not change until the connection ends."""

    def __init__(self, call: ServerCall, known: frozenset[str]) -> None:
        self._call = call
        self._known = known
        self._asked = False

    def message(self, data: bytes) -> None:
        if self._asked:
            raise CallError(grpc.StatusCode.UNIMPLEMENTED, "asked twice in one call")
        self._asked = True
        known = _service(data) in self._known
        status = _Status.SERVING if known else _Status.SERVICE_UNKNOWN
        self._call.send(_Status(status=status).SerializeToString())


def _service(data: bytes) -> str:
    try:
        return str(health_pb2.HealthCheckRequest.FromString(data).service)
    except DecodeError as error:
        raise CallError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error
