"""``python -m tests.bench.rpc``: what a link carries, with its two ends in two processes on loopback.

One AcceptBatch is in flight at a time, as in use; the other end answers at once. Wall time is that of
a whole round trip, processor time that of each end, gRPC's own threads included.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from pathlib import Path

import structlog
import uvloop

from kvnode.core.messages import AcceptBatch
from kvnode.core.records import Record
from kvnode.core.versions import Ballot, Version
from tests.unit.rpc.fakes import FakeInbox, batch, hello, serving

RUNS = 5
RUN_S = 1.0
VALUE = b'"' + b"x" * 98 + b'"'


def records(count: int) -> AcceptBatch:
    """Return a batch of records of 100 bytes."""
    ballot, previous = Ballot(3, 1), Version(3, 1, 1)
    return batch(
        1,
        *(Record(7, f"user:{n:08}", ballot, Version(3, 1, n + 2), previous, VALUE) for n in range(count)),
    )


def processor_s(process: int) -> float:
    """Return the processor time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Caller(FakeInbox):
    """Notes nothing but that a reply has come."""

    def __init__(self) -> None:
        super().__init__(hello(1))
        self.answered = asyncio.Event()

    def reply(self, worker: int, reply: object) -> None:
        """Wake whoever waits."""
        del worker, reply
        self.answered.set()


class Answerer(FakeInbox):
    """Answers without keeping what it is asked."""

    def receive(self, sender: object, request: object, respond: object) -> None:
        """Answer at once."""
        del sender
        self.answer(request, respond)  # type: ignore[arg-type]


async def serve() -> None:
    """Be the other end, until killed; the port goes to stdout."""
    async with serving(Answerer(hello(2))) as transport:
        print(transport.port, flush=True)  # noqa: T201 - whoever started it waits for this
        await asyncio.Event().wait()


async def measure(count: int, port: int, other: int) -> str:
    """Return one line of the table: the best of some runs with batches of ``count``."""
    inbox, message = Caller(), records(count)
    best = (0.0, 0.0, 0.0)
    async with serving(inbox, {2: f"127.0.0.1:{port}"}) as transport:
        await inbox.until(lambda: bool(inbox.ups))
        for _ in range(RUNS):
            begun_s, ours_s, theirs_s = time.perf_counter(), time.process_time(), processor_s(other)
            trips = 0
            while (elapsed_s := time.perf_counter() - begun_s) < RUN_S:
                inbox.answered.clear()
                transport.send(2, message)
                await inbox.answered.wait()
                trips += 1
            ours_s, theirs_s = time.process_time() - ours_s, processor_s(other) - theirs_s
            best = max(best, (trips / elapsed_s, ours_s / trips, theirs_s / trips))
    rate, ours_s, theirs_s = best
    figures = (rate, rate * count, *(1e6 * s / count for s in (1 / rate, ours_s, theirs_s)))
    return f"{count:>8}" + "".join(f"{figure:>14,.1f}" for figure in figures)


async def main() -> None:
    """Print the table, and nothing else."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.rpc", "--serve", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        port = int(await child.stdout.readline())
        titles = ("messages/s", "items/s", "µs/item", "sender cpu", "receiver cpu")
        print(f"{'items':>8}" + "".join(f"{title:>14}" for title in titles))  # noqa: T201
        for count in (1, 10, 100, 1000):
            print(await measure(count, port, child.pid), flush=True)  # noqa: T201
    finally:
        child.kill()
        await child.wait()


if __name__ == "__main__":
    uvloop.run(serve() if "--serve" in sys.argv else main())
