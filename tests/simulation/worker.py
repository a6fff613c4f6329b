"""One simulated worker: its machine, its store on a disk in memory, and what a host does for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from kvnode.core.effects import Answer, CloseLink, Note, Respond, Send
from kvnode.core.messages import Hello, Reply, Request
from kvnode.core.worker import WorkerMachine
from kvnode.storage.memory_disk import MemoryDisk
from kvnode.storage.store import Store

if TYPE_CHECKING:
    from tests.simulation.cluster import SimCluster

TICK_MS = 20
SYNC_MS = 4
SEGMENT_BYTES = 16 * 1024


class SimWorker:
    """A worker that can be started, paused, crashed and given an empty disk."""

    store: Store
    machine: WorkerMachine

    def __init__(self, number: int, cluster: SimCluster) -> None:
        self.number = number
        self.up = False
        self.paused = False
        self.life = 0
        self._cluster = cluster
        self._disk = MemoryDisk()
        self._backlog: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        self._responds: dict[int, Callable[[Reply], None]] = {}
        self._token = 0
        self._flush_due = False
        self._sync_due = False

    # --- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the disk and begin, as a process that has never been before."""
        cluster = self._cluster
        self.up = True
        self.life += 1
        self._flush_due = self._sync_due = False
        self.store = Store.open(
            self._disk,
            worker=self.number,
            partitions=cluster.ring.partitions,
            segment_bytes=SEGMENT_BYTES,
            on_durable=self._synced,
            on_failure=self._failed,
        )
        self.machine = WorkerMachine(
            self.number,
            cluster.numbers,
            cluster.ring,
            self.store,
            random=cluster.random.random,
            new_cluster_id=lambda: UUID(int=cluster.random.getrandbits(128)).hex,
            timing=cluster.timing,
            bounds=cluster.bounds,
        )
        self._later(cluster.random.randrange(TICK_MS), self._tick)

    def crash(self) -> None:
        """End at once, and lose what was not synced."""
        self.up = self.paused = False
        self._backlog.clear()
        self._responds.clear()
        self._disk.crash()

    def wipe(self) -> None:
        """Replace the disk of a worker that is down."""
        assert not self.up
        self._disk = MemoryDisk()

    def remove_disk(self) -> MemoryDisk:
        """Return the disk of a worker that is down, and leave it an empty one."""
        disk = self._disk
        self.wipe()
        return disk

    def insert(self, disk: MemoryDisk) -> None:
        """Put another disk into a worker that is down."""
        assert not self.up
        self._disk = disk

    def pause(self) -> None:
        """Do nothing until ``resume``: what arrives waits."""
        self.paused = True

    def resume(self) -> None:
        """Go on, with what has arrived meanwhile."""
        self.paused = False
        backlog, self._backlog = self._backlog, []
        for take, arguments in backlog:
            self.take(take, *arguments)

    # --- inputs -----------------------------------------------------------------------------------

    def take(self, take: Callable[..., None], *arguments: object) -> None:
        """Hand the machine an input; what it wants done is done when no other input waits."""
        if not self.up:
            return
        if self.paused:
            self._backlog.append((take, arguments))
            return
        self.machine.ctx.now_ms = self._cluster.now_ms
        take(*arguments)
        if not self._flush_due:
            self._flush_due = True
            self._later(0, self._flush)

    def hello(self) -> Hello:
        """Return what this worker says of itself."""
        identity = self.store.identity
        return Hello(
            worker=self.number,
            process=f"{self.number}/{self.life}",
            incarnation=identity.incarnation,
            cluster_id=identity.cluster_id,
            layout="",
            epoch=1,
            voting=bool(identity.cluster_id) and not self.machine.rebuild.remaining,
            release="",
            protocol=(1, 1),
        )

    def receive(self, sender: Hello, request: Request, respond: Callable[[Reply], None]) -> None:
        """Take a peer's request."""
        self._token += 1
        self._responds[self._token] = respond
        self.take(self.machine.receive, sender, request, self._token)

    # --- doing what the machine wants ---------------------------------------------------------------

    def _later(self, delay_ms: int, call: Callable[[], None]) -> None:
        """Run a call in this process only, and after a pause if there is one."""
        life = self.life

        def run() -> None:
            if self.up and self.life == life:
                if self.paused:
                    self._backlog.append((call, ()))
                else:
                    call()

        self._cluster.events.after(delay_ms, run)

    def _tick(self) -> None:
        self.take(self.machine.tick)
        self._later(TICK_MS, self._tick)

    def _flush(self) -> None:
        self._flush_due = False
        self.machine.ctx.now_ms = self._cluster.now_ms
        self.machine.flush()
        for effect in self.machine.effects():
            if isinstance(effect, Send):
                self._cluster.network.send(self.number, effect.to, effect.request)
            elif isinstance(effect, Respond):
                responds = self._responds
                respond = responds.pop(effect.token) if effect.last else responds[effect.token]
                respond(effect.reply)
            elif isinstance(effect, Answer):
                self._cluster.answered(self.number, effect.token, effect.outcome)
            elif isinstance(effect, CloseLink):
                self._cluster.network.close(self.number, effect.worker)
            elif isinstance(effect, Note):
                note = (self._cluster.now_ms, self.number, effect.event, effect.fields)
                self._cluster.notes.append(note)
        undone = self.store.durable_lsn < self.store.appended_lsn
        if not self._sync_due and (undone or self.store.full):
            self._sync_due = True
            self._later(self._cluster.random.randrange(SYNC_MS), self._sync)

    def _sync(self) -> None:
        self._sync_due = False
        self.store.committer.step()

    def _synced(self, _lsn: int) -> None:
        self._later(1, partial(self.take, self.machine.durable))

    def _failed(self, error: BaseException) -> None:
        raise error
