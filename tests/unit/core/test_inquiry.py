"""Which record of a majority's must be accepted again."""

from __future__ import annotations

import pytest

from kvnode.core.inquiry import DELETED, newest_to_accept_again
from kvnode.core.records import Record
from kvnode.core.versions import NO_VERSION, Ballot, Version
from tests.unit.core.building import record

BALLOT = Ballot(9, 2)


def test_nothing_when_it_stands_on_all() -> None:
    """A record that stands alike on the whole majority is committed as it is."""
    states = [(record(1), NO_VERSION), (record(1), NO_VERSION)]
    assert newest_to_accept_again(states, BALLOT) is None


def test_nothing_when_there_is_none() -> None:
    """A key that nobody holds needs nothing."""
    assert newest_to_accept_again([(None, NO_VERSION), (None, NO_VERSION)], BALLOT) is None


@pytest.mark.parametrize(
    "other",
    [None, record(1), record(2, accepted=2), record(2, copied=True)],
    ids=["missing", "older version", "older ballot", "copied"],
)
def test_the_newest_when_it_does_not_stand(other: Record | None) -> None:
    """The newest (accepted, version) wins, keeps its version and is accepted under the new ballot."""
    again = newest_to_accept_again([(record(2, accepted=3), NO_VERSION), (other, NO_VERSION)], BALLOT)
    assert isinstance(again, Record)
    assert (again.accepted, again.version, again.copied) == (BALLOT, Version(1, 1, 2), False)


def test_a_higher_ballot_beats_a_higher_version() -> None:
    """An older version that was accepted again later is the newer record."""
    states = [(record(7, accepted=1), NO_VERSION), (record(3, accepted=2), NO_VERSION)]
    again = newest_to_accept_again(states, BALLOT)
    assert isinstance(again, Record)
    assert again.version.seq == 3


def test_a_forgotten_tombstone_stands() -> None:
    """Absent under a floor at or above a tombstone's version equals holding it, and deletes a value."""
    tombstone, value = record(4, value=None), record(4)
    floor = Version(1, 1, 4)
    assert newest_to_accept_again([(tombstone, NO_VERSION), (None, floor)], BALLOT) is None
    assert newest_to_accept_again([(tombstone, NO_VERSION), (None, NO_VERSION)], BALLOT) is not None
    assert newest_to_accept_again([(value, NO_VERSION), (None, floor)], BALLOT) is DELETED
    newer = record(5)
    again = newest_to_accept_again([(newer, NO_VERSION), (None, floor)], BALLOT)
    assert isinstance(again, Record)
    assert again.value == newer.value
