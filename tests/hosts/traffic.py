"""Clients that read and write the same keys through all hosts while these are broken, and remember it all.

What they were told is one history, which ``kvnode.verify`` judges. Each client keeps to one host, so that
what a host's own clients suffer is told apart from what the others notice.
"""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Self

from kvnode.verify.checker import Verdict, check
from kvnode.verify.client import RecordingClient, open_session
from kvnode.verify.history import Op, Told
from kvnode.verify.workload import Plan, Workload
from tests.hosts import namespace
from tests.hosts.losses import lost
from tests.hosts.wait import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.hosts.plan import Host

CLIENTS = 16
KEYS = 160
RATE = 240.0
TIMEOUT_S = 7.0
CALM_S = 1.5
CALM_OPS = 10
CALM_DEADLINE_S = 30
READERS = 8
READ_TRIES = 5
ANSWERED = "urn:kvnode:problem"
FAILED = frozenset({Told.NOT_DONE, Told.UNKNOWN})


class Failure(NamedTuple):
    """An operation without a certain success: through which host, when on the monotonic clock, why."""

    host: Host
    op: Op
    began_s: float
    ended_s: float
    reason: str

    def __str__(self) -> str:
        took_s = self.ended_s - self.began_s
        return f"{self.op.op} {self.op.key} through {self.host.name}, {took_s:.2f} s: {self.reason[:300]}"


class Traffic:
    """16 clients at work from the beginning of the ``with`` block to its end, or to ``stop``."""

    def __init__(self, hosts: Sequence[Host], name: str, seed: int = 1) -> None:
        self.began_s = time.monotonic()
        self.failures: list[Failure] = []
        self._hosts = hosts
        self._prefix = f"{name}/"
        self._began_ns = int(self.began_s * 1e9)
        self._stop = threading.Event()
        self._pool = namespace.executor(1)
        self._last_reads: list[Op] = []
        self._workloads = {host: self._workload(number, host, seed) for number, host in enumerate(hosts)}

    def _workload(self, number: int, host: Host, seed: int) -> Workload:
        share = CLIENTS // len(self._hosts)
        plan = Plan(
            (f"http://{host.address}:{host.port}",),
            self._prefix,
            clients=share,
            keys=KEYS,
            rate=RATE / len(self._hosts),
            timeout_s=TIMEOUT_S,
            seed=seed * len(self._hosts) + number,
            first_client=number * share,
        )
        return Workload(plan, partial(self._note, host))

    def __enter__(self) -> Self:
        self._running = self._pool.submit(lambda: asyncio.run(self._work()))
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._pool.shutdown()

    def stop(self) -> None:
        """Let every client finish its request, and return when it has."""
        self._stop.set()
        self._running.result()

    async def _work(self) -> None:
        workloads = self._workloads.values()
        await asyncio.gather(*(workload.run(self._stop.is_set, self._began_ns) for workload in workloads))

    def _note(self, host: Host, op: Op) -> None:
        if op.told in FAILED:
            began_s, ended_s = self.began_s + op.start_us / 1e6, time.monotonic()
            reason = self._workloads[host].complaint
            self.failures.append(Failure(host, op, began_s, ended_s, reason))

    # --- what they saw ------------------------------------------------------------------------------

    def ops(self, hosts: Sequence[Host] | None = None) -> list[Op]:
        """The history so far, of the clients of ``hosts`` (None: of all)."""
        seen = [op for host in hosts or self._hosts for op in list(self._workloads[host].ops)]
        return seen if hosts else seen + self._last_reads

    def successes(self, hosts: Sequence[Host] | None = None) -> int:
        """How many operations had an answer that is certain."""
        return sum(op.told not in FAILED for op in self.ops(hosts))

    def failed(self, hosts: Sequence[Host], after_s: float = 0) -> list[str]:
        """Tell the failures of the clients of ``hosts`` that began after a time of the monotonic clock."""
        return [str(it) for it in list(self.failures) if it.began_s > after_s and it.host in hosts]

    def until_calm(self, hosts: Sequence[Host]) -> None:
        """Wait until from now on, for a while, the clients of ``hosts`` have got certain answers only."""
        called_s = time.monotonic()

        def calm() -> bool:
            since_s = time.monotonic() - CALM_S
            if since_s < called_s or any(it.ended_s > since_s and it.host in hosts for it in self.failures):
                return False
            since_us = (since_s - self.began_s) * 1e6
            return all(sum(op.start_us > since_us for op in self.ops([host])) > CALM_OPS for host in hosts)

        until(calm, CALM_DEADLINE_S, f"calm at {', '.join(host.name for host in hosts)}")

    # --- the end ------------------------------------------------------------------------------------

    def read_all(self) -> None:
        """Read every key through every host; a part of the history. Call it after ``stop``."""
        self._pool.submit(lambda: asyncio.run(self._read_all())).result()

    async def _read_all(self) -> None:
        keys = sorted({op.key for op in self.ops()})
        async with open_session(TIMEOUT_S) as session:
            for host in self._hosts:
                url = f"http://{host.address}:{host.port}"
                readers = [
                    RecordingClient(number, session, self._began_ns)
                    for number in range(CLIENTS, CLIENTS + READERS)
                ]
                shares = [keys[number::READERS] for number in range(READERS)]
                await asyncio.gather(*map(partial(self._read, url), readers, shares))

    async def _read(self, url: str, reader: RecordingClient, keys: Sequence[str]) -> None:
        for key in keys:
            for _ in range(READ_TRIES):
                self._last_reads.append(await reader.get(url, key))
                if self._last_reads[-1].told not in FAILED:
                    break

    def judge(self) -> Verdict:
        """Judge the history."""
        return check(self.ops())

    def lost(self) -> list[str]:
        """Name the keys whose acknowledged writes ``read_all`` did not find."""
        return lost(self.ops(), self._last_reads)
