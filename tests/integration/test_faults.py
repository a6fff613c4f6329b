"""Workers that are killed, stopped, frozen and started again, under load."""

from __future__ import annotations

import asyncio
import time
from signal import SIGCONT, SIGKILL, SIGSTOP

import pytest

from kvnode.config import load_controller_config
from tests.support.cluster import CONTROLLER, Cluster
from tests.support.load import Load
from tests.support.waiting import eventually

AGAIN_S = 2.0
OFFLINE_S = 3.0


async def _online(cluster: Cluster, worker: int) -> bool:
    entries = (await cluster.status())["workers"]
    return bool(next(entry["online"] for entry in entries if entry["id"] == worker))


async def test_kill_9_loses_no_acknowledged_write(cluster: Cluster) -> None:
    """A worker killed under load costs at most two seconds; it is shown offline, and catches up by itself."""
    victim = 2
    others = [worker for worker in cluster.workers if worker != victim]
    async with Load(cluster, others) as load:
        await eventually(lambda: load.successes > 200)
        killed = time.monotonic()
        cluster.kill(victim)

        async def offline() -> bool:
            return not await _online(cluster, victim)

        await eventually(offline, OFFLINE_S)
        before = load.successes
        await eventually(lambda: load.successes > before + 200)
        late = [failure for failure in load.failures if failure[0] > killed + AGAIN_S]
        assert not late
        cluster.start(victim)
        await cluster.wait_ready([victim])
        await eventually(lambda: _online(cluster, victim))
    assert not await load.lost(others[0])
    assert not await load.lost(victim)
    await eventually(cluster.agree, 20)


async def test_every_key_is_writable_again_after_kill_9(cluster: Cluster) -> None:
    """Within two seconds of a kill, a key of every partition can be read and written again."""
    ring = load_controller_config(cluster.node(CONTROLLER).config).cluster.ring()
    names = (f"spread/{number}" for number in range(16 * ring.partitions))
    keys = list({ring.partition(name): name for name in names}.values())
    assert len(keys) == ring.partitions
    await asyncio.gather(*(cluster.put(1, key, 1) for key in keys))
    cluster.kill(1)
    killed = time.monotonic()

    async def write(key: str) -> None:
        while (await cluster.put(3, key, 2)).status != 200:
            assert time.monotonic() < killed + AGAIN_S

    await asyncio.gather(*(write(key) for key in keys))
    assert time.monotonic() < killed + AGAIN_S
    for key in keys:
        assert (await cluster.get(4, key)).body["value"] == 2


async def test_a_worker_that_stops_in_good_order_fails_no_request(cluster: Cluster) -> None:
    """SIGTERM hands every partition over: no request sent to another worker fails; then it comes back."""
    victim = 1
    others = [worker for worker in cluster.workers if worker != victim]
    async with Load(cluster, others) as load:
        await eventually(lambda: load.successes > 200)
        assert cluster.stop(victim) == 0
        before = load.successes
        await eventually(lambda: load.successes > before + 200)
        cluster.start(victim)
        await cluster.wait_ready([victim])

        async def leads_again() -> bool:
            entries = (await cluster.status())["workers"]
            entry = next(entry for entry in entries if entry["id"] == victim)
            return bool(entry["partitions_led"] >= entry["partitions_primary"])

        await eventually(leads_again, 30)
    assert not load.failures
    assert not await load.lost(victim)
    await eventually(cluster.agree, 20)


async def test_the_third_copy_is_written_after_the_answer(cluster: Cluster) -> None:
    """With one replica held back, a PUT answers with two copies, and the third arrives when it can."""
    key = "latent"
    primary, _, third = await cluster.replicas(key)
    cluster.signal(third, SIGSTOP)
    put = await cluster.put(primary, key, "soon everywhere")
    assert put.status == 200
    assert put.body["replicas"] == 2
    assert put.body["note"] == "background_write_active"
    cluster.signal(third, SIGCONT)

    async def arrived() -> bool:
        return bool((await cluster.stored(third)).get(key) == put.body["version"])

    await eventually(arrived)


async def test_a_frozen_leader_is_replaced_and_steps_down(cluster: Cluster) -> None:
    """A leader frozen past the detector's patience neither blocks its keys nor answers stale reads after."""
    key = "frozen"
    primary, second, _ = await cluster.replicas(key)
    stranger = next(worker for worker in cluster.workers if worker not in {primary, second})
    assert (await cluster.put(stranger, key, "before")).status == 200
    cluster.signal(primary, SIGSTOP)

    async def written() -> bool:
        return (await cluster.put(second, key, "after")).status == 200

    await eventually(written, 15)
    cluster.signal(primary, SIGCONT)
    got = await cluster.get(primary, key)
    assert got.body["value"] == "after"


async def test_two_replicas_away_is_said_honestly(cluster: Cluster) -> None:
    """With two of a key's replicas gone, writes and reads answer 503, and a local read still answers."""
    key = "alone"
    first, second, third = await cluster.replicas(key)
    assert (await cluster.put(first, key, 1)).body["status"] == "success"

    async def copied() -> bool:
        return (await cluster.get(third, key, "?consistency=local")).status == 200

    await eventually(copied)
    cluster.kill(first)
    cluster.kill(second)

    async def refused() -> bool:
        put = await cluster.put(third, key, 2)
        return put.status == 503 and put.body["outcome"] == "not_stored"

    await eventually(refused, 15)
    assert (await cluster.get(third, key)).status == 503
    local = await cluster.get(third, key, "?consistency=local")
    assert local.body["value"] == 1
    cluster.start(first)
    await cluster.wait_ready([first])
    assert (await cluster.put(third, key, 3)).status == 200


async def test_without_the_controller_every_read_and_write_works(cluster: Cluster) -> None:
    """The controller is not on the data path: killing it stops nothing, and it comes back knowing all."""
    cluster.kill(CONTROLLER)
    async with Load(cluster, cluster.workers) as load:
        await eventually(lambda: load.successes > 200)
    assert not load.failures
    cluster.start(CONTROLLER)
    await cluster.wait_ready([CONTROLLER])

    async def all_online() -> bool:
        return all([await _online(cluster, worker) for worker in cluster.workers])

    await eventually(all_online)


async def test_all_workers_restarted_together_keep_everything(cluster: Cluster) -> None:
    """After a kill of all four at once, every acknowledged write is there again."""
    async with Load(cluster, cluster.workers) as load:
        await eventually(lambda: load.successes > 400)
        for worker in cluster.workers:
            cluster.signal(worker, SIGKILL)
    for worker in cluster.workers:
        cluster.kill(worker)
        cluster.start(worker)
    await cluster.wait_ready()
    assert not await load.lost(1)


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
async def test_one_request_id_finds_a_request_everywhere(cluster: Cluster, method: str) -> None:
    """A request with an X-Request-ID is in the log of each node it touched and in the log window."""
    key = "traced"
    holders = await cluster.replicas(key)
    stranger = next(worker for worker in cluster.workers if worker not in holders)
    await cluster.put(stranger, key, 1)
    name = f"trace-{method}"
    body = {"value": 2} if method == "PUT" else None
    headers = {"X-Request-ID": name}
    reply = await cluster.request(method, stranger, f"/kv/{key}", body=body, headers=headers)
    assert reply.headers["X-Request-ID"] == name
    leader = reply.body["leader_id"] if method != "DELETE" else holders[0]
    touched = {stranger, leader} if method == "GET" else {stranger, *holders}

    async def found() -> bool:
        lines = (await cluster.request("GET", CONTROLLER, f"/logs?request_id={name}&limit=100")).body["lines"]
        return {line["node"] for line in lines} >= {f"worker-{worker}" for worker in touched}

    await eventually(found)
    for worker in touched:
        assert any(line.get("request_id") == name for line in cluster.log_lines(worker))
    for number in [CONTROLLER, *cluster.workers]:
        for line in cluster.log_lines(number):
            assert {"timestamp", "level", "event", "node"} <= line.keys()
