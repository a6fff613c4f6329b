"""All that storage asks of a file system, and the real one.

Nothing else in the package touches files: a simulation gives another ``Disk`` and loses what was
not synced. Names are plain file names in the data folder. Errors of the device come as OSError and
are never retried, but for a want of space: after a failed sync the page cache can no longer be trusted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Protocol

from kvnode.errors import LockedError, StorageError

LOCK_NAME = "lock"
_ADVICE_BYTES = 128 * 1024
"""Linux reads no more ahead at once than its device takes in one request."""

_FILE_MODE = 0o600
_FOLDER_MODE = 0o700


class File(Protocol):
    """One open file. Reads may come from any thread; writes come from one at a time."""

    @property
    def name(self) -> str:
        """The name under which the file was opened."""

    def read(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes; fewer only at the file's end."""

    def write(self, offset: int, data: bytes) -> None:
        """Write all of ``data``. It is not durable before ``sync``."""

    def sync(self) -> None:
        """Make what was written durable, the file's length included."""

    def size(self) -> int:
        """Return the file's length in bytes."""

    def truncate(self, size: int) -> None:
        """Cut the file to ``size`` bytes."""

    def prefetch(self) -> None:
        """Have the whole file read into memory, where there is any; nobody waits for it."""

    def close(self) -> None:
        """Give the file back. What was not synced stays undecided."""


class Disk(Protocol):
    """A data folder. Creating, renaming and removing are durable after ``sync_folder``."""

    def lock(self) -> None:
        """Keep every other process off the folder. Raises LockedError when one has it."""

    def unlock(self) -> None:
        """Let the folder go."""

    def names(self) -> list[str]:
        """Return the names of all files, in order."""

    def create(self, name: str) -> File:
        """Create a file that must not exist yet."""

    def open(self, name: str) -> File:
        """Open a file that exists, to read and to write. Raises FileNotFoundError."""

    def rename(self, old: str, new: str) -> None:
        """Rename a file, replacing what stood at ``new``."""

    def remove(self, name: str) -> None:
        """Remove a file. Those who have it open can go on reading it."""

    def sync_folder(self) -> None:
        """Make the folder's own contents durable: which names there are."""

    def free_bytes(self) -> int:
        """Return how much may still be written."""


class PosixFile:
    """A file of the operating system's."""

    __slots__ = ("_descriptor", "_name")

    def __init__(self, name: str, descriptor: int) -> None:
        self._name = name
        self._descriptor = descriptor

    @property
    def name(self) -> str:
        """The name under which the file was opened."""
        return self._name

    def read(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes; fewer only at the file's end."""
        try:
            data = os.pread(self._descriptor, length, offset)
            while 0 < len(data) < length:
                more = os.pread(self._descriptor, length - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise _named(error, self._name) from None
        return data

    def write(self, offset: int, data: bytes) -> None:
        """Write all of ``data``. It is not durable before ``sync``."""
        try:
            done = os.pwrite(self._descriptor, data, offset)
            while done < len(data):
                done += os.pwrite(self._descriptor, memoryview(data)[done:], offset + done)
        except OSError as error:
            raise _named(error, self._name) from None

    def sync(self) -> None:
        """Make what was written durable, the file's length included."""
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise _named(error, self._name) from None

    def size(self) -> int:
        """Return the file's length in bytes."""
        return os.fstat(self._descriptor).st_size

    def truncate(self, size: int) -> None:
        """Cut the file to ``size`` bytes."""
        os.ftruncate(self._descriptor, size)

    def prefetch(self) -> None:
        """Have the whole file read into memory, where there is any; nobody waits for it."""
        with contextlib.suppress(OSError):
            for offset in range(0, self.size(), _ADVICE_BYTES):
                os.posix_fadvise(self._descriptor, offset, _ADVICE_BYTES, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


class PosixDisk:
    """A folder of the operating system's, made (and made durable) if it does not exist."""

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder)
        self._lock: int | None = None
        try:
            _make_folder(self._folder)
        except OSError as error:
            raise StorageError(f"{self._folder}: cannot be used as a data folder: {error}") from error

    def lock(self) -> None:
        """Keep every other process off the folder. Raises LockedError when one has it."""
        lock = self._lock = _take_lock(self._folder / LOCK_NAME, os.O_RDWR | os.O_CREAT)
        os.ftruncate(lock, 0)
        with contextlib.suppress(OSError):  # a full disk: the number only helps whoever is refused
            os.pwrite(lock, b"%d\n" % os.getpid(), 0)

    def unlock(self) -> None:
        """Let the folder go; the lock file stays, which is harmless."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def names(self) -> list[str]:
        """Return the names of all files, in order."""
        return sorted(entry.name for entry in os.scandir(self._folder) if entry.is_file())

    def create(self, name: str) -> PosixFile:
        """Create a file that must not exist yet."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return PosixFile(name, os.open(self._folder / name, flags, _FILE_MODE))

    def open(self, name: str) -> PosixFile:
        """Open a file that exists, to read and to write. Raises FileNotFoundError."""
        return PosixFile(name, os.open(self._folder / name, os.O_RDWR | os.O_CLOEXEC))

    def rename(self, old: str, new: str) -> None:
        """Rename a file, replacing what stood at ``new``."""
        (self._folder / old).rename(self._folder / new)

    def remove(self, name: str) -> None:
        """Remove a file. Those who have it open can go on reading it."""
        (self._folder / name).unlink()

    def sync_folder(self) -> None:
        """Make the folder's own contents durable: which names there are."""
        try:
            _sync_folder(self._folder)
        except OSError as error:
            raise _named(error, str(self._folder)) from None

    def free_bytes(self) -> int:
        """Return how much may still be written, without what is kept for root."""
        try:
            found = os.statvfs(self._folder)
        except OSError as error:
            raise _named(error, str(self._folder)) from None
        return found.f_bavail * found.f_frsize


class ReadOnlyDisk(PosixDisk):
    """A folder that is only looked at: nothing in it is made, changed or removed, the lock file neither."""

    def __init__(self, folder: Path | str) -> None:
        if not Path(folder).is_dir():
            raise StorageError(f"{folder}: there is no such folder")
        super().__init__(folder)

    def lock(self) -> None:
        """Keep every other process off the folder. Raises LockedError when one has it."""
        path = self._folder / LOCK_NAME
        if path.exists():
            self._lock = _take_lock(path, os.O_RDONLY)

    def create(self, name: str) -> PosixFile:
        """Refuse."""
        raise StorageError(f"{name}: the folder is only looked at")

    def open(self, name: str) -> PosixFile:
        """Open a file that exists, to read. Raises FileNotFoundError."""
        return PosixFile(name, os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC))

    def rename(self, old: str, new: str) -> None:
        """Refuse."""
        raise StorageError(f"{old} to {new}: the folder is only looked at")

    def remove(self, name: str) -> None:
        """Refuse."""
        raise StorageError(f"{name}: the folder is only looked at")


def _take_lock(path: Path, flags: int) -> int:
    """Open a lock file and take the lock. Raises LockedError."""
    lock = os.open(path, flags | os.O_CLOEXEC, _FILE_MODE)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise LockedError(f"{path.parent}: in use by another process ({holder})") from error
    return lock


def _named(error: OSError, name: str) -> OSError:
    """Return an error that says which file it was."""
    error.filename = name
    return error


def _make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, each synced into the one above it."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Sync a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
