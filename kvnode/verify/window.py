"""The smallest window of operations that no order explains, whatever stood in the register before."""

from __future__ import annotations

from kvnode.verify.history import Op
from kvnode.verify.register import ABSENT, Register
from kvnode.verify.search import Search, Span
from kvnode.verify.unseen import Unseen

MAX_NODES = 10_000
FEWEST = 2


def unexplained(register: Register, unseen: Unseen, until_us: int) -> list[Op]:
    """Return the last few operations that began by ``until_us``, if no order of them alone exists.

    Twice as many are tried until there is none, then fewer again; empty where no such window is found.
    What overlaps the window's edges may stand in it or outside.
    """
    begun = [index for index in register.certain if register.ops[index].start_us <= until_us]
    count, too_few = FEWEST, 0
    while (search := _search(register, unseen, begun, count, until_us)).found:
        if count >= len(begun):
            return []
        count, too_few = count * 2, count
    if search.given_up:
        return []
    enough = min(count, len(begun))
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if _search(register, unseen, begun, middle, until_us).refuted:
            enough = middle
        else:
            too_few = middle
    shown = _span(register, begun[-enough:], begun, until_us).indices
    relevant = [i for i in register.unseen if register.ops[i].start_us <= until_us][-FEWEST * 2 :]
    return [register.ops[index] for index in sorted([*shown, *relevant])]


def _span(register: Register, last: list[int], begun: list[int], until_us: int) -> Span:
    """Return the span from the start of the first of ``last``, with what was under way then."""
    if not last:
        return Span([], [ABSENT])
    from_us = register.ops[last[0]].start_us
    before = [i for i in begun[: len(begun) - len(last)] if register.end_us[i] >= from_us]
    indices = [*before, *last]
    states = {ABSENT, register.unseen_put} | register.named_states(indices)
    return Span(indices, sorted(states), optional=len(before), until_us=until_us)


def _search(register: Register, unseen: Unseen, begun: list[int], count: int, until_us: int) -> Search:
    return Search(register, unseen, _span(register, begun[-count:], begun, until_us), MAX_NODES)
