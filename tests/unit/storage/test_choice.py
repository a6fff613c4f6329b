"""Which segments are worth a merge."""

from __future__ import annotations

import pytest

from kvnode.storage.merge import choose
from kvnode.storage.segment import Segment


def segment(number: int, size: int, live: int, *, clean: int = 0, forgotten: int = 0) -> Segment:
    """Return a segment at rest."""
    made = Segment(number, number, clean)
    made.size = made.written = size
    made.live = live
    made.forgotten = forgotten
    made.sealed = True
    return made


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ([], []),
        ([segment(1, 100, 60)], []),
        ([segment(1, 100, 60), segment(2, 100, 40)], [2]),
        ([segment(1, 100, 40), segment(2, 100, 40), segment(3, 100, 90)], [1, 2]),
        ([segment(1, 100, 49), segment(2, 100, 49), segment(3, 100, 49)], [1, 2]),
        ([segment(1, 100, 90), segment(2, 100, 50, forgotten=50)], [1]),
        ([segment(1, 100, 90, clean=2), segment(2, 100, 50, forgotten=50)], [2]),
        ([segment(1, 100, 90), segment(2, 100, 60, forgotten=40)], []),
        ([segment(number, 6, 6) for number in range(1, 7)], [1, 2, 3, 4]),
        ([segment(number, 6, 6) for number in range(1, 4)], []),
    ],
)
def test_what_is_worth_merging(found: list[Segment], chosen: list[int]) -> None:
    """Mostly dead segments first, then those that keep tombstones from going, then many small ones."""
    assert [s.number for s in choose(found, 100)] == chosen
