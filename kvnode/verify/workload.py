"""What clients do to find fault: a few hot keys, every operation, conditions on what was last seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random

import aiohttp
import msgspec

from kvnode.verify.client import ALWAYS, Condition, RecordingClient, open_session
from kvnode.verify.history import Asked, Op, Told

AFTER_FAILURE_S = 0.02
CLEANING_TRIES = 20


class Plan(msgspec.Struct, frozen=True):
    """How much is done. ``rate``: operations a second over all clients at the most.

    Several workloads on the same keys make one history when each counts its clients on from
    ``first_client``, has a ``seed`` of its own, and is run with the same ``began_ns``.
    """

    urls: tuple[str, ...]
    prefix: str
    clients: int = 16
    keys: int = 10
    rate: float = 500.0
    timeout_s: float = 5.0
    seed: int = 1
    first_client: int = 0


class Workload:
    """Clients at work. ``ops`` is their history so far, ``complaint`` the last trouble that one had."""

    def __init__(self, plan: Plan, on_op: Callable[[Op], None] = lambda _op: None) -> None:
        self.plan = plan
        self.ops: list[Op] = []
        self.complaint = ""
        self._keys = [f"{plan.prefix}{number}" for number in range(plan.keys)]
        self._seen: dict[str, str] = {}
        self._on_op = on_op
        self._values = 0

    async def run(self, until: Callable[[], bool], began_ns: int | None = None) -> None:
        """Work until told to stop; operations under way are finished first.

        ``began_ns`` of the monotonic clock is the history's time 0: now, unless it is given.
        """
        plan = self.plan
        began_ns = time.monotonic_ns() if began_ns is None else began_ns
        numbers = range(plan.first_client, plan.first_client + plan.clients)
        async with open_session(plan.timeout_s) as session:
            clients = [RecordingClient(number, session, began_ns) for number in numbers]
            work = [
                self._work(number, client, until) for number, client in zip(numbers, clients, strict=True)
            ]
            await asyncio.gather(*work)

    async def clean(self) -> bool:
        """Delete every key that was used; whether that succeeded. Not part of the history."""
        async with open_session(self.plan.timeout_s) as session:
            client = RecordingClient(0, session, time.monotonic_ns())
            return all([await self._remove(client, key) for key in self._keys])

    async def _remove(self, client: RecordingClient, key: str) -> bool:
        for attempt in range(CLEANING_TRIES):
            op = await client.delete(self.plan.urls[attempt % len(self.plan.urls)], key)
            if op.told in {Told.OK, Told.ABSENT}:
                return True
            await asyncio.sleep(AFTER_FAILURE_S)
        return False

    async def _work(self, number: int, client: RecordingClient, until: Callable[[], bool]) -> None:
        random = Random(f"{self.plan.seed}/{number}")
        pause_s = self.plan.clients / self.plan.rate
        while not until():
            began_s = time.monotonic()
            op = await self._operation(client, random)
            failed = op.told in {Told.NOT_DONE, Told.UNKNOWN}
            if failed:
                self.complaint = client.complaint
            self._take(op)
            if failed:
                await asyncio.sleep(AFTER_FAILURE_S)
            spent_s = time.monotonic() - began_s
            await asyncio.sleep(max(0.0, pause_s * 2 * random.random() - spent_s))

    def _take(self, op: Op) -> None:
        self.ops.append(op)
        if op.version is not None:
            self._seen[op.key] = op.version
        self._on_op(op)

    async def _operation(self, client: RecordingClient, random: Random) -> Op:
        url, key = random.choice(self.plan.urls), random.choice(self._keys)
        asked = random.choices([Asked.GET, Asked.PUT, Asked.DELETE], [5, 5, 1])[0]
        if asked is Asked.GET:
            return await client.get(url, key)
        condition = self._condition(key, asked, random)
        if asked is Asked.DELETE:
            return await client.delete(url, key, condition)
        self._values += 1
        return await client.put(url, key, f'"{self.plan.seed}-{self._values}"', condition)

    def _condition(self, key: str, asked: Asked, random: Random) -> Condition:
        draw = random.random()
        seen = self._seen.get(key)
        if draw < 0.4 and seen is not None:  # noqa: PLR2004 - the share of compare-and-set
            return Condition(if_match=(seen,))
        if draw < 0.5:  # noqa: PLR2004 - the share of the other conditions
            return Condition(if_absent=True) if asked is Asked.PUT else Condition(if_present=True)
        return ALWAYS


async def discover(url: str, timeout_s: float) -> tuple[str, ...]:
    """Return the addresses of all workers if ``url`` is a controller's, else ``url`` itself."""
    async with open_session(timeout_s) as session:
        with suppress(aiohttp.ClientError, TimeoutError, msgspec.MsgspecError):
            async with session.get(f"{url}/status") as response:
                if response.status == 200:  # noqa: PLR2004
                    status = msgspec.json.decode(await response.read(), type=_Status)
                    return tuple(worker.rest_address for worker in status.workers) or (url,)
    return (url,)


class _Worker(msgspec.Struct):
    rest_address: str


class _Status(msgspec.Struct):
    workers: list[_Worker]
