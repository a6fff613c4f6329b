"""Group commit: lines queue in memory, one writer writes what has gathered and syncs it once.

While one sync runs, the next batch gathers, so that batches grow with load and nothing waits
without load. Nothing is reported durable before its sync, and a failed write or sync is final: what
the page cache says after it is worth nothing (PostgreSQL, 2018), so the log stops there for good.
A want of space alone is waited out: the batch is kept, and written again from its first byte.
``step`` does one batch; a thread calls it again and again, a simulation may do so instead.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import errorcode
from threading import Condition, Lock, Thread
from time import monotonic

import structlog

from kvnode import metrics
from kvnode.errors import StorageError
from kvnode.storage.disk import Disk
from kvnode.storage.segment import Segment, segment_name
from kvnode.storage.space import Space, is_no_space

SLOW_SYNC_S = 1.0
CHECK_S = 1.0
"""How often a full disk is tried again, and an idle one looked at."""

_log = structlog.get_logger(__name__)


class _Run:
    """Adjacent lines of one segment by offset, in order."""

    __slots__ = ("lines", "segment")

    def __init__(self, segment: Segment, offset: int, line: bytes) -> None:
        self.segment = segment
        self.lines = {offset: line}


class Committer:
    """The queue of lines on their way to the disk. ``lock`` is the store's.

    ``on_durable(lsn)`` is called after each batch, ``on_failure(error)`` at most once; both from the
    thread that steps, without the lock.
    """

    def __init__(
        self,
        disk: Disk,
        lock: Lock,
        space: Space,
        on_durable: Callable[[int], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.appended_lsn = 0
        self.durable_lsn = 0
        self.failed = False
        self._disk = disk
        self._lock = lock
        self._space = space
        self._wakeup = Condition(lock)
        self._on_durable = on_durable
        self._on_failure = on_failure
        self._gathering: list[_Run] = []
        self._writing: list[_Run] = []
        self._writing_lsn = 0
        self._waiting = False
        self._closing = False
        self._writer: Thread | None = None

    def enqueue(self, segment: Segment, line: bytes) -> int:
        """Queue a line at a segment's end; return its offset. The caller holds the lock."""
        offset = segment.size
        segment.size = offset + len(line)
        runs = self._gathering
        if runs and runs[-1].segment is segment:
            runs[-1].lines[offset] = line
        else:
            runs.append(_Run(segment, offset, line))
        return offset

    def wake(self) -> None:
        """Have the writer begin with what has gathered: call after some appends, and before waiting."""
        if self._waiting and self._gathering:
            with self._lock:
                self._waiting = False
                self._wakeup.notify()

    def unwritten(self, segment: Segment, offset: int) -> bytes | None:
        """Return a line that may not be in its file yet. The caller holds the lock."""
        for runs in (self._gathering, self._writing):
            for run in runs:
                if run.segment is segment and offset in run.lines:
                    return run.lines[offset]
        return None

    def step(self) -> bool:
        """Write and sync a batch; return whether one became durable. One thread at a time.

        The batch is what has gathered, or the one before as long as the disk has no space for it.
        """
        with self._lock:
            if self.failed:
                return False
            if not self._writing:
                self._writing, self._gathering = self._gathering, []
                self._writing_lsn = self.appended_lsn
        try:
            written = self._write_all()
            if written:
                self._space.wrote(written)
            else:
                self._space.check()
        except OSError as error:
            self._troubled(error)
            return False
        if written:
            self.durable_lsn = self._writing_lsn
            self._on_durable(self.durable_lsn)
        return bool(written)

    def start(self) -> None:
        """Start the writer thread."""
        self._writer = Thread(target=self._run, name="log-writer", daemon=True)
        self._writer.start()

    def close(self) -> None:
        """Write what is queued and end the writer thread."""
        with self._lock:
            self._closing = True
            self._wakeup.notify_all()
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        while self.step():
            pass

    def fail(self, error: Exception) -> None:
        """Stop for good, and say so once: the process must end."""
        with self._lock:
            if self.failed:
                return
            self.failed = True
        cause = error if isinstance(error, OSError) else error.__cause__
        number = cause.errno if isinstance(cause, OSError) else None
        _log.error(
            "storage_failed",
            file=getattr(error, "filename", None) or getattr(error, "file", ""),
            errno=errorcode.get(number or 0, ""),
            reason=str(error),
        )
        failure = error if isinstance(error, StorageError) else StorageError(f"the disk failed: {error}")
        failure.__cause__ = None if failure is error else error
        self._on_failure(failure)

    def _troubled(self, error: OSError) -> None:
        """Keep the batch if only space is missing; else stop for good."""
        try:
            if is_no_space(error):
                self._space.refused(error)
                return
        except OSError as worse:
            error = worse
        self.fail(error)

    def _write_all(self) -> int:
        """Make the batch durable, run by run; return how many bytes it had. Raises OSError."""
        written = 0
        while self._writing:
            run = self._writing[0]
            written += self._write(run)
            with self._lock:
                offset, line = next(reversed(run.lines.items()))
                run.segment.written = offset + len(line)
                del self._writing[0]
        return written

    def _write(self, run: _Run) -> int:
        """Make one run durable and return its bytes; a new file is synced, then its folder."""
        segment = run.segment
        new = not segment.written
        file = segment.file = segment.file or self._disk.create(segment_name(segment.number))
        data = b"".join(run.lines.values())
        file.write(next(iter(run.lines)), data)
        began = monotonic()
        file.sync()
        if new:
            self._disk.sync_folder()
        took = monotonic() - began
        metrics.DISK_SYNC_SECONDS.add(took)
        metrics.DISK_BATCH_RECORDS.add(len(run.lines))
        metrics.DISK_LOG_BYTES.inc(len(data))
        if took > SLOW_SYNC_S:
            _log.warning("sync_slow", file=file.name, took_s=round(took, 3), lines=len(run.lines))
        return len(data)

    def _run(self) -> None:
        """Step whenever something is queued, until closed or failed."""
        try:
            while self._wait():
                self.step()
        except Exception as error:  # noqa: BLE001 - whatever ends the writer ends the process
            self.fail(error)

    def _wait(self) -> bool:
        """Wait for lines, or for space; return false when there is nothing more to do."""
        with self._lock:
            if not (self._closing or self.failed) and (self._writing or not self._gathering):
                self._waiting = not self._writing
                self._wakeup.wait(CHECK_S)
            return not (self._closing or self.failed)
