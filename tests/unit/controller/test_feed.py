"""The live feed, followed by a real Socket.IO client over both transports."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import socketio

from kvnode.controller.app import Controller
from kvnode.controller.feed import MAX_BATCH, MAX_QUEUED
from kvnode.core.status import KeyEvent
from kvnode.core.versions import Version
from tests.support.waiting import eventually
from tests.unit.controller.building import hello, log_line, report, status

Connect = Callable[[str], Awaitable["Dashboard"]]


class Dashboard:
    """A client that keeps what it is sent."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.client = socketio.AsyncClient(reconnection=False)
        for name in ("snapshot", "status", "logs", "keys"):
            self.client.on(name, self._keeper(name))

    def _keeper(self, name: str) -> Callable[[Any], Awaitable[None]]:
        async def keep(data: Any) -> None:  # noqa: ANN401
            self.events.append((name, data))

        return keep

    def of(self, name: str) -> list[Any]:
        """Return what came under one name."""
        return [data for event, data in self.events if event == name]

    def lines(self) -> list[int]:
        """Return the numbers in all log lines, the snapshot's first."""
        batches = [snapshot["logs"] for snapshot in self.of("snapshot")]
        batches += [batch["lines"] for batch in self.of("logs")]
        return [line["fields"]["n"] for batch in batches for line in batch]


@pytest.fixture
async def connect(controller: Controller) -> AsyncIterator[Connect]:
    """Return a function that connects one more dashboard over a transport."""
    dashboards: list[Dashboard] = []

    async def connect(transport: str) -> Dashboard:
        dashboard = Dashboard()
        dashboards.append(dashboard)
        await dashboard.client.connect(f"http://127.0.0.1:{controller.port}", transports=[transport])
        await eventually(lambda: dashboard.of("snapshot"))
        return dashboard

    yield connect
    for dashboard in dashboards:
        await dashboard.client.eio.disconnect(abort=True)


def ship(controller: Controller, numbers: range, worker: int = 1) -> None:
    """Let a worker report log lines."""
    lines = [log_line(number) for number in numbers]
    controller.report(hello(worker), report(status(worker), lines))


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_client_gets_a_snapshot_and_then_what_changes(
    controller: Controller, connect: Connect, transport: str
) -> None:
    """The snapshot has status, ring and the newest lines; every later line comes once, in order."""
    ship(controller, range(400))
    dashboard = await connect(transport)
    [snapshot] = dashboard.of("snapshot")
    assert [worker["online"] for worker in snapshot["status"]["workers"]] == [True] * 4
    assert len(snapshot["status"]["ring"]["preference_lists"]) == 16
    assert dashboard.lines() == list(range(100, 400))
    ship(controller, range(400, 410))
    ship(controller, range(410, 415), worker=2)
    await eventually(lambda: len(dashboard.lines()) == 315)
    assert dashboard.lines() == list(range(100, 415))
    assert dashboard.of("logs")[-1]["lines"][-1]["node"] == "worker-2"
    assert dashboard.events[0][0] == "snapshot"


async def test_status_follows_without_the_ring(controller: Controller, connect: Connect) -> None:
    """A change reaches the dashboard as a whole status, the ring left out."""
    dashboard = await connect("websocket")
    controller.gone(3, "reset")
    await eventually(lambda: dashboard.of("status"))
    shown = dashboard.of("status")[-1]
    assert "ring" not in shown
    assert [worker["online"] for worker in shown["workers"]] == [True, True, False, True]


async def test_nothing_is_sent_while_nothing_changes(controller: Controller, connect: Connect) -> None:
    """A quiet cluster costs a quiet feed."""
    controller.view.tick(1e9)
    dashboard = await connect("websocket")
    ship(controller, range(1))
    await eventually(lambda: dashboard.of("logs") and dashboard.of("status"))
    before = len(dashboard.of("status"))
    for number in range(1, 4):
        controller.logs.append("worker-1", log_line(number))
        await eventually(lambda number=number: dashboard.lines()[-1] == number)  # type: ignore[misc]
    assert len(dashboard.of("status")) == before


async def test_key_events_are_grouped_by_worker(controller: Controller, connect: Connect) -> None:
    """Events of one report travel together."""
    dashboard = await connect("websocket")
    events = [KeyEvent(f"key-{n}", n, Version(1, 2, n), deleted=n == 2) for n in (1, 2, 3)]
    controller.report(hello(2), report(status(2), events=events))
    await eventually(lambda: dashboard.of("keys"))
    [batch] = dashboard.of("keys")
    assert batch["worker"] == 2
    assert [event["key"] for event in batch["events"]] == ["key-1", "key-2", "key-3"]
    assert batch["events"][1] == {"key": "key-2", "partition": 2, "version": "1.2.2", "deleted": True}


async def test_log_batches_are_bounded(controller: Controller, connect: Connect) -> None:
    """A burst comes in several batches; one that is too large for the feed is skipped and counted."""
    dashboard = await connect("websocket")
    ship(controller, range(500))
    await eventually(lambda: len(dashboard.lines()) == 500)
    assert all(len(batch["lines"]) <= MAX_BATCH for batch in dashboard.of("logs"))
    ship(controller, range(500, 5500))
    await eventually(lambda: dashboard.lines()[-1] == 5499)
    skipped = sum(batch["skipped"] for batch in dashboard.of("logs"))
    assert skipped > 0
    assert len(dashboard.lines()) + skipped == 5500


async def test_a_client_that_does_not_read_holds_no_more_than_its_share(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its queue stays short while the log flows, and a client that reads is served as ever."""
    monkeypatch.setattr("kvnode.controller.feed.TICK_S", 0.02)
    feed = controller._feed
    slow = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.setblocking(False)  # noqa: FBT003
    loop = asyncio.get_running_loop()
    await loop.sock_connect(slow, ("127.0.0.1", controller.port))
    async with (
        aiohttp.ClientSession(connector=_one_connection(slow)) as session,
        session.ws_connect(
            f"http://127.0.0.1:{controller.port}/socket.io/?EIO=4&transport=websocket",
            timeout=aiohttp.ClientWSTimeout(ws_close=0.1),
        ) as peer,
    ):
        assert (await peer.receive_str()).startswith("0{")
        await peer.send_str("40")
        await eventually(lambda: feed.clients == 1)
        [sid] = feed._clients
        client = feed._clients[sid]
        engine = feed._sio.eio.sockets[feed._sio.manager.eio_sid_from_sid(sid, "/")]
        peer._response.connection.transport.pause_reading()  # type: ignore[union-attr]
        number = 0

        def stuck() -> bool:
            nonlocal number
            controller.report(hello(1), report(status(1), [log_line(number, text="x" * 4000)] * 100))
            number += 1
            assert engine.queue.qsize() <= MAX_QUEUED + 2
            return not feed._has_room(sid)

        await eventually(stuck, 30)
        position = client.log
        quick = Dashboard()
        await quick.client.connect(f"http://127.0.0.1:{controller.port}", transports=["websocket"])
        for _ in range(20):
            stuck()
        controller.logs.append("worker-2", log_line(-1))
        await eventually(lambda: quick.of("snapshot") and quick.lines()[-1] == -1)
        await quick.client.disconnect()
        assert client.log == position
        assert engine.queue.qsize() <= MAX_QUEUED + 2
    slow.close()


async def test_a_page_of_another_origin_is_refused(
    http: aiohttp.ClientSession, controller: Controller
) -> None:
    """Only the controller's own pages may follow the feed."""
    path = "/socket.io/?EIO=4&transport=polling"
    async with http.get(path, headers={"Origin": "http://elsewhere.example"}) as answer:
        assert answer.status == 400
    async with http.get(path, headers={"Origin": f"http://127.0.0.1:{controller.port}"}) as answer:
        assert answer.status == 200


async def test_clients_are_forgotten_when_they_leave(controller: Controller, connect: Connect) -> None:
    """A dashboard that is closed costs nothing any more."""
    dashboard = await connect("websocket")
    assert controller._feed.clients == 1
    await dashboard.client.disconnect()
    await eventually(lambda: controller._feed.clients == 0)


def _one_connection(sock: socket.socket) -> aiohttp.TCPConnector:
    """Return a connector whose only connection is this socket."""
    return aiohttp.TCPConnector(socket_factory=lambda _: sock)


async def test_the_feed_is_served_at_socket_io_with_a_closing_slash(http: aiohttp.ClientSession) -> None:
    """Clients and proxies in front rely on this path: an Engine.IO handshake succeeds there."""
    async with http.get("/socket.io/?EIO=4&transport=polling") as answer:
        assert answer.status == 200
        assert (await answer.text()).startswith('0{"sid":')
