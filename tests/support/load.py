"""Clients that write and read all the time, and remember what they were told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Self

import aiohttp

from tests.support.cluster import Cluster


class Load:
    """Writers that overwrite keys of their own through some workers until told to stop.

    ``acknowledged`` is the newest acknowledged value of each key, ``attempted`` the newest that was
    tried (an attempt of unknown outcome may be what a reader finds). ``failures`` are answers other
    than success, with the time of each.
    """

    def __init__(self, cluster: Cluster, workers: Sequence[int], clients: int = 8) -> None:
        self._cluster = cluster
        self._workers = list(workers)
        self._clients = clients
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self.acknowledged: dict[str, int] = {}
        self.attempted: dict[str, int] = {}
        self.failures: list[tuple[float, object]] = []
        self.successes = 0

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(self._clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Let every client finish its request."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _client(self, number: int) -> None:
        counter = 0
        while not self._stopping:
            counter += 1
            key = f"load/{number}/{counter % 40}"
            worker = self._workers[counter % len(self._workers)]
            self.attempted[key] = counter
            try:
                put = await self._cluster.put(worker, key, counter)
                if put.status != 200:
                    self.failures.append((time.monotonic(), put.body))
                    continue
                self.acknowledged[key] = counter
                self.successes += 1
                got = await self._cluster.get(worker, key)
                if got.status != 200:
                    self.failures.append((time.monotonic(), got.body))
                elif got.body["value"] != counter:
                    self.failures.append((time.monotonic(), f"{key}: read {got.body}, wrote {counter}"))
            except aiohttp.ClientError as error:
                self.failures.append((time.monotonic(), repr(error)))

    async def lost(self, worker: int) -> list[str]:
        """Return the keys whose acknowledged value is gone, as read through a worker."""
        lost = []
        for key, value in self.acknowledged.items():
            got = await self._cluster.get(worker, key)
            if got.status != 200 or not value <= got.body["value"] <= self.attempted[key]:
                lost.append(f"{key}: {value} was acknowledged, {got.body} is read")
        return lost
