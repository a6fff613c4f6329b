"""A disk in memory that forgets, for simulations and tests.

It keeps apart what was written and what was synced. ``crash`` throws away what was not, except for
as much as the caller says survived: by bytes for each file's tail (a torn write), one by one for the
folder's changes (a file whose name was never synced is gone). A ``fault`` hook sees every operation
first, and may raise in its place. With a ``capacity`` it can be full: a write that does not fit
writes what fits, and fails.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from kvnode.errors import LockedError

_BOUNDLESS = 1 << 62


class _Node:
    """A file's contents, whatever its name."""

    __slots__ = ("data", "synced")

    def __init__(self) -> None:
        self.data = bytearray()
        self.synced = 0


class MemoryFile:
    """An open file of a ``MemoryDisk``; dead after a crash."""

    def __init__(self, disk: MemoryDisk, name: str, node: _Node) -> None:
        self._disk = disk
        self._name = name
        self._node = node
        self._life = disk.lives

    @property
    def name(self) -> str:
        """The name under which the file was opened."""
        return self._name

    def read(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes; fewer only at the file's end."""
        self._begin("read")
        return bytes(self._node.data[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        """Write ``data``; what was synced can be written again, but not be changed."""
        self._begin("write")
        node = self._node
        again = max(0, node.synced - offset)
        if offset > len(node.data) or node.data[offset : node.synced] != data[:again]:
            raise OSError(errno.EINVAL, "only appends are modelled")
        room = len(node.data) - offset + self._disk.free_bytes()
        node.data[offset : offset + len(data)] = data[:room]
        if room < len(data):
            raise OSError(errno.ENOSPC, "no space left on device", self._name)

    def sync(self) -> None:
        """Make what was written survive a crash."""
        self._begin("sync")
        self._node.synced = len(self._node.data)

    def size(self) -> int:
        """Return the file's length in bytes."""
        self._begin("size")
        return len(self._node.data)

    def truncate(self, size: int) -> None:
        """Cut the file to ``size`` bytes, at once and for good."""
        self._begin("truncate")
        del self._node.data[size:]
        self._node.synced = min(self._node.synced, size)

    def prefetch(self) -> None:
        """Do nothing: it is in memory."""
        self._begin("prefetch")

    def close(self) -> None:
        """Forget the handle."""

    def _begin(self, operation: str) -> None:
        """Let the fault hook see the operation; refuse it to a handle from before a crash."""
        if self._life != self._disk.lives:
            raise OSError(errno.EBADF, "opened before the crash")
        self._disk.begin(operation, self._name)


class MemoryDisk:
    """A folder in memory. ``fault(operation, name)`` is called before each operation.

    ``capacity`` bounds the bytes of all files together (None: no bound) and may be set at any time.
    """

    def __init__(self, fault: Callable[[str, str], None] | None = None, capacity: int | None = None) -> None:
        self.fault = fault
        self.capacity = capacity
        self.lives = 0
        self._locked = False
        self._names: dict[str, _Node] = {}
        self._synced_names: dict[str, _Node] = {}
        self._changes: list[Callable[[dict[str, _Node]], object]] = []

    def crash(self, survives: Callable[[int], int] = lambda _: 0) -> None:
        """Lose what was not synced.

        ``survives(count)`` says how much of it was on the platter all the same: it is called with 1
        for each unsynced change to the folder, since those reach the platter in any order, then with
        each file's number of unsynced bytes.
        """
        self.lives += 1
        self._locked = False
        for change in self._changes:
            if survives(1):
                change(self._synced_names)
        self._changes = []
        self._names = dict(self._synced_names)
        for node in self._names.values():
            del node.data[node.synced + survives(len(node.data) - node.synced) :]
            node.synced = len(node.data)

    def contents(self, name: str) -> bytes:
        """Return a whole file, synced or not."""
        return bytes(self._names[name].data)

    def replace(self, name: str, data: bytes) -> None:
        """Put other bytes in a file's place, durably: damage, or an older state."""
        node = self._names.setdefault(name, _Node())
        self._synced_names[name] = node
        node.data = bytearray(data)
        node.synced = len(data)

    def flip(self, name: str, offset: int, bits: int) -> int:
        """Change some bits of one byte where it stands, as a platter may; return the byte."""
        data = self._names[name].data
        data[offset] ^= bits
        return data[offset]

    def byte(self, name: str, offset: int) -> int | None:
        """Return one byte of a file, or None where there is none."""
        node = self._names.get(name)
        return None if node is None or offset >= len(node.data) else node.data[offset]

    def synced_bytes(self, name: str) -> int:
        """Return how many bytes of a file survive a crash, if its name does."""
        return self._names[name].synced

    @property
    def names_synced(self) -> bool:
        """Whether the folder is after a crash what it is now."""
        return not self._changes

    def used_bytes(self) -> int:
        """Return how much all files take."""
        return sum(len(node.data) for node in self._names.values())

    def begin(self, operation: str, name: str) -> None:
        """Let the fault hook see an operation."""
        if self.fault is not None:
            self.fault(operation, name)

    def lock(self) -> None:
        """Keep every other store off the disk. Raises LockedError when one has it."""
        if self._locked:
            raise LockedError("in use by another store")
        self._locked = True

    def unlock(self) -> None:
        """Let the disk go."""
        self._locked = False

    def names(self) -> list[str]:
        """Return the names of all files, in order."""
        return sorted(self._names)

    def create(self, name: str) -> MemoryFile:
        """Create a file that must not exist yet."""
        self.begin("create", name)
        if name in self._names:
            raise FileExistsError(errno.EEXIST, "exists", name)
        if not self.free_bytes():
            raise OSError(errno.ENOSPC, "no space left on device", name)
        node = _Node()
        self._change(lambda names: names.__setitem__(name, node))
        return MemoryFile(self, name, node)

    def open(self, name: str) -> MemoryFile:
        """Open a file that exists. Raises FileNotFoundError."""
        self.begin("open", name)
        if name not in self._names:
            raise FileNotFoundError(errno.ENOENT, "does not exist", name)
        return MemoryFile(self, name, self._names[name])

    def rename(self, old: str, new: str) -> None:
        """Rename a file, replacing what stood at ``new``."""
        self.begin("rename", new)
        node = self._names[old]

        def change(names: dict[str, _Node]) -> None:
            names.pop(old, None)
            names[new] = node

        self._change(change)

    def remove(self, name: str) -> None:
        """Remove a file. Those who have it open can go on reading it."""
        self.begin("remove", name)
        if name not in self._names:
            raise FileNotFoundError(errno.ENOENT, "does not exist", name)
        self._change(lambda names: names.pop(name, None))

    def sync_folder(self) -> None:
        """Make the present names survive a crash."""
        self.begin("sync_folder", "")
        self._synced_names = dict(self._names)
        self._changes = []

    def free_bytes(self) -> int:
        """Return how much may still be written."""
        if self.capacity is None:
            return _BOUNDLESS
        return max(0, self.capacity - self.used_bytes())

    def _change(self, change: Callable[[dict[str, _Node]], object]) -> None:
        """Change the names now; durably at the next sync of the folder."""
        change(self._names)
        self._changes.append(change)
