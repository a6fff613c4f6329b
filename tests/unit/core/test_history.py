"""The judge of histories is judged: what it must accept, and what it must not."""

from __future__ import annotations

import pytest

from kvnode.core.operations import Condition, Kind, Operation, Outcome, Status
from kvnode.core.versions import Version
from tests.simulation.cluster import Call
from tests.simulation.history import check_linearizable

UNKNOWN = Outcome(Status.UNKNOWN)
ABSENT = Outcome(Status.ABSENT)


def call(began_ms: int, ended_ms: int, operation: Operation, outcome: Outcome | None) -> Call:
    """Return an operation as a client saw it."""
    made = Call(1, operation, began_ms)
    made.ended_ms, made.outcome = ended_ms, outcome
    return made


def put(began_ms: int, ended_ms: int, number: int, outcome: Outcome | None = None) -> Call:
    """Return a put of a number, by default successful with that number as its version."""
    operation = Operation(Kind.PUT, "a", b"%d" % number)
    return call(began_ms, ended_ms, operation, outcome or Outcome(Status.OK, Version(1, 1, number)))


def get(began_ms: int, ended_ms: int, number: int) -> Call:
    """Return a read of what ``put`` with the same number wrote; 0 is absent."""
    found = Outcome(Status.OK, Version(1, 1, number), b"%d" % number)
    return call(began_ms, ended_ms, Operation(Kind.GET, "a"), found if number else ABSENT)


def delete(began_ms: int, ended_ms: int, outcome: Outcome) -> Call:
    """Return a delete."""
    return call(began_ms, ended_ms, Operation(Kind.DELETE, "a"), outcome)


def replace(began_ms: int, ended_ms: int, number: int, base: int, outcome: Outcome) -> Call:
    """Return a put that is conditional on a version."""
    condition = Condition(any_of=(Version(1, 1, base),))
    return call(began_ms, ended_ms, Operation(Kind.PUT, "a", b"%d" % number, condition), outcome)


FAILED = Outcome(Status.CONDITION_FAILED)


@pytest.mark.parametrize(
    "calls",
    [
        [],
        [get(0, 1, 0)],
        [put(0, 1, 1), get(2, 3, 1)],
        [put(0, 9, 1), get(1, 2, 0), get(3, 4, 1)],
        [put(0, 9, 1), put(0, 9, 2), get(10, 11, 1)],
        [put(0, 1, 1, UNKNOWN), get(2, 3, 0), get(4, 5, 1)],
        [put(0, 1, 1, UNKNOWN), get(2, 3, 0), get(4, 5, 0)],
        [put(0, 1, 1), put(2, 3, 2, Outcome(Status.NOT_STORED)), get(4, 5, 1)],
        [put(0, 1, 1), delete(2, 3, UNKNOWN), get(4, 5, 1), get(6, 7, 0)],
        [put(0, 1, 1), replace(2, 3, 2, 1, Outcome(Status.OK, Version(1, 1, 2))), get(4, 5, 2)],
        [put(0, 1, 1), put(2, 3, 2), replace(4, 5, 3, 1, FAILED), get(6, 7, 2)],
    ],
)
def test_accepts(calls: list[Call]) -> None:
    """A history that one register could have given passes."""
    check_linearizable(calls)


@pytest.mark.parametrize(
    "calls",
    [
        [put(0, 1, 1), get(2, 3, 0)],
        [put(0, 1, 1), put(2, 3, 2), get(4, 5, 1)],
        [put(0, 9, 1), get(1, 2, 1), get(3, 4, 0)],
        [put(0, 1, 1, UNKNOWN), get(2, 3, 1), get(4, 5, 0)],
        [put(0, 1, 1, Outcome(Status.NOT_STORED)), get(2, 3, 1)],
        [put(0, 1, 1), delete(2, 3, ABSENT)],
        [put(0, 1, 1), replace(2, 3, 2, 1, FAILED)],
        [put(0, 1, 1), put(2, 3, 2), replace(4, 5, 3, 1, Outcome(Status.OK, Version(1, 1, 3)))],
        [put(0, 1, 1), put(2, 3, 2, Outcome(Status.OK, Version(1, 1, 1)))],
    ],
)
def test_rejects(calls: list[Call]) -> None:
    """A stale, lost, invented, doubly versioned or wrongly conditional outcome is found."""
    with pytest.raises(AssertionError):
        check_linearizable(calls)
