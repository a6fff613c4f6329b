"""Records, refusals and ballots by partition: what several messages are made of."""

from __future__ import annotations

from collections.abc import Iterable

from kvnode.core.messages import Held, Refusal
from kvnode.core.records import Record
from kvnode.core.versions import Ballot
from kvnode.errors import MessageError
from kvnode.rpc.codec.wire import ballot, ballot_or_none, checked_key, checked_value, version
from kvnode.rpc.pb import replication_pb2 as pb


def put_record(message: pb.RecordMsg, record: Record) -> None:
    """Fill an empty message."""
    message.partition = record.partition
    message.key = record.key
    message.accepted_term, message.accepted_worker = record.accepted
    message.version_term, message.version_worker, message.version_seq = record.version
    if record.previous is not None:
        message.previous_term, message.previous_worker, message.previous_seq = record.previous
    if record.value is not None:
        message.value = record.value
    if record.copied:
        message.copied = True


def get_record(message: pb.RecordMsg) -> Record:
    """Read a record; its ballot and version must be there."""
    seq = message.previous_seq
    term = message.previous_term
    return Record(
        message.partition,
        checked_key(message.key),
        ballot(message.accepted_term, message.accepted_worker),
        version(message.version_term, message.version_worker, message.version_seq),
        version(term, message.previous_worker, seq) if seq or term else None,
        checked_value(message.value) if message.HasField("value") else None,
        message.copied,
    )


def put_refusal(message: pb.RefusalMsg, refusal: Refusal) -> None:
    """Fill an empty message."""
    message.partition = refusal.partition
    message.promised_term, message.promised_worker = refusal.promised
    message.voting = refusal.voting
    message.full = refusal.full


def get_refusal(message: pb.RefusalMsg) -> Refusal:
    """Read a refusal; a replica may have promised nothing yet."""
    promised = ballot_or_none(message.promised_term, message.promised_worker)
    return Refusal(message.partition, promised, message.voting, message.full)


def get_refusals(messages: Iterable[pb.RefusalMsg]) -> list[Refusal]:
    """Read a list of refusals."""
    return [get_refusal(message) for message in messages]


def put_ballots(message: pb.BallotsMsg, ballots: list[tuple[int, Ballot]]) -> None:
    """Fill the three columns."""
    message.partitions.extend([partition for partition, _ in ballots])
    message.terms.extend([one.term for _, one in ballots])
    message.workers.extend([one.worker for _, one in ballots])


def get_ballots(message: pb.BallotsMsg) -> list[tuple[int, Ballot]]:
    """Read the three columns, which must be of one length."""
    partitions, terms, workers = message.partitions, message.terms, message.workers
    if not len(partitions) == len(terms) == len(workers):
        raise MessageError(
            f"{len(partitions)} partitions with {len(terms)} terms and {len(workers)} workers",
        )
    return [
        (partition, ballot(term, worker))
        for partition, term, worker in zip(partitions, terms, workers, strict=True)
    ]


def put_held(message: pb.HeldMsg, held: Held) -> None:
    """Fill an empty message."""
    message.key = held.key
    message.accepted_term, message.accepted_worker = held.accepted
    message.version_term, message.version_worker, message.version_seq = held.version
    message.copied = held.copied
    message.tombstone = held.tombstone


def get_held(message: pb.HeldMsg) -> Held:
    """Read what a replica holds for a key."""
    return Held(
        checked_key(message.key),
        ballot(message.accepted_term, message.accepted_worker),
        version(message.version_term, message.version_worker, message.version_seq),
        message.copied,
        message.tombstone,
    )
