"""``python -m tests.bench.rebuild``: a worker's data is wiped under a steady load until it is whole again.

The load's latencies are compared with those of the same load just before, in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kvnode.verify.history import Op
from kvnode.verify.report import summary
from kvnode.verify.workload import Plan, Workload
from tests.bench.versus.fill import fill
from tests.bench.versus.wrk import Workload as Filling
from tests.support.cluster import Cluster
from tests.support.waiting import eventually

VICTIM = 4
PATIENCE_S = 600.0
USUAL_S = 15.0
RATE = 200.0
CLIENTS = 8


def _urls(cluster: Cluster) -> list[str]:
    return [f"http://127.0.0.1:{cluster.node(n).rest_port}" for n in cluster.workers if n != VICTIM]


async def _under_load(cluster: Cluster, name: str, seconds: float | None) -> tuple[list[Op], float]:
    """Load the others for a time, or (None) until the victim is ready; return what was seen, and the time."""
    workload = Workload(Plan(tuple(_urls(cluster)), f"{name}/", CLIENTS, keys=64, rate=RATE))
    began = time.monotonic()
    ending = asyncio.Event()
    work = asyncio.create_task(workload.run(ending.is_set))
    if seconds is None:
        await eventually(lambda: cluster.is_ready([VICTIM]), PATIENCE_S)
    else:
        await eventually(lambda: time.monotonic() - began >= seconds, seconds + 1)
    took = time.monotonic() - began
    ending.set()
    await work
    return workload.ops, took


async def _round(cluster: Cluster, number: int, table: Table) -> float:
    """Wipe the worker once; return the ratio of the load's p99 during the rebuild to that before."""
    usual, _ = await _under_load(cluster, f"usual-{number}", USUAL_S)
    cluster.stop(VICTIM)
    shutil.rmtree(cluster.node(VICTIM).data)
    cluster.start(VICTIM)
    rebuilding, took_s = await _under_load(cluster, f"rebuilding-{number}", None)
    stored = len(await cluster.stored(VICTIM))
    before, during = _p99_ms(usual), _p99_ms(rebuilding)
    times = (f"{took_s:.1f} s", f"{stored:,}", f"{before:.1f} ms", f"{during:.1f} ms")
    table.add_row(*times, f"{during / before:.2f}")
    Console().print(f"round {number + 1}:", *times)
    return during / before


def _p99_ms(ops: Sequence[Op]) -> float:
    end_us = max(op.end_us or 0 for op in ops)
    return max(took[1] for took in summary(ops, end_us).latency_ms.values() if took)


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    table = Table("whole after", "keys it holds", "usual p99", "p99 meanwhile", "ratio")
    with tempfile.TemporaryDirectory() as folder:
        async with Cluster(Path(folder) / "cluster") as cluster:
            keys = Filling("fill", 64, keys=options.keys)
            await asyncio.to_thread(fill, "kvnode", _urls(cluster), keys)
            await cluster.wait_ready()
            ratios = [await _round(cluster, number, table) for number in range(options.rounds)]
    Console().print(table)
    Console().print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    asyncio.run(main())
