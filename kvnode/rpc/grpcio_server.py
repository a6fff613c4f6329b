"""The controller's gRPC server, which is grpcio's: one port, some services, the standard health service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from kvnode.errors import PeerError
from kvnode.rpc.channel import SERVER_OPTIONS

_CALLS_AT_ONCE = 4096


Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]
Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"


def stream_handler(handle: Callable[[object, Context], Awaitable[None]]) -> Handler:
    """Return the handler of two streams of bytes, which are read from and written to the context."""
    return grpc.stream_stream_rpc_method_handler(handle)


class Service:
    """A service by its full name, and the handlers of its methods."""

    def __init__(self, name: str, handlers: dict[str, Handler]) -> None:
        self.name = name
        self.handlers = handlers


class Server:
    """Listens on ``bind`` (``host:port``) from ``start`` to ``stop``."""

    def __init__(self, bind: str, services: Sequence[Service]) -> None:
        self._bind = bind
        self._services = services
        self._health = health_aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Bind and serve. Raises PeerError that names the address if it is taken."""
        server = grpc.aio.server(options=SERVER_OPTIONS, maximum_concurrent_rpcs=_CALLS_AT_ONCE)
        for service in self._services:
            handler = grpc.method_handlers_generic_handler(service.name, service.handlers)
            server.add_generic_rpc_handlers((handler,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        try:
            self.port = server.add_insecure_port(self._bind)
        except RuntimeError as error:
            raise PeerError(f"cannot listen on gRPC address {self._bind}: is the port taken?") from error
        await server.start()
        self._server = server
        for name in ("", *(service.name for service in self._services)):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace_s: float) -> None:
        """Take no new call, and give those under way ``grace_s`` to end."""
        if self._server is None:
            return
        server, self._server = self._server, None
        await self._health.enter_graceful_shutdown()
        await server.stop(grace_s)
