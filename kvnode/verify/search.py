"""The search through the orders of one key's operations (Wing and Gong 1993, Lowe 2017)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from kvnode.verify.register import Register
from kvnode.verify.unseen import Unseen, Used

AHEAD = 3


class Node(msgspec.Struct, frozen=True, gc=False):
    """How far one order has come.

    All operations before number ``base`` are placed, and those of the bits of ``window`` from there
    on; ``used`` counts the unseen ones; ``state`` is the register's after them.
    """

    base: int
    window: int
    state: int
    used: Used


class Span(msgspec.Struct, frozen=True):
    """The certain operations that an order is sought for, by their start.

    Those below ``optional`` may as well have been placed before it begins, and those that end after
    ``until_us`` after it; all others must be placed. ``states`` are those that it may begin in.
    """

    indices: Sequence[int]
    states: Sequence[int]
    optional: int = 0
    until_us: int | None = None


class Search:
    """Whether an order explains a span of the operations of one key.

    An operation that changes nothing is placed as soon as it may be; no state is left before all
    that can only stand in it are placed; and the others are tried by their versions, so that a
    history in order is explained in about as many steps as it has operations. ``stuck_us`` are the
    times at which it probably has none, if none was found.
    """

    def __init__(self, register: Register, unseen: Unseen, span: Span, max_nodes: int) -> None:
        self._register = register
        self._unseen = unseen
        self._indices = span.indices
        self._optional = span.optional
        self._ends = [register.end_us[index] for index in span.indices]
        self._starts = [register.ops[index].start_us for index in span.indices]
        ends = enumerate(self._ends)
        must = [
            n
            for n, end_us in ends
            if n >= span.optional and (span.until_us is None or end_us <= span.until_us)
        ]
        self._required = sum(1 << number for number in must)
        self._number_of = {span.indices[number]: number for number in must}
        self.stuck_us: list[int] = [0]
        self.given_up = False
        self.found = self._search([Node(0, 0, state, unseen.none_used) for state in span.states], max_nodes)

    @property
    def refuted(self) -> bool:
        """Whether there certainly is no order."""
        return not self.found and not self.given_up

    def _search(self, stack: list[Node], max_nodes: int) -> bool:
        seen: set[Node] = set()
        furthest = -1
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if not self._required >> node.base & ~node.window:
                return True
            if len(seen) >= max_nodes:
                self.given_up = True
                return False
            candidates, first_end_us = self._first_ones(node)
            placed = node.base + node.window.bit_count()
            if placed > furthest:
                furthest, self.stuck_us = placed, self._ahead(node, first_end_us)
            stack.extend(self._next(node, candidates, first_end_us))
        return False

    def _ahead(self, node: Node, first_end_us: int) -> list[int]:
        """Return the times by which no order can have got past a node, should it be the end of all."""
        ends = {max(first_end_us, self._ends[number]) for number in self._still_needed(node)}
        return sorted({first_end_us, *ends})[:AHEAD]

    def _first_ones(self, node: Node) -> tuple[list[int], int]:
        """Return the operations that began before any other that has yet to be placed had ended."""
        number, window = node.base, node.window
        first_end_us = self._ends[number]
        found = []
        while number < len(self._indices) and self._starts[number] <= first_end_us:
            if not window >> (number - node.base) & 1:
                found.append(number)
                first_end_us = min(first_end_us, self._ends[number])
            number += 1
        return [n for n in found if self._starts[n] <= first_end_us], first_end_us

    def _next(self, node: Node, candidates: list[int], first_end_us: int) -> list[Node]:
        """Return the nodes one operation further, the most promising last."""
        after = [(n, self._register.after(self._indices[n], node.state)) for n in candidates]
        for number, state in after:
            if state == node.state and number >= self._optional:
                return [_place(node, number, state, node.used)]
        needed = self._still_needed(node)
        further = [_place(node, n, node.state, node.used) for n in candidates if n < self._optional]
        helped: list[Node] = []
        blocked = [n for n, state in after if state is None]
        if blocked and not needed:
            for then, used in reversed(self._unseen.reach(node.state, node.used, first_end_us)):
                helped.extend(self._helped(node, blocked, then, used))
        direct = [(n, state) for n, state in after if state is not None and needed <= {n}]
        direct.sort(key=lambda pair: self._age(pair[0]), reverse=True)
        return [*further, *helped, *(_place(node, n, state, node.used) for n, state in direct)]

    def _helped(self, node: Node, blocked: Iterable[int], then: int, used: Used) -> list[Node]:
        """Return the nodes in which an unseen operation made possible what was not."""
        further = []
        for number in blocked:
            state = self._register.after(self._indices[number], then)
            if state is not None:
                further.append(_place(node, number, state, used))
        return further

    def _still_needed(self, node: Node) -> set[int]:
        """Return the numbers of what must be placed before the present state is over, or to end it."""
        numbers = (self._number_of.get(index) for index in self._register.needed_in(node.state))
        return {
            n for n in numbers if n is not None and n >= node.base and not node.window >> (n - node.base) & 1
        }

    def _age(self, number: int) -> tuple[int, ...]:
        """Return what orders writes as they probably happened."""
        return (*self._register.rank(self._indices[number]), self._ends[number])


def _place(node: Node, number: int, state: int, used: Used) -> Node:
    base, window = node.base, node.window | 1 << (number - node.base)
    while window & 1:
        base, window = base + 1, window >> 1
    return Node(base, window, state, used)
