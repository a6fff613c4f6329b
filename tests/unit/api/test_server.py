"""Starting, draining and stopping the server inside the caller's loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import msgspec
import pytest

from kvnode.api.app import create_app
from kvnode.api.server import RestServer
from kvnode.config import Limits, LoggingConfig
from kvnode.errors import PeerError
from tests.support.waiting import eventually
from tests.unit.api.conftest import CLUSTER, Rest, Servers
from tests.unit.api.memory import MemoryService


async def test_a_taken_port_is_named(rest: Rest) -> None:
    """The error says which address is taken."""
    app, express = create_app(
        MemoryService(CLUSTER, 2), cluster=CLUSTER, worker=2, limits=Limits(), logging=LoggingConfig()
    )
    with pytest.raises(PeerError, match=rf"127\.0\.0\.1:{rest.server.port} is taken"):
        await RestServer(app, express, "127.0.0.1", rest.server.port, Limits()).start()


async def test_a_port_is_free_again_after_a_drain(servers: Servers) -> None:
    """A server can be started again at once on the same port."""
    first = await servers.start()
    await first.put("/kv/a", b"1")
    await first.server.drain(1.0)
    app, express = create_app(
        first.service, cluster=CLUSTER, worker=1, limits=Limits(), logging=LoggingConfig()
    )
    second = RestServer(app, express, "127.0.0.1", first.server.port, Limits())
    await second.start()
    assert (await first.call("GET", "/kv/a")).status == 200
    await second.drain(1.0)


async def test_a_drain_finishes_what_is_under_way(rest: Rest) -> None:
    """Requests under way are answered, with Connection: close; new connections are refused."""
    rest.service.hold()
    put = asyncio.create_task(rest.put("/kv/a", b"1"))
    await eventually(lambda: rest.service.waiting == 1)
    drain = asyncio.create_task(rest.server.drain(10.0))
    await eventually(lambda: rest.app.ctx.draining)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", rest.server.port)
    assert not drain.done()
    rest.service.release()
    reply = await put
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    await drain
    assert rest.app.ctx.inflight == 0


async def test_open_connections_are_served_until_the_drain_ends(rest: Rest) -> None:
    """A request on a connection that was open before is answered and told to leave."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rest.server.port)
    writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
    assert b"keep-alive" in await reader.readuntil(b'"worker":1}')
    rest.server.stop_accepting()
    writer.write(b"GET /readyz HTTP/1.1\r\n\r\n")
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"connection: close" in answer
    assert b"draining" in answer
    writer.close()
    await rest.server.drain(1.0)


async def test_idle_connections_do_not_hold_up_a_drain(rest: Rest) -> None:
    """They are closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rest.server.port)
    writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
    await reader.readuntil(b'"worker":1}')
    await asyncio.wait_for(rest.server.drain(30.0), 5.0)
    assert await reader.read() == b""
    writer.close()


async def test_a_large_answer_is_sent_whole_before_a_drain_ends(rest: Rest) -> None:
    """An answer that fills the socket's buffers is not cut off."""
    value = b'"' + b"x" * 1_000_000 + b'"'
    await rest.put("/kv/a", value)
    reader, writer = await asyncio.open_connection("127.0.0.1", rest.server.port)
    writer.write(b"GET /kv/a HTTP/1.1\r\n\r\n" * 8)
    head = await reader.read(1000)
    drain = asyncio.create_task(rest.server.drain(10.0))
    answers = head + await reader.read()
    await drain
    assert answers.count(value) == answers.count(b"HTTP/1.1 200")
    assert answers.endswith(b"}")
    writer.close()


async def test_a_drain_ends_when_its_grace_is_over(rest: Rest) -> None:
    """What is stuck is cut off."""
    rest.service.hold()
    answer = asyncio.create_task(rest.raw(b"DELETE /kv/a HTTP/1.1\r\n\r\n"))
    await eventually(lambda: rest.service.waiting == 1)
    await asyncio.wait_for(rest.server.drain(0.1), 5.0)
    assert await answer == b""


PROGRAM = """
import asyncio, sys
import aiohttp
from kvnode import logs
from kvnode.api.app import create_app
from kvnode.api.server import RestServer
from kvnode.config import Limits, LoggingConfig
from tests.unit.api.conftest import CLUSTER
from tests.unit.api.memory import MemoryService

async def main():
    logs.configure(node="worker-1")
    service = MemoryService(CLUSTER, 1)
    app, express = create_app(
        service, cluster=CLUSTER, worker=1, limits=Limits(), logging=LoggingConfig(sample=1.0)
    )
    server = RestServer(app, express, "127.0.0.1", 0, Limits())
    await server.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as client:
        for method, path in (("GET", "/kv/a"), ("GET", "/nope"), ("POST", "/kv/a"), ("PUT", "/kv/a")):
            await client.request(method, path)
        service.answer = lambda operation: 1 / 0
        await client.get("/kv/a")
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GARBAGE\\r\\n\\r\\n")
    await reader.read()
    writer.close()
    await server.drain(1.0)

asyncio.run(main())
"""


def test_stdout_is_json_lines_only() -> None:
    """Whatever Sanic has to say, good or bad, stdout holds nothing but our events."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True, timeout=60)
    lines = [msgspec.json.decode(line, type=dict[str, object]) for line in done.stdout.splitlines()]
    assert {line["event"] for line in lines} == {"request_answered", "request_crashed"}
    assert done.stderr == b""
