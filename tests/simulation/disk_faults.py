"""What befalls the disks of a random schedule: they are slow, full, wiped, or change a byte.

At most one disk has lost something at a time: the next only when every other one votes again and
no damage waits to be found, as the cluster promises no more. Slow and full may be all at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from kvnode.storage.memory_disk import MemoryDisk
from kvnode.storage.segment import numbers, segment_name
from tests.simulation.cluster import SimCluster
from tests.simulation.plan import Plan

LASTS_MS = (30, 150, 500, 1200)
SLOW_MS = (60, 300, 900)
ROOM_BYTES = 4096


class DiskFaults:
    """Breaks the disks of one cluster. ``note`` counts a fault, ``after`` undoes it later."""

    def __init__(
        self,
        plan: Plan,
        cluster: SimCluster,
        note: Callable[[str, str], None],
        after: Callable[[int, Callable[[], object]], None],
    ) -> None:
        self._plan = plan
        self._cluster = cluster
        self._random: Random = cluster.random
        self._note = note
        self._after = after
        self._lost_disk = 0
        self._spoiled: tuple[MemoryDisk, str, int, int] | None = None

    def stop(self) -> None:
        """End what ends: there is space everywhere; who has damage that waits to be found is down."""
        for worker in self._cluster.workers.values():
            worker.disk.capacity = None
            if self._hurt(worker.disk):
                self._cluster.crash(worker.number)

    @property
    def hurt(self) -> bool:
        """Whether a damaged file is still in use on some disk."""
        return any(self._hurt(worker.disk) for worker in self._cluster.workers.values())

    def slow_disk(self) -> None:
        """Let syncs take long for a while."""
        number, sync_ms, lasts_ms = self._anyone(), self._random.choice(SLOW_MS), self._a_while()
        self._note("slow_disk", f"{number}: up to {sync_ms} ms, for {lasts_ms} ms")
        self._set_sync(number, sync_ms)
        self._after(lasts_ms, partial(self._set_sync, number, self._plan.sync_ms))

    def full_disk(self) -> None:
        """Leave a disk little room, or none, for a while; who cannot even start is started after it."""
        number, lasts_ms = self._anyone(), self._a_while()
        room = self._random.choice((0, self._random.randrange(ROOM_BYTES)))
        self._note("full_disk", f"{number}: {room} bytes are left, for {lasts_ms} ms")
        disk = self._cluster.workers[number].disk
        disk.capacity = disk.used_bytes() + room

        def empty() -> None:
            disk.capacity = None
            if self._cluster.workers[number].lacked_space:
                self._cluster.start(number)

        self._after(lasts_ms, empty)

    def wipe(self) -> None:
        """Put an empty disk in a worker's place."""
        number = self._anyone()
        if not self._may_lose(number):
            return
        self._note("wipe", f"{number}")
        self._lost_disk = number
        self._cluster.crash(number, silent=self._random.random() < 0.5)
        self._cluster.wipe(number)
        self._after(self._a_while(), partial(self._start, number))

    def damage(self) -> None:
        """Change one durable byte of a segment, under a running process or a dead one."""
        number = self._anyone()
        worker = self._cluster.workers[number]
        if self.hurt or not self._may_lose(number) or not worker.store.identity.cluster_id:
            return
        if self._random.random() < 0.5:
            self._cluster.crash(number)
            self._after(self._a_while(), partial(self._start, number))
        disk = worker.disk
        places = [(name, size) for name in self._segments(disk) if (size := disk.synced_bytes(name))]
        if not places:
            return
        name, size = self._random.choice(places)
        offset, bit = self._random.randrange(size), 1 << self._random.randrange(8)
        self._note("damage", f"{number}: byte {offset} of {name} ({size} bytes)")
        self._lost_disk = number
        self._cluster.invariants.damaged(disk)
        self._spoiled = (disk, name, offset, disk.flip(name, offset, bit))

    # --- chance and choice ------------------------------------------------------------------------

    def _anyone(self) -> int:
        return self._random.choice(self._cluster.numbers)

    def _a_while(self) -> int:
        return 1 + self._random.randrange(self._random.choice(LASTS_MS))

    def _start(self, number: int) -> None:
        if not self._cluster.workers[number].up:
            self._cluster.start(number)

    def _set_sync(self, number: int, sync_ms: int) -> None:
        self._cluster.workers[number].sync_ms = sync_ms

    @staticmethod
    def _segments(disk: MemoryDisk) -> list[str]:
        return [segment_name(number) for number in numbers(disk.names(), "jsonl")]

    def _hurt(self, disk: MemoryDisk) -> bool:
        """Whether a damaged byte stands in a file in use, or would again after a crash."""
        if self._spoiled is None or self._spoiled[0] is not disk:
            return False
        _, name, offset, byte = self._spoiled
        return disk.byte(name, offset) == byte or not disk.names_synced

    def _may_lose(self, number: int) -> bool:
        """Whether every other disk, and the one lost before, holds what it should."""
        workers = self._cluster.workers
        if any(not worker.machine.formation.identity.cluster_id for worker in workers.values()):
            return False
        if self._lost_disk in (0, number):
            return True
        before = workers[self._lost_disk]
        durable = before.up and before.store.durable_lsn == before.store.appended_lsn
        whole = bool(before.store.identity.cluster_id) and not before.machine.rebuild.remaining
        return durable and whole and not self._hurt(before.disk)
