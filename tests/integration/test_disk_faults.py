"""Workers whose disk fails, is damaged or is full: what the process says, how it ends, and that all heals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.cluster import Cluster
from tests.support.load import Load
from tests.support.waiting import eventually

FAILING_SYNC = """
import errno, os, pathlib
fdatasync = os.fdatasync
def failing(descriptor):
    if pathlib.Path({flag!r}).exists():
        raise OSError(errno.{kind}, os.strerror(errno.{kind}))
    fdatasync(descriptor)
os.fdatasync = failing
"""
"""What a worker's process runs first: its syncs fail for as long as the file ``flag`` exists."""


def logged(cluster: Cluster, worker: int, event: str) -> list[dict[str, Any]]:
    """Return a worker's log lines of one event."""
    lines = cluster.log_path(worker).read_bytes().split(b"\n")
    found = [json.loads(line) for line in lines if line.startswith(b"{")]
    return [line for line in found if line["event"] == event]


def segments(cluster: Cluster, worker: int) -> list[Path]:
    """Return a worker's segments, oldest first."""
    return sorted(cluster.node(worker).data.glob("log-*.jsonl"))


async def test_a_failing_sync_stops_the_worker_for_good(cluster: Cluster, tmp_path: Path) -> None:
    """EIO: it is said with file and errno, the exit code is 74, nothing is tried again, nothing is lost."""
    victim, flag = 2, tmp_path / "fail"
    others = [worker for worker in cluster.workers if worker != victim]
    assert cluster.stop(victim) == 0
    cluster.start(victim, FAILING_SYNC.format(flag=str(flag), kind="EIO"))
    await cluster.wait_ready([victim])
    async with Load(cluster, others) as load:
        await eventually(lambda: load.successes > 100)
        flag.touch()
        await eventually(lambda: not cluster.running(victim))
        flag.unlink()
        before = load.successes
        await eventually(lambda: load.successes > before + 100)
    assert cluster.exit_code(victim) == 74
    (failed,) = logged(cluster, victim, "storage_failed")
    assert failed["errno"] == "EIO"
    assert failed["file"] == segments(cluster, victim)[-1].name
    cluster.start(victim)
    await cluster.wait_ready([victim])
    assert not await load.lost(others[0])
    assert not await load.lost(victim)


async def test_a_full_disk_loses_nothing_and_ends_by_itself(cluster: Cluster, tmp_path: Path) -> None:
    """ENOSPC: the worker stays up, says so, and goes on where it was when there is space again."""
    victim, flag = 3, tmp_path / "full"
    others = [worker for worker in cluster.workers if worker != victim]
    assert cluster.stop(victim) == 0
    cluster.start(victim, FAILING_SYNC.format(flag=str(flag), kind="ENOSPC"))
    await cluster.wait_ready([victim])
    async with Load(cluster, others) as load:
        await eventually(lambda: load.successes > 100)
        flag.touch()
        await eventually(lambda: logged(cluster, victim, "disk_full"))
        flag.unlink()
        await eventually(lambda: logged(cluster, victim, "disk_space_back"), 30)
        before = load.successes
        await eventually(lambda: load.successes > before + 100)
    assert cluster.running(victim)
    assert not await load.lost(victim)
    await eventually(cluster.agree, 20)


async def test_a_damaged_log_is_rebuilt_from_the_peers(cluster: Cluster) -> None:
    """A changed byte: told with its place, the file set aside, and every key whole again, by itself."""
    victim = 1
    async with Load(cluster, cluster.workers) as load:
        await eventually(lambda: load.successes > 300)
    cluster.kill(victim)
    log = segments(cluster, victim)[-1]
    data = bytearray(log.read_bytes())
    at = data.rindex(b'"v":') + 5
    data[at] ^= 1
    log.write_bytes(bytes(data))
    cluster.start(victim)
    await cluster.wait_ready([victim])
    damage = logged(cluster, victim, "segment_damaged")
    assert [(line["file"], line["line"]) for line in damage] == [(log.name, data[:at].count(b"\n") + 1)]
    aside = log.with_name(f"{log.name}.damaged")
    await eventually(aside.exists)
    assert aside.read_bytes() == data
    assert not await load.lost(victim)
    await eventually(cluster.agree, 20)


async def test_a_damaged_identity_is_no_blank_disk(cluster: Cluster) -> None:
    """The worker refuses to start, with 74 and in words, and its folder stays as it is."""
    victim = 4
    assert cluster.stop(victim) == 0
    identity = segments(cluster, victim)[0].with_name("identity.json")
    damaged = identity.read_bytes().replace(b'"worker":4', b'"worker":5')
    identity.write_bytes(damaged)
    code, complaint = await cluster.try_again(victim)
    assert code == 74
    assert "identity.json" in complaint
    assert "checksum" in complaint
    assert identity.read_bytes() == damaged
