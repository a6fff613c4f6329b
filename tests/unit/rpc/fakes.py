"""An inbox that notes what it is told, and answers as it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from kvnode.core.messages import AcceptBatch, AcceptItem, AcceptReply, Hello, Reply, Request
from kvnode.core.records import Record
from kvnode.core.versions import Ballot, Version
from kvnode.errors import MismatchError
from kvnode.rpc.channel import Times
from kvnode.rpc.http2.server import Routes
from kvnode.rpc.layout import Layout
from kvnode.rpc.transport import GrpcTransport

DEADLINE_S = 10.0
LAYOUT = "layout"
MEANING = Layout((1, 2, 3), 256, lambda _: 7)
"""Three workers, and a ring that puts every key into partition 7."""

Respond = Callable[[Reply], None]
Answer = Callable[[Request, Respond], None]


def hello(worker: int, process: str = "", layout: str = LAYOUT) -> Hello:
    """Return a worker's greeting."""
    return Hello(
        worker=worker,
        process=process or f"process-{worker}",
        incarnation=f"disk-{worker}",
        cluster_id="cluster",
        layout=layout,
        epoch=1,
        voting=True,
        release="0.1.0",
        protocol=(1, 1),
    )


def record(key: str = "a", value: bytes | None = b"1", seq: int = 1, leader: int = 1) -> Record:
    """Return a record with a ballot and a version."""
    return Record(7, key, Ballot(3, leader), Version(3, 1, seq), None, value)


def batch(number: int, *records: Record) -> AcceptBatch:
    """Return a batch of records to be accepted."""
    return AcceptBatch(number, [AcceptItem(one) for one in records or (record(),)])


def accept_all(request: Request, respond: Respond) -> None:
    """Answer an AcceptBatch at once, and nothing else."""
    if isinstance(request, AcceptBatch):
        respond(AcceptReply(request.number, []))


class FakeInbox:
    """Notes every event in order; ``answer`` decides about requests, ``judge`` about greetings."""

    def __init__(self, own: Hello, answer: Answer = accept_all) -> None:
        self.own = own
        self.answer = answer
        self.judge: Callable[[Hello], None] = self.same_layout
        self.judged = 0
        self.ups: list[Hello] = []
        self.downs: list[tuple[int, str]] = []
        self.requests: list[tuple[Hello, Request]] = []
        self.replies: list[tuple[int, Reply]] = []
        self._changed = asyncio.Event()

    def hello(self) -> Hello:
        """Return our own greeting."""
        return self.own

    def check(self, theirs: Hello) -> None:
        """Let ``judge`` decide."""
        self.judged += 1
        self.judge(theirs)

    def same_layout(self, theirs: Hello) -> None:
        """Refuse another layout."""
        if theirs.layout != self.own.layout:
            raise MismatchError(f"layout {theirs.layout}, expected {self.own.layout}")

    def link_up(self, peer: Hello) -> None:
        """Note it."""
        self.ups.append(peer)
        self._changed.set()

    def link_down(self, worker: int, reason: str) -> None:
        """Note it."""
        self.downs.append((worker, reason))
        self._changed.set()

    def receive(self, sender: Hello, request: Request, respond: Respond) -> None:
        """Note it, then let ``answer`` decide."""
        self.requests.append((sender, request))
        self._changed.set()
        self.answer(request, respond)

    def reply(self, worker: int, reply: Reply) -> None:
        """Note it."""
        self.replies.append((worker, reply))
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what was noted meets the condition. Raises TimeoutError."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def serving(
    inbox: FakeInbox,
    peers: dict[int, str] | None = None,
    *,
    bind: str = "127.0.0.1:0",
    times: Times | None = None,
    routes: Routes | None = None,
) -> AsyncIterator[GrpcTransport]:
    """Run a transport for the time of a block."""
    transport = GrpcTransport(inbox, bind=bind, layout=MEANING, peers=peers or {}, times=times, routes=routes)
    await transport.start()
    try:
        yield transport
    finally:
        await transport.stop(0)
