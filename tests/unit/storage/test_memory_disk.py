"""The disk that forgets forgets what a real one may, and keeps what a real one must."""

from __future__ import annotations

import pytest

from kvnode.errors import LockedError
from kvnode.storage.memory_disk import MemoryDisk


def test_unsynced_bytes_are_lost() -> None:
    """A crash leaves what was synced, and as many bytes more as are said to survive."""
    disk = MemoryDisk()
    file = disk.create("a")
    file.write(0, b"kept")
    file.sync()
    disk.sync_folder()
    file.write(4, b"lost")
    disk.crash(lambda count: count // 2)
    assert disk.contents("a") == b"keptlo"


def test_unsynced_names_are_lost() -> None:
    """Files whose folder was not synced are gone, renames undone, removed files back."""
    disk = MemoryDisk()
    for name in ("old", "removed"):
        disk.create(name).sync()
    disk.sync_folder()
    disk.create("new").sync()
    disk.rename("old", "renamed")
    disk.remove("removed")
    assert disk.names() == ["new", "renamed"]
    disk.crash()
    assert disk.names() == ["old", "removed"]


def test_folder_changes_survive_in_any_order() -> None:
    """A later change to the folder may survive when an earlier one does not."""
    disk = MemoryDisk()
    disk.create("a")
    disk.create("b")
    fates = iter([0, 1, 0])
    disk.crash(lambda _: next(fates))
    assert disk.names() == ["b"]


def test_handles_die_in_a_crash() -> None:
    """Nothing from before a crash can write afterwards, and the lock is free again."""
    disk = MemoryDisk()
    disk.lock()
    with pytest.raises(LockedError):
        disk.lock()
    file = disk.create("a")
    disk.crash()
    disk.lock()
    with pytest.raises(OSError, match="before the crash"):
        file.write(0, b"x")


def test_fault_hook_stands_before_every_change() -> None:
    """A hook that raises keeps the operation from happening."""

    def refuse(operation: str, name: str) -> None:
        if operation == "sync":
            raise OSError(5, f"no {operation} of {name}")

    disk = MemoryDisk(refuse)
    file = disk.create("a")
    disk.sync_folder()
    file.write(0, b"x")
    with pytest.raises(OSError, match="no sync of a"):
        file.sync()
    disk.crash()
    assert disk.contents("a") == b""
