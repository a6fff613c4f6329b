"""One key as a register with versions: what each operation may do to it, and what it must have seen.

A state is the write that made the present record: its index among the key's operations, or
``UNWRITTEN``. Which version names which write is learnt from what the writers were told and from
what readers saw.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvnode.errors import HistoryError
from kvnode.verify.history import Asked, Op, Told

UNWRITTEN = -1


class Register:
    """The sequential specification of one key, for one history of it."""

    def __init__(self, ops: Sequence[Op]) -> None:
        self._ops = ops
        self._writer_of = _writers(ops)
        self._written_by: dict[str, int] = {}
        self._version_of: dict[int, str] = {}
        self._values: list[int | None] = [self._learn(index, op) for index, op in enumerate(ops)]
        self.observed = {seen for seen in self._values if seen is not None}

    def _learn(self, index: int, op: Op) -> int | None:
        """Learn who wrote a version; return which write a read saw."""
        writer: int | None = None
        if op.op is Asked.GET and op.told is Told.OK and op.value is not None:
            writer = self._writer_of.get(op.value)
            if writer is None:
                raise HistoryError(0, f"{op.value} was read, and never put")
        elif op.told is Told.OK:
            writer = index
        if writer is not None and op.version is not None:
            known = self._written_by.setdefault(op.version, writer)
            other = self._version_of.setdefault(writer, op.version)
            if known != writer or other != op.version:
                raise HistoryError(0, f"version {op.version} names two writes, or one write has two versions")
        return writer if op.op is Asked.GET else None

    def after(self, index: int, state: int) -> int | None:
        """Return the state after an operation; None if it cannot have been answered so here."""
        op = self._ops[index]
        present = state != UNWRITTEN and self._ops[state].op is Asked.PUT
        holds = self._holds(op, state, present=present)
        wrote = index if op.op is Asked.PUT or present else state
        if op.told is Told.UNKNOWN:
            return wrote if holds is not False else state
        if op.told is Told.CONDITION_FAILED:
            return state if holds is not True else None
        if holds is False:
            return None
        if op.told is Told.ABSENT:
            return state if not present else None
        if op.op is Asked.GET:
            return state if present and self._values[index] == state else None
        return wrote if op.op is Asked.PUT or present else None

    def _holds(self, op: Op, state: int, *, present: bool) -> bool | None:
        """Whether a condition holds; None where a version that nobody tied to a write decides."""
        if (op.if_absent and present) or (op.if_present and not present):
            return False
        if op.if_match is None:
            return True
        if not present:
            return False
        version = self._version_of.get(state)
        if version is not None:
            return version in op.if_match
        return None if any(match not in self._written_by for match in op.if_match) else False


def _writers(ops: Sequence[Op]) -> dict[str, int]:
    """Return which PUT wrote each value. Raises HistoryError when two wrote the same."""
    writers: dict[str, int] = {}
    for index, op in enumerate(ops):
        if op.op is Asked.PUT and op.value is not None and writers.setdefault(op.value, index) != index:
            raise HistoryError(0, f"{op.value} was put twice: reads cannot be told apart")
    return writers
