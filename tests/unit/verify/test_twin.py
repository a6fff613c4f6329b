"""The checker against a twin that is obviously right, and far too slow for anything but small histories."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from kvnode.errors import HistoryError
from kvnode.verify.history import Op, Told
from kvnode.verify.register import UNWRITTEN, Register
from kvnode.verify.search import Search
from tests.unit.verify.ops import delete, get, match, put

MOST = 5
NUMBERS = st.integers(1, 3)


@st.composite
def operations(draw: st.DrawFn, number: int) -> Op:
    """Draw an operation; ``number`` is its own, if it writes."""
    start_us = draw(st.integers(0, 6))
    end_us = start_us + draw(st.integers(0, 4))
    told = draw(st.sampled_from([Told.OK, Told.OK, Told.UNKNOWN, Told.CONDITION_FAILED]))
    conditions: dict[str, object] = draw(
        st.sampled_from([{}, {}, {"if_absent": True}, {"if_present": True}, {"if_match": match(1)}])
    )
    kind = draw(st.sampled_from(["get", "get", "put", "put", "delete"]))
    if kind == "get":
        return get(start_us, end_us, draw(st.integers(0, MOST)))
    if kind == "put":
        return put(start_us, end_us, number, told, **conditions)
    return delete(start_us, end_us, number, told, **conditions)


@st.composite
def histories(draw: st.DrawFn) -> list[Op]:
    """Draw a history of one key."""
    count = draw(st.integers(0, MOST))
    ops = [draw(operations(number)) for number in range(1, count + 1)]
    return sorted(ops, key=lambda op: op.start_us)


def explained(ops: list[Op]) -> bool:
    """Try every order of every choice of the unknown operations."""
    register = Register(ops)
    must = [index for index, op in enumerate(ops) if op.told is not Told.UNKNOWN]
    may = [index for index, op in enumerate(ops) if op.told is Told.UNKNOWN]
    for choice in range(1 << len(may)):
        chosen = must + [index for bit, index in enumerate(may) if choice >> bit & 1]
        if any(_possible(register, ops, order) for order in permutations(chosen)):
            return True
    return False


def _possible(register: Register, ops: list[Op], order: tuple[int, ...]) -> bool:
    state = UNWRITTEN
    for place, index in enumerate(order):
        end_us = ops[index].end_us
        if end_us is not None and any(end_us < ops[earlier].start_us for earlier in order[:place]):
            return False
        after = register.after(index, state)
        if after is None:
            return False
        state = after
    return True


@given(histories())
@settings(max_examples=600, deadline=None)
def test_the_search_finds_what_trying_everything_finds(ops: list[Op]) -> None:
    """On small histories the search and the twin agree, in both directions."""
    try:
        Register(ops)
    except HistoryError:
        return
    assert Search(ops, 1_000_000).found == explained(ops)
