"""Throws malformed requests and messages at a cluster of processes, and says what it did not survive.

    python -m tests.fuzz --count 100000 --seed 1

A seed gives the same bytes again; what the cluster makes of them depends on its timing too.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

import grpc

from kvnode.config import load_worker_config
from tests.fuzz.peers import Intruder
from tests.fuzz.rest import request_bytes, send_bytes
from tests.support.cluster import CONTROLLER, Cluster
from tests.support.waiting import eventually

AT_ONCE = 32
KEPT = 200
PATIENCE_S = 60.0
GREETING_EVERY = 50
ALLOWED_5XX = (503, 507)


class Fuzz:
    """One run: what was sent, what came back, and what is wrong with it."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self._cluster = cluster
        self._random = Random(seed)
        self.answers: Counter[str] = Counter()
        self.faults: list[str] = []
        self.report: list[str] = []

    async def run(self, count: int) -> None:
        """Send ``count`` things, half of them to REST ports and half to gRPC ports, and judge."""
        cluster = self._cluster
        for number in range(KEPT):
            reply = await cluster.put(1, f"kept/{number}", number)
            assert reply.status == 200, reply.body
        await self._both(count // 10)
        before = self.usage()
        await self._both(count - count // 10)
        await self._judge(before)

    async def _both(self, count: int) -> None:
        await asyncio.gather(self._rest(count // 2), self._peers(count - count // 2))

    async def _rest(self, count: int) -> None:
        places = asyncio.Semaphore(AT_ONCE)

        async def one(port: int, data: bytes) -> None:
            async with places:
                for status in await send_bytes(port, data):
                    self.answers[f"HTTP {status}"] += 1
                    if status >= 500 and status not in ALLOWED_5XX:
                        self.faults.append(f"{status} for {data[:300]!r}")

        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                node = self._random.choice((CONTROLLER, *self._cluster.workers))
                await places.acquire()
                places.release()
                group.create_task(one(self._cluster.node(node).rest_port, request_bytes(self._random)))

    async def _peers(self, count: int) -> None:
        cluster = self._cluster
        layout = load_worker_config(cluster.node(1).config).cluster.layout_digest()
        while count > 0:
            node = self._random.choice((CONTROLLER, *cluster.workers))
            claimed = self._random.choice(cluster.workers)
            intruder = Intruder(self._random, f"127.0.0.1:{cluster.node(node).grpc_port}", claimed)
            if node not in (CONTROLLER, claimed):
                disk = (await cluster.request("GET", claimed, "/status")).body
                try:
                    await intruder.greet(disk, layout)
                except grpc.aio.AioRpcError as refusal:
                    self.answers[f"greeting {refusal.code().name}"] += 1
            for path, status, why in await asyncio.gather(
                *(intruder.attack() for _ in range(min(GREETING_EVERY, count)))
            ):
                self.answers[f"gRPC {status.name if status else 'answered'}"] += 1
                if intruder.is_defect(path, status, why):
                    self.faults.append(f"{status} of node {node} for {path}: {why}")
            await intruder.close()
            count -= GREETING_EVERY

    async def _judge(self, before: dict[int, tuple[int, int]]) -> None:
        """Note what is lost, what has ended, and what has grown."""
        cluster = self._cluster
        await eventually(cluster.is_ready, PATIENCE_S)
        for number in range(KEPT):
            for worker in cluster.workers:
                reply = await cluster.get(worker, f"kept/{number}")
                if reply.status != 200 or reply.body["value"] != number:
                    self.faults.append(f"kept/{number} through worker {worker}: {reply.status} {reply.body}")
        for node in (CONTROLLER, *cluster.workers):
            if not cluster.running(node):
                self.faults.append(f"node {node} has ended")
        for node, (rss_mib, files) in self.usage().items():
            self.report.append(
                f"node {node}: {before[node][0]} to {rss_mib} MiB, {before[node][1]} to {files} files"
            )
            if rss_mib > before[node][0] * 1.5 + 64 or files > before[node][1] + 200:
                self.faults.append(f"node {node} has grown")

    def usage(self) -> dict[int, tuple[int, int]]:
        """Return the memory (MiB) and open files of every process."""
        found = {}
        for node in (CONTROLLER, *self._cluster.workers):
            process = Path(f"/proc/{self._cluster.pid(node)}")
            pages = int((process / "statm").read_text().split()[1])
            found[node] = (pages * 4096 >> 20, len(list((process / "fd").iterdir())))
        return found


async def fuzz(count: int, seed: int, folder: Path) -> Fuzz:
    """Start a cluster, fuzz it, and return what was found."""
    async with Cluster(folder) as cluster:
        run = Fuzz(cluster, seed)
        await run.run(count)
        return run


def main() -> int:
    """Run by the command line's count and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = asyncio.run(fuzz(options.count, options.seed, Path(folder) / "cluster"))
    lines = [f"{answer:28} {count:8}" for answer, count in sorted(run.answers.items())]
    sys.stdout.write("\n".join([*run.report, *lines, *(run.faults[:50] or ["no faults"]), ""]))
    return bool(run.faults)


if __name__ == "__main__":
    sys.exit(main())
