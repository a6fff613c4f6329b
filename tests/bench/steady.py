"""Steady load while segments merge and replicas compare: ``python -m tests.bench.steady --seconds 600``.

32 connections read and overwrite 2,000 keys with values of 4 KiB, half and half, each 30 to 50 ms after its
last answer. All that is written is dead before long, so that merges follow each other; leaders compare their
followers as always. Windows of some seconds are measured apart. It fails if a window's p99 exceeds twice the
median of all windows' p99, if a worker's memory grows, or if there was no merge to be noticed.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.resident import resident_bytes
from tests.bench.versus import wrk
from tests.bench.versus.fill import fill
from tests.support.cluster import Cluster

WORKLOAD = wrk.Workload("steady", 32, entries=4, keys=2_000, value_bytes=4096)
MOST_P99 = 2.0
MOST_GROWTH = 1.1
WARM_SHARE = 4
"""The first of so many parts is not compared: caches and pools fill in it."""


@dataclass(frozen=True)
class Window:
    """What was seen in one: merges that ended in it, and each worker's memory at its end."""

    seen: wrk.Seen
    merges: int
    resident: dict[int, int]


def _merges(cluster: Cluster) -> int:
    lines = (line for number in cluster.workers for line in cluster.log_lines(number))
    return sum(line.get("event") == "segments_merged" for line in lines)


async def _windows(cluster: Cluster, seconds: int, window_s: int, console: Console) -> list[Window]:
    urls = [f"http://127.0.0.1:{cluster.node(number).rest_port}" for number in cluster.workers]
    await asyncio.to_thread(fill, "kvnode", urls, WORKLOAD)
    windows: list[Window] = []
    for number in range(max(2 * WARM_SHARE, seconds // window_s)):
        before = _merges(cluster)
        seen = await asyncio.to_thread(wrk.run, "kvnode", urls, WORKLOAD, window_s, seed=number)
        resident = {worker: resident_bytes(cluster.pid(worker)) for worker in cluster.workers}
        windows.append(Window(seen, _merges(cluster) - before, resident))
        console.print(_line(number * window_s, windows[-1]))
    return windows


def _line(at_s: int, window: Window) -> str:
    seen = window.seen
    p50, p99, p999 = (micros / 1000 for micros in (seen.p50_us, seen.p99_us, seen.p999_us))
    memory = ", ".join(f"{size / 2**20:.0f}" for size in window.resident.values())
    return (
        f"{at_s:5} s {seen.rate:7,.0f}/s  p50 {p50:5.1f} ms  p99 {p99:6.1f} ms  p99.9 {p999:6.1f} ms  "
        f"merges {window.merges}  failed {seen.failed}  memory {memory} MiB"
    )


def judge(windows: list[Window], console: Console) -> bool:
    """Print what it all comes to; return whether it is good."""
    counted = windows[len(windows) // WARM_SHARE :]
    usual = statistics.median(window.seen.p99_us for window in counted)
    worst = max(window.seen.p99_us for window in counted) / usual
    half = len(counted) // 2
    growth = max(
        max(window.resident[worker] for window in counted[half:])
        / max(window.resident[worker] for window in counted[:half])
        for worker in counted[0].resident
    )
    merges, failed = sum(window.merges for window in windows), sum(window.seen.failed for window in windows)
    busy = [window.seen.p99_us for window in counted if window.merges]
    table = Table("what", "figure", "bound")
    table.add_row("operations/s, median", f"{statistics.median(w.seen.rate for w in counted):,.0f}", "")
    table.add_row("p50, median", f"{statistics.median(w.seen.p50_us for w in counted) / 1000:.1f} ms", "")
    table.add_row("p99, median of the windows", f"{usual / 1000:.1f} ms", "")
    table.add_row("p99, worst window to the median", f"{worst:.2f}", f"{MOST_P99}")
    if busy:
        ratio = statistics.median(busy) / usual
        table.add_row("p99, windows in which a merge ended, to the median", f"{ratio:.2f}", "")
    table.add_row("memory, second half to first", f"{growth:.3f}", f"{MOST_GROWTH}")
    table.add_row("merges", f"{merges}", "at least 1")
    table.add_row("failed operations", f"{failed}", "0")
    console.print(table)
    return worst <= MOST_P99 and growth <= MOST_GROWTH and merges > 0 and not failed


async def main() -> int:
    """Measure, print and judge; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.steady", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--window", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=None, help="where the data is kept meanwhile")
    options = parser.parse_args()
    console = Console(width=140)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        async with Cluster(Path(folder) / "cluster") as cluster:
            windows = await _windows(cluster, options.seconds, options.window, console)
    return 0 if judge(windows, console) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
