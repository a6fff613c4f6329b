"""Sixteen clients on hot keys while workers are killed and frozen: some order explains every history."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Self

import pytest_asyncio

from kvnode.verify.checker import check
from kvnode.verify.history import read_history
from kvnode.verify.workload import Plan, Workload
from tests.support.cluster import CONTROLLER, INSTALLED, Cluster
from tests.support.waiting import eventually

CLIENTS = 16
PATIENCE_S = 1.5
AGREED_S = 30.0
THAWED_S = 15.0


class Watched:
    """A cluster with clients at work whose history is judged in the end."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        urls = tuple(f"http://127.0.0.1:{cluster.node(worker).rest_port}" for worker in cluster.workers)
        self._workload = Workload(Plan(urls, "history/", CLIENTS, keys=8, rate=400, timeout_s=PATIENCE_S))
        self._ending = False
        self._work: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._work = asyncio.create_task(self._workload.run(lambda: self._ending))
        await self.answers(200)
        return self

    async def __aexit__(self, failed: type[BaseException] | None, *_: object) -> None:
        self._ending = True
        assert self._work is not None
        await self._work
        if failed is None:
            verdict = check(self._workload.ops)
            assert verdict.linearizable, "\n".join(map(str, verdict.findings))
            await self._all_copies_agree()

    async def answers(self, more: int) -> None:
        """Wait until so many more operations were answered."""
        ops = self._workload.ops
        begun = len(ops)
        await eventually(lambda: sum(op.version is not None for op in ops[begun:]) >= more, 30)

    async def _all_copies_agree(self) -> None:
        async def agree() -> bool:
            stored = [await self.cluster.stored(worker) for worker in self.cluster.workers]
            keys = {key for one in stored for key in one}
            copies = {key: [one[key] for one in stored if key in one] for key in keys}
            return all(len(found) == 3 and len(set(found)) == 1 for found in copies.values())

        await eventually(agree, AGREED_S)


@pytest_asyncio.fixture
async def watched(cluster: Cluster) -> AsyncIterator[Watched]:
    """Clients at work on a fresh cluster; their history is judged, and the copies compared, in the end."""
    async with Watched(cluster) as working:
        yield working


async def test_killed_one_by_one(watched: Watched) -> None:
    """Each worker is killed with -9 under load and started again, one after the other."""
    cluster = watched.cluster
    for worker in cluster.workers:
        cluster.kill(worker)
        await watched.answers(100)
        cluster.start(worker)
        await cluster.wait_ready([worker])


async def test_killed_together(watched: Watched) -> None:
    """All workers are killed with -9 at once, twice, and started again."""
    cluster = watched.cluster
    for _ in range(2):
        for worker in cluster.workers:
            cluster.kill(worker)
        for worker in cluster.workers:
            cluster.start(worker)
        await cluster.wait_ready()
        await watched.answers(100)


async def test_frozen_past_the_detector_and_thawed(watched: Watched) -> None:
    """A worker stands still until the others have taken over from it, and thaws among them."""
    cluster = watched.cluster
    for worker in cluster.workers[:2]:
        cluster.signal(worker, SIGSTOP)
        others = [other for other in cluster.workers if other != worker]

        async def suspected(frozen: int = worker) -> bool:
            workers = (await cluster.status())["workers"]
            return not next(entry["online"] for entry in workers if entry["id"] == frozen)

        await eventually(suspected, THAWED_S)
        await watched.answers(100)
        cluster.signal(worker, SIGCONT)
        await watched.answers(100)
        await cluster.wait_ready([*others, worker])


async def test_the_command_judges_a_cluster_while_it_is_broken(cluster: Cluster, tmp_path: Path) -> None:
    """`kvnode verify` finds the workers, works while one is killed, judges, and leaves no key behind."""
    url, history = f"http://127.0.0.1:{cluster.node(CONTROLLER).rest_port}", tmp_path / "history.jsonl"
    arguments = ("verify", "--url", url, "--seconds", "6", "--clients", "8", "--history", str(history))
    command = await asyncio.create_subprocess_exec(*INSTALLED, *arguments, stdout=asyncio.subprocess.PIPE)

    async def at_work() -> bool:
        return bool(await cluster.stored(1))

    await eventually(at_work, 20)
    cluster.kill(2)
    cluster.start(2)
    said, _ = await asyncio.wait_for(command.communicate(), 60)
    assert command.returncode == 0, said.decode()
    for word in ("linearizable", "answered", "longest time without success", "p99"):
        assert word in said.decode()
    with history.open("rb") as file:
        assert check(list(read_history(file))).linearizable
    await cluster.wait_ready()
    assert not await cluster.stored(1)


async def test_two_processes_on_one_folder(cluster: Cluster, tmp_path: Path) -> None:
    """A second process on a worker's data folder is refused, and says why; the first goes on."""
    status, complaint = await cluster.try_again(1)
    assert status == 74
    assert "another process" in complaint
    assert (await cluster.put(1, "still", "here")).status == 200
    assert (await cluster.get(1, "still")).body["value"] == "here"


async def test_hints_are_only_hints(cluster: Cluster) -> None:
    """Without a hint file, or with one that is damaged or of another segment, a worker knows what it knew."""
    worker = 1
    keys = [f"hinted/{number}" for number in range(40)]
    for key in keys:
        assert (await cluster.put(worker, key, key)).status == 200
    await eventually(cluster.agree, AGREED_S)
    before = await cluster.stored(worker)
    folder = cluster.node(worker).data
    for spoil in (_remove, _flip, _cut, _swap):
        assert cluster.stop(worker) == 0
        cluster.start(worker)
        await cluster.wait_ready([worker])
        await eventually(lambda: len(list(folder.glob("*.hint"))) >= 1, 20)
        assert cluster.stop(worker) == 0
        spoil(sorted(folder.glob("*.hint")))
        cluster.start(worker)
        await cluster.wait_ready([worker])
        assert await cluster.stored(worker) == before


def _remove(hints: list[Path]) -> None:
    for hint in hints:
        hint.unlink()


def _flip(hints: list[Path]) -> None:
    for hint in hints:
        data = bytearray(hint.read_bytes())
        data[len(data) // 2] ^= 1
        hint.write_bytes(data)


def _cut(hints: list[Path]) -> None:
    for hint in hints:
        hint.write_bytes(hint.read_bytes()[:-20])


def _swap(hints: list[Path]) -> None:
    contents = [hint.read_bytes() for hint in hints]
    for hint, content in zip(hints, [*contents[1:], b""], strict=True):
        hint.write_bytes(content)
