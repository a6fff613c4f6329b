"""The log that a killed worker left: cut at every byte of its tail, and every byte of a record flipped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from kvnode.core.versions import Version
from kvnode.storage.disk import PosixDisk
from kvnode.storage.store import Store
from tests.support.cluster import Cluster
from tests.support.waiting import eventually

VICTIM = 2
KEYS = 24
TAIL_LINES = 2
PARTITIONS = 256

Contents = dict[str, Version]


async def killed(cluster: Cluster) -> Path:
    """Write some keys, kill a worker when all copies are equal, and return its newest segment."""
    for number in range(KEYS):
        assert (await cluster.put(1, f"bytes/{number}", {"n": number, "ä": "\n" * number})).status == 200
    await eventually(cluster.agree, 20)
    cluster.kill(VICTIM)
    return max(cluster.node(VICTIM).data.glob("log-*.jsonl"))


def told(data: bytes) -> Iterator[tuple[str, Version]]:
    """Read what whole lines tell, as anybody can: key and version, oldest first."""
    for line in data.split(b"\n"):
        try:
            fields = json.loads(line)
        except ValueError:
            return
        if fields["t"] in ("v", "d"):
            yield fields["k"], Version(*fields["ver"])


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    """Open a folder as a worker does."""
    store = Store.open(
        PosixDisk(folder),
        worker=VICTIM,
        partitions=PARTITIONS,
        segment_bytes=64 << 20,
        on_durable=lambda _: None,
        on_failure=_fail,
    )
    try:
        yield store
    finally:
        store.close()


def _fail(error: BaseException) -> None:
    raise error


def contents(store: Store) -> Contents:
    """Return the version of every key, each read and checked."""
    found = {}
    for partition, key, entry in store.scan("", "", 10 * KEYS):
        assert json.loads(store.value(partition, key, entry))["n"] in range(KEYS)
        found[key] = entry.version
    return found


def spoiled(folder: Path, log: Path, data: bytes) -> Path:
    """Put a copy of the worker's folder in place, with other bytes in its newest segment."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(log.parent, folder)
    (folder / log.name).write_bytes(data)
    return folder


async def test_every_cut_of_the_tail(cluster: Cluster, tmp_path: Path) -> None:
    """Wherever its last lines are cut, a log tells what its whole lines tell; with it the worker rejoins."""
    log = await killed(cluster)
    data = log.read_bytes()
    tail = sum(map(len, data.splitlines(keepends=True)[-TAIL_LINES:]))
    for size in range(len(data) - tail, len(data) + 1):
        with opened(spoiled(tmp_path / "cut", log, data[:size])) as store:
            assert contents(store) == dict(told(data[:size])), size
            assert all(store.voting(partition) for partition in voted(data))
    for size in (len(data) - tail, len(data) - tail // 2, len(data) - 1):
        log.write_bytes(data[:size])
        cluster.start(VICTIM)
        await cluster.wait_ready([VICTIM])
        await eventually(cluster.agree, 20)
        assert len(await cluster.stored(VICTIM)) == len(dict(told(data)))
        cluster.kill(VICTIM)


def voted(data: bytes) -> set[int]:
    """Return the partitions in which the lines of a log say that the worker votes."""
    lines = [json.loads(line) for line in data.splitlines()]
    return {line["p"] for line in lines if line["t"] == "w" and not line.get("no")}


async def test_every_flipped_byte_of_a_record(cluster: Cluster, tmp_path: Path) -> None:
    """Whichever byte of a record changes: file and line are told, nothing false is shown, no vote is left."""
    log = await killed(cluster)
    data = log.read_bytes()
    lines = data.splitlines(keepends=True)
    number = max(n for n, line in enumerate(lines, 1) if line.startswith(b'{"t":"v"'))
    begin = sum(map(len, lines[: number - 1]))
    history = set(told(data))
    for offset in range(begin, begin + len(lines[number - 1])):
        changed = bytearray(data)
        changed[offset] ^= 1 << offset % 8
        with (
            structlog.testing.capture_logs() as logs,
            opened(spoiled(tmp_path / "flipped", log, bytes(changed))) as store,
        ):
            assert history.issuperset(contents(store).items())
            assert not any(store.voting(partition) for partition in range(PARTITIONS))
        damage = [line for line in logs if line["event"] == "segment_damaged"]
        assert (damage[0]["file"], damage[0]["line"]) == (log.name, number), offset
