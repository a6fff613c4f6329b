"""Offers a cluster ten times what it can serve: ``python -m tests.bench.overload --seconds 30``.

Capacity is measured first, by clients that wait for their answers. Then requests leave on many
connections at ten times that rate, whether they are answered or not, as far as this machine can send
them. Printed: memory over time, goodput, the share of 503, and the p99 of what was
accepted.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import time
from collections import Counter, deque
from pathlib import Path

from tests.support.cluster import CONTROLLER, Cluster

TIMES = 10
CONNECTIONS = 400
CLIENTS = 32
WARM_S = 3.0
TICK_S = 0.02
UNANSWERED = 64
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_BODY = b'{"value":"%b"}' % (b"x" * 500)


class Client(asyncio.Protocol):
    """One connection: sends when told to, and counts answers in the order of its requests."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._sent_s: deque[float] = deque()
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self.answered = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Send nothing more."""
        self._transport = None
        self.answered.set()

    def send(self, key: int) -> bool:
        """Send a PUT, unless the connection is gone or far behind."""
        if self._transport is None or len(self._sent_s) >= UNANSWERED:
            return False
        head = b"PUT /kv/overload/%d HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (key, len(_BODY))
        self._transport.write(head + _BODY)
        self._sent_s.append(time.perf_counter())
        return True

    def data_received(self, data: bytes) -> None:
        """Count what has been answered. A status line is never longer than what is kept."""
        text = self._rest + data
        end = 0
        for match in _STATUS.finditer(text):
            end = match.end()
            status = int(match[1])
            self._figures.count(status, time.perf_counter() - self._sent_s.popleft())
        self._rest = text[max(end, len(text) - 16) :]
        self.answered.set()


class Figures:
    """Answers by status, latencies of those that were accepted, and memory over time."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.accepted_s: list[float] = []
        self.rss_mib: list[dict[int, int]] = []
        self.offered = 0

    def count(self, status: int, took_s: float) -> None:
        """Take one answer."""
        self.statuses[status] += 1
        if status == 200:
            self.accepted_s.append(took_s)

    @property
    def p99_s(self) -> float:
        """The p99 of what was accepted."""
        return sorted(self.accepted_s)[len(self.accepted_s) * 99 // 100] if self.accepted_s else 0.0


class Overload:
    """A measurement against a running cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def capacity(self, seconds: float) -> float:
        """Return requests a second, with clients that wait."""
        figures = Figures()
        clients = await self._connect(CLIENTS, figures)
        end = time.perf_counter() + seconds

        async def loop(number: int, client: Client) -> None:
            while time.perf_counter() < end:
                client.answered.clear()
                client.send(number)
                await client.answered.wait()

        await asyncio.gather(*(loop(number, client) for number, client in enumerate(clients)))
        return figures.statuses[200] / seconds

    async def offer(self, rate: float, seconds: float) -> Figures:
        """Send ``rate`` requests a second for some time, as far as connections take them."""
        figures = Figures()
        figures.rss_mib.append(self._rss_mib())
        clients = await self._connect(CONNECTIONS, figures)
        begin = time.perf_counter()
        due = sent = 0
        sampled_s = begin
        while (now := time.perf_counter()) < begin + seconds:
            wanted = int((now - begin) * rate)
            for number in range(due, min(wanted, due + CONNECTIONS * UNANSWERED)):
                sent += clients[number % CONNECTIONS].send(number % 4096)
            due = wanted
            if now - sampled_s >= 1.0:
                sampled_s = now
                figures.rss_mib.append(self._rss_mib())
            await asyncio.sleep(TICK_S)
        figures.offered = sent
        figures.rss_mib.append(self._rss_mib())
        return figures

    async def _connect(self, count: int, figures: Figures) -> list[Client]:
        loop = asyncio.get_running_loop()
        workers = self._cluster.workers
        ports = [self._cluster.node(workers[n % len(workers)]).rest_port for n in range(count)]
        made = [await loop.create_connection(lambda: Client(figures), "127.0.0.1", port) for port in ports]
        return [client for _, client in made]

    def _rss_mib(self) -> dict[int, int]:
        pages = {
            node: int(Path(f"/proc/{self._cluster.pid(node)}/statm").read_text().split()[1])
            for node in (CONTROLLER, *self._cluster.workers)
        }
        return {node: count * 4096 >> 20 for node, count in pages.items()}


async def _main(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Cluster(Path(folder) / "cluster") as cluster:
            overload = Overload(cluster)
            capacity = await overload.capacity(WARM_S)
            figures = await overload.offer(TIMES * capacity, seconds)
    answers = sum(figures.statuses.values())
    lines = [f"{second:3} s  RSS in MiB by node: {rss}" for second, rss in enumerate(figures.rss_mib)]
    refused = figures.statuses[503] / max(1, answers)
    lines.append(
        f"capacity {capacity:,.0f}/s, sent {figures.offered / seconds:,.0f}/s, {dict(figures.statuses)}"
    )
    lines.append(f"goodput {figures.statuses[200] / seconds:,.0f}/s, {refused:.0%} were 503")
    lines.append(f"p99 of the accepted {figures.p99_s * 1000:,.0f} ms")
    sys.stdout.write("\n".join([*lines, ""]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    asyncio.run(_main(parser.parse_args().seconds))
