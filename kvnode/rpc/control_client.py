"""A worker's end of its reports to the controller. The worker works on whether they arrive or not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import grpc

from kvnode.core.messages import Hello
from kvnode.core.status import Report
from kvnode.errors import PeerError
from kvnode.logs import get_logger
from kvnode.rpc.channel import Backoff, Times, open_channel, stream_call
from kvnode.rpc.methods import REPORT
from kvnode.rpc.status import error_of

_log = get_logger()


class ControlClient:
    """Reports to ``controller`` (``host:port``) every ``interval_s``, and at once when ``wake`` is set.

    ``source`` makes the report of a number, and so gives its log lines away: a report that was not
    acknowledged is therefore kept and sent again. One is in flight at a time.
    """

    def __init__(
        self,
        controller: str,
        hello: Callable[[], Hello],
        source: Callable[[int], Report],
        *,
        interval_s: float = 0.5,
        wake: asyncio.Event | None = None,
        times: Times | None = None,
    ) -> None:
        self._controller = controller
        self._hello = hello
        self._source = source
        self._interval_s = interval_s
        self._wake = wake or asyncio.Event()
        self._times = times or Times()
        self._backoff = Backoff(self._times)
        self._number = 0
        self._unacknowledged: Report | None = None
        self._complaint = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to report; dials for ever."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop reporting."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            async with open_channel(self._controller, self._times) as channel:
                try:
                    await self._report(channel)
                except grpc.aio.AioRpcError as failure:
                    self._complain(error_of(failure))
                except PeerError as error:
                    self._complain(error)
                except Exception as error:  # noqa: BLE001 - the next report may be better
                    _log.error("report_failed", exc_info=error)
            await asyncio.sleep(self._backoff.next_s())

    async def _report(self, channel: grpc.aio.Channel) -> None:
        """Send reports over one stream until it breaks."""
        call = stream_call(channel, REPORT.path)()
        call.add_done_callback(lambda _: self._wake.set())
        told: Hello | None = None
        while True:
            hello = self._hello()
            report = self._next()
            await self._exchange(call, None if hello == told else hello, report)
            if told is None:
                self._connected()
            told = hello
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._wake.wait()
            self._wake.clear()

    def _next(self) -> Report:
        if self._unacknowledged is None:
            self._number += 1
            self._unacknowledged = self._source(self._number)
        return self._unacknowledged

    async def _exchange(
        self, call: grpc.aio.StreamStreamCall[bytes, bytes], hello: Hello | None, report: Report
    ) -> None:
        """Send one report and wait for its acknowledgement."""
        try:
            async with asyncio.timeout(self._times.call_s):
                await call.write(REPORT.encode_request((hello, report)))
                data = await call.read()
        except asyncio.InvalidStateError as error:  # gRPC's way to refuse a write after the end
            raise PeerError("the stream has ended") from error
        except TimeoutError as error:
            raise PeerError(f"no acknowledgement within {self._times.call_s} s") from error
        if not isinstance(data, bytes):
            raise PeerError("the stream has ended")
        number = REPORT.decode_reply(data)
        if number != report.number:
            raise PeerError(f"report {number} acknowledged, expected {report.number}")
        self._unacknowledged = None

    def _connected(self) -> None:
        self._backoff.reset()
        self._complaint = ""
        _log.info("controller_connected", address=self._controller)

    def _complain(self, error: PeerError) -> None:
        """Log why the controller is not reached, once for each reason in a row."""
        if str(error) != self._complaint:
            self._complaint = str(error)
            _log.warning("controller_unreachable", address=self._controller, reason=str(error))
