"""The connections of a server: how many there may be, and which are closed because nobody uses them."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from h2.settings import SettingCodes
from structlog.testing import capture_logs

from kvnode.errors import PeerError
from kvnode.rpc.channel import Times
from kvnode.rpc.http2 import server as servers
from kvnode.rpc.http2.errors import CallError
from kvnode.rpc.http2.server import Http2Server
from tests.support.waiting import eventually
from tests.unit.rpc.http2.fakes import (
    ECHO,
    STREAM,
    WAIT,
    Notes,
    Service,
    dialled,
    only_connection,
    served,
    serving,
)
from tests.unit.rpc.http2.raw import END_STREAM, PREFACE, framed, raw_client

NEVER_S = 1000.0


async def test_connections_beyond_the_limit_are_turned_away(
    monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    """Those that are there stay and are served; when one goes, there is room for another."""
    monkeypatch.setattr(servers, "_CONNECTIONS", 2)
    monkeypatch.setattr(servers, "_SPEAK_S", NEVER_S)
    async with serving(service.routes()) as server, dialled(server.port) as first:
        async with dialled(server.port) as second:
            await eventually(lambda: len(server._connections) == 2)
            for _ in range(3):
                async with raw_client(server.port) as third:
                    await third.until_lost()
            assert len(server._connections) == 2
            for connection in (first, second):
                assert await connection.ask(ECHO, b"still there?", timeout_s=5) == b"still there?"
        await eventually(lambda: len(server._connections) == 1)
        assert await served(server)


async def test_calls_beyond_what_a_server_takes_are_refused(
    monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    """However many connections they come over; when one has ended, there is room for another."""
    monkeypatch.setattr(servers, "_CALLS_AT_ONCE", 2)
    async with serving(service.routes()) as server, dialled(server.port) as one, dialled(server.port) as two:
        asking = [asyncio.create_task(connection.ask(WAIT, b"")) for connection in (one, two)]
        await eventually(lambda: service.waiting == 2)
        with pytest.raises(CallError) as failure:
            await one.ask(ECHO, b"", timeout_s=5)
        assert failure.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        asking[1].cancel()
        await eventually(lambda: service.waiting == 1)
        assert await one.ask(ECHO, b"room again?", timeout_s=5) == b"room again?"
        service.answer.set()
        assert await asking[0] == b""


@pytest.mark.parametrize("said", [b"", PREFACE[:10]], ids=("nothing", "half the preface"))
async def test_a_connection_that_says_nothing_is_closed(
    monkeypatch: pytest.MonkeyPatch, service: Service, said: bytes
) -> None:
    """One that has not said what it is in time goes; one that has stays."""
    monkeypatch.setattr(servers, "_SPEAK_S", 0.1)
    monkeypatch.setattr(servers, "_SWEEP_S", 0.01)
    async with serving(service.routes()) as server, dialled(server.port) as speaks:
        async with raw_client(server.port) as silent:
            silent.write(said)
            await silent.until_lost()
        assert await speaks.ask(ECHO, b"still there?", timeout_s=5) == b"still there?"
        assert len(server._connections) == 1


async def test_an_idle_connection_is_closed_and_a_used_one_is_not(
    monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    """A call that is open, however silent, keeps its connection."""
    monkeypatch.setattr(servers, "_IDLE_S", 0.1)
    monkeypatch.setattr(servers, "_SWEEP_S", 0.01)
    notes = Notes()
    async with serving(service.routes()) as server, dialled(server.port) as used:
        used.open(STREAM, (), notes)
        await notes.until(lambda: notes.is_open)
        async with raw_client(server.port) as idle:
            idle.begin()
            number = idle.call(ECHO)
            idle.data(number, framed(b"a call"), END_STREAM)
            assert await idle.status(number) == "0"
            assert await idle.until_lost() == 0
        assert not used.closed
        assert not notes.ends


@pytest.mark.parametrize("ending", ["answered", "given up"])
async def test_a_connection_is_idle_from_the_end_of_its_last_call(
    monkeypatch: pytest.MonkeyPatch, service: Service, ending: str
) -> None:
    """However long its last call took, and however it ended, a connection has its time after it."""
    monkeypatch.setattr(servers, "_IDLE_S", 0.2)
    monkeypatch.setattr(servers, "_SWEEP_S", NEVER_S)
    loop = asyncio.get_running_loop()
    async with serving(service.routes()) as server, dialled(server.port) as connection:
        asking = asyncio.create_task(connection.ask(WAIT, b""))
        await eventually(lambda: service.waiting == 1)
        ours = only_connection(server)
        began_s = loop.time()
        await eventually(lambda: loop.time() - began_s > 0.25)
        assert not ours.overdue
        if ending == "answered":
            service.answer.set()
            await asking
        else:
            asking.cancel()
        await eventually(lambda: not ours._streams)
        assert not ours.overdue
        await eventually(lambda: ours.overdue)


async def test_a_peer_that_does_not_read_a_goodbye_is_closed_all_the_same(
    monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    """What was written is given some time, and no more."""
    monkeypatch.setattr("kvnode.rpc.http2.connection._LINGER_S", 0.1)
    async with serving(service.routes()) as server, raw_client(server.port, takes=4096) as peer:
        peer.begin({SettingCodes.INITIAL_WINDOW_SIZE: 2**30})
        peer.h2.increment_flow_control_window(2**30)
        number = peer.call(ECHO)
        question = framed(bytes(8_000_000))
        for at in range(0, len(question), 200_000):
            peer.data(number, question[at : at + 200_000], END_STREAM * (at + 200_000 >= len(question)))
        connection = (await eventually(lambda: list(server._connections)))[0]
        await eventually(lambda: connection._transport.get_write_buffer_size() > 0)
        connection.close("enough")
        await eventually(lambda: not server._connections)


async def test_a_taken_port_is_named(service: Service) -> None:
    """A second server on one port is refused, with the address in the error."""
    async with serving(service.routes()) as first:
        second = Http2Server(f"127.0.0.1:{first.port}", service.routes(), Times())
        with pytest.raises(PeerError, match=f"127.0.0.1:{first.port} is taken"):
            await second.start()
        await second.stop(0)


async def test_a_peer_is_known_by_its_address(service: Service) -> None:
    """Calls say where they come from."""
    notes = Notes()
    with capture_logs() as logs:
        async with serving(service.routes()) as server, dialled(server.port) as connection:
            connection.open(STREAM, (), notes)
            await notes.until(lambda: notes.is_open)
            host, port = connection._transport.get_extra_info("sockname")
            assert service.open[0].call.peer == f"{host}:{port}"
    assert not logs
