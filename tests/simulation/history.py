"""Judging what clients saw: some order of the operations must explain every answer.

A small search after Wing and Gong (1993), key by key, with the memory of Lowe (2017). Every write's
value is its own, so that a read tells which write it saw. A write with an unknown outcome may take
effect at any time after it began, or never; what certainly was not done is left out.
"""

from __future__ import annotations

from collections.abc import Iterable

from kvnode.core.operations import Kind, Status
from kvnode.core.versions import Version
from tests.simulation.cluster import Call

NEVER = 1 << 60
NOTHING = frozenset({Status.NOT_STORED, Status.UNAVAILABLE, Status.OVERLOADED, Status.NOT_LEADER})
UNWRITTEN = -1


class KeyHistory:
    """The operations on one key that may have taken effect or seen something."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self._calls = [call for call in calls if self._matters(call)]
        self._writer_of: dict[bytes, int] = {}
        self._written_by: dict[Version, int] = {}
        for index, call in enumerate(self._calls):
            if call.operation.kind is Kind.PUT and call.operation.value is not None:
                self._writer_of[call.operation.value] = index
        for index, call in enumerate(self._calls):
            self._learn_version(index, call)

    @staticmethod
    def _matters(call: Call) -> bool:
        if call.outcome is None or call.outcome.status is Status.UNKNOWN:
            return call.operation.kind is not Kind.GET
        return call.outcome.status not in NOTHING

    def _learn_version(self, index: int, call: Call) -> None:
        outcome = call.outcome
        if outcome is None or outcome.status is not Status.OK or outcome.version is None:
            return
        if call.operation.kind is Kind.GET:
            assert outcome.value is not None, "a value was read"
            assert outcome.value in self._writer_of, f"{outcome.value!r} was never put"
            index = self._writer_of[outcome.value]
        writer = self._written_by.setdefault(outcome.version, index)
        assert writer == index, f"version {outcome.version} names two writes"

    def linearizable(self) -> bool:
        """Whether some order of all operations explains every outcome."""
        everything = (1 << len(self._calls)) - 1
        seen: set[tuple[int, int]] = set()
        stack = [(everything, UNWRITTEN)]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            remaining, state = node
            if self._only_unknown(remaining):
                return True
            for index in self._first_ones(remaining):
                after = self._effect(index, state)
                if after is not None:
                    stack.append((remaining & ~(1 << index), after))
        return False

    def _ends(self, index: int) -> int:
        call = self._calls[index]
        if self._is_unknown(call) or call.ended_ms is None:
            return NEVER
        return call.ended_ms

    @staticmethod
    def _is_unknown(call: Call) -> bool:
        return call.outcome is None or call.outcome.status is Status.UNKNOWN

    def _members(self, remaining: int) -> list[int]:
        return [index for index in range(len(self._calls)) if remaining >> index & 1]

    def _only_unknown(self, remaining: int) -> bool:
        return all(self._is_unknown(self._calls[index]) for index in self._members(remaining))

    def _first_ones(self, remaining: int) -> list[int]:
        """Return the operations that began before any other of the remaining ones had ended."""
        members = self._members(remaining)
        first_end = min(self._ends(index) for index in members)
        return [index for index in members if self._calls[index].began_ms <= first_end]

    def _effect(self, index: int, state: int) -> int | None:
        """Return the state after an operation (the index of its writer); None if it cannot be here."""
        call = self._calls[index]
        kind = call.operation.kind
        present = state != UNWRITTEN and self._calls[state].operation.kind is Kind.PUT
        holds = self._condition_holds(call, state, present=present)
        if call.outcome is None or call.outcome.status is Status.UNKNOWN:
            possible, writes = True, holds and (kind is Kind.PUT or present)
        elif call.outcome.status is Status.CONDITION_FAILED:
            possible, writes = not holds, False
        elif call.outcome.status is Status.ABSENT:
            possible, writes = holds and not present, False
        elif kind is Kind.GET:
            possible, writes = present and self._calls[state].operation.value == call.outcome.value, False
        else:
            possible, writes = holds and (kind is Kind.PUT or present), True
        if not possible:
            return None
        return index if writes else state

    def _condition_holds(self, call: Call, state: int, *, present: bool) -> bool:
        condition = call.operation.condition
        if condition is None:
            return True
        if (condition.absent and present) or (condition.present and not present):
            return False
        if condition.any_of is not None:
            return present and any(self._written_by.get(version) == state for version in condition.any_of)
        return True

    def __str__(self) -> str:
        """List the operations in order of their beginning."""
        return "\n".join(
            f"{call.began_ms:6} {call.ended_ms or '':6} worker {call.worker} "
            f"{call.operation.kind.name} {call.operation.value!r} {call.operation.condition or ''} "
            f"-> {call.outcome and (call.outcome.status.name, call.outcome.value, str(call.outcome.version))}"
            for call in self._calls
        )


def check_linearizable(calls: Iterable[Call]) -> None:
    """Fail, with the key's history, if what clients saw has no explanation."""
    by_key: dict[str, list[Call]] = {}
    for call in calls:
        by_key.setdefault(call.operation.key, []).append(call)
    for key, on_key in by_key.items():
        history = KeyHistory(on_key)
        assert history.linearizable(), f"no order explains what was seen of {key}:\n{history}"
