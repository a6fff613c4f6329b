"""What a message may name: this cluster's workers, its partitions, and each key in its own partition.

The codec knows what every message must look like; this knows what it must look like in this
cluster. Both ends check whatever arrives, so that the core never sees what cannot be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kvnode.core.messages import (
    AcceptBatch,
    AcceptReply,
    ConfirmBatch,
    ConfirmReply,
    ExecuteBatch,
    ExecuteReply,
    FloorReply,
    Form,
    HandOver,
    Message,
    Prepare,
    PrepareReply,
    ReadStates,
    Refusal,
    SetFloor,
    StatesReply,
    Sync,
    SyncReply,
)
from kvnode.core.records import Record
from kvnode.core.versions import NO_BALLOT, NO_VERSION, Ballot, Version
from kvnode.errors import MessageError


class Layout:
    """Judges messages by the cluster's ``workers``, its number of partitions, and the partition of a key."""

    def __init__(self, workers: Iterable[int], partitions: int, partition_of: Callable[[str], int]) -> None:
        self._workers = frozenset(workers)
        self._partitions = partitions
        self._partition_of = partition_of

    def check(self, sender: int, message: Message) -> None:  # noqa: C901, PLR0912 - one case a message
        """Refuse a message of worker ``sender`` that names what there is not. Raises MessageError."""
        match message:
            case AcceptBatch():
                for item in message.items:
                    self._check_own(sender, item.record.accepted)
                    self._check_record(item.record)
            case AcceptReply():
                self._check_refusals(refusal for _, refusal in message.refused)
            case ExecuteBatch():
                self._check_partitions(message.asks)
                for attempt in message.attempts:
                    if attempt.promised is not None:
                        self._check_promised(attempt.promised)
            case ExecuteReply():
                self._check_partitions([partition for partition, _ in message.promises])
                named = [ballot[1] for _, ballot in message.promises]
                for _, outcome in message.outcomes:
                    if outcome.ballot is not None:
                        named.append(outcome.ballot[1])
                    named.extend(worker for worker in (outcome.leader, outcome.node) if worker)
                self._check_workers(named)
            case ConfirmBatch():
                self._check_ballots(sender, message.ballots)
                self._check_partitions(message.agreed)
            case ConfirmReply():
                self._check_refusals(message.refused)
            case Prepare():
                self._check_ballots(sender, message.ballots)
            case ReadStates():
                self._check_partitions((message.partition,))
                self._check_own(sender, message.ballot)
                for key in message.keys:
                    self._check_key(message.partition, key)
            case Sync():
                self._check_partitions((message.partition,))
                if message.ballot != NO_BALLOT:
                    self._check_own(sender, message.ballot)
            case SetFloor():
                self._check_partitions((message.partition,))
                self._check_own(sender, message.ballot)
                self._check_versions(message.floor, message.forgotten)
            case HandOver():
                self._check_partitions(message.partitions)
            case Form():
                self._check_workers(message.roster)
            case PrepareReply():
                self._check_partitions([promise.partition for promise in message.promises])
                self._check_refusals(message.refused)
            case StatesReply() | SyncReply():
                self._check_page(message)
            case FloorReply():
                self._check_partitions((message.partition,))
                self._check_versions(message.floor, message.forgotten)
                self._check_refusals(() if message.refused is None else (message.refused,))

    def _check_page(self, message: StatesReply | SyncReply) -> None:
        partition = message.partition
        self._check_partitions((partition,))
        for record in message.records:
            if record is not None:
                self._check_record(record)
                if record.partition != partition:
                    raise MessageError(f"a record of partition {record.partition} among those of {partition}")
        if message.refused is not None:
            self._check_refusals((message.refused,))
        if isinstance(message, SyncReply):
            self._check_promised(message.promised)
            for held in message.held:
                self._check_key(partition, held.key)
                self._check_workers((held.accepted.worker, held.version.worker))

    def _check_record(self, record: Record) -> None:
        if self._partition_of(record.key) != record.partition:
            self._check_key(record.partition, record.key)
        workers, previous = self._workers, record.previous
        if record.accepted[1] not in workers or record.version[1] not in workers:
            self._check_workers((record.accepted.worker, record.version.worker))
        if previous is not None and previous[1] not in workers:
            self._check_workers((previous.worker,))

    def _check_key(self, partition: int, key: str) -> None:
        if (actual := self._partition_of(key)) != partition:
            raise MessageError(f"a key of partition {actual} in partition {partition}")

    def _check_ballots(self, sender: int, ballots: list[tuple[int, Ballot]]) -> None:
        self._check_partitions([partition for partition, _ in ballots])
        for _, ballot in ballots:
            self._check_own(sender, ballot)

    def _check_own(self, sender: int, ballot: Ballot) -> None:
        if ballot[1] != sender:
            raise MessageError(f"a ballot of worker {ballot.worker} from worker {sender}")

    def _check_refusals(self, refusals: Iterable[Refusal]) -> None:
        for refusal in refusals:
            self._check_partitions((refusal.partition,))
            self._check_promised(refusal.promised)

    def _check_promised(self, ballot: Ballot) -> None:
        if ballot != NO_BALLOT:
            self._check_workers((ballot.worker,))

    def _check_versions(self, *versions: Version) -> None:
        self._check_workers(version.worker for version in versions if version != NO_VERSION)

    def _check_partitions(self, partitions: list[int] | tuple[int, ...]) -> None:
        if len(partitions) > self._partitions:
            raise MessageError(f"{len(partitions)} partitions, there are {self._partitions}")
        if partitions and max(partitions) >= self._partitions:
            raise MessageError(f"partition {max(partitions)}, there are {self._partitions}")

    def _check_workers(self, workers: Iterable[int]) -> None:
        for worker in workers:
            if worker not in self._workers:
                raise MessageError(f"there is no worker {worker}")
