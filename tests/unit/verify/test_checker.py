"""The judge of histories is judged: what it must accept, and what it must not."""

from __future__ import annotations

import pytest
from msgspec import structs

from kvnode.verify.checker import check
from kvnode.verify.history import Op, Told
from tests.unit.verify.ops import delete, get, match, put

UNKNOWN, FAILED, ABSENT = Told.UNKNOWN, Told.CONDITION_FAILED, Told.ABSENT
FIRST = put(0, 1, 1)
SECOND = put(2, 3, 2)

SECOND_AFTER = put(6, 7, 2)

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
    "a refusal shows a version that was gone": [
        FIRST,
        SECOND,
        put(4, 9, 3, FAILED, if_absent=True, version="1.1.1"),
    ],
    "a refusal shows the version that was asked for": [
        FIRST,
        put(2, 3, 2, FAILED, if_match=match(1), version="1.1.1"),
    ],
    "an unknown write is read before it was sent": [get(0, 1, 1), put(2, 3, 1, UNKNOWN)],
    "an unknown write is seen, overwritten, and seen again": [
        put(0, 1, 1, UNKNOWN),
        get(2, 3, 1),
        put(4, 5, 2, version=None),
        get(6, 7, 1),
    ],
    "one unknown delete explains one absence, not two": [
        FIRST,
        delete(2, 3, 0, UNKNOWN),
        get(4, 5, 0),
        SECOND_AFTER,
        get(8, 9, 0),
    ],
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


def test_a_violation_is_shown_by_the_fewest_operations() -> None:
    """Of a long history only those are shown that no order explains, whatever was before."""
    calm = [put(number * 10, number * 10 + 5, number) for number in range(1, 2_000)]
    wrong = [delete(30_000, 30_001, 2_000), get(30_002, 30_003, 1_999)]
    finding = check(
        [*calm, *(op_without_version(op) for op in wrong), put(30_010, 30_011, 2_001)]
    ).violations[0]
    assert finding.ops == [op_without_version(op) for op in wrong]


def test_many_unknown_writes_that_nobody_saw_cost_little() -> None:
    """Compare-and-set by 16 clients, one write in ten unknown: decided, whether in order or not."""
    ops: list[Op] = []
    for number in range(1, 3_001):
        begin = number * 10
        if number % 10 == 0:
            ops.append(put(begin, begin, number, UNKNOWN))
        elif number % 10 == 1:
            ops.append(put(begin, begin + 55, number))
        else:
            ops.append(put(begin, begin + 55, number, if_match=match(number - 1)))
    assert check(ops).linearizable
    late = get(40_000, 40_001, 2_991, version=None)
    assert check([*ops, late, get(40_002, 40_003, 2_981, version=None)]).violations


def op_without_version(op: Op) -> Op:
    """Return an operation whose answer named no version: the chain cannot judge it, the search must."""
    return structs.replace(op, version=None)


def test_long_histories_take_no_time_worth_naming() -> None:
    """10,000 operations of 16 clients on one key, some unknown, are explained without much searching."""
    ops: list[Op] = []
    for number in range(1, 10_001):
        told = UNKNOWN if number % 500 == 0 else Told.OK
        ops.append(put(number * 10, number * 10 + 155, number, told))
    assert check(ops, max_nodes=30_000).linearizable
