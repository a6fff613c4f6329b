"""One simulated worker: its machine, its store on a disk in memory, and what a host does for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from kvnode.core.effects import Answer, CloseLink, Effect, Note, Proceed, Respond, Send
from kvnode.core.identity import Identity
from kvnode.core.messages import Hello, Reply, Request
from kvnode.core.worker import WorkerMachine
from kvnode.errors import NoSpaceError
from kvnode.storage.identity import IDENTITY_NAME, write_identity
from kvnode.storage.memory_disk import MemoryDisk
from kvnode.storage.space import is_no_space
from kvnode.storage.store import Store
from kvnode.storage.upkeep import Upkeep
from tests.simulation.power import PowerCutError, PowerSwitch

if TYPE_CHECKING:
    from tests.simulation.cluster import SimCluster

TICK_MS = 20
SYNC_MS = 4
SPACE_CHECK_MS = 50
TIDY_MS = 20
IDLE_TIDY_MS = 300
UPKEEP_HASTE = 50
"""Background work waits for minutes; here its clock runs faster by so much."""


class SimWorker:
    """A worker that can be started, paused, crashed and given an empty disk."""

    store: Store
    machine: WorkerMachine

    def __init__(self, number: int, cluster: SimCluster) -> None:
        self.number = number
        self.up = False
        self.paused = False
        self.lacked_space = False
        self.life = 0
        self.sync_ms = SYNC_MS
        self.syncs_held = False
        self.clock_rate = 1.0
        self.power = PowerSwitch()
        self._clock_offset_ms = 0.0
        self._cluster = cluster
        self._disks = 0
        self._disk = self._blank_disk()
        self._backlog: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        self._asked: dict[int, tuple[Request, Callable[[Reply], None]]] = {}
        self._token = 0
        self._flush_due = False
        self._sync_due = False

    # --- life -------------------------------------------------------------------------------------

    @property
    def disk(self) -> MemoryDisk:
        """The disk that is in the worker now."""
        return self._disk

    def start(self) -> bool:
        """Open the disk and begin, as a process that has never been before.

        False if the power went again, or if there was no space to begin (``lacked_space``).
        """
        self.up = True
        self.lacked_space = False
        self.life += 1
        self._flush_due = self._sync_due = self.syncs_held = False
        try:
            self._open()
        except PowerCutError:
            self.crash()
            return False
        except (NoSpaceError, OSError) as error:
            if not isinstance(error, NoSpaceError) and not is_no_space(error):
                raise
            self.crash()
            self.lacked_space = True
            return False
        self._later(self._cluster.random.randrange(TICK_MS), self._tick)
        if self._cluster.disks.tidies:
            self._later(self._cluster.random.randrange(IDLE_TIDY_MS), self._tidy)
        return True

    def _open(self) -> None:
        cluster = self._cluster
        if IDENTITY_NAME not in self._disk.names():
            write_identity(self._disk, Identity(self.number, f"disk-{self.number}-{self._disks}"))
        self.store = Store.open(
            self._disk,
            worker=self.number,
            partitions=cluster.ring.partitions,
            segment_bytes=cluster.disks.segment_bytes,
            on_durable=self._synced,
            on_failure=self._failed,
            on_damage=self._damaged,
            upkeep=Upkeep(cluster.disks.reserve_bytes, cluster.disks.scrub_bytes_per_s, self._upkeep_s),
        )
        cluster.invariants.opened(self.number, self._disk, self.store)
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
        self.machine.ctx.on_append = cluster.invariants.appended

    def crash(self) -> None:
        """End at once, and lose what was not synced, but for as much as the cluster lets survive."""
        self.up = self.paused = self.lacked_space = False
        self.power.disarm()
        self._backlog.clear()
        self._asked.clear()
        self._disk.crash(self._cluster.survives)

    def wipe(self) -> None:
        """Replace the disk of a worker that is down."""
        assert not self.up
        self._disk = self._blank_disk()

    def _blank_disk(self) -> MemoryDisk:
        self._disks += 1
        return MemoryDisk(self.power.operation)

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

    def hold_syncs(self) -> None:
        """Let nothing become durable until ``release_syncs``, or ever if it crashes first."""
        self.syncs_held = True

    def release_syncs(self) -> None:
        """Make durable what has waited."""
        self.syncs_held = self._sync_due = False
        self._sync_later(0)

    # --- time -------------------------------------------------------------------------------------

    def clock_ms(self) -> int:
        """Return this worker's own clock, which never goes back."""
        return int(self._clock_offset_ms + self._cluster.now_ms * self.clock_rate)

    def drift(self, rate: float) -> None:
        """Let the clock go faster or slower than time from now on."""
        self._clock_offset_ms += self._cluster.now_ms * (self.clock_rate - rate)
        self.clock_rate = rate

    def jump(self, ahead_ms: int) -> None:
        """Let the clock leap ahead."""
        self._clock_offset_ms += ahead_ms

    def _upkeep_s(self) -> float:
        return self._cluster.now_ms * UPKEEP_HASTE / 1000

    # --- inputs -----------------------------------------------------------------------------------

    def take(self, take: Callable[..., None], *arguments: object) -> None:
        """Hand the machine an input; what it wants done is done when no other input waits."""
        if not self.up:
            return
        if self.paused:
            self._backlog.append((take, arguments))
            return
        self.machine.ctx.now_ms = self.clock_ms()
        try:
            take(*arguments)
        except PowerCutError:
            self._cluster.crash(self.number, silent=True)
            return
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
            votes_in=self.machine.rebuild.votes_in,
            release="",
            protocol=self._cluster.protocol,
        )

    def receive(self, sender: Hello, request: Request, respond: Callable[[Reply], None]) -> None:
        """Take a peer's request."""
        self._token += 1
        self._asked[self._token] = (request, respond)
        self.take(self.machine.receive, sender, request, self._token)

    # --- doing what the machine wants ---------------------------------------------------------------

    def _later(self, delay_ms: int, call: Callable[[], None]) -> None:
        """Run a call in this process only, and after a pause if there is one."""
        life = self.life

        def run() -> None:
            if not self.up or self.life != life:
                return
            if self.paused:
                self._backlog.append((call, ()))
                return
            try:
                call()
            except PowerCutError:
                self._cluster.crash(self.number, silent=True)

        self._cluster.events.after(delay_ms, run)

    def _tick(self) -> None:
        self.take(self.machine.tick)
        self._later(TICK_MS, self._tick)

    def _flush(self) -> None:
        self._flush_due = False
        self.machine.ctx.now_ms = self.clock_ms()
        self.machine.flush()
        effects = self.machine.effects()
        for partition, ballot in self._cluster.invariants.leading(self.number, self.machine):
            fields: dict[str, object] = {"partition": partition, "term": ballot.term}
            self._cluster.notes.append((self._cluster.now_ms, self.number, "leadership_won", fields))
        for effect in effects:
            self._carry_out(effect)
        if self.store.durable_lsn < self.store.appended_lsn or self.store.full:
            self._sync_later(self._cluster.random.randrange(self.sync_ms))

    def _carry_out(self, effect: Effect) -> None:
        cluster = self._cluster
        if isinstance(effect, Send):
            cluster.invariants.asked(self._disk, effect.request)
            cluster.network.send(self.number, effect.to, effect.request)
        elif isinstance(effect, Respond):
            request, respond = self._asked[effect.token]
            if effect.last:
                del self._asked[effect.token]
            cluster.invariants.told(self._disk, request, effect.reply)
            respond(effect.reply)
        elif isinstance(effect, Answer):
            cluster.answered(self.number, effect.token, effect.outcome)
        elif isinstance(effect, Proceed):
            self._later(0, partial(self.take, effect.call))
        elif isinstance(effect, CloseLink):
            cluster.network.close(self.number, effect.worker)
        elif isinstance(effect, Note):
            cluster.notes.append((cluster.now_ms, self.number, effect.event, effect.fields))

    # --- the store's own work -----------------------------------------------------------------------

    def _sync_later(self, delay_ms: int) -> None:
        if not self._sync_due:
            self._sync_due = True
            self._later(delay_ms, self._sync)

    def _sync(self) -> None:
        if self.syncs_held:
            return
        self._sync_due = False
        self.store.committer.step()
        if self.store.durable_lsn < self.store.appended_lsn or self.store.full:
            self._sync_later(SPACE_CHECK_MS)

    def _tidy(self) -> None:
        idle = self.store.tidier.step() is None
        if self.store.durable_lsn < self.store.appended_lsn:
            self._sync_later(self._cluster.random.randrange(self.sync_ms))
        self._later(IDLE_TIDY_MS if idle else TIDY_MS, self._tidy)

    def _synced(self, _lsn: int) -> None:
        self._later(1, partial(self.take, self.machine.durable))

    def _failed(self, error: BaseException) -> None:
        raise error

    def _damaged(self, partitions: frozenset[int]) -> None:
        self._cluster.invariants.gave_up(self._disk, partitions)
        self._later(1, lambda: self.take(self.machine.damaged, partitions))
