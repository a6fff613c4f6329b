"""Whole data folders, spoiled at random: nothing acknowledged is ever silently wrong, and nothing crashes.

Every record is there byte for byte, or its partition has lost its vote, or the store refuses to open in
words. What the check of a folder calls sound is sound. ``KVNODE_FUZZ_FOLDERS=30000`` makes it a long run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from itertools import takewhile
from random import Random

import pytest
import structlog

from kvnode.core.identity import Identity
from kvnode.core.versions import Ballot, Version
from kvnode.errors import DamageError, StorageError
from kvnode.storage.findings import Severity
from kvnode.storage.fsck import check_folder
from kvnode.storage.identity import IDENTITY_NAME, write_identity
from kvnode.storage.memory_disk import MemoryDisk
from kvnode.storage.segment import DAMAGED
from kvnode.storage.store import Store
from kvnode.storage.upkeep import Upkeep
from tests.unit.storage.support import PARTITIONS, WORKER, State, commit, open_store, record, state_of, tidy

FOLDERS = int(os.environ.get("KVNODE_FUZZ_FOLDERS", "1200"))
BATCHES = 8
SEGMENT_BYTES = 700
EVERYWHERE = range(PARTITIONS)

Files = dict[str, bytes]
Spoil = Callable[[Random, Files], None]


@cache
def template(seed: int) -> tuple[Files, State]:
    """Return the files of a worker that was used for a while, and what it had acknowledged."""
    random = Random(seed)
    disk = MemoryDisk()
    write_identity(disk, Identity(WORKER, f"{seed:032x}"))
    store = open_store(disk, segment_bytes=SEGMENT_BYTES)
    for partition in EVERYWHERE:
        store.set_voting(partition)
    for seq in range(1, random.randint(15, 60)):
        value = None if random.random() < 0.25 else b'"%s"' % (b"x" * random.randint(0, 60))
        number = random.randint(0, 9)
        partition = number % PARTITIONS
        store.append(record(f"k{number}", seq, value, partition=partition))
        if random.random() < 0.1:
            store.promise(partition, Ballot(1 + seq, 1))
        if random.random() < 0.1:
            store.raise_floor(partition, Version(1, 1, seq), Version(1, 1, max(seq - 5, 0)))
        if random.random() < 0.2:
            commit(store)
            for _ in range(random.randint(0, 60)):
                store.tidier.step()
                commit(store)
        if random.random() < 0.05:
            store.close()
            store = open_store(disk, segment_bytes=SEGMENT_BYTES)
    commit(store)
    state = state_of(store)
    disk.crash()
    return {name: disk.contents(name) for name in disk.names()}, state


def some_file(random: Random, files: Files) -> str:
    """Choose a file, segments rather than others."""
    return random.choice(sorted(files) + [name for name in sorted(files) if name.endswith(".jsonl")] * 2)


def flip_bytes(random: Random, files: Files) -> None:
    """Change a few bytes of a file."""
    name = some_file(random, files)
    data = bytearray(files[name])
    for _ in range(random.randint(1, 4) if data else 0):
        data[random.randrange(len(data))] = random.choice(
            [0, 10, 34, 44, 48, 57, 125, 255, random.randrange(256)]
        )
    files[name] = bytes(data)


def cut(random: Random, files: Files) -> None:
    """Cut a file short, or a piece out of it."""
    name = some_file(random, files)
    data = files[name]
    start, end = sorted(random.randint(0, len(data)) for _ in range(2))
    files[name] = data[:start] + (b"" if random.random() < 0.5 else data[end:])


def put_in(random: Random, files: Files) -> None:
    """Put garbage, zeros or a piece of a file somewhere."""
    name = some_file(random, files)
    data, other = files[name], files[some_file(random, files)]
    start, end = sorted(random.randint(0, len(other)) for _ in range(2))
    piece = random.choice(
        [bytes(random.randint(1, 600)), random.randbytes(random.randint(1, 99)), other[start:end]]
    )
    at = random.randint(0, len(data))
    files[name] = data[:at] + piece + data[at + random.choice([0, len(piece)]) :]


def mix_up(random: Random, files: Files) -> None:
    """Swap two files, double one, or remove one."""
    one, two = some_file(random, files), some_file(random, files)
    what = random.randrange(4)
    if what == 0:
        files[one], files[two] = files[two], files[one]
    elif what == 1:
        files[two] = files[one]
    elif what == 2:
        files[f"log-{random.randint(1, 30):08}.{random.choice(['jsonl', 'hint', 'jsonl.tmp'])}"] = files[one]
    else:
        del files[one]


def looks_like_a_crash(before: Files, after: Files) -> bool:
    """Whether the newest segment has only lost its end: no disk can tell that from a write never made."""
    newest = max(
        name for name, data in before.items() if name.endswith(".jsonl") and b'"replaces":[],' in data
    )
    left = after.get(newest, b"")
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before[newest], left, strict=False)))
    whole = before[newest][: before[newest].rfind(b"\n", 0, same) + 1]
    return len(whole) < len(before[newest]) and b"\n" not in left[len(whole) :]


def assert_honest(store: Store, acknowledged: State) -> bool:
    """Every partition with a vote holds exactly what was acknowledged; return whether all have one."""
    held, promised, floor, forgotten, voting = acknowledged
    read = {}
    for partition in EVERYWHERE:
        for key in list(store.keys(partition)):
            entry = store.entry(partition, key)
            if entry is None:
                continue
            try:
                value = None if entry.tombstone else store.value(partition, key, entry)
            except DamageError:
                continue
            read[partition, key] = (entry.rank, entry.previous, value)
    expected = {place: ((r.accepted, r.version), r.previous, r.value) for place, r in held.items()}
    for partition in EVERYWHERE:
        if not store.voting(partition):
            continue
        assert voting[partition]
        mine = {place: what for place, what in read.items() if place[0] == partition}
        assert mine == {place: what for place, what in expected.items() if place[0] == partition}
        assert store.promised(partition) >= promised[partition]
        assert store.floor(partition) >= floor[partition]
        assert store.forgotten(partition) >= forgotten[partition]
    return all(store.voting(partition) for partition in EVERYWHERE if voting[partition])


def fuzz(seed: int) -> None:
    """Spoil one folder and use it."""
    random = Random(seed)
    before, acknowledged = template(seed % 40)
    files = dict(before)
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        random.choice([flip_bytes, flip_bytes, cut, put_in, mix_up])(random, files)
    disk = MemoryDisk()
    for name, data in files.items():
        disk.replace(name, data)
    report = check_folder(disk, "data")
    sound = report.worst() in {None, Severity.HARMLESS}
    if files.get(IDENTITY_NAME) != before[IDENTITY_NAME]:
        assert report.worst() is Severity.FATAL
    upkeep = Upkeep(scrub_bytes_per_s=1 << 30)
    for _ in range(2):
        try:
            store = open_store(disk, segment_bytes=SEGMENT_BYTES, upkeep=upkeep)
        except StorageError:
            assert report.worst() is Severity.FATAL
            return
        assert report.worst() is not Severity.FATAL
        if looks_like_a_crash(before, files):
            state_of_readable(store)
        else:
            whole = assert_honest(store, acknowledged)
            tidy(store)
            assert whole >= assert_honest(store, acknowledged)
            if sound:
                assert whole
                assert state_of(store)[0] == acknowledged[0]
        store.close()
    if sound:
        replaced = {found.file + DAMAGED for found in report.findings if found.kind == "replaced_segment"}
        assert not [name for name in disk.names() if name.endswith(DAMAGED) and name not in replaced]


def state_of_readable(store: Store) -> None:
    """Read all that can be read."""
    for partition in EVERYWHERE:
        for key in list(store.keys(partition)):
            entry = store.entry(partition, key)
            if entry is not None and not entry.tombstone:
                try:
                    store.value(partition, key, entry)
                except DamageError:
                    assert not store.voting(partition)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_spoiled_folders_are_never_silently_wrong(batch: int) -> None:
    """Bytes changed, cut, put in; files swapped, doubled, removed: intact, without a vote, or refused."""
    for seed in range(batch, FOLDERS, BATCHES):
        with structlog.testing.capture_logs():
            try:
                fuzz(seed)
            except Exception as error:
                raise AssertionError(f"with seed {seed}") from error
