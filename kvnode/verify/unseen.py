"""Operations of unknown outcome that no read has shown: they may explain an answer, or never happen.

Those that can do the same are used in the order in which they began, so that a count is all there is
to remember of each kind, however many there are. They wait until an answer needs them: one that may
take effect now may as well do so later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from kvnode.verify.history import Asked, Op
from kvnode.verify.register import ABSENT, Register

Used = tuple[int, ...]
Step = tuple[int, Used]


class Unseen:
    """The unseen operations of one key, by kind. ``none_used`` is how many of each are used at first."""

    def __init__(self, register: Register) -> None:
        self._register = register
        kinds: dict[tuple[Asked, bool, bool], list[Op]] = defaultdict(list)
        self._matching: list[Op] = []
        for index in register.unseen:
            op = register.ops[index]
            if op.if_match is None:
                kinds[op.op, op.if_present, op.if_absent].append(op)
            else:
                self._matching.append(op)
        self._kinds = list(kinds.values())
        self.none_used: Used = (0,) * len(self._kinds)

    def reach(self, state: int, used: Used, by_us: int) -> list[Step]:
        """Return the states that one or two of them begun by ``by_us`` can bring about, the cheapest first.

        More are never needed: what a third could do, the first could have done.
        """
        once = list(self._steps(state, used, by_us))
        twice = [step for then, so_far in once for step in self._steps(then, so_far, by_us)]
        return [*once, *(step for step in twice if step not in once)]

    def _steps(self, state: int, used: Used, by_us: int) -> Iterator[Step]:
        matched: set[int] = set()
        for op in self._matching:
            if op.start_us > by_us:
                break
            then = self._after(op, state)
            if then is not None and then not in matched:
                matched.add(then)
                yield then, used
        for kind, ops in enumerate(self._kinds):
            count = used[kind]
            if count < len(ops) and ops[count].start_us <= by_us:
                then = self._after(ops[count], state)
                if then is not None:
                    yield then, (*used[:kind], count + 1, *used[kind + 1 :])

    def _after(self, op: Op, state: int) -> int | None:
        """Return the state that it makes of another; None if it changes nothing."""
        if self._register.holds(op, state) is False:
            return None
        if op.op is Asked.PUT:
            return self._register.unseen_put
        return ABSENT if state != ABSENT else None
