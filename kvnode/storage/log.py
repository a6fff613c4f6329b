"""The log: its segments, and where the next line goes.

Rotation is decided when a line is appended, on the caller's thread, so that every line's place is
known at once. A new segment begins with its header and all partitions' states: older segments are
never needed for those. After a restart the log goes on in a new segment.

``lock`` guards everything here, the committer's queue and the keydirs' entries; methods that say so
expect the caller to hold it. The event loop appends and reads, the writer takes batches, the
background thread moves lines: each holds it for microseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from threading import Lock

from kvnode.core.identity import Identity
from kvnode.errors import DamageError, StorageError
from kvnode.storage.commit import Committer
from kvnode.storage.disk import Disk
from kvnode.storage.recovery import Recovered
from kvnode.storage.segment import Segment, encode_header
from kvnode.storage.space import Space

_REMEMBERED = 8
"""Of how many segments it is remembered what stands in them: more than wait for a tidier that keeps up."""


class Log:
    """All segments of a data folder. ``on_durable`` and ``on_failure``: see ``Committer``.

    ``listed`` are the segments that the newest segment's header counts on.
    """

    def __init__(
        self,
        disk: Disk,
        identity: Identity,
        recovered: Recovered,
        segment_bytes: int,
        space: Space,
        on_durable: Callable[[int], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.disk = disk
        self.identity = identity
        self.states = recovered.states
        self.segments = recovered.segments
        self.listed = frozenset(number for number, _ in recovered.opened.listed)
        self.segment_bytes = segment_bytes
        self.retired: dict[int, Segment] = {}
        self.lock = Lock()
        self.committer = Committer(disk, self.lock, space, on_durable, on_failure)
        self.on_sealed: Callable[[], None] = lambda: None
        self._active: Segment | None = None
        self._head = 0
        self._remembered: deque[Segment] = deque()
        self._newest = recovered.opened.newest

    @property
    def begun(self) -> bool:
        """Whether a segment was begun since the start: its head makes all older states needless."""
        return self._active is not None

    def append(self, line: bytes) -> tuple[Segment, int]:
        """Queue a line; return its segment and offset. The caller holds the lock."""
        active = self._active
        if active is None or (active.size + len(line) > self.segment_bytes and active.size > self._head):
            active = self._rotate()
        offset = self.committer.enqueue(active, line)
        self.committer.appended_lsn += 1
        return active, offset

    def append_state(self, line: bytes) -> int:
        """Queue a line that is no record, and return its lsn. The caller holds the lock."""
        segment, _ = self.append(line)
        if segment.keys is not None:
            segment.states.append(line)
        return self.committer.appended_lsn

    def read(self, number: int, offset: int, length: int) -> bytes | None:
        """Return a line, or None where that segment is gone. Raises DamageError, StorageError."""
        with self.lock:
            segment = self.segments.get(number) or self.retired.get(number)
            if segment is None:
                return None
            line = self.committer.unwritten(segment, offset)
            if line is not None:
                return line
            file = segment.opened()
            try:
                line = file.read(offset, length)
            except OSError as error:
                raise StorageError(f"{file.name} cannot be read at byte {offset}: {error}") from error
        if len(line) < length:
            raise DamageError(file.name, offset, f"the file ends before the line's {length} bytes")
        return line

    def begin(self) -> None:
        """Begin a segment, so that older ones are not needed for the partitions' states once it is durable.

        Its head counts as an append: who removes older segments waits until all appends are durable.
        """
        with self.lock:
            if not self.begun:
                self._rotate()
                self.committer.appended_lsn += 1

    def settle(self) -> Iterator[int]:
        """Wait, by yielding 0, until all that has been appended so far is durable."""
        appended = self.committer.appended_lsn
        while self.committer.durable_lsn < appended:
            yield 0

    def take_number(self) -> int:
        """Return a number for a new segment. The caller holds the lock."""
        self._newest += 1
        return self._newest

    def replace(self, segments: list[Segment], merged: Segment) -> None:
        """Let ``merged`` stand for segments that nothing in the index points at any more."""
        with self.lock:
            for segment in segments:
                self.retired[segment.number] = self.segments.pop(segment.number)
            merged.hinted = True

    def close_retired(self, numbers: list[int]) -> None:
        """Close replaced segments: a record read from them now would have been replaced long ago."""
        with self.lock:
            files = [self.retired.pop(number).opened() for number in numbers]
        for file in files:
            file.close()

    def disk_bytes(self) -> int:
        """Return the size of all segments, lines on their way included."""
        with self.lock:
            return sum(segment.size for segment in self.segments.values())

    def close(self) -> None:
        """Close all files; the committer is closed already."""
        for segment in [*self.segments.values(), *self.retired.values()]:
            if segment.file is not None:
                segment.file.close()

    def _rotate(self) -> Segment:
        """Begin a new segment; the caller holds the lock."""
        number = self.take_number()
        segment = Segment(number, number)
        log = tuple((older.number, older.size) for older in self.segments.values())
        states = self.states.encode()
        head = encode_header(self.identity, len(self.states.voting), segment, log) + states
        self.committer.enqueue(segment, head)
        self._remember(segment, states)
        self.segments[number] = segment
        if self._active is not None:
            self._active.sealed = True
            self.on_sealed()
        self._active, self._head = segment, len(head)
        self.listed = frozenset(number for number, _ in log)
        return segment

    def _remember(self, segment: Segment, states: bytes) -> None:
        """Begin to remember what stands in a segment, and forget the one that it was done for the longest."""
        segment.keys, segment.states = {}, [states]
        self._remembered.append(segment)
        if len(self._remembered) > _REMEMBERED:
            self._remembered.popleft().forget()
