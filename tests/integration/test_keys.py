"""What was put through one worker is what any other gives back, and stands where the ring says."""

from __future__ import annotations

import asyncio
import json
import random

from tests.support.cluster import Cluster
from tests.support.waiting import eventually

KEYS_A_WORKER = 1000
AT_ONCE = 16
REPLICAS = 3
AWKWARD = [
    "plain", "user/1", "a/b/../c", "//double//", "sp ace", "per%cent", "%2F", "ä/ö/ü", "日本語", "🐦",
    "+plus+", "q?x=1&y=2", "#hash", '"quoted"', "back\\slash", "tab\there", "nul\x00byte", "k" * 1024,
]  # fmt: skip
VALUES: list[object] = [
    None, True, False, 0, -1, 1.5, 10**30, "", "ä", "\u2028\u0000", [], {}, [1, [2, [3]]],
    {"a": {"b": None}}, 7,
]  # fmt: skip
LARGE = "x" * (1024 * 1024 - 2)


def _value(number: int) -> object:
    if number % 200 == 0:
        return LARGE
    return VALUES[number % len(VALUES)]


def _key(worker: int, number: int) -> str:
    if number < len(AWKWARD):
        return f"{AWKWARD[number][:1000]}~{worker}"
    return f"w{worker}/ключ %{number:02x}/{number}"


async def test_every_value_comes_back_through_another_worker_and_stands_on_three(cluster: Cluster) -> None:
    """Through each worker, 1,000 keys of every shape come back exactly and end on exactly three disks."""
    values = {
        (worker, _key(worker, number)): _value(number)
        for worker in cluster.workers
        for number in range(KEYS_A_WORKER)
    }
    gate = asyncio.Semaphore(AT_ONCE)

    async def put_and_get(worker: int, key: str, value: object) -> None:
        async with gate:
            put = await cluster.put(worker, key, value)
            assert put.status == 200, put.body
            assert put.body["replicas"] in {2, 3}
            other = random.choice([node for node in cluster.workers if node != worker])
            got = await cluster.get(other, key)
            assert got.status == 200, got.body
            assert json.dumps(got.body["value"]) == json.dumps(value)
            assert got.headers["ETag"] == put.headers["ETag"]

    async with asyncio.TaskGroup() as tasks:
        for (worker, key), value in values.items():
            tasks.create_task(put_and_get(worker, key, value))

    expected: dict[int, set[str]] = {worker: set() for worker in cluster.workers}
    for _, key in values:
        holders = await cluster.replicas(key)
        assert len(set(holders)) == REPLICAS
        for holder in holders:
            expected[holder].add(key)

    async def stands_where_the_ring_says() -> bool:
        held = {worker: set(await cluster.stored(worker)) for worker in cluster.workers}
        return held == expected

    await eventually(stands_where_the_ring_says, 10)


async def test_a_worker_that_does_not_own_a_key_answers_as_if_it_did(cluster: Cluster) -> None:
    """PUT, GET, conditions and DELETE through a worker without a copy give the owners' answers."""
    key = "somewhere"
    holders = await cluster.replicas(key)
    stranger = next(worker for worker in cluster.workers if worker not in holders)
    put = await cluster.put(stranger, key, {"a": 1})
    assert put.status == 200
    assert (await cluster.get(holders[0], key)).body["value"] == {"a": 1}
    got = await cluster.get(stranger, key)
    assert got.body["node_id"] in holders
    refused = await cluster.put(stranger, key, 2, If_None_Match="*")
    assert refused.status == 412
    assert refused.body["version"] == put.body["version"]
    changed = await cluster.put(stranger, key, 2, If_Match=put.headers["ETag"])
    assert changed.status == 200
    again = await cluster.put(stranger, key, 3, If_Match=put.headers["ETag"])
    assert again.status == 412
    assert (await cluster.delete(stranger, key)).status == 200
    assert (await cluster.get(stranger, key)).status == 404
    assert (await cluster.delete(stranger, key)).status == 404


async def test_a_local_read_says_that_it_is_one(cluster: Cluster) -> None:
    """?consistency=local is answered from some replica's copy, with the version it holds."""
    await cluster.put(1, "near", 5)
    for worker in cluster.workers:

        async def seen(worker: int = worker) -> bool:
            got = await cluster.get(worker, "near", "?consistency=local")
            return bool(got.status == 200 and got.body["consistency"] == "local" and got.body["value"] == 5)

        await eventually(seen)
