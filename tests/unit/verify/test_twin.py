"""The checker against a twin that is obviously right, and far too slow for anything but small histories."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from kvnode.errors import HistoryError
from kvnode.verify.history import Asked, Op, Told
from kvnode.verify.register import ABSENT, Register
from kvnode.verify.search import Search, Span
from kvnode.verify.unseen import Unseen
from kvnode.verify.window import unexplained
from tests.unit.verify.ops import delete, get, match, put

MOST = 5
NUMBERS = st.integers(1, 3)


@st.composite
def operations(draw: st.DrawFn, number: int) -> Op:
    """Draw an operation; ``number`` is its own, if it writes."""
    start_us = draw(st.integers(0, 6))
    end_us = start_us + draw(st.integers(0, 4))
    told = draw(st.sampled_from([Told.OK, Told.OK, Told.UNKNOWN, Told.UNKNOWN, Told.CONDITION_FAILED]))
    conditions: dict[str, object] = draw(
        st.sampled_from(
            [
                {},
                {},
                {"if_absent": True},
                {"if_present": True},
                {"if_match": match(1)},
                {"if_match": match(2)},
            ]
        )
    )
    if told is Told.CONDITION_FAILED and conditions.get("if_present") is None:
        shown = draw(st.integers(0, MOST))
        conditions = conditions | ({"version": f"1.1.{shown}"} if shown else {})
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
    must = [op for op in ops if op.told is not Told.UNKNOWN]
    may = [op for op in ops if op.told is Told.UNKNOWN]
    for choice in range(1 << len(may)):
        chosen = must + [op for bit, op in enumerate(may) if choice >> bit & 1]
        if any(_possible(order) for order in permutations(chosen)):
            return True
    return False


def _possible(order: tuple[Op, ...]) -> bool:
    """Act as the server would have: ``present`` is the value's number, 0 for none."""
    present = 0
    for place, op in enumerate(order):
        if op.end_us is not None and any(op.end_us < earlier.start_us for earlier in order[:place]):
            return False
        holds = not (op.if_absent and present) and not (op.if_present and not present)
        if op.if_match is not None:
            holds = bool(present) and f"1.1.{present}" in op.if_match
        writes = op.op is Asked.PUT or (op.op is Asked.DELETE and present)
        told = Told.CONDITION_FAILED if not holds else Told.OK if writes or op.value else Told.ABSENT
        shown = op.version in {None, f"1.1.{present}"}
        if op.told is not Told.UNKNOWN:
            if told is not op.told or (told is Told.CONDITION_FAILED and not shown):
                return False
            if op.op is Asked.GET and op.value != (f'"{present}"' if present else None):
                return False
        if holds and writes:
            present = int((op.value or "0").strip('"'))
    return True


def _named(ops: list[Op]) -> set[str | None]:
    """Return the versions that conditions name, and those that refusals showed."""
    named: set[str | None] = {op.version for op in ops if op.told is Told.CONDITION_FAILED} - {None}
    return named.union(*(op.if_match or () for op in ops))


@given(histories())
@settings(max_examples=300, deadline=None)
def test_the_search_finds_what_trying_everything_finds(ops: list[Op]) -> None:
    """On small histories the search and the twin agree, in both directions.

    Only the twin knows which version an unknown PUT would have made. Where a condition names one that
    no known PUT made, the search may find more orders, and never less.
    """
    try:
        register = Register(ops)
    except HistoryError:
        assert not explained(ops)
        return
    unseen = Unseen(register)
    search = Search(register, unseen, Span(register.certain, [ABSENT]), 1_000_000)
    if _named(ops) <= {op.version for op in ops if op.op is Asked.PUT and op.told is Told.OK}:
        assert search.found == explained(ops)
    else:
        assert search.found or not explained(ops)
    if search.found:
        assert not any(unexplained(register, unseen, op.start_us) for op in ops)
