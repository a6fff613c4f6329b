"""What was measured, as a table."""

from __future__ import annotations

from statistics import median

import msgspec
from rich.table import Column, Table

from tests.bench.versus.wrk import USUAL_KEYS, Seen, Workload

YARDSTICK = "etcd"
COLUMNS = ("ops/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs/op", "wrk µs/op", "flushes/op", "failed")


OWN = "kvnode"
COMPARED = {"rate": "ops/s", "p50_us": "p50", "p99_us": "p99"}
BASES: list[tuple[str, dict[str, int], dict[str, int]]] = [
    ("through four workers, to one", {"entries": 4}, {"entries": 1}),
    ("1,000,000 keys, to 10,000", {"keys": 1_000_000}, {"keys": USUAL_KEYS}),
    ("one worker stopped, to none", {"stopped": 1}, {"stopped": 0}),
]


Subject = tuple[Workload, str]
"""A workload on a server."""


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


def ratio(measured: list[Measurement], of: Subject, to: Subject, what: str) -> float | None:
    """Return how one subject's figure compares with another's: the median of the ratios within each round."""
    rounds = [
        {
            row.round: float(getattr(row.seen, what))
            for row in measured
            if (row.workload, row.server) == subject
        }
        for subject in (of, to)
    ]
    ratios = [mine / rounds[1][number] for number, mine in rounds[0].items() if rounds[1].get(number)]
    return median(ratios) if ratios else None


def table(measured: list[Measurement]) -> Table:
    """Return medians over the rounds, and how each server compares with the yardstick."""
    shown = Table(Column("workload", no_wrap=True), Column("server", no_wrap=True))
    for title in (*COLUMNS, *(f"{title} to {YARDSTICK}'s" for title in COMPARED.values())):
        shown.add_column(title, justify="right")
    for workload in dict.fromkeys(measurement.workload for measurement in measured):
        servers = dict.fromkeys(row.server for row in measured if row.workload == workload)
        for server in servers:
            own = [row for row in measured if (row.workload, row.server) == (workload, server)]
            to = workload, YARDSTICK
            ratios = [_shown(ratio(measured, (workload, server), to, what)) for what in COMPARED]
            shown.add_row(str(workload), server, *_cells(own), *ratios)
        shown.add_section()
    return shown


def own_table(measured: list[Measurement]) -> Table:
    """Return how kvnode compares with itself."""
    shown = Table(OWN, "workload", *(f"{title}, ratio" for title in COMPARED.values()))
    for title, what, base in BASES:
        for workload in dict.fromkeys(row.workload for row in measured):
            if all(getattr(workload, name) == number for name, number in what.items()):
                usual = msgspec.structs.replace(workload, **base), OWN
                ratios = [ratio(measured, (workload, OWN), usual, figure) for figure in COMPARED]
                if None not in ratios:
                    shown.add_row(title, str(workload), *map(_shown, ratios))
    return shown


def _cells(own: list[Measurement]) -> list[str]:
    seen = [row.seen for row in own]
    latencies = [median(getattr(it, name) for it in seen) for name in ("p50_us", "p99_us", "p999_us")]
    return [
        f"{median(it.rate for it in seen):,.0f}",
        *(f"{micros / 1000:.2f}" for micros in latencies),
        f"{median(row.cpu_s for row in own) * 1e6:.0f}",
        f"{median(it.client_cpu_s / max(1, it.succeeded) for it in seen) * 1e6:.0f}",
        f"{median(row.flushes for row in own):.2f}",
        f"{sum(it.failed for it in seen):,}",
    ]


def _shown(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.2f}"
