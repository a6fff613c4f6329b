"""What was measured, as a table."""

from __future__ import annotations

from statistics import median

import msgspec
from rich.table import Column, Table

from tests.bench.versus.wrk import USUAL_KEYS, Seen, Workload

YARDSTICK = "etcd"
COLUMNS = ("ops/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs/op", "wrk µs/op", "flushes/op", "failed")


OWN = "kvnode"
BASES: list[tuple[str, dict[str, int], dict[str, int]]] = [
    ("through four workers, to one", {"entries": 4}, {"entries": 1}),
    ("1,000,000 keys, to 10,000", {"keys": 1_000_000}, {"keys": USUAL_KEYS}),
    ("one worker stopped, to none", {"stopped": 1}, {"stopped": 0}),
]


class Measurement(msgspec.Struct, frozen=True):
    """One workload on one server in one round.

    ``cpu_s`` is the server's processor time for one operation, ``flushes`` how often the disk made its
    cache durable for it.
    """

    round: int
    server: str
    workload: Workload
    seen: Seen
    cpu_s: float
    flushes: float


def table(measured: list[Measurement]) -> Table:
    """Return medians over the rounds; the ratios are medians of the ratios within each round."""
    shown = Table(Column("workload", no_wrap=True), Column("server", no_wrap=True))
    for title in (*COLUMNS, f"ops/s to {YARDSTICK}'s", f"p99 to {YARDSTICK}'s"):
        shown.add_column(title, justify="right")
    for workload in dict.fromkeys(measurement.workload for measurement in measured):
        rows = [measurement for measurement in measured if measurement.workload == workload]
        for server in dict.fromkeys(row.server for row in rows):
            shown.add_row(str(workload), server, *_cells([row for row in rows if row.server == server], rows))
        shown.add_section()
    return shown


def own_table(measured: list[Measurement]) -> Table:
    """Return how kvnode compares with itself: medians of the ratios within each round."""
    shown = Table(OWN, "workload")
    for title in ("ops/s", "p99"):
        shown.add_column(f"{title}, ratio", justify="right")
    own = [measurement for measurement in measured if measurement.server == OWN]
    for title, what, base in BASES:
        for workload in dict.fromkeys(row.workload for row in own):
            if any(getattr(workload, name) != number for name, number in what.items()):
                continue
            usual = msgspec.structs.replace(workload, **base)
            pairs = [
                (row.seen, other.seen)
                for row in own
                for other in own
                if row.round == other.round and row.workload == workload and other.workload == usual
            ]
            ratios = [_ratio([(mine.rate, other.rate) for mine, other in pairs])]
            ratios.append(_ratio([(mine.p99_us, other.p99_us) for mine, other in pairs]))
            shown.add_row(title, str(workload), *ratios)
    return shown


def _cells(own: list[Measurement], rows: list[Measurement]) -> list[str]:
    cells = [f"{median(row.seen.rate for row in own):,.0f}"]
    cells += [
        f"{median(getattr(row.seen, name) for row in own) / 1000:.2f}"
        for name in ("p50_us", "p99_us", "p999_us")
    ]
    cells.append(f"{median(row.cpu_s for row in own) * 1e6:.0f}")
    cells.append(f"{median(row.seen.client_cpu_s / max(1, row.seen.succeeded) for row in own) * 1e6:.0f}")
    cells.append(f"{median(row.flushes for row in own):.2f}")
    cells.append(f"{sum(row.seen.failed for row in own):,}")
    yardstick = {row.round: row.seen for row in rows if row.server == YARDSTICK}
    pairs = [(row.seen, yardstick[row.round]) for row in own if row.round in yardstick]
    cells.append(_ratio([(mine.rate, theirs.rate) for mine, theirs in pairs]))
    cells.append(_ratio([(mine.p99_us, theirs.p99_us) for mine, theirs in pairs]))
    return cells


def _ratio(pairs: list[tuple[float, float]]) -> str:
    ratios = [mine / theirs for mine, theirs in pairs if theirs]
    return f"{median(ratios):.2f}" if ratios else "-"
