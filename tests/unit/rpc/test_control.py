"""Reports to the controller: in order, each once, through restarts of either side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from structlog.testing import capture_logs

from kvnode.core.messages import Hello
from kvnode.core.status import KeyEvent, PeerStatus, Report, WorkerStatus
from kvnode.core.versions import Version
from kvnode.errors import MismatchError, PeerError
from kvnode.rpc.channel import Times, open_channel, stream_call
from kvnode.rpc.control_client import ControlClient
from kvnode.rpc.control_server import ControlServer
from kvnode.rpc.methods import REPORT
from tests.conftest import find_free_ports
from tests.support.waiting import eventually
from tests.unit.rpc.fakes import hello

QUICK = Times(low_s=0.01, high_s=0.05)


def report(number: int, worker: int = 1) -> Report:
    """Return a report with something in every field."""
    status = WorkerStatus(
        worker=worker,
        state="ready",
        reasons=["why"],
        release="0.1.0",
        cluster_id="cluster",
        incarnation="disk",
        process="process",
        uptime_s=1.5,
        keys=2**40,
        tombstones=3,
        disk_bytes=4,
        held=5,
        led=[1, 2],
        behind=6,
        peers=[PeerStatus(2, True, 7, 8, 9, 10, 11, 12, [13, 14], 15)],  # noqa: FBT003 - all fields
        rebuilding=16,
        tombstones_forgotten=17,
    )
    event = KeyEvent("a/b", 7, Version(3, 1, 4), deleted=False)
    return Report(number, status, [b'{"event":"x"}'], 10, [event], 11)


class FakeSink:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.reports: list[tuple[Hello, Report]] = []
        self.went: list[tuple[int, str]] = []
        self.layout = "layout"

    def check(self, theirs: Hello) -> None:
        """Refuse another layout."""
        if theirs.layout != self.layout:
            raise MismatchError(f"layout {theirs.layout}")

    def report(self, hello: Hello, report: Report) -> None:
        """Note it."""
        self.reports.append((hello, report))

    def gone(self, worker: int, reason: str) -> None:
        """Note it."""
        self.went.append((worker, reason))

    @property
    def numbers(self) -> list[int]:
        """The numbers of the reports, in the order in which they came."""
        return [report.number for _, report in self.reports]


@asynccontextmanager
async def controller(sink: FakeSink, port: int = 0) -> AsyncIterator[ControlServer]:
    """Run a controller's end for the time of a block."""
    server = ControlServer(f"127.0.0.1:{port}", sink.check, sink)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def reporting(port: int, greeting: Hello, wake: asyncio.Event) -> AsyncIterator[ControlClient]:
    """Run a worker's end for the time of a block; it reports only when woken."""
    client = ControlClient(
        f"127.0.0.1:{port}", lambda: greeting, report, interval_s=60, wake=wake, times=QUICK
    )
    client.start()
    try:
        yield client
    finally:
        await client.stop()


async def test_reports_arrive_with_the_greeting_and_in_order() -> None:
    """Every report reaches the sink as it was made; a wake brings the next one at once."""
    sink, wake = FakeSink(), asyncio.Event()
    async with controller(sink) as server, reporting(server.port, hello(1), wake):
        for number in (1, 2, 3):
            await eventually(lambda: len(sink.reports) == number)  # noqa: B023 - waited for here
            wake.set()
    assert sink.reports[:3] == [(hello(1), report(number)) for number in (1, 2, 3)]


async def test_reports_go_on_by_themselves() -> None:
    """Without a wake a report follows after the interval."""
    sink = FakeSink()
    async with controller(sink) as server:
        client = ControlClient(f"127.0.0.1:{server.port}", lambda: hello(1), report, interval_s=0.01)
        client.start()
        await eventually(lambda: len(sink.reports) >= 3)
        await client.stop()


async def test_a_worker_that_goes_is_reported_gone() -> None:
    """The end of a worker's stream is told at once."""
    sink, wake = FakeSink(), asyncio.Event()
    async with controller(sink) as server:
        async with reporting(server.port, hello(1), wake):
            await eventually(lambda: sink.reports)
        await eventually(lambda: sink.went)
    assert [worker for worker, _ in sink.went] == [1]


async def test_a_controller_that_comes_late_or_again_gets_every_report_once() -> None:
    """Reports wait for a controller, and go on with the next number when it restarts."""
    [port] = find_free_ports(1)
    wake = asyncio.Event()
    async with reporting(port, hello(1), wake):
        first = FakeSink()
        async with controller(first, port):
            await eventually(lambda: first.reports)
        second = FakeSink()
        async with controller(second, port):
            wake.set()
            await eventually(lambda: second.reports)
    assert first.numbers == [1]
    assert second.numbers[0] == 2
    assert second.reports[0][0] == hello(1)


async def test_a_report_that_was_not_acknowledged_is_sent_again_and_taken_once() -> None:
    """A stream that breaks between report and acknowledgement neither loses nor repeats a report."""
    sink = FakeSink()
    async with controller(sink) as server, open_channel(f"127.0.0.1:{server.port}") as channel:
        for number in (1, 1, 2):
            call = stream_call(channel, REPORT.path)()
            await call.write(REPORT.encode_request((hello(1), report(number))))
            data = await call.read()
            assert isinstance(data, bytes)
            assert REPORT.decode_reply(data) == number
            call.cancel()
    assert sink.numbers == [1, 2]


async def test_a_newer_stream_of_a_worker_replaces_the_older() -> None:
    """The end of a stream that was replaced is not the end of the worker."""
    sink = FakeSink()
    async with controller(sink) as server, open_channel(f"127.0.0.1:{server.port}") as channel:
        older = stream_call(channel, REPORT.path)()
        await older.write(REPORT.encode_request((hello(1, "old"), report(1))))
        await older.read()
        newer = stream_call(channel, REPORT.path)()
        await newer.write(REPORT.encode_request((hello(1, "new"), report(1))))
        await newer.read()
        await older.write(REPORT.encode_request((None, report(2))))
        with pytest.raises(grpc.aio.AioRpcError, match="another stream"):
            await older.read()
        assert not sink.went
        newer.cancel()
        await eventually(lambda: sink.went)
    assert [(who.process, one.number) for who, one in sink.reports] == [("old", 1), ("new", 1)]


async def test_a_worker_of_another_cluster_is_refused() -> None:
    """The controller refuses what does not fit, with the reason, and tells its sink nothing."""
    sink = FakeSink()
    async with controller(sink) as server, open_channel(f"127.0.0.1:{server.port}") as channel:
        call = stream_call(channel, REPORT.path)()
        await call.write(REPORT.encode_request((hello(1, layout="other"), report(1))))
        with pytest.raises(grpc.aio.AioRpcError, match="layout other") as refusal:
            await call.read()
    assert refusal.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert not sink.reports
    assert not sink.went


@pytest.mark.parametrize(
    "data", [b"\xff\xff", REPORT.encode_request((None, report(1)))], ids=("noise", "nobody")
)
async def test_malformed_reports_are_refused(data: bytes) -> None:
    """Noise, and a report from nobody, get INVALID_ARGUMENT."""
    sink = FakeSink()
    async with controller(sink) as server, open_channel(f"127.0.0.1:{server.port}") as channel:
        call = stream_call(channel, REPORT.path)()
        await call.write(data)
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await call.read()
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not sink.reports


async def test_a_taken_port_is_named() -> None:
    """The controller's port, too, is refused by name."""
    sink = FakeSink()
    async with controller(sink) as server:
        with pytest.raises(PeerError, match=str(server.port)):
            await ControlServer(f"127.0.0.1:{server.port}", sink.check, sink).start()


async def test_a_source_that_fails_is_logged_and_asked_again() -> None:
    """An error while a report is made costs that report, not the reporting."""
    sink, asked = FakeSink(), []

    def source(number: int) -> Report:
        asked.append(number)
        if len(asked) == 1:
            raise ZeroDivisionError
        return report(number)

    with capture_logs() as logs:
        async with controller(sink) as server:
            client = ControlClient(f"127.0.0.1:{server.port}", lambda: hello(1), source, times=QUICK)
            client.start()
            await eventually(lambda: sink.reports)
            await client.stop()
    assert [line["event"] for line in logs][:2] == ["report_failed", "controller_connected"]
