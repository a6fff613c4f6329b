"""What many keys cost a worker: ``python -m tests.bench.keys --keys 1000000``.

Four workers are formed and stopped, given so many keys each, and started again. Measured are the memory a
key beside the key itself (resident, against the same worker without keys), and the time from the start of
a process to ``/readyz``: of all workers at once, of one that was stopped, and of one that was killed. Between
the last two a segment is filled with overwrites, so that the killed one finds lines without a hint file.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kvnode.config import load_worker_config
from tests.bench.data import fill_stopped
from tests.bench.resident import resident_bytes
from tests.bench.versus import wrk
from tests.support.cluster import Cluster

KEY_BYTES = len("bench.000000000")
PATIENCE_S = 120.0
ONE = 2
OVERWRITE_S = 20


def _resident(cluster: Cluster) -> dict[int, int]:
    return {number: resident_bytes(cluster.pid(number)) for number in cluster.workers}


async def _started(cluster: Cluster, workers: list[int]) -> float:
    """Start workers and return the seconds until they are ready."""
    began = time.monotonic()
    for number in workers:
        cluster.start(number)
    await cluster.wait_ready(workers, PATIENCE_S)
    return time.monotonic() - began


async def _measure(cluster: Cluster, options: argparse.Namespace, table: Table) -> None:
    empty = _resident(cluster)
    for number in cluster.workers:
        cluster.stop(number)
    configs = [load_worker_config(cluster.node(number).config) for number in cluster.workers]
    ring = configs[0].cluster.ring()
    total = round(options.keys * len(configs) / len(ring.preference_list(0)))
    await asyncio.to_thread(fill_stopped, configs, total, tidy=True)
    table.add_row("all four started at once until ready", f"{await _started(cluster, cluster.workers):.1f} s")
    full = _resident(cluster)
    shares = {number: total * len(ring.held_by(number)) / ring.partitions for number in cluster.workers}
    each = [(full[number] - empty[number]) / shares[number] - KEY_BYTES for number in cluster.workers]
    table.add_row("keys of a worker", f"{statistics.mean(shares.values()):,.0f}")
    table.add_row("memory a key, beyond the key's own bytes", f"{statistics.mean(each):.0f} bytes")
    cluster.stop(ONE)
    table.add_row("one started after a stop until ready", f"{await _started(cluster, [ONE]):.1f} s")
    urls = [f"http://127.0.0.1:{cluster.node(number).rest_port}" for number in cluster.workers]
    overwriting = wrk.Workload("put", 64, keys=total)
    seen = await asyncio.to_thread(wrk.run, "kvnode", urls, overwriting, OVERWRITE_S)
    cluster.kill(ONE)
    title = f"one started after kill -9 and {seen.succeeded:,} overwrites until ready"
    table.add_row(title, f"{await _started(cluster, [ONE]):.1f} s")
    after = _resident(cluster)
    each = [
        (after[number] - empty[number]) / shares[number] - KEY_BYTES
        for number in cluster.workers
        if number != ONE
    ]
    table.add_row("memory a key then, of the others", f"{statistics.mean(each):.0f} bytes")


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.keys", description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000, help="of each worker, about")
    parser.add_argument("--folder", type=Path, default=None, help="where the data is kept meanwhile")
    options = parser.parse_args()
    table = Table("what", "figure")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        async with Cluster(Path(folder) / "cluster") as cluster:
            await _measure(cluster, options, table)
    Console().print(table)


if __name__ == "__main__":
    asyncio.run(main())
