"""The controller's end of the workers' reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kvnode.core.messages import Hello
from kvnode.core.status import Report
from kvnode.errors import MessageError, MismatchError, PeerError
from kvnode.logs import get_logger
from kvnode.rpc.grpcio_server import Context, Server, Service, stream_handler
from kvnode.rpc.methods import CONTROL, REPORT
from kvnode.rpc.status import refuse

_log = get_logger()


class Sink(Protocol):
    """Who wants to know of workers. Called on the event loop."""

    def report(self, hello: Hello, report: Report) -> None:
        """Take a report in; each is given once, in order."""

    def gone(self, worker: int, reason: str) -> None:
        """Hear that a worker's stream ended and that no newer one has taken its place."""


class ControlServer:
    """Listens on ``bind``. ``check`` raises MismatchError to refuse a worker; ``sink`` gets the rest."""

    def __init__(self, bind: str, check: Callable[[Hello], None], sink: Sink) -> None:
        self._check = check
        self._sink = sink
        self._newest: dict[int, _Reporter] = {}
        self._server = Server(bind, (Service(CONTROL, {REPORT.name: stream_handler(self._receive)}),))

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before ``start``."""
        return self._server.port

    async def start(self) -> None:
        """Listen. Raises PeerError that names a taken port."""
        await self._server.start()

    async def stop(self) -> None:
        """Close. Streams of reports never end by themselves, so none is waited for."""
        await self._server.stop(0)

    async def _receive(self, _: object, context: Context) -> None:
        reporter = _Reporter()
        reason = "its stream has ended"
        try:
            while isinstance(data := await context.read(), bytes):
                number = self._take(reporter, data)
                await context.write(REPORT.encode_reply(number))
        except PeerError as error:
            reason = str(error)
            event = "peer_message_refused" if isinstance(error, MessageError) else "peer_refused"
            _log.warning(event, peer=context.peer(), reason=reason)
            await refuse(context, error)
        finally:
            self._forget(reporter, reason)

    def _take(self, reporter: _Reporter, data: bytes) -> int:
        """Give one report to the sink, unless it came before, and return its number."""
        hello, report = REPORT.decode_request(data)
        if hello is not None:
            self._check(hello)
            self._greet(reporter, hello)
        if reporter.hello is None:
            raise MessageError("a stream whose first report has no greeting")
        if self._newest[reporter.hello.worker] is not reporter:
            raise MismatchError(f"worker {reporter.hello.worker} has opened another stream")
        if report.number > reporter.taken:
            reporter.taken = report.number
            self._sink.report(reporter.hello, report)
        return report.number

    def _greet(self, reporter: _Reporter, hello: Hello) -> None:
        if reporter.hello is not None and reporter.hello.worker != hello.worker:
            raise MessageError(f"worker {reporter.hello.worker} calls itself {hello.worker}")
        earlier = self._newest.get(hello.worker)
        same = earlier is not None and earlier.hello is not None and earlier.hello.process == hello.process
        if earlier is not None and same:
            reporter.taken = max(reporter.taken, earlier.taken)
        reporter.hello = hello
        self._newest[hello.worker] = reporter

    def _forget(self, reporter: _Reporter, reason: str) -> None:
        hello = reporter.hello
        if hello is not None and self._newest.get(hello.worker) is reporter:
            self._sink.gone(hello.worker, reason)


class _Reporter:
    """One open stream: who speaks, and the number of the last report that was taken in."""

    def __init__(self) -> None:
        self.hello: Hello | None = None
        self.taken = 0
