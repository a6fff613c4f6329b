"""The search through the orders of one key's operations (Wing and Gong 1993, Lowe 2017)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from kvnode.verify.history import Op, Told
from kvnode.verify.register import UNWRITTEN, Register

CONTEXT = 6


class Node(msgspec.Struct, frozen=True, gc=False):
    """How far one order has come.

    All operations with a known outcome before number ``base`` are placed, and those of the bits of
    ``window`` from there on; of the unknown ones those of the bits of ``used``; ``state`` is the
    register's after them.
    """

    base: int
    window: int
    used: int
    state: int


def _placed(node: Node) -> int:
    """Count the operations with a known outcome that are placed."""
    return node.base + node.window.bit_count()


class Search:
    """Whether an order explains the operations of one key, which are sorted by their start.

    Operations that must be placed are tried before those with an unknown outcome, so that a history
    in order is explained in about as many steps as it has operations.
    """

    def __init__(self, ops: Sequence[Op], max_nodes: int) -> None:
        self._ops = ops
        self._register = Register(ops)
        self._known = [index for index, op in enumerate(ops) if op.told is not Told.UNKNOWN]
        self._unknown = [index for index, op in enumerate(ops) if op.told is Told.UNKNOWN]
        self._ends = [op.start_us if op.end_us is None else op.end_us for op in ops]
        self._furthest = Node(0, 0, 0, UNWRITTEN)
        self.given_up = False
        self.found = self._search(max_nodes)

    def _search(self, max_nodes: int) -> bool:
        seen: set[Node] = set()
        stack = [self._furthest]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if node.base == len(self._known):
                return True
            if (node.base, node.window.bit_count()) > (
                self._furthest.base,
                self._furthest.window.bit_count(),
            ):
                self._furthest = node
            if len(seen) >= max_nodes:
                self.given_up = True
                return False
            stack.extend(self._next(node))
        return False

    def _next(self, node: Node) -> list[Node]:
        """Return the nodes one operation further, the most promising last."""
        candidates, first_end_us = self._first_ones(node)
        further = list(self._with_unknown(node, first_end_us))
        for number in reversed(candidates):
            after = self._register.after(self._known[number], node.state)
            if after is not None:
                further.append(self._after(node, number, after))
        return further

    def _first_ones(self, node: Node) -> tuple[list[int], int]:
        """Return the known operations that began before any other that has yet to be placed had ended."""
        number, window = node.base, node.window
        first_end_us = self._ends[self._known[number]]
        found = []
        while number < len(self._known) and self._ops[self._known[number]].start_us <= first_end_us:
            if not window >> (number - node.base) & 1:
                found.append(number)
                first_end_us = min(first_end_us, self._ends[self._known[number]])
            number += 1
        within = [n for n in found if self._ops[self._known[n]].start_us <= first_end_us]
        return within, first_end_us

    def _with_unknown(self, node: Node, first_end_us: int) -> Iterator[Node]:
        """Yield the nodes in which an operation with an unknown outcome has taken effect next."""
        for number, index in enumerate(self._unknown):
            if self._ops[index].start_us > first_end_us:
                break
            if node.used >> number & 1:
                continue
            after = self._register.after(index, node.state)
            if after is not None and after != node.state:
                yield Node(node.base, node.window, node.used | 1 << number, after)

    def _after(self, node: Node, number: int, state: int) -> Node:
        base, window = node.base, node.window | 1 << (number - node.base)
        while window & 1:
            base, window = base + 1, window >> 1
        return Node(base, window, node.used, state)

    def stuck_at(self) -> list[Op]:
        """Return the operations around the point that no order gets past."""
        ahead = [self._known[number] for number in self._first_ones(self._furthest)[0]]
        return list(self._ops[max(0, min(ahead) - CONTEXT) : max(ahead) + 1])
