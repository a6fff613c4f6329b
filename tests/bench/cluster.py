"""Measures a cluster of processes on this machine, clients and all: ``python -m tests.bench.cluster``.

The clients are Python too and share the cores with the cluster, so the rates say what a laptop
does, not what the cluster could. What is measured is printed as a table.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.support.cluster import Cluster
from tests.support.load import Load
from tests.support.waiting import eventually

SECONDS = 5.0
ROUNDS = 10
PATIENCE_S = 60.0
KEYS = 256
VALUE = "x" * 98

Request = Callable[[int], Awaitable[int]]


class Figures:
    """What was measured, in words."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str]] = []

    def add(self, what: str, figure: str) -> None:
        """Add a row."""
        self.rows.append((what, figure))

    def show(self) -> None:
        """Print the table."""
        table = Table("what", "figure")
        for row in self.rows:
            table.add_row(*row)
        Console().print(table)


async def _rate(request: Request, connections: int) -> str:
    latencies: list[float] = []
    end = time.perf_counter() + SECONDS

    async def client(number: int) -> None:
        count = number
        while (began := time.perf_counter()) < end:
            count += connections
            status = await request(count)
            if status == 200:
                latencies.append(time.perf_counter() - began)

    await asyncio.gather(*(client(number) for number in range(connections)))
    cuts = statistics.quantiles(latencies, n=100)
    return f"{len(latencies) / SECONDS:,.0f}/s, p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms"


async def _seconds_until(done: Callable[[], Awaitable[bool]]) -> float:
    began = time.monotonic()
    await eventually(done, PATIENCE_S)
    return time.monotonic() - began


async def _measure(cluster: Cluster, figures: Figures) -> None:
    async def put(number: int) -> int:
        return (await cluster.put(1, f"bench/{number % KEYS}", VALUE)).status

    async def get(number: int) -> int:
        return (await cluster.get(1, f"bench/{number % KEYS}")).status

    await asyncio.gather(*(put(number) for number in range(KEYS)))
    for connections in (1, 16, 64):
        for name, request in (("PUT", put), ("linearizable GET", get)):
            figures.add(f"{name}, {connections} connections", await _rate(request, connections))

    async def all_writable() -> bool:
        statuses = await asyncio.gather(*(cluster.put(3, f"bench/{number}", VALUE) for number in range(KEYS)))
        return all(reply.status == 200 for reply in statuses)

    takeovers, returns = [], []
    async with Load(cluster, [3, 4]):
        for _ in range(ROUNDS):
            cluster.kill(1)
            takeovers.append(await _seconds_until(all_writable))
            cluster.start(1)
            returns.append(await _seconds_until(lambda: cluster.is_ready([1])))
            await cluster.wait_ready()
    figures.add(f"kill -9 under load until {KEYS} keys of all partitions were written", _spread(takeovers))
    figures.add("start of the killed worker until caught up", _spread(returns))


def _spread(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):.2f} s, worst of {len(seconds)} {max(seconds):.2f} s"


async def main() -> None:
    """Measure and print."""
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        async with Cluster(Path(folder) / "cluster") as cluster:
            figures.add("five processes started until all are ready", f"{time.monotonic() - began:.1f} s")
            await _measure(cluster, figures)
    figures.show()


if __name__ == "__main__":
    asyncio.run(main())
