"""The real file system."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kvnode.errors import LockedError, StorageError
from kvnode.storage.disk import PosixDisk
from kvnode.storage.store import Store
from tests.unit.storage.support import open_store, record, state_of

HOLDER = """
import sys
from kvnode.storage.disk import PosixDisk
disk = PosixDisk(sys.argv[1])
disk.lock()
print("locked", flush=True)
sys.stdin.read()
"""


def test_files_do_what_they_say(tmp_path: Path) -> None:
    """What is written can be read, cut, renamed and removed; an open file outlives its name."""
    disk = PosixDisk(tmp_path / "a" / "b")
    file = disk.create("one")
    file.write(0, b"hello")
    file.write(5, b" world")
    file.sync()
    assert (file.read(6, 100), file.size(), file.name) == (b"world", 11, "one")
    file.truncate(4)
    disk.rename("one", "two")
    disk.sync_folder()
    assert disk.names() == ["two"]
    assert disk.open("two").read(0, 9) == b"hell"
    disk.remove("two")
    assert file.read(0, 4) == b"hell"
    file.close()
    with pytest.raises(FileNotFoundError):
        disk.open("two")


def test_nobody_else_may_read(tmp_path: Path) -> None:
    """The folder and its files are for their owner alone."""
    disk = PosixDisk(tmp_path / "data")
    disk.create("one").close()
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data" / "one").stat().st_mode) == 0o600


def test_creating_never_replaces(tmp_path: Path) -> None:
    """A file that exists is not created again."""
    disk = PosixDisk(tmp_path)
    disk.create("one").close()
    with pytest.raises(FileExistsError):
        disk.create("one")


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that the system does in pieces is still a whole write."""
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, bytes(data)[:3], offset))
    file = PosixDisk(tmp_path).create("one")
    file.write(0, b"hello world")
    assert file.read(0, 100) == b"hello world"
    file.close()


def test_a_folder_that_cannot_be_is_a_storage_error(tmp_path: Path) -> None:
    """A file in the data folder's place is named in the error."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file"):
        PosixDisk(tmp_path / "file" / "data")


def test_second_process_is_refused(tmp_path: Path) -> None:
    """While a process holds the folder, another one cannot open it; when it has died, it can."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(LockedError, match=str(holder.pid)):
            open_store(PosixDisk(tmp_path))
        holder.kill()
    open_store(PosixDisk(tmp_path)).close()


def test_second_store_in_a_process_is_refused(tmp_path: Path) -> None:
    """The lock keeps off a store of the same process too."""
    store = open_store(PosixDisk(tmp_path))
    with pytest.raises(LockedError):
        open_store(PosixDisk(tmp_path))
    store.close()


def test_a_store_on_a_real_disk(tmp_path: Path) -> None:
    """With its threads and real syncs, a store keeps what it was given over restarts and merges."""

    def opened() -> Store:
        store = open_store(PosixDisk(tmp_path), segment_bytes=20_000)
        store.start()
        return store

    store = opened()
    for seq in range(1, 1001):
        value = None if seq % 7 == 0 else b'{"seq":%d}' % seq
        store.append(record(f"key {seq % 100}", seq, value, partition=seq % 4))
    before = state_of(store)
    store.close()
    assert store.durable_lsn == 1000
    for _ in range(3):
        store = opened()
        assert state_of(store) == before
        store.promise(0, store.promised(0)._replace(term=store.promised(0).term + 1, worker=1))
        before = state_of(store)
        store.close()
