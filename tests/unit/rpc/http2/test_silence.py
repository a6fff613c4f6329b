"""Peers that fall silent: both ends probe, and give up whoever does not answer."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from h2.events import PingReceived

from kvnode.rpc.channel import Times
from kvnode.rpc.http2.client import ClientConnection
from kvnode.rpc.http2.errors import CallError
from tests.support.waiting import eventually
from tests.unit.rpc.http2.fakes import ECHO, STREAM, Notes, Service, dialled, served, serving
from tests.unit.rpc.http2.raw import PING, RawPeer, frame, raw_client, raw_server

QUICK = Times(probe_s=0.1, probe_answer_s=0.2)
STEADY = Times(probe_s=0.05, probe_answer_s=0.5)
LONG_S = 0.8
"""Within which a peer would be given up by ``STEADY`` if it did not answer."""

PATIENT = Times(probe_s=0.05, probe_answer_s=60)


async def test_a_client_that_answers_no_probe_is_given_up(service: Service) -> None:
    """Its connection stands, but it says nothing: its calls end, and others are served."""
    async with serving(service.routes(), QUICK) as server, raw_client(server.port) as peer:
        peer.begin()
        peer.call(STREAM)
        await eventually(lambda: service.open)
        [end] = await eventually(lambda: service.open[0].ends)
        assert end is not None
        assert (end.code, end.details) == (grpc.StatusCode.UNAVAILABLE, "the peer answers no probe")
        await eventually(lambda: not server._connections)
        assert await served(server)


async def test_a_client_that_has_not_said_a_word_is_given_up_too(service: Service) -> None:
    """No connection is too young to be probed."""
    async with serving(service.routes(), QUICK) as server, raw_client(server.port):
        await eventually(lambda: server._connections)
        await eventually(lambda: not server._connections)


async def test_a_client_that_answers_probes_stays(service: Service) -> None:
    """However long it has nothing else to say."""
    async with serving(service.routes(), STEADY) as server, raw_client(server.port) as peer:
        peer.begin()
        peer.call(STREAM)
        await peer.until(lambda: sum(isinstance(event, PingReceived) for event in peer.events) >= 3)
        assert not peer.lost
        assert not service.open[0].ends


async def test_whatever_a_peer_says_counts_as_an_answer(service: Service) -> None:
    """A peer that is busy with something else than our probe is not silent."""
    async with serving(service.routes(), STEADY) as server, raw_client(server.port) as peer:
        peer.begin()
        peer.call(STREAM)
        loop = asyncio.get_running_loop()
        began_s = loop.time()

        def speak() -> bool:
            peer.write(frame(PING, 0, 0, b"I speak!"))
            return loop.time() - began_s > LONG_S

        await eventually(speak)
        assert not service.open[0].ends
        assert len(server._connections) == 1


async def test_a_server_that_answers_no_probe_is_given_up() -> None:
    """A call to a server that has stopped talking ends, though its connection stands."""
    given_up = asyncio.Event()

    async def say_nothing(peer: RawPeer) -> None:
        peer.begin()
        await given_up.wait()

    async with raw_server(say_nothing) as port, dialled(port, QUICK) as connection:
        with pytest.raises(CallError) as failure:
            await connection.ask(ECHO, b"", timeout_s=10)
        assert (failure.value.code, failure.value.details) == (
            grpc.StatusCode.UNAVAILABLE,
            "the peer answers no probe",
        )
        assert connection.closed
        given_up.set()


async def test_two_silent_ends_keep_their_connection(service: Service) -> None:
    """Ends of ours answer each other's probes for as long as they both live."""
    notes = Notes()
    async with serving(service.routes(), STEADY) as server, dialled(server.port, STEADY) as connection:
        connection.open(STREAM, (), notes)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await eventually(lambda: loop.time() - began_s > LONG_S)
        assert not notes.ends
        assert await connection.ask(ECHO, b"still there?", timeout_s=5) == b"still there?"


async def test_one_probe_is_under_way_at_a_time() -> None:
    """A peer that is slow to answer is not sent one probe after another."""
    done = asyncio.Event()
    heard: list[RawPeer] = []

    async def never_answer(peer: RawPeer) -> None:
        peer.begin()
        heard.append(peer)
        await done.wait()
        await peer.hear()

    async with raw_server(never_answer) as port:
        connection = await ClientConnection.dial(f"127.0.0.1:{port}", PATIENT)
        try:
            await eventually(lambda: connection._probed_s)
            loop = asyncio.get_running_loop()
            probed_s = loop.time()
            await eventually(lambda: loop.time() - probed_s > 0.5)
            done.set()
            await eventually(lambda: any(isinstance(event, PingReceived) for event in heard[0].events))
            assert sum(isinstance(event, PingReceived) for event in heard[0].events) == 1
        finally:
            connection.close("the test is over")
