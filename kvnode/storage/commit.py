"""Group commit: lines queue in memory, one writer writes what has gathered and syncs it once.

While one sync runs, the next batch gathers, so that batches grow with load and nothing waits
without load. Nothing is reported durable before its sync, and a failed write or sync is final: what
the page cache says after it is worth nothing (PostgreSQL, 2018), so the log stops there for good.
``step`` does one batch; a thread calls it again and again, a simulation may do so instead.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition, Lock, Thread
from time import monotonic

import structlog

from kvnode import metrics
from kvnode.errors import StorageError
from kvnode.storage.disk import Disk
from kvnode.storage.segment import Segment, segment_name

SLOW_SYNC_S = 1.0

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
        on_durable: Callable[[int], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.appended_lsn = 0
        self.durable_lsn = 0
        self.failed = False
        self._disk = disk
        self._lock = lock
        self._wakeup = Condition(lock)
        self._on_durable = on_durable
        self._on_failure = on_failure
        self._gathering: list[_Run] = []
        self._writing: list[_Run] = []
        self._waiting = False
        self._closing = False
        self._thread: Thread | None = None

    def enqueue(self, segment: Segment, line: bytes) -> int:
        """Queue a line at a segment's end; return its offset. The caller holds the lock."""
        offset = segment.size
        segment.size = offset + len(line)
        runs = self._gathering
        if runs and runs[-1].segment is segment:
            runs[-1].lines[offset] = line
        else:
            runs.append(_Run(segment, offset, line))
        if self._waiting:
            self._waiting = False
            self._wakeup.notify()
        return offset

    def unwritten(self, segment: Segment, offset: int) -> bytes | None:
        """Return a line that may not be in its file yet. The caller holds the lock."""
        for runs in (self._gathering, self._writing):
            for run in runs:
                if run.segment is segment and offset in run.lines:
                    return run.lines[offset]
        return None

    def step(self) -> bool:
        """Write and sync what has gathered; return whether there was anything. One thread at a time."""
        with self._lock:
            if self.failed or not self._gathering:
                return False
            self._writing, self._gathering = self._gathering, []
            lsn = self.appended_lsn
        try:
            for run in self._writing:
                self._write(run)
        except OSError as error:
            self.fail(error)
            return False
        with self._lock:
            for run in self._writing:
                offset, line = next(reversed(run.lines.items()))
                run.segment.written = offset + len(line)
            self._writing = []
            self.durable_lsn = lsn
        self._on_durable(lsn)
        return True

    def start(self) -> None:
        """Start the writer thread."""
        self._thread = Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what is queued and end the writer thread."""
        with self._lock:
            self._closing = True
            self._wakeup.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        while self.step():
            pass

    def fail(self, error: Exception) -> None:
        """Stop for good, and say so once: the process must end."""
        with self._lock:
            if self.failed:
                return
            self.failed = True
        _log.error("storage_failed", error=str(error))
        failure = error if isinstance(error, StorageError) else StorageError(f"the disk failed: {error}")
        failure.__cause__ = None if failure is error else error
        self._on_failure(failure)

    def _write(self, run: _Run) -> None:
        """Make one run durable; a new file is synced, then its folder."""
        segment = run.segment
        new = segment.file is None
        file = segment.file = segment.file or self._disk.create(segment_name(segment.number))
        data = b"".join(run.lines.values())
        file.write(next(iter(run.lines)), data)
        began = monotonic()
        file.sync()
        if new:
            self._disk.sync_folder()
        took = monotonic() - began
        metrics.DISK_SYNC_SECONDS.observe(took)
        metrics.DISK_BATCH_RECORDS.observe(len(run.lines))
        metrics.DISK_LOG_BYTES.inc(len(data))
        if took > SLOW_SYNC_S:
            _log.warning("sync_slow", file=file.name, took_s=round(took, 3), lines=len(run.lines))

    def _run(self) -> None:
        """Step whenever something is queued, until closed or failed."""
        try:
            while self._wait():
                self.step()
        except Exception as error:  # noqa: BLE001 - whatever ends the writer ends the process
            self.fail(error)

    def _wait(self) -> bool:
        """Wait for lines; return false when there is nothing more to do."""
        with self._lock:
            while not (self._gathering or self._closing or self.failed):
                self._waiting = True
                self._wakeup.wait()
            return bool(self._gathering) and not self.failed
