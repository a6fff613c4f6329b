"""One key as a register with versions: what each operation may do to it, and what it must have seen.

A state is the PUT that made the present value (its index among the key's operations), ``ABSENT``, or a
number above all indices: some PUT of unknown outcome that no read has shown, of which at most the
version is known. Which version names which write is learnt from what writers and readers were told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from kvnode.errors import HistoryError
from kvnode.verify.history import Asked, Op, Told

ABSENT = -1
_NEVER: frozenset[int] = frozenset()


class Register:
    """The sequential specification of one key, for one history of it, sorted by start.

    ``certain`` are the operations that took effect: those with a known outcome, and the PUTs of
    unknown outcome that were read; ``end_us`` says until when. ``unseen`` are the other unknown ones.
    """

    def __init__(self, ops: Sequence[Op]) -> None:
        self.ops = ops
        self.unseen_put = len(ops)
        self._writer_of = _writers(ops)
        self._written_by: dict[str, int] = {}
        self._version_of: dict[int, str] = {}
        self._untied: dict[str, int] = {}
        read = [self._learn(index, op) for index, op in enumerate(ops)]
        self._read = read
        self.end_us = self._deadlines(read)
        seen = {writer for writer in read if writer is not None}
        unknown = [index for index, op in enumerate(ops) if op.told is Told.UNKNOWN]
        self.unseen = [index for index in unknown if index not in seen]
        hidden = set(self.unseen)
        self.certain = [index for index in range(len(ops)) if index not in hidden]
        self._tie_others()
        self._needs = self._needs_of(read)

    def _learn(self, index: int, op: Op) -> int | None:
        """Learn who wrote a version; return which PUT a read saw."""
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

    def _deadlines(self, read: Sequence[int | None]) -> list[int]:
        """Return by when each operation took effect: one of unknown outcome before its first read ended."""
        ends = [op.start_us if op.end_us is None else op.end_us for op in self.ops]
        first: dict[int, int] = {}
        for index, writer in enumerate(read):
            if writer is not None:
                first[writer] = min(first.get(writer, ends[index]), ends[index])
        for writer, end_us in first.items():
            if self.ops[writer].told is Told.UNKNOWN:
                ends[writer] = end_us
        return ends

    def _tie_others(self) -> None:
        """Give each version that no known write bears a state of its own."""
        for op in self.ops:
            shown = [op.version] if op.told is Told.CONDITION_FAILED else []
            for version in [*shown, *(op.if_match or ())]:
                if version is not None and version not in self._written_by and version not in self._untied:
                    state = self.unseen_put + 1 + len(self._untied)
                    self._untied[version] = state
                    self._version_of[state] = version

    def _needs_of(self, read: Sequence[int | None]) -> dict[int, frozenset[int]]:
        """Return for each state the certain operations that can only stand in it, or end it."""
        needs: dict[int, set[int]] = defaultdict(set)
        for index in self.certain:
            op, writer = self.ops[index], read[index]
            if writer is not None:
                needs[writer].add(index)
            elif op.told is Told.CONDITION_FAILED and op.version is not None:
                needs[self._named_by(op.version)].add(index)
            elif op.told is not Told.CONDITION_FAILED and op.if_match is not None and len(op.if_match) == 1:
                needs[self._named_by(op.if_match[0])].add(index)
        return {state: frozenset(indices) for state, indices in needs.items()}

    def _named_by(self, version: str) -> int:
        return self._written_by.get(version, self._untied.get(version, self.unseen_put))

    def needed_in(self, state: int) -> frozenset[int]:
        """Return the certain operations for which there is no place once a state is over."""
        return self._needs.get(state, _NEVER)

    def named_states(self, indices: Iterable[int]) -> set[int]:
        """Return the states that operations, or the unseen ones, can only have met by name."""
        states: set[int] = set()
        for index in (*indices, *self.unseen):
            op, read = self.ops[index], self._read[index]
            shown = (op.version,) if op.told is Told.CONDITION_FAILED and op.version is not None else ()
            states.update(self._named_by(version) for version in (*shown, *(op.if_match or ())))
            if read is not None:
                states.add(read)
        return states

    def rank(self, index: int) -> tuple[int, ...]:
        """Return the numbers of the version that an operation was given, if they are known."""
        return version_numbers(self._version_of.get(index)) or ()

    def after(self, index: int, state: int) -> int | None:
        """Return the state after a certain operation; None if it cannot have been answered so here."""
        op = self.ops[index]
        present = state != ABSENT
        holds = self.holds(op, state)
        if op.told is Told.CONDITION_FAILED:
            return self._refused(op, state, holds=holds)
        if holds is False:
            return None
        if op.told is Told.ABSENT:
            return state if not present else None
        if op.op is Asked.GET:
            return state if self._read[index] == state else None
        if op.op is Asked.PUT:
            return index
        return ABSENT if present else None

    def _refused(self, op: Op, state: int, *, holds: bool | None) -> int | None:
        """Return the state after a refused condition; its answer may have shown the version in the way."""
        if holds is True:
            return None
        if op.version is None:
            return state
        known = self._version_of.get(state)
        if known is not None:
            return state if known == op.version else None
        fits = state != ABSENT and op.version in self._untied and op.version not in (op.if_match or ())
        if not fits:
            return None
        return self._untied[op.version] if state == self.unseen_put else state

    def holds(self, op: Op, state: int) -> bool | None:
        """Whether a condition holds; None where a version that nobody tied to a write decides."""
        present = state != ABSENT
        if (op.if_absent and present) or (op.if_present and not present):
            return False
        if op.if_match is None:
            return True
        if not present:
            return False
        version = self._version_of.get(state)
        if version is not None:
            return version in op.if_match
        return None if any(match in self._untied for match in op.if_match) else False


def version_numbers(version: str | None) -> tuple[int, ...] | None:
    """Return the parts of a version like ``3.1.42``, which order it; None for one that has no order."""
    parts = (version or "").split(".")
    return tuple(map(int, parts)) if all(map(str.isdecimal, parts)) else None


def _writers(ops: Sequence[Op]) -> dict[str, int]:
    """Return which PUT wrote each value. Raises HistoryError when two wrote the same."""
    writers: dict[str, int] = {}
    for index, op in enumerate(ops):
        if op.op is Asked.PUT and op.value is not None and writers.setdefault(op.value, index) != index:
            raise HistoryError(0, f"{op.value} was put twice: reads cannot be told apart")
    return writers
