"""The judge of histories is judged: what it must accept, and what it must not."""

from __future__ import annotations

import pytest

from kvnode.verify.checker import check
from kvnode.verify.history import Op, Told
from tests.unit.verify.ops import delete, get, match, put

UNKNOWN, FAILED, ABSENT = Told.UNKNOWN, Told.CONDITION_FAILED, Told.ABSENT
FIRST = put(0, 1, 1)
SECOND = put(2, 3, 2)

IN_ORDER: dict[str, list[Op]] = {
    "nothing": [],
    "a read of nothing": [get(0, 1, 0)],
    "a write, then its read": [FIRST, get(2, 3, 1)],
    "a write takes effect between two reads": [put(0, 9, 1), get(1, 2, 0), get(3, 4, 1)],
    "of two writes at once either may come last": [put(0, 9, 1), put(0, 9, 2), get(10, 11, 2)],
    "an unknown write shows up late": [put(0, 1, 1, UNKNOWN), get(2, 3, 0), get(4, 5, 1)],
    "an unknown write never shows up": [put(0, 1, 1, UNKNOWN), get(2, 3, 0), get(4, 5, 0)],
    "a write that was not done": [FIRST, put(2, 3, 2, Told.NOT_DONE), get(4, 5, 1)],
    "an unknown delete shows up late": [FIRST, delete(2, 3, 2, UNKNOWN), get(4, 5, 1), get(6, 7, 0)],
    "a matching condition": [FIRST, put(2, 3, 2, if_match=match(1)), get(4, 5, 2)],
    "a condition that an unknown write has broken": [
        FIRST,
        put(2, 3, 2, UNKNOWN),
        put(4, 5, 3, FAILED, if_match=match(1)),
        get(6, 7, 2),
    ],
    "a condition that fails": [FIRST, SECOND, put(4, 5, 3, FAILED, if_match=match(1)), get(6, 7, 2)],
    "a deleted key is absent": [FIRST, delete(2, 3, 2), put(4, 5, 3, if_absent=True), get(6, 7, 3)],
    "a delete of nothing": [delete(0, 1, 0, ABSENT), delete(2, 3, 0, FAILED, if_present=True)],
    "a version that only a refusal has shown": [
        put(0, 1, 1, UNKNOWN),
        put(2, 3, 2, FAILED, if_absent=True, version="1.1.1"),
        put(4, 5, 3, if_match=match(1)),
    ],
}
OUT_OF_ORDER: dict[str, list[Op]] = {
    "a lost write": [FIRST, get(2, 3, 0)],
    "a stale read": [FIRST, SECOND, get(4, 5, 1)],
    "a write seen, then not": [put(0, 9, 1), get(1, 2, 1), get(3, 4, 0)],
    "an unknown write seen, then not": [put(0, 1, 1, UNKNOWN), get(2, 3, 1), get(4, 5, 0)],
    "a write that was not done is read": [put(0, 1, 1, Told.NOT_DONE), get(2, 3, 1)],
    "a value that nobody put": [get(0, 1, 7)],
    "a value is there, and a delete finds none": [FIRST, delete(2, 3, 0, ABSENT)],
    "a delete that is undone": [FIRST, delete(2, 3, 2), get(4, 5, 1)],
    "a condition that held was refused": [FIRST, put(2, 3, 2, FAILED, if_match=match(1))],
    "a condition that did not hold was granted": [FIRST, SECOND, put(4, 5, 3, if_match=match(1))],
    "two conditions on one version were granted": [
        FIRST,
        put(2, 9, 2, if_match=match(1)),
        put(2, 9, 3, if_match=match(1)),
    ],
    "two creations of one key": [put(0, 9, 1, if_absent=True), put(0, 9, 2, if_absent=True)],
    "a retry applied twice": [
        put(0, 1, 1, UNKNOWN, if_absent=True),
        get(2, 3, 1),
        put(4, 5, 2),
        get(6, 7, 1),
    ],
    "one version names two writes": [FIRST, put(2, 3, 2, version="1.1.1")],
    "a version falls": [put(0, 1, 5), put(2, 3, 4)],
    "a read shows an older version": [put(0, 9, 1), put(0, 9, 2), get(10, 11, 2), get(12, 13, 1)],
}


@pytest.mark.parametrize("ops", IN_ORDER.values(), ids=IN_ORDER)
def test_accepts(ops: list[Op]) -> None:
    """A history that one register could have given passes."""
    assert check(ops).linearizable


@pytest.mark.parametrize("ops", OUT_OF_ORDER.values(), ids=OUT_OF_ORDER)
def test_rejects(ops: list[Op]) -> None:
    """A stale, lost, invented, doubly versioned or wrongly conditional answer is found."""
    verdict = check(ops)
    assert [finding.key for finding in verdict.violations] == ["a"]
    assert "a: " in str(verdict.findings[0])


def test_keys_are_judged_apart() -> None:
    """A violation names its key; the others are in order."""
    other = put(0, 1, 1, key="b")
    assert [finding.key for finding in check([FIRST, get(2, 3, 0), other]).violations] == ["a"]


def test_gives_up_honestly() -> None:
    """Beyond the bound of its search a key is undecided: neither in order nor violated."""
    many = [put(0, 1000, number, version=None) for number in range(1, 13)]
    impossible = [*many, delete(2000, 2001, 0, ABSENT)]
    verdict = check(impossible, max_nodes=100)
    assert not verdict.linearizable
    assert not verdict.violations


def test_long_histories_take_no_time_worth_naming() -> None:
    """10,000 operations of 16 clients on one key, some unknown, are explained without much searching."""
    ops: list[Op] = []
    for number in range(1, 10_001):
        told = UNKNOWN if number % 500 == 0 else Told.OK
        ops.append(put(number * 10, number * 10 + 155, number, told))
    assert check(ops, max_nodes=30_000).linearizable
