"""A worker's real REST server on loopback, with a cluster of one in memory behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import msgspec
import pytest
from yarl import URL

from kvnode.api.app import create_app
from kvnode.api.server import RestServer
from kvnode.config import ClusterConfig, ControllerEntry, Limits, LoggingConfig, WorkerEntry
from tests.unit.api.memory import MemoryService

WORKERS = (1, 2, 3, 4)
CLUSTER = ClusterConfig(
    name="test",
    controller=ControllerEntry(rest="127.0.0.1:5000", grpc="127.0.0.1:6000"),
    workers=tuple(
        WorkerEntry(id=n, host=f"host-{n}", rest=f"127.0.0.1:{5000 + n}", grpc=f"127.0.0.1:{6000 + n}")
        for n in WORKERS
    ),
)


class Answer(msgspec.Struct):
    """What a client saw."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        """The body, parsed."""
        parsed: dict[str, object] = msgspec.json.decode(self.body)
        return parsed


class Rest:
    """One worker's server, its service, and a client that sends targets as they are given."""

    def __init__(self, service: MemoryService, server: RestServer, client: aiohttp.ClientSession) -> None:
        self.service = service
        self.server = server
        self.client = client

    async def call(
        self, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Send one request; its target goes out byte for byte."""
        url = URL(f"http://127.0.0.1:{self.server.port}{target}", encoded=True)
        async with self.client.request(
            method, url, data=body, headers=headers, skip_auto_headers=["Content-Type"]
        ) as response:
            return Answer(
                response.status, {k.lower(): v for k, v in response.headers.items()}, await response.read()
            )

    async def put(self, target: str, value: bytes, headers: dict[str, str] | None = None) -> Answer:
        """PUT a value given as JSON text."""
        head = {"Content-Type": "application/json", **(headers or {})}
        return await self.call("PUT", target, b'{"value":' + value + b"}", head)


class Servers:
    """Starts servers for a test, each in this loop."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def start(
        self, *, limits: Limits | None = None, logging: LoggingConfig | None = None, worker: int = 1
    ) -> Rest:
        """Start worker number ``worker``."""
        service = MemoryService(CLUSTER, worker)
        app = create_app(
            service,
            cluster=CLUSTER,
            worker=worker,
            limits=limits or Limits(),
            logging=logging or LoggingConfig(),
        )
        server = RestServer(app, "127.0.0.1", 0)
        await server.start()
        self._stack.push_async_callback(server.drain, 1.0)
        client = await self._stack.enter_async_context(aiohttp.ClientSession())
        return Rest(service, server, client)


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    """Yield what starts servers; all are stopped afterwards."""
    async with AsyncExitStack() as stack:
        yield Servers(stack)


@pytest.fixture
async def rest(servers: Servers) -> Rest:
    """One server with the default limits."""
    return await servers.start()
