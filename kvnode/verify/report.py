"""What a run says beside its verdict: how much was answered, how long nothing was, how fast."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from kvnode.verify.history import Asked, Op, Told

FAILED = frozenset({Told.NOT_DONE, Told.UNKNOWN})
SHARES = (0.5, 0.99, 0.999)


class Summary(msgspec.Struct, frozen=True):
    """Counts over a history. ``gap_s``: the longest time in which nothing succeeded.

    ``latency_ms`` has the median, the 99th and the 99.9th percentile of what was answered, by operation.
    """

    told: dict[str, int]
    answered: float
    gap_s: float
    latency_ms: dict[str, tuple[float, ...]]


def summary(ops: Sequence[Op], ended_us: int) -> Summary:
    """Sum a history up that began at 0 and ended at ``ended_us``."""
    told = Counter(op.told.value for op in ops)
    answered = [op for op in ops if op.told not in FAILED and op.end_us is not None]
    ends = sorted(op.end_us or 0 for op in answered)
    gaps = [later - earlier for earlier, later in zip([0, *ends], [*ends, ended_us], strict=True)]
    return Summary(
        dict(told),
        len(answered) / len(ops) if ops else 0.0,
        max(gaps) / 1e6,
        {asked.value: _percentiles([op for op in answered if op.op is asked]) for asked in Asked},
    )


def _percentiles(ops: Sequence[Op]) -> tuple[float, ...]:
    took_us = sorted((op.end_us or op.start_us) - op.start_us for op in ops)
    if not took_us:
        return ()
    return tuple(took_us[min(len(took_us) - 1, int(share * len(took_us)))] / 1000 for share in SHARES)
