"""A worker's real REST server on loopback, with a cluster of one in memory behind it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import msgspec
import pytest
import structlog
from structlog.testing import LogCapture
from yarl import URL

from kvnode.api import app as app_module
from kvnode.api import audit as audit_module
from kvnode.api import express as express_module
from kvnode.api import server as server_module
from kvnode.api.app import Api, create_app
from kvnode.api.server import RestServer
from kvnode.config import ClusterConfig, ControllerEntry, Limits, LoggingConfig, WorkerEntry
from tests.unit.api.memory import MemoryService

ANSWER_TIMEOUT_S = 10.0

CLUSTER = ClusterConfig(
    name="test",
    controller=ControllerEntry(rest="127.0.0.1:5000", grpc="127.0.0.1:6000"),
    workers=tuple(
        WorkerEntry(id=n, host=f"host-{n}", rest=f"127.0.0.1:{5000 + n}", grpc=f"127.0.0.1:{6000 + n}")
        for n in (1, 2, 3, 4)
    ),
)


class Reply(msgspec.Struct):
    """What a client saw. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        """The body, parsed."""
        parsed: dict[str, object] = msgspec.json.decode(self.body)
        return parsed

    @property
    def problem(self) -> str:
        """The kind of problem that this is; fails if it is none."""
        assert self.headers["content-type"] == "application/problem+json"
        problem = self.json
        assert problem["status"] == self.status
        assert problem["title"]
        assert problem["detail"]
        return str(problem["type"]).removeprefix("urn:kvnode:problem:")


class Rest:
    """One worker's server, its application and service, and clients that change nothing on the way."""

    def __init__(
        self, service: MemoryService, app: Api, server: RestServer, client: aiohttp.ClientSession
    ) -> None:
        self.service = service
        self.app = app
        self.server = server
        self.client = client

    async def call(
        self,
        method: str,
        target: str,
        body: bytes | AsyncIterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Send one request; its target goes out byte for byte, and a body as iterator in chunks."""
        url = URL(f"http://127.0.0.1:{self.server.port}{target}", encoded=True)
        data = io.BytesIO(body) if isinstance(body, bytes) else body
        async with self.client.request(
            method,
            url,
            data=data,
            headers=headers,
            skip_auto_headers=["Content-Type"],
        ) as response:
            head = {name.lower(): value for name, value in response.headers.items()}
            return Reply(response.status, head, await response.read())

    async def put(self, target: str, value: bytes, headers: dict[str, str] | None = None) -> Reply:
        """PUT a value given as JSON text."""
        head = {"Content-Type": "application/json", **(headers or {})}
        return await self.call("PUT", target, b'{"value":' + value + b"}", head)

    async def raw(self, *parts: bytes) -> bytes:
        """Send bytes over a connection of their own, and return all that comes until it is closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            return await asyncio.wait_for(reader.read(), ANSWER_TIMEOUT_S)
        finally:
            writer.close()

    async def connect(self) -> asyncio.StreamWriter:
        """Open a connection that the test will leave in its own way."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        return writer


class Servers:
    """Starts servers for a test, each in this loop."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def start(
        self, *, limits: Limits | None = None, logging: LoggingConfig | None = None, worker: int = 1
    ) -> Rest:
        """Start worker number ``worker``."""
        service = MemoryService(CLUSTER, worker)
        app, express = create_app(
            service,
            cluster=CLUSTER,
            worker=worker,
            limits=limits or Limits(),
            logging=logging or LoggingConfig(),
        )
        server = RestServer(app, express, "127.0.0.1", 0, limits or Limits())
        await server.start()
        self._stack.push_async_callback(server.drain, 1.0)
        client = await self._stack.enter_async_context(aiohttp.ClientSession())
        return Rest(service, app, server, client)


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    """Yield what starts servers; all are stopped afterwards."""
    async with AsyncExitStack() as stack:
        yield Servers(stack)


@pytest.fixture
async def rest(servers: Servers) -> Rest:
    """One server with the default limits."""
    return await servers.start()


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> LogCapture:
    """Collect what the package logs."""
    capture = LogCapture()
    logger = structlog.wrap_logger(
        None, processors=[capture], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    monkeypatch.setattr(app_module, "_log", logger)
    monkeypatch.setattr(audit_module, "_log", logger)
    monkeypatch.setattr(express_module, "_log", logger)
    monkeypatch.setattr(server_module, "_log", logger)
    return capture
