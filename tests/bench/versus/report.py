"""What was measured, as a table."""

from __future__ import annotations

from statistics import median

import msgspec
from rich.table import Table

from tests.bench.versus.wrk import Seen, Workload

YARDSTICK = "etcd"
COLUMNS = ("ops/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs/op", "failed")


class Measurement(msgspec.Struct, frozen=True):
    """One workload on one server in one round. ``cpu_s``: its processor time for one operation."""

    round: int
    server: str
    workload: Workload
    seen: Seen
    cpu_s: float


def table(measured: list[Measurement]) -> Table:
    """Return medians over the rounds; the ratios are medians of the ratios within each round."""
    shown = Table("workload", "server")
    for title in (*COLUMNS, f"ops/s to {YARDSTICK}'s", f"p99 to {YARDSTICK}'s"):
        shown.add_column(title, justify="right")
    for workload in dict.fromkeys(measurement.workload for measurement in measured):
        rows = [measurement for measurement in measured if measurement.workload == workload]
        for server in dict.fromkeys(row.server for row in rows):
            shown.add_row(str(workload), server, *_cells([row for row in rows if row.server == server], rows))
        shown.add_section()
    return shown


def _cells(own: list[Measurement], rows: list[Measurement]) -> list[str]:
    cells = [f"{median(row.seen.rate for row in own):,.0f}"]
    cells += [
        f"{median(getattr(row.seen, name) for row in own) / 1000:.2f}"
        for name in ("p50_us", "p99_us", "p999_us")
    ]
    cells += [f"{median(row.cpu_s for row in own) * 1e6:.0f}", f"{sum(row.seen.failed for row in own):,}"]
    yardstick = {row.round: row.seen for row in rows if row.server == YARDSTICK}
    pairs = [(row.seen, yardstick[row.round]) for row in own if row.round in yardstick]
    cells.append(_ratio([(mine.rate, theirs.rate) for mine, theirs in pairs]))
    cells.append(_ratio([(mine.p99_us, theirs.p99_us) for mine, theirs in pairs]))
    return cells


def _ratio(pairs: list[tuple[float, float]]) -> str:
    ratios = [mine / theirs for mine, theirs in pairs if theirs]
    return f"{median(ratios):.2f}" if ratios else "-"
