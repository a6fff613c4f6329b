"""A real controller on loopback, in front of workers that do as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from kvnode.controller.app import Controller
from kvnode.core.status import KeyPage, StoredKey
from kvnode.core.versions import Version
from kvnode.errors import PeerError
from kvnode.logs import LogBuffer
from tests.conftest import find_free_ports
from tests.unit.controller.building import WORKERS, controller_config, hello, report, status

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class FakeWorker:
    """A worker's REST port: keeps each request's bytes and answers with ``answer`` (None: hangs up)."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.answer: bytes | None = ANSWER
        self.silent = False
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Refuse connections from now on."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = [line.lower() for line in head.split(b"\r\n")]
            length = next((int(li.split(b":")[1]) for li in lines if li.startswith(b"content-length:")), 0)
            self.bodies.append(await reader.readexactly(length))
            self.heads.append(head)
            if self.silent:
                await reader.read()
            elif self.answer is not None:
                writer.write(self.answer)
                await writer.drain()
        writer.close()

    @property
    def targets(self) -> list[str]:
        """The targets of all requests."""
        return [head.split(b" ")[1].decode() for head in self.heads]


class FakeLister:
    """Workers' disks with three keys each; worker 4 cannot be asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, str, str, int]] = []

    async def list_keys(self, worker: int, prefix: str, after: str, limit: int) -> KeyPage:
        """Return what a test wants to see."""
        self.asked.append((worker, prefix, after, limit))
        if worker == 4:
            raise PeerError("worker 4 cannot be reached")
        version = Version(3, 1, 42)
        keys = [
            StoredKey("a", 1, version, 5, b'{"b":1.50}'),
            StoredKey("b", 2, version, 9000, b'"' + b"x" * 8998 + b'"'),
            StoredKey("ü/c", 3, version, 2_000_000, None),
        ]
        return KeyPage(keys, "ü/c")


@pytest.fixture
async def workers() -> AsyncIterator[list[FakeWorker]]:
    """Return four workers that listen."""
    fakes = [FakeWorker(port) for port in find_free_ports(4)]
    for fake in fakes:
        await fake.start()
    yield fakes
    for fake in fakes:
        await fake.stop()


@pytest.fixture
def lister() -> FakeLister:
    """Return what the controller asks for keys."""
    return FakeLister()


class Clock:
    """The controller's clock. Only a test moves it, so nobody falls silent on a busy machine."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return the clock."""
    return Clock()


@pytest.fixture
def own_logs() -> LogBuffer:
    """Return where the controller's own lines come from."""
    return LogBuffer(1000, 1 << 20)


@pytest.fixture
async def controller(
    workers: list[FakeWorker], lister: FakeLister, own_logs: LogBuffer, tmp_path: Path, clock: Clock
) -> AsyncIterator[Controller]:
    """Return a controller that serves, and that all workers have reported to once."""
    [port] = find_free_ports(1)
    config = controller_config([fake.port for fake in workers], port)
    controller = Controller(config, lister, own_logs, release="0.1.0", dashboard=tmp_path, clock=clock)
    await controller.start()
    for worker in WORKERS:
        led = [p for p in range(16) if p % 4 == worker - 1]
        controller.report(hello(worker), report(status(worker, led=led)))
    yield controller
    await controller.stop()


@pytest.fixture
async def http(controller: Controller) -> AsyncIterator[aiohttp.ClientSession]:
    """Return a client of the controller."""
    base = f"http://127.0.0.1:{controller.port}"
    async with aiohttp.ClientSession(base, timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


@pytest.fixture
def raw_get(controller: Controller) -> Callable[[bytes], object]:
    """Return a function that sends a request line byte by byte as given, and returns the whole answer."""

    async def send(line: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", controller.port)
        writer.write(line + b" HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer

    return send
