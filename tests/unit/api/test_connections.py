"""Clients that are slow, idle, half gone or too many hold nothing, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from kvnode import connections
from kvnode.api import body as body_module
from kvnode.config import Limits
from tests.support.waiting import eventually
from tests.unit.api.conftest import Rest, Servers

MIB = b'"' + b"x" * (2**20 - 2) + b'"'
PUT = b"PUT /kv/a HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def opened(rest: Rest, data: bytes = b"") -> Ends:
    """Open a connection and send some bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rest.server.port)
    writer.write(data)
    await writer.drain()
    return reader, writer


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send a byte now and then, for as long as the other side listens."""
    for byte in data:
        if writer.transport.is_closing():
            return
        writer.write(bytes((byte,)))
        await asyncio.sleep(0.01)


async def test_a_head_that_never_ends_is_not_waited_for_however_steadily_it_comes(rest: Rest) -> None:
    """The time for a head is one in all: bytes do not prolong it."""
    rest.app.config.update(REQUEST_TIMEOUT=0.3)
    _, writer = await opened(rest, b"GET /kv/a HTTP/1.1\r\nX: ")
    dripping = asyncio.create_task(drip(writer, b"y" * 10_000))
    await eventually(lambda: len(rest.server.guard) == 1)
    await eventually(lambda: len(rest.server.guard) == 0)
    dripping.cancel()
    writer.close()


async def test_a_body_slower_than_the_least_rate_is_given_up(
    rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then does not keep an upload going, and takes no place among the requests."""
    monkeypatch.setattr(body_module, "HEADSTART_S", 0.3)
    _, writer = await opened(rest, PUT)
    dripping = asyncio.create_task(drip(writer, b"1" * 1000))
    await eventually(lambda: rest.app.ctx.held_bytes > 0)
    assert rest.app.ctx.inflight == 0
    await eventually(lambda: rest.app.ctx.held_bytes == 0)
    await eventually(lambda: len(rest.server.guard) == 0)
    dripping.cancel()
    writer.close()
    assert not rest.service.operations


async def test_slow_uploads_do_not_take_the_places_of_requests(servers: Servers) -> None:
    """Many uploads under way leave all places to requests that are whole."""
    rest = await servers.start(limits=Limits(inflight_requests=2))
    slow = [await opened(rest, PUT + b"1") for _ in range(50)]
    await eventually(lambda: rest.app.ctx.held_bytes == 50)
    assert (await rest.put("/kv/b", b"1")).status == 200
    for _, writer in slow:
        writer.close()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Leave garbage where it is."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
async def test_a_closed_connection_leaves_nothing_for_the_garbage_collector(rest: Rest) -> None:
    """Its memory is free at once, however seldom garbage is collected."""

    def connections_kept() -> int:
        return sum(isinstance(thing, connections.Connection) for thing in gc.get_objects())

    before = connections_kept()
    reader, writer = await opened(rest, b"GET /kv/a HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n")
    await reader.readuntil(b"HTTP/1.1 200")
    assert connections_kept() == before + 1
    writer.close()
    await eventually(lambda: connections_kept() == before)


async def test_a_reader_that_never_reads_is_cut_off(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers are dropped in time, requests that it pipelined are not begun, others are served."""
    monkeypatch.setattr(connections, "ANSWER_S", 0.5)
    await rest.put("/kv/a", MIB)
    before = len(rest.service.operations)
    _, writer = await opened(rest, b"GET /kv/a HTTP/1.1\r\n\r\n" * 40)
    await eventually(lambda: rest.server.guard.unsent > 0)
    assert len(rest.service.operations) - before < 20
    assert (await rest.call("GET", "/healthz")).status == 200
    await eventually(lambda: rest.server.guard.unsent == 0)
    writer.transport.abort()


async def test_answers_that_wait_for_readers_have_a_bound_in_all(servers: Servers) -> None:
    """Past it the slowest reader is cut off, until one is left, whose answer may be large by itself."""
    rest = await servers.start(limits=Limits(unsent_bytes=2**21))
    await rest.put("/kv/a", MIB)
    readers = [await opened(rest, b"GET /kv/a HTTP/1.1\r\n\r\n" * 10) for _ in range(12)]
    await eventually(lambda: len(rest.server.guard) < 12)
    await eventually(lambda: rest.server.guard.unsent <= 2**21)
    assert (await rest.call("GET", "/healthz")).status == 200
    for _, writer in readers:
        writer.transport.abort()


async def test_idle_connections_are_closed(rest: Rest) -> None:
    """After some time without a request, half-closed ones at once."""
    rest.app.config.update(KEEP_ALIVE_TIMEOUT=0.3)
    reader, writer = await opened(rest)
    half, half_writer = await opened(rest, b"GET /healthz HTTP/1.1\r\n\r\n")
    half_writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 10) == b""
    await asyncio.wait_for(half.read(), 10)
    writer.close()
    half_writer.close()
    await eventually(lambda: len(rest.server.guard) == 0)


async def test_idle_connections_make_room_for_new_ones(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand idle connections at the bound keep nobody out."""
    monkeypatch.setattr(connections, "GRACE_S", 0.0)
    rest = await servers.start(limits=Limits(connections=1000))
    idle = [await opened(rest) for _ in range(1000)]
    for number in range(20):
        ends = await opened(rest, b"GET /kv/%d HTTP/1.1\r\nConnection: close\r\n\r\n" % number)
        assert (await asyncio.wait_for(ends[0].read(), 10)).startswith(b"HTTP/1.1 404")
        ends[1].close()
    assert len(rest.server.guard) <= 1000
    for _, writer in idle:
        writer.close()


async def test_probes_are_answered_beyond_the_bound_and_all_else_refused(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every connection busy health is told, requests get 503; past the reserve all get it."""
    monkeypatch.setattr(connections, "RESERVE", 3)
    rest = await servers.start(limits=Limits(connections=4))
    rest.service.hold()
    busy = [await opened(rest, b"GET /kv/a HTTP/1.1\r\n\r\n") for _ in range(4)]
    await eventually(lambda: rest.service.waiting == 4)
    assert b"HTTP/1.1 200" in await rest.raw(b"GET /healthz HTTP/1.1\r\n\r\n")
    refused = await rest.raw(b'PUT /kv/a HTTP/1.1\r\nContent-Length: 11\r\n\r\n{"value":1}')
    assert refused.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 1" in refused
    assert b'"outcome":"not_stored"' in refused
    waiting = [await opened(rest) for _ in range(3)]
    await eventually(lambda: len(rest.server.guard) == 7)
    reader, writer = await opened(rest)
    assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 503")
    rest.service.release()
    for _, one in (*busy, *waiting, (reader, writer)):
        one.close()


async def test_bodies_have_a_bound_in_all(servers: Servers) -> None:
    """What does not fit beside the others' bodies is refused, and taken once they are gone."""
    rest = await servers.start(limits=Limits(body_bytes=100))
    _, writer = await opened(rest, PUT + b"1" * 95)
    await eventually(lambda: rest.app.ctx.held_bytes == 95)
    reply = await rest.put("/kv/b", b"1")
    assert (reply.status, reply.problem, reply.headers["retry-after"]) == (503, "overloaded", "1")
    assert reply.json["outcome"] == "not_stored"
    writer.close()
    await eventually(lambda: rest.app.ctx.held_bytes == 0)
    assert (await rest.put("/kv/b", b"1")).status == 200
