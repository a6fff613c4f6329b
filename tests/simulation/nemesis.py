"""The faults of a random schedule: each comes by chance, lasts for a while and is undone by itself.

What befalls disks stands in ``disk_faults``. Everything here may happen to any number of workers at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from random import Random

from tests.simulation.cluster import SimCluster
from tests.simulation.disk_faults import DiskFaults
from tests.simulation.plan import Plan
from tests.simulation.worker import SYNC_MS

DOWN_MS = (1, 30, 200, 700)
LASTS_MS = (30, 150, 500, 1200)
FLAPS = 8
PAIR_ROUNDS = 4


class Nemesis:
    """Breaks one cluster by one plan. ``counts`` tells how often each fault came, ``story`` when."""

    def __init__(self, plan: Plan, cluster: SimCluster) -> None:
        self.counts: Counter[str] = Counter()
        self.story: list[tuple[int, str]] = []
        self._plan = plan
        self._cluster = cluster
        self._random: Random = cluster.random
        self._stopped = False
        self.disks = DiskFaults(plan, cluster, self._note, self._after)
        cluster.survives = self._survives
        network = cluster.network
        network.delay_ms = plan.delay_ms
        network.drop_share = plan.drop_share
        network.copy_share = plan.copy_share
        network.straggler_share = plan.straggler_share
        for worker in cluster.workers.values():
            worker.sync_ms = plan.sync_ms

    def start(self) -> None:
        """Begin to break things."""
        self._later()

    def stop(self) -> None:
        """End all faults: everybody is up, linked and in time again."""
        self._stopped = True
        cluster = self._cluster
        network = cluster.network
        network.drop_share = network.copy_share = network.straggler_share = 0.0
        network.slow_ms.clear()
        for worker in cluster.workers.values():
            worker.sync_ms = SYNC_MS
            worker.power.disarm()
            worker.drift(1.0)
        cluster.heal()
        for worker in cluster.up():
            if worker.machine.leaders.draining:
                cluster.crash(worker.number)
        self.disks.stop()
        for number in cluster.numbers:
            self._start(number)

    # --- chance -----------------------------------------------------------------------------------

    def _later(self) -> None:
        self._cluster.events.after(1 + self._random.randrange(2 * self._plan.fault_every_ms), self._strike)

    def _strike(self) -> None:
        if self._stopped:
            return
        weights = self._plan.weights
        fault = self._random.choices(list(weights), list(weights.values()))[0]
        act: Callable[[], None] = getattr(self.disks, fault, None) or getattr(self, f"_{fault}")
        act()
        self._later()

    def _note(self, fault: str, words: str) -> None:
        self.counts[fault] += 1
        self.story.append((self._cluster.now_ms, f"{fault} {words}"))

    def _after(self, delay_ms: int, undo: Callable[[], object]) -> None:
        """Undo a fault later, unless all have been ended by then."""

        def run() -> None:
            if not self._stopped:
                undo()

        self._cluster.events.after(delay_ms, run)

    def _a_while(self) -> int:
        return 1 + self._random.randrange(self._random.choice(LASTS_MS))

    def _anyone(self) -> int:
        return self._random.choice(self._cluster.numbers)

    def _two(self) -> tuple[int, int]:
        one, other = self._random.sample(self._cluster.numbers, 2)
        return one, other

    def _survives(self, unsynced: int) -> int:
        if self._plan.survives == "part":
            return self._random.randint(0, unsynced)
        return unsynced if self._plan.survives == "all" else 0

    # --- processes --------------------------------------------------------------------------------

    def _start(self, number: int) -> None:
        if not self._cluster.workers[number].up:
            self._cluster.start(number)

    def _down(self, number: int, *, silent: bool) -> None:
        self._cluster.crash(number, silent=silent)
        down_ms = 1 + self._random.randrange(self._random.choice(DOWN_MS))
        self._after(down_ms, partial(self._start, number))

    def _crash(self) -> None:
        number, silent = self._anyone(), self._random.random() < 0.3
        self._note("crash", f"{number}{' silently' * silent}")
        self._down(number, silent=silent)

    def _crash_many(self) -> None:
        count = self._random.randint(2, len(self._cluster.numbers))
        numbers = self._random.sample(self._cluster.numbers, count)
        self._note("crash_many", f"{numbers}")
        for number in numbers:
            self._down(number, silent=False)

    def _power_cut(self) -> None:
        """Cut the power within one of the next operations on a disk."""
        number, operations = self._anyone(), self._random.randrange(8)
        self._note("power_cut", f"{number} after {operations} operations of its disk")
        self._cluster.workers[number].power.arm(operations)
        self._after(self._a_while(), partial(self._restart_if_down, number))

    def _restart_if_down(self, number: int) -> None:
        self._cluster.workers[number].power.disarm()
        self._start(number)

    def _pause(self) -> None:
        number, lasts_ms = self._anyone(), self._a_while()
        self._note("pause", f"{number} for {lasts_ms} ms")
        worker = self._cluster.workers[number]
        worker.pause()
        self._after(lasts_ms, worker.resume)

    def _drain(self) -> None:
        """Stop a worker in good order, or as far as it gets."""
        number = self._anyone()
        worker = self._cluster.workers[number]
        if not worker.up:
            return
        self._note("drain", f"{number}")
        worker.take(worker.machine.drain)
        self._after(self._a_while(), partial(self._restart_drained, number, worker.life))

    def _restart_drained(self, number: int, life: int) -> None:
        if self._cluster.workers[number].life == life:
            self._cluster.crash(number)
            self._start(number)

    def _clock_jump(self) -> None:
        number, ahead_ms = self._anyone(), 1 + self._random.randrange(2000)
        self._note("clock_jump", f"{number} by {ahead_ms} ms")
        self._cluster.workers[number].jump(ahead_ms)

    def _clock_drift(self) -> None:
        number, rate = self._anyone(), self._random.choice((0.3, 0.7, 1.5, 3.0))
        self._note("clock_drift", f"{number} at {rate}")
        self._cluster.workers[number].drift(rate)

    # --- links ------------------------------------------------------------------------------------

    def _cut_all(self, pairs: Iterable[tuple[int, int]], lasts_ms: int) -> None:
        """Let nothing pass from the first to the second of each pair for a while."""
        network, chosen = self._cluster.network, list(pairs)
        for source, target in chosen:
            network.cut(source, target)

        def mend() -> None:
            for source, target in chosen:
                network.mend(source, target)

        self._after(lasts_ms, mend)

    def _others(self, number: int) -> list[int]:
        return [other for other in self._cluster.numbers if other != number]

    def _cut(self) -> None:
        source, target = self._two()
        lasts_ms = self._a_while()
        self._note("cut", f"{source} to {target} for {lasts_ms} ms")
        self._cut_all([(source, target)], lasts_ms)

    def _cut_both(self) -> None:
        one, other = self._two()
        lasts_ms = self._a_while()
        self._note("cut_both", f"{one} and {other} for {lasts_ms} ms")
        self._cut_all([(one, other), (other, one)], lasts_ms)

    def _isolate(self) -> None:
        number, lasts_ms = self._anyone(), self._a_while()
        self._note("isolate", f"{number} for {lasts_ms} ms")
        self._cut_all(
            [pair for other in self._others(number) for pair in ((number, other), (other, number))], lasts_ms
        )

    def _mute(self) -> None:
        """Let nobody hear a worker, or a worker hear nobody."""
        number, deaf, lasts_ms = self._anyone(), self._random.random() < 0.5, self._a_while()
        self._note("mute", f"{number}{' (deaf)' * deaf} for {lasts_ms} ms")
        self._cut_all(
            [(other, number) if deaf else (number, other) for other in self._others(number)], lasts_ms
        )

    def _halves(self) -> None:
        numbers = self._cluster.numbers
        side = set(self._random.sample(numbers, self._random.randint(1, len(numbers) - 1)))
        lasts_ms = self._a_while()
        self._note("halves", f"{sorted(side)} from the rest for {lasts_ms} ms")
        self._cut_all([(a, b) for a in numbers for b in numbers if (a in side) != (b in side)], lasts_ms)

    def _flap(self) -> None:
        one, other = self._two()
        self._note("flap", f"{one} and {other}")
        self._flap_again(one, other, self._random.randint(2, FLAPS))

    def _flap_again(self, one: int, other: int, left: int) -> None:
        self._cut_all([(one, other), (other, one)], 1 + self._random.randrange(80))
        if left:
            wait_ms = 1 + self._random.randrange(160)
            self._after(wait_ms, partial(self._flap_again, one, other, left - 1))

    def _break_link(self) -> None:
        owner, peer = self._two()
        self._note("break_link", f"{owner} to {peer}")
        self._cluster.network.close(owner, peer)

    def _slow_link(self) -> None:
        source, target = self._two()
        delay_ms, lasts_ms = self._random.choice((20, 100, 400)), self._a_while()
        self._note("slow_link", f"{source} to {target}: {delay_ms} ms, for {lasts_ms} ms")
        self._cluster.network.slow_ms[source, target] = delay_ms
        self._after(lasts_ms, partial(self._cluster.network.slow_ms.pop, (source, target), 0))

    # --- one pair at a time -------------------------------------------------------------------------

    def _pair(self) -> None:
        """Let only a leader and one partner talk, break one of them midway, and go on with another pair."""
        partition = self._random.randrange(self._cluster.ring.partitions)
        self._note("pair", f"of partition {partition}")
        self._pair_again(partition, self._random.randint(1, PAIR_ROUNDS))

    def _pair_again(self, partition: int, left: int) -> None:
        replicas = self._cluster.ring.preference_list(partition)
        if len(replicas) < 2:
            return
        lasts_ms = 20 + self._random.randrange(400)
        leader, partner = self._random.sample(replicas, 2)
        pair = {leader, partner}
        self.story.append((self._cluster.now_ms, f"pair {sorted(pair)} alone for {lasts_ms} ms"))
        self._cut_all([(a, b) for a in replicas for b in replicas if a != b and {a, b} != pair], lasts_ms)
        breaks: list[Callable[[], None]] = [
            partial(self._down, leader, silent=True),
            partial(self._down, partner, silent=False),
            partial(self._cut_all, [(leader, partner)], lasts_ms),
            partial(self._cut_all, [(partner, leader)], lasts_ms),
            lambda: None,
        ]
        self._after(self._random.randrange(lasts_ms), self._random.choice(breaks))
        if left:
            self._after(lasts_ms, partial(self._pair_again, partition, left - 1))
