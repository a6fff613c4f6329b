"""A peer that dies, restarts or hangs: links notice at once and are dialled again."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from structlog.testing import capture_logs

from kvnode.core.messages import AcceptReply, HandOver, Hello
from kvnode.rpc.channel import Times, open_channel, unary_call
from kvnode.rpc.methods import HELLO
from kvnode.rpc.transport import GrpcTransport
from tests.conftest import find_free_ports
from tests.unit.rpc.fakes import MEANING, FakeInbox, Respond, batch, hello, serving

AT_ONCE_S = 2.0
"""Below any time-out of ours or of gRPC's, and enough for a busy machine."""


@asynccontextmanager
async def child(port: int, process: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run worker 2 in a process of its own."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.unit.rpc.child", str(port), process, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert running.stdout is not None
        assert await running.stdout.readline() == b"listening\n"
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def test_a_killed_process_is_noticed_at_once_and_its_successor_is_linked() -> None:
    """After kill -9 the link is down at once, and up again with the new process on the same port."""
    [port] = find_free_ports(1)
    inbox = FakeInbox(hello(1))
    async with serving(inbox, {2: f"127.0.0.1:{port}"}) as transport:
        async with child(port, "first") as running:
            await inbox.until(lambda: len(inbox.ups) == 1)
            transport.send(2, batch(1))
            await inbox.until(lambda: bool(inbox.replies))
            running.kill()
            async with asyncio.timeout(AT_ONCE_S):
                await inbox.until(lambda: bool(inbox.downs))
        async with child(port, "second"):
            await inbox.until(lambda: len(inbox.ups) == 2)
            transport.send(2, batch(2))
            await inbox.until(lambda: len(inbox.replies) == 2)
        await inbox.until(lambda: len(inbox.downs) == 2)
    assert [up.process for up in inbox.ups] == ["first", "second"]
    assert [worker for worker, _ in inbox.downs] == [2, 2]


async def test_a_process_that_is_frozen_is_given_up_though_its_connection_stands() -> None:
    """A peer that answers no probe loses its link."""
    [port] = find_free_ports(1)
    inbox = FakeInbox(hello(1))
    times = Times(probe_s=0.2, probe_answer_s=0.2)
    async with serving(inbox, {2: f"127.0.0.1:{port}"}, times=times), child(port, "frozen") as running:
        await inbox.until(lambda: bool(inbox.ups))
        running.send_signal(signal.SIGSTOP)
        await inbox.until(lambda: bool(inbox.downs))


async def test_an_abrupt_stop_is_noticed_at_once_and_nothing_is_delivered_after_it() -> None:
    """Requests under way when the peer stops get no reply, and the link is reported down once."""
    responds: list[Respond] = []
    one, two = FakeInbox(hello(1)), FakeInbox(hello(2), lambda _, respond: responds.append(respond))
    async with serving(two) as second:
        bind = f"127.0.0.1:{second.port}"
        async with serving(one, {2: bind}) as first:
            await one.until(lambda: bool(one.ups))
            first.send(2, batch(1))
            first.send(2, HandOver(2, [1]))
            await two.until(lambda: len(responds) == 2)
            await second.stop(0)
            async with asyncio.timeout(AT_ONCE_S):
                await one.until(lambda: bool(one.downs))
            for respond in responds:
                respond(AcceptReply(1, []))  # too late: dropped
            heir = FakeInbox(hello(2, "heir"))
            async with serving(heir, bind=bind):
                await one.until(lambda: len(one.ups) == 2)
                first.send(2, batch(3))
                await one.until(lambda: bool(one.replies))
    assert one.replies == [(2, AcceptReply(3, []))]
    assert len(one.downs) == 2


async def test_a_worker_that_greets_us_is_dialled_without_delay() -> None:
    """A peer's greeting ends our own back-off, however long it is."""
    peers = {worker: f"127.0.0.1:{port}" for worker, port in enumerate(find_free_ports(2), 1)}
    one, two = FakeInbox(hello(1)), FakeInbox(hello(2))
    async with serving(one, peers, bind=peers[1]) as first:
        patient = first._dialers[2]._backoff
        patient._failures = 10  # its delay is at its longest
        async with serving(two, peers, bind=peers[2]):
            await two.until(lambda: bool(two.ups))
            async with asyncio.timeout(AT_ONCE_S):
                await one.until(lambda: bool(one.ups))


async def test_a_link_to_an_earlier_process_ends_when_a_later_one_greets() -> None:
    """A peer that restarted behind a connection that still seems to stand is dialled at once."""
    one, two = FakeInbox(hello(1)), FakeInbox(hello(2))
    async with (
        serving(two) as second,
        serving(one, {2: f"127.0.0.1:{second.port}"}) as first,
        open_channel(f"127.0.0.1:{first.port}") as channel,
    ):
        await one.until(lambda: bool(one.ups))
        await unary_call(channel, HELLO.path)(HELLO.encode_request(hello(2, "later")))
        async with asyncio.timeout(AT_ONCE_S):
            await one.until(lambda: len(one.ups) == 2)
        assert one.downs == [(2, "a later process has greeted")]


async def test_a_single_call_that_nobody_answers_expires_and_the_link_stays() -> None:
    """A call past its deadline is given up; heartbeats judge the link, not calls."""
    one, two = FakeInbox(hello(1)), FakeInbox(hello(2), lambda *_: None)
    async with serving(two) as second:
        times = Times(call_s=0.1)
        async with serving(one, {2: f"127.0.0.1:{second.port}"}, times=times) as first:
            await one.until(lambda: bool(one.ups))
            first.send(2, HandOver(1, [1]))
            await two.until(lambda: bool(two.requests))
            async with asyncio.timeout(5):
                await first._dialers[2]._link.drained()  # type: ignore[union-attr]
            assert not one.downs
            assert not one.replies


async def test_a_peer_that_takes_the_connection_and_says_nothing_is_given_up() -> None:
    """Opening a link has a deadline, after which it is dialled again."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)  # noqa: FBT003 - the standard library's own
        port = silent.getsockname()[1]
        async with (
            serving(FakeInbox(hello(1)), {2: f"127.0.0.1:{port}"}, times=Times(open_s=0.2)),
            asyncio.timeout(10),
        ):
            first, _ = await loop.sock_accept(silent)
            second, _ = await loop.sock_accept(silent)
    first.close()
    second.close()


async def test_an_inbox_that_fails_over_a_new_link_is_logged_and_dialled_again() -> None:
    """An error in ``link_up`` ends that link, not the dialling."""
    one, two = FakeInbox(hello(1)), FakeInbox(hello(2))
    fine = one.link_up
    calls = 0

    def fail_once(peer: Hello) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ZeroDivisionError
        fine(peer)

    one.link_up = fail_once  # type: ignore[method-assign]
    with capture_logs() as logs:
        async with serving(two) as second, serving(one, {2: f"127.0.0.1:{second.port}"}):
            await one.until(lambda: bool(one.ups))
    assert [line["event"] for line in logs] == ["link_opened", "peer_link_failed", "link_opened"]


async def test_an_inbox_may_send_and_close_from_within_link_up() -> None:
    """The link is up when the inbox is told so; closing it there and then is a normal loss."""
    one, two = FakeInbox(hello(1)), FakeInbox(hello(2))
    async with serving(two) as second:
        transport = GrpcTransport(
            one, bind="127.0.0.1:0", layout=MEANING, peers={2: f"127.0.0.1:{second.port}"}
        )
        note = one.link_up

        def act(peer: Hello) -> None:
            note(peer)
            if len(one.ups) == 1:
                transport.close_link(2, "not yet")
            transport.send(2, batch(len(one.ups)))

        one.link_up = act  # type: ignore[method-assign]
        await transport.start()
        await one.until(lambda: bool(one.replies))
        await transport.stop(1)
    assert one.replies == [(2, AcceptReply(2, []))]
    assert one.downs == [(2, "not yet"), (2, "stopping")]
