"""Elections: asking the replicas of a partition to promise a ballot, for many partitions at once.

This worker's own promise is durable before any other is asked for, and no ballot is asked for twice
by two processes: a new one is always above everything that was ever promised here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from kvnode.core.calls import Calls
from kvnode.core.context import Context
from kvnode.core.messages import Prepare, PrepareReply, Promise, Reply
from kvnode.core.pending import Pending
from kvnode.core.versions import NO_VERSION, Ballot

PARKED_MAX = 1024


class Election:
    """One try to lead one partition, and the operations that wait for its end."""

    __slots__ = ("asked_ms", "ballot", "parked", "promises")

    def __init__(self, ballot: Ballot, now_ms: int) -> None:
        self.ballot = ballot
        self.asked_ms = now_ms
        self.promises: dict[int, Promise] = {}
        self.parked: list[Pending] = []


class ElectionWatcher(Protocol):
    """Who is told how elections end; the operations that were parked are then the watcher's."""

    def won(self, partition: int, election: Election) -> None:
        """A majority has promised the ballot."""

    def lost(self, partition: int, election: Election, promised: Ballot) -> None:
        """Somebody has promised a higher ballot."""


class Elections:
    """The elections that are under way."""

    def __init__(self, ctx: Context, calls: Calls, watcher: ElectionWatcher) -> None:
        self._ctx = ctx
        self._calls = calls
        self._watcher = watcher
        self._open: dict[int, Election] = {}
        self._to_prepare: list[tuple[int, Ballot]] = []

    def __contains__(self, partition: int) -> bool:
        """Whether this worker stands for a partition."""
        return partition in self._open

    def stand(self, partition: int, above: int) -> None:
        """Begin an election with a term higher than ``above`` and than any promised here."""
        promised = self._ctx.journal.promised(partition)
        ballot = Ballot(max(promised.term, above) + 1, self._ctx.worker)
        self._ctx.journal.promise(partition, ballot)
        self._open[partition] = Election(ballot, self._ctx.now_ms)
        self._to_prepare.append((partition, ballot))

    def park(self, partition: int, pending: Pending) -> bool:
        """Let an operation wait for the end of a partition's election, if there is one with room."""
        election = self._open.get(partition)
        if election is None or len(election.parked) >= PARKED_MAX:
            return False
        election.parked.append(pending)
        return True

    # --- asking -----------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what has gathered, once this worker's own promises are durable."""
        if self._to_prepare:
            ballots, self._to_prepare = self._to_prepare, []
            self._ctx.durability.after_all(partial(self._prepare, ballots))

    def _prepare(self, ballots: list[tuple[int, Ballot]]) -> None:
        by_peer: dict[int, list[tuple[int, Ballot]]] = {}
        for partition, ballot in ballots:
            election = self._open.get(partition)
            if election is None or election.ballot != ballot:
                continue
            election.asked_ms = self._ctx.now_ms
            self._promised_by(self._ctx.worker, Promise(partition, 0, NO_VERSION), ballot)
            for worker in self._ctx.ring.preference_list(partition):
                if worker != self._ctx.worker and worker not in election.promises:
                    by_peer.setdefault(worker, []).append((partition, ballot))
        for worker, asked in by_peer.items():
            message = Prepare(self._ctx.number(), asked)
            self._calls.ask(worker, message, partial(self._prepared, dict(asked)))

    def _prepared(self, asked: dict[int, Ballot], worker: int, reply: Reply | None) -> None:
        if not isinstance(reply, PrepareReply):
            return
        for promise in reply.promises:
            self._promised_by(worker, promise, asked.get(promise.partition))
        for refusal in reply.refused:
            self.overtaken(refusal.partition, refusal.promised)

    def _promised_by(self, worker: int, promise: Promise, ballot: Ballot | None) -> None:
        partition = promise.partition
        election = self._open.get(partition)
        if election is None or election.ballot != ballot:
            return
        election.promises[worker] = promise
        if len(election.promises) >= self._ctx.quorum:
            del self._open[partition]
            self._watcher.won(partition, election)

    # --- ending -----------------------------------------------------------------------------------

    def overtaken(self, partition: int, promised: Ballot) -> None:
        """End a partition's election if a higher ballot was promised."""
        election = self._open.get(partition)
        if election is not None and promised > election.ballot:
            del self._open[partition]
            self._watcher.lost(partition, election, promised)

    def drop_all(self) -> None:
        """End all elections; what waits for them is declined."""
        for partition in list(self._open):
            self.drop(partition)

    def drop(self, partition: int) -> None:
        """End a partition's election, if there is one; what waits for it is declined."""
        election = self._open.pop(partition, None)
        for pending in () if election is None else election.parked:
            pending.decline(0)

    def forget_votes(self, worker: int, partition: int | None = None) -> None:
        """Discount what a worker has promised, and may not know any more, for one partition or for all."""
        for number, election in self._open.items():
            if partition in (None, number):
                election.promises.pop(worker, None)

    def tick(self, has_quorum: Callable[[int], bool]) -> None:
        """Give up where no majority can be reached; ask again where promises are missing."""
        now = self._ctx.now_ms
        for partition, election in list(self._open.items()):
            self._expire_parked(election)
            if not has_quorum(partition):
                del self._open[partition]
                for pending in election.parked:
                    pending.fail(0, "too few replicas can be reached")
            elif now - election.asked_ms >= self._ctx.timing.prepare_retry_ms:
                election.asked_ms = now
                self._to_prepare.append((partition, election.ballot))

    def _expire_parked(self, election: Election) -> None:
        now = self._ctx.now_ms
        late = [pending for pending in election.parked if pending.deadline_ms <= now]
        if late:
            election.parked = [pending for pending in election.parked if pending.deadline_ms > now]
            for pending in late:
                pending.fail(0, "no leader was found in time")
