"""What travels in bulk: lists of core's structs as MessagePack, in one bytes field of a message.

Protobuf in Python costs 5 to 20 µs for each record that it fills or reads field by field, msgspec
less than one. ``proto/`` says what stands in each place. Only shapes and types are judged
here by msgspec; the checks below say what each value may be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from kvnode.core.messages import AcceptItem, Attempt, Held
from kvnode.core.operations import Condition, Kind, Outcome
from kvnode.core.records import Record
from kvnode.core.status import KeyEvent
from kvnode.core.versions import NO_BALLOT, Ballot, Version
from kvnode.errors import MessageError
from kvnode.rpc.codec.wire import (
    ITEMS,
    LARGEST,
    LARGEST_PARTITION,
    LARGEST_WORKER,
    SURELY_SHORT,
    checked_key,
    checked_name,
    checked_value,
)

LONGEST_MS: Final = 86_400_000
"""The longest deadline that a request can have: the bound of ``limits.request_timeout_ms``."""

pack: Final[Callable[[Any], bytes]] = msgspec.msgpack.Encoder().encode


def _unpacker(kind: Any, what: str) -> Callable[[bytes], Any]:  # noqa: ANN401 - a type may be any annotation
    """Return what reads a list of ``kind``; an absent field is an empty list."""
    decode = msgspec.msgpack.Decoder(list[kind]).decode

    def unpack(data: bytes) -> Any:  # noqa: ANN401 - the list
        if not data:
            return []
        try:
            items = decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MessageError(f"{what} that cannot be read: {error}") from error
        if len(items) > ITEMS:
            raise MessageError(f"{len(items)} {what}, expected at most {ITEMS}")
        return items

    return unpack


_items: Final[Callable[[bytes], list[AcceptItem]]] = _unpacker(AcceptItem, "records")
_records: Final[Callable[[bytes], list[Record | None]]] = _unpacker(Record | None, "records")
_held: Final[Callable[[bytes], list[Held]]] = _unpacker(Held, "keys")
_ballots: Final[Callable[[bytes], list[tuple[int, Ballot]]]] = _unpacker(tuple[int, Ballot], "ballots")
_attempts: Final[Callable[[bytes], list[Attempt]]] = _unpacker(Attempt, "attempts")
_outcomes: Final[Callable[[bytes], list[tuple[int, Outcome]]]] = _unpacker(tuple[int, Outcome], "outcomes")


_events: Final[Callable[[bytes], list[KeyEvent]]] = _unpacker(KeyEvent, "key events")


def unpack_items(data: bytes) -> list[AcceptItem]:
    """Read records to be accepted."""
    items = _items(data)
    for item in items:
        _check_record(item.record)
        if item.request_id is not None:
            checked_name(item.request_id)
    return items


def unpack_states(data: bytes) -> list[Record | None]:
    """Read the records of some keys, None where there is none."""
    records = _records(data)
    for record in records:
        if record is not None:
            _check_record(record)
    return records


def unpack_records(data: bytes) -> list[Record]:
    """Read records."""
    records = unpack_states(data)
    if None in records:
        raise MessageError("a record that is none")
    return records  # type: ignore[return-value]


def unpack_held(data: bytes) -> list[Held]:
    """Read what a replica holds for some keys."""
    found = _held(data)
    for held in found:
        checked_key(held.key)
        _check_ballot(held.accepted)
        _check_version(held.version)
    return found


def unpack_ballots(data: bytes) -> list[tuple[int, Ballot]]:
    """Read ballots by partition."""
    ballots = _ballots(data)
    for partition, ballot in ballots:
        _check_partition(partition)
        _check_ballot(ballot)
    return ballots


def unpack_attempts(data: bytes) -> list[Attempt]:
    """Read operations for a leader."""
    attempts = _attempts(data)
    for attempt in attempts:
        operation = attempt.operation
        if attempt.number < 0 or not 0 <= attempt.deadline_ms <= LONGEST_MS:
            raise MessageError(f"attempt {attempt.number} with a deadline in {attempt.deadline_ms} ms")
        checked_key(operation.key)
        if operation.value is not None:
            checked_value(operation.value)
        kind = operation.kind
        if (kind is Kind.PUT) == (operation.value is None):
            raise MessageError(f"a {kind.name} {'without' if operation.value is None else 'with'} a value")
        if operation.local and kind is not Kind.GET:
            raise MessageError(f"a local {kind.name}")
        if operation.condition is not None:
            _check_condition(operation.condition)
        if operation.request_id is not None:
            checked_name(operation.request_id)
        if attempt.promised is not None and attempt.promised != NO_BALLOT:
            _check_ballot(attempt.promised)
    return attempts


def unpack_outcomes(data: bytes) -> list[tuple[int, Outcome]]:
    """Read outcomes by attempt."""
    outcomes = _outcomes(data)
    for number, outcome in outcomes:
        if number < 0:
            raise MessageError(f"the outcome of attempt {number}")
        if outcome.version is not None:
            _check_version(outcome.version)
        if outcome.value is not None:
            checked_value(outcome.value)
        if outcome.ballot is not None:
            _check_ballot(outcome.ballot)
    return outcomes


def unpack_events(data: bytes) -> list[KeyEvent]:
    """Read what became part of a worker's index."""
    events = _events(data)
    for event in events:
        _check_partition(event.partition)
        checked_key(event.key)
        _check_version(event.version)
    return events


def _check_record(record: Record) -> None:
    partition, key, (term, worker), version = record.partition, record.key, record.accepted, record.version
    plain = 0 <= partition <= LARGEST_PARTITION and 0 < len(key) <= SURELY_SHORT
    if not (plain and 0 < term <= LARGEST and 0 < worker <= LARGEST_WORKER):
        _check_partition(partition)
        checked_key(key)
        _check_ballot(record.accepted)
    _check_version(version)
    if record.previous is not None:
        _check_version(record.previous)
    if record.value is not None:
        checked_value(record.value)


def _check_condition(condition: Condition) -> None:
    for version in condition.any_of or ():
        _check_version(version)


def _check_partition(partition: int) -> None:
    if not 0 <= partition <= LARGEST_PARTITION:
        raise MessageError(f"partition {partition}")


def _check_ballot(ballot: Ballot) -> None:
    if not (0 < ballot[0] <= LARGEST and 0 < ballot[1] <= LARGEST_WORKER):
        raise MessageError(f"ballot {tuple(ballot)}, expected a term and a worker")


def _check_version(version: Version) -> None:
    term, worker, seq = version
    if not (0 < term <= LARGEST and 0 < worker <= LARGEST_WORKER and 0 < seq <= LARGEST):
        raise MessageError(f"version {tuple(version)}, expected a term, a worker and a number")
