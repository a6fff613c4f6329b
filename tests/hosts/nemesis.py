"""Carries a schedule of faults out on the hosts; notes when each began and ended, and when all was well."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tests.hosts import faults
from tests.hosts.plan import HOSTS
from tests.hosts.schedule import Fault, Round, Step
from tests.hosts.wait import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.hosts.cluster import Cluster

FLAP_S = 1.6
WHOLE_S = 60.0
LOOK_S = 0.25
MOST_STEPS = 2


@dataclass(frozen=True)
class Done:
    """A fault that was made: from its beginning to its undoing, on the monotonic clock."""

    step: Step
    began_s: float
    ended_s: float


class Nemesis:
    """Makes one round of faults after another while the ``with`` block runs; at its end all are undone."""

    def __init__(self, cluster: Cluster, rounds: Iterator[Round]) -> None:
        self._cluster = cluster
        self._rounds = rounds
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(MOST_STEPS + 2, thread_name_prefix="nemesis")
        self._at_work: list[Future[None]] = []
        self.begun: list[Round] = []
        self.done: list[Done] = []
        self.under_way: list[Step] = []
        self.whole_at_s: list[float] = []

    def __enter__(self) -> Self:
        self._at_work = [self._pool.submit(self._work), self._pool.submit(self._watch)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        for future in self._at_work:
            future.result()

    @property
    def failed(self) -> bool:
        """Whether it had to give up; leaving the ``with`` block raises why."""
        return any(future.done() for future in self._at_work)

    def _work(self) -> None:
        for one in self._rounds:
            if one.wipes:
                until(self._whole_or_over, WHOLE_S, "the cluster to be whole before a disk is wiped")
            if self._stop.is_set():
                return
            self.begun.append(one)
            self._carry_out(one)
            if one.wipes:
                until(self._cluster.whole, WHOLE_S, "the wiped worker to be whole")
            self._stop.wait(one.pause_s)

    def _carry_out(self, one: Round) -> None:
        steps = []
        for step in one.steps:
            entered = threading.Event()
            steps.append(self._pool.submit(self._inflict, step, entered.set))
            entered.wait()
        for future in steps:
            future.result()

    def _inflict(self, step: Step, entered: Callable[[], None]) -> None:
        began = time.monotonic()
        self.under_way.append(step)
        try:
            with inflict(self._cluster, step):
                entered()
                self._stop.wait(step.lasts_s)
        finally:
            entered()
            self.under_way.remove(step)
        self.done.append(Done(step, began, time.monotonic()))

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_S):
            if self._cluster.whole():
                self.whole_at_s.append(time.monotonic())

    def _whole_or_over(self) -> bool:
        return self._stop.is_set() or self._cluster.whole()


def inflict(cluster: Cluster, step: Step) -> AbstractContextManager[None]:
    """Make the step's fault; its undoing is the context's end."""
    victims = [host for host in HOSTS if host.name in step.hosts]
    cuts = {
        Fault.HALVES: lambda: faults.between(victims, [host for host in HOSTS if host not in victims]),
        Fault.ALONE: lambda: faults.around(victims[0]),
        Fault.MUTE: lambda: faults.out_of(victims[0]),
        Fault.DEAF: lambda: faults.into(victims[0]),
    }
    if step.fault in cuts:
        return faults.cut(cuts[step.fault]())
    if step.fault is Fault.FLAPPING:
        return faults.flapping(faults.around(victims[0]), FLAP_S)
    return {
        Fault.STOP: faults.stopped,
        Fault.KILL: faults.killed,
        Fault.FREEZE: faults.frozen,
        Fault.UNPLUG: faults.unplugged,
        Fault.POWER_OFF: faults.powered_off,
        Fault.DISK_FULL: faults.full_disk,
        Fault.WIPE: faults.wiped,
    }[step.fault](cluster, victims[0])
