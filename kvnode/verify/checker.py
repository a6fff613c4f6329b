"""Judging a history: some order of the operations, true to real time, must explain every answer.

Key by key, since linearizability is local (Herlihy and Wing 1990): the search of Wing and Gong
(1993), which remembers what it has tried (Lowe 2017). An operation whose outcome is unknown may
take effect at any time after it began, or never. A second oracle looks at versions alone: those
that clients were shown must rise along real time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from kvnode.errors import HistoryError
from kvnode.verify.chain import broken_chain
from kvnode.verify.history import Asked, Op, Told
from kvnode.verify.register import ABSENT, Register
from kvnode.verify.search import Search, Span
from kvnode.verify.unseen import Unseen
from kvnode.verify.window import unexplained

MAX_NODES = 500_000
QUICKLY = 20_000
SHOWN = 20
UNEXPLAINED = "no order of these operations explains their answers"


class Finding(msgspec.Struct, frozen=True):
    """One key that was not found to be in order. ``decided`` is false when the search was given up."""

    key: str
    reason: str
    ops: list[Op]
    decided: bool = True

    def __str__(self) -> str:
        """Say it to a person: the operations in order of their beginning, times in milliseconds."""
        return "\n".join([f"{self.key}: {self.reason}", *map(_line, self.ops)])


class Verdict(msgspec.Struct, frozen=True):
    """What a history shows. ``findings`` is empty when every key is linearizable."""

    ops: int
    keys: int
    findings: list[Finding]

    @property
    def linearizable(self) -> bool:
        """Whether every key is."""
        return not self.findings

    @property
    def violations(self) -> list[Finding]:
        """The keys that are certainly not."""
        return [finding for finding in self.findings if finding.decided]


def _line(op: Op) -> str:
    end = "-" if op.end_us is None else f"{op.end_us / 1000:.3f}"
    condition = f" if {','.join(op.if_match)}" if op.if_match is not None else ""
    condition += " if present" * op.if_present + " if absent" * op.if_absent
    asked = f"{op.op} {op.value or ''}{condition}"
    return (
        f"  {op.start_us / 1000:12.3f} {end:>12}  client {op.client}: {asked} -> {op.told} {op.version or ''}"
    )


def check(ops: Iterable[Op], max_nodes: int = MAX_NODES) -> Verdict:
    """Judge a history; ``max_nodes`` bounds the search of each key (about 200 bytes each)."""
    by_key: dict[str, list[Op]] = defaultdict(list)
    count = 0
    for op in ops:
        by_key[op.key].append(op)
        count += 1
    found = [_check_key(key, on_key, max_nodes) for key, on_key in sorted(by_key.items())]
    return Verdict(count, len(by_key), [finding for finding in found if finding is not None])


def _check_key(key: str, ops: Sequence[Op], max_nodes: int) -> Finding | None:
    telling = sorted((op for op in ops if _tells(op)), key=lambda op: op.start_us)
    if chain := broken_chain(telling):
        return Finding(key, *chain)
    try:
        register = Register(telling)
    except HistoryError as error:
        return Finding(key, error.reason, telling[:SHOWN])
    return _search(key, register, max_nodes)


def _search(key: str, register: Register, max_nodes: int) -> Finding | None:
    """Search shortly; where that finds no order, look for a window that has none, then search on."""
    unseen = Unseen(register)
    whole = Span(register.certain, [ABSENT])
    stuck_us = [0]
    for nodes in (min(max_nodes, QUICKLY + 10 * len(register.ops)), max_nodes):
        search = Search(register, unseen, whole, nodes)
        if search.found:
            return None
        stuck_us = search.stuck_us
        for until_us in stuck_us:
            if window := unexplained(register, unseen, until_us):
                return Finding(key, UNEXPLAINED, window)
        if not search.given_up:
            return Finding(key, UNEXPLAINED, _around(register, stuck_us[-1]))
    reason = f"undecided after {max_nodes:,} states"
    return Finding(key, reason, _around(register, stuck_us[-1]), decided=False)


def _around(register: Register, stuck_us: int) -> list[Op]:
    return [op for op in register.ops if op.start_us <= stuck_us][-SHOWN:]


def _tells(op: Op) -> bool:
    """Whether an operation may have changed or seen anything."""
    if op.told is Told.UNKNOWN:
        return op.op is not Asked.GET
    return op.told is not Told.NOT_DONE
