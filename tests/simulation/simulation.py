"""One seed from beginning to end: a cluster under its plan's faults, then healed, read and judged."""

from __future__ import annotations

from collections import Counter
from functools import partial
from hashlib import blake2b

import msgspec

from kvnode.core.operations import Kind, Operation, Status
from kvnode.replication.host import PROTOCOL
from tests.simulation.clients import Client, Keys
from tests.simulation.cluster import EAGER, FAST, OLDER, Call, Disks, SimCluster
from tests.simulation.copies import check_copies
from tests.simulation.history import check_linearizable
from tests.simulation.nemesis import Nemesis
from tests.simulation.plan import Plan, draw

FORMING_MS = 20_000
HEALING_MS = 30_000
READING_MS = 15_000
STEP_MS = 10
ANSWERED = (Status.OK, Status.ABSENT)


class Simulation:
    """The history of one seed. ``calls`` is what the clients did and saw."""

    def __init__(self, seed: int) -> None:
        self.plan: Plan = draw(seed)
        plan = self.plan
        timing = EAGER if plan.eager else FAST
        self.cluster = SimCluster(
            seed,
            workers=plan.workers,
            partitions=plan.partitions,
            replicas=plan.replicas,
            disks=Disks(plan.segment_bytes, plan.reserve_bytes, tidies=True),
            timing=msgspec.structs.replace(timing, gather_operations=plan.gather_operations),
            protocol=OLDER if plan.older else PROTOCOL,
        )
        self.calls: list[Call] = []
        self.nemesis = Nemesis(plan, self.cluster)
        self._keys = Keys(plan.keys)
        self._clients = [
            Client(number, plan, self.cluster, self._keys, self.calls)
            for number in range(1, plan.clients + 1)
        ]

    def run(self) -> None:
        """Live through it. Raises AssertionError, or whatever a machine or a store raised."""
        cluster, plan = self.cluster, self.plan
        if not plan.at_birth:
            cluster.until(cluster.healthy, FORMING_MS, STEP_MS)
        for client in self._clients:
            client.start()
        self.nemesis.start()
        cluster.run(plan.chaos_ms)
        for client in self._clients:
            client.stop()
        self.nemesis.stop()
        self._read_at_last()
        check_linearizable(self.telling())

    # --- the end ----------------------------------------------------------------------------------

    def _read_at_last(self) -> None:
        """Wait until all is well, and read everything through every majority of its replicas."""
        cluster, plan = self.cluster, self.plan
        absent = plan.replicas - (plan.replicas // 2 + 1)
        if plan.reads_early and self._all_vote():
            self._read_without(cluster.random.sample(cluster.numbers, absent))
        cluster.until(self._well, HEALING_MS, STEP_MS)
        for index in range(plan.workers):
            self._read_without([cluster.numbers[(index + step) % plan.workers] for step in range(absent)])
        cluster.until(self._well, HEALING_MS, STEP_MS)
        check_copies(cluster)

    def _all_vote(self) -> bool:
        return not self.nemesis.disks.hurt and all(
            worker.store.identity.cluster_id and not worker.machine.rebuild.remaining
            for worker in self.cluster.workers.values()
        )

    def _well(self) -> bool:
        return self.cluster.healthy() and self.cluster.converged() and not self.nemesis.disks.hurt

    def _linked(self) -> bool:
        return all(peer.live for worker in self.cluster.up() for peer in worker.machine.peers)

    def _read_without(self, absent: list[int]) -> None:
        """Read all keys while some workers are gone, and bring those back."""
        cluster = self.cluster
        for number in absent:
            if self.plan.cuts_last:
                cluster.isolate(number)
            else:
                cluster.crash(number)
        present = [number for number in cluster.numbers if number not in absent]
        reads = [self._read(cluster.random.choice(present), key) for key in self._keys.all]
        cluster.until(lambda: all(read.status in ANSWERED for read in reads), READING_MS)
        cluster.heal()
        for number in absent:
            if not cluster.workers[number].up:
                cluster.start(number)
        cluster.until(self._linked, HEALING_MS, STEP_MS)

    def _read(self, worker: int, key: str) -> LastRead:
        read = LastRead(self.cluster, self.calls, worker, key)
        read.submit()
        return read

    # --- what came of it --------------------------------------------------------------------------

    def telling(self) -> list[Call]:
        """Return the calls but for the writes that no worker ever made a record of: they did nothing."""
        written = self.cluster.invariants.written
        return [
            call
            for call in self.calls
            if (call.outcome is not None and call.outcome.status is not Status.UNKNOWN)
            or call.operation.kind is not Kind.PUT
            or (call.operation.key, call.operation.value) in written
        ]

    def outcomes(self) -> Counter[str]:
        """Count the operations by what clients were told."""
        return Counter(
            "no answer" if call.outcome is None else call.outcome.status.name.lower() for call in self.calls
        )

    def faults(self) -> Counter[str]:
        """Count the faults of each kind, the network's own included."""
        return self.nemesis.counts + self.cluster.network.counts

    def digest(self) -> str:
        """Return a digest of all that has happened: equal for equal histories, and only for those."""
        digest = blake2b(digest_size=16)
        for call in self.calls:
            digest.update(repr((call.began_us, call.ended_us, call.operation, call.outcome)).encode())
        for event in (*self.nemesis.story, *self.cluster.notes, *(self.cluster.network.sent or ())):
            digest.update(repr(event).encode())
        for worker in self.cluster.workers.values():
            for name in worker.disk.names():
                digest.update(worker.disk.contents(name))
        return digest.hexdigest()


class LastRead:
    """A read that is tried until it is answered."""

    def __init__(self, cluster: SimCluster, calls: list[Call], worker: int, key: str) -> None:
        self._cluster = cluster
        self._calls = calls
        self._worker = worker
        self._key = key
        self.status: Status | None = None

    def submit(self) -> None:
        """Try."""
        call = self._cluster.submit(self._worker, Operation(Kind.GET, self._key))
        self._calls.append(call)
        if call.ended_us is None:
            call.on_end = partial(self._ended, call)
        else:
            self._ended(call)

    def _ended(self, call: Call) -> None:
        self.status = call.status
        if self.status not in ANSWERED:
            self._cluster.events.after(STEP_MS, self.submit)
