"""What a soak run came to: the verdict, and what clients noticed of each kind of fault."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from kvnode.verify.report import summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvnode.verify.history import Op
    from tests.hosts.nemesis import Done
    from tests.hosts.traffic import Failure

SETTLED_S = 1.0


@dataclass(frozen=True)
class Account:
    """One run. ``equal_after_s``: from the last fault's end until all copies agreed, None if they did not."""

    seed: int
    seconds: float
    ops: Sequence[Op]
    failures: Sequence[Failure]
    faults: Sequence[Done]
    whole_at_s: Sequence[float]
    equal_after_s: float | None
    differences: Sequence[str]
    lost: Sequence[str]
    violations: Sequence[str]

    @property
    def passed(self) -> bool:
        """Whether everything that was promised held."""
        return self.equal_after_s is not None and not self.lost and not self.violations

    def lines(self) -> list[str]:
        """Tell all of it."""
        seen = summary(self.ops, max((op.end_us or 0 for op in self.ops), default=0))
        told = ", ".join(f"{count:,} {name}" for name, count in sorted(seen.told.items()))
        equal = "NOT EQUAL" if self.equal_after_s is None else f"equal after {self.equal_after_s:.1f} s"
        return [
            f"{self.seconds:g} s, seed {self.seed}: {len(self.faults)} faults, {len(self.ops):,} operations",
            f"lost acknowledged writes  {len(self.lost)}",
            f"violations                {len(self.violations)}",
            f"all copies of all keys    {equal}",
            f"answered                  {seen.answered:.2%} ({told}); longest silence {seen.gap_s:.1f} s",
            *(
                f"{asked:<26}p50 {took[0]:.0f} ms, p99 {took[1]:.0f} ms"
                for asked, took in seen.latency_ms.items()
                if took
            ),
            "",
            "fault           times  failed through others  trouble lasted    well again after its end",
            *self._by_kind(),
            *self._complaints(),
        ]

    def _by_kind(self) -> list[str]:
        kinds = sorted({done.step.fault for done in self.faults})
        return [
            _line(kind, [done for done in self.faults if done.step.fault is kind], self) for kind in kinds
        ]

    def _complaints(self) -> list[str]:
        named = {"LOST": self.lost, "VIOLATION": self.violations, "COPIES DIFFER": self.differences}
        return [f"{name}: {it}" for name, them in named.items() for it in them]

    def alone(self, done: Done) -> bool:
        """Whether nothing else was broken during a fault, and all was well again before it began."""
        others = [other for other in self.faults if other is not done and other.began_s < done.ended_s]
        last_s = max((other.ended_s for other in others), default=float("-inf"))
        return not others or any(last_s < at < done.began_s for at in self.whole_at_s)

    def noticed(self, done: Done) -> list[Failure]:
        """The failures that clients of other hosts had of a fault."""
        end_s = done.ended_s + SETTLED_S
        return [
            failure
            for failure in self.failures
            if done.began_s <= failure.began_s <= end_s and failure.host.name not in done.step.hosts
        ]

    def trouble_s(self, done: Done) -> float:
        """How long after a fault's beginning the last request was sent that failed through another host."""
        return max((failure.began_s for failure in self.noticed(done)), default=done.began_s) - done.began_s

    def healed_s(self, done: Done) -> float | None:
        """How long after a fault's end the cluster was whole; None when something else came between."""
        whole_s = min((at for at in self.whole_at_s if at >= done.ended_s), default=None)
        if whole_s is None or any(done.ended_s <= it.began_s < whole_s for it in self.faults):
            return None
        return whole_s - done.ended_s


def _line(kind: str, them: Sequence[Done], account: Account) -> str:
    alone = [done for done in them if account.alone(done)]
    failed = sum(len(account.noticed(done)) for done in alone)
    healed = [took for done in alone if (took := account.healed_s(done)) is not None]
    return (
        f"{kind:<15} {len(them):>5}  {failed:>5} in {len(alone):<12}  "
        f"{_spread(account.trouble_s(done) for done in alone):<15}  {_spread(healed)}"
    )


def _spread(times_s: Iterable[float]) -> str:
    times_s = sorted(times_s)
    return f"{median(times_s):.1f}, {times_s[-1]:.1f} s" if times_s else "-"
