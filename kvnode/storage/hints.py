"""Hint files: a sealed segment without its values, so that opening a store reads less.

``log-00000001.hint`` holds one line per line of the segment: a record with ``at`` (offset, length)
in place of its value, a partition's state as it is. Its last line is a checksum of all before it,
and the size of the segment that it speaks for. It is only a help: one that is missing, broken or of
another size is made anew from the segment, never trusted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from enum import Enum
from zlib import crc32

import structlog

from kvnode.errors import DamageError, StorageError
from kvnode.storage.disk import Disk, File
from kvnode.storage.lines import (
    FORMAT,
    HeaderLine,
    HintEndLine,
    HintLine,
    Line,
    LineError,
    TombstoneLine,
    ValueLine,
    decode,
    encode_struct,
    hint_of,
)
from kvnode.storage.segment import TEMPORARY, Segment, hint_name, read_lines, segment_name, split_lines

_BUFFER_BYTES = 1 << 16
_END_BYTES = 256

_log = structlog.get_logger(__name__)


class StaleHintError(LineError):
    """A hint file is sound, but not this segment's as it is now."""


class ShortSegmentError(StaleHintError):
    """A hint file is this segment's, and sound: the segment has lost its end."""


class HintState(Enum):
    """What can be said of a segment's hint file."""

    WHOLE = "whole"
    MISSING = "missing"
    STALE = "stale"
    LONGER = "longer"
    DAMAGED = "damaged"


class HintWriter:
    """Writes the hint file of segment ``number``; nobody sees it before ``finish``."""

    def __init__(self, disk: Disk, number: int) -> None:
        self._disk = disk
        self._name = hint_name(number)
        self._file = create_temporary(disk, self._name)
        self._lines: list[bytes] = [encode_struct(HintLine(format=FORMAT, segment=number))]
        self._gathered = 0
        self._size = 0
        self._sum = 0

    def add(self, line: bytes, meaning: Line, offset: int) -> None:
        """Note a line of the segment."""
        if isinstance(meaning, HeaderLine):
            return
        record = isinstance(meaning, ValueLine | TombstoneLine)
        self._lines.append(hint_of(line, offset) if record else line)
        self._gathered += len(self._lines[-1])
        if self._gathered > _BUFFER_BYTES:
            self._flush()

    def finish(self, segment_bytes: int) -> None:
        """Make the hint file durable and visible."""
        self._flush()
        self._lines = [encode_struct(HintEndLine(sum=self._sum, bytes=segment_bytes))]
        self._flush()
        self._file.sync()
        self._disk.rename(self._name + TEMPORARY, self._name)
        self._disk.sync_folder()

    def close(self) -> None:
        """Give the file back, finished or not."""
        self._file.close()

    def sweep(self) -> None:
        """Remove what was not finished, for the space that it takes; not to be able to is no harm."""
        temporary = self._name + TEMPORARY
        if temporary in self._disk.names():
            with contextlib.suppress(OSError):
                self._disk.remove(temporary)

    def _flush(self) -> None:
        """Write what has gathered."""
        data = b"".join(self._lines)
        self._file.write(self._size, data)
        self._size += len(data)
        self._sum = crc32(data, self._sum)
        self._lines, self._gathered = [], 0


def create_temporary(disk: Disk, name: str) -> File:
    """Create the file that will be ``name`` when it is whole."""
    temporary = name + TEMPORARY
    if temporary in disk.names():
        disk.remove(temporary)
    return disk.create(temporary)


def write_hint(disk: Disk, segment: Segment) -> Iterator[int]:
    """Make a sealed segment's hint file, yielding now and then the bytes read. Raises DamageError."""
    writer = HintWriter(disk, segment.number)
    cost = 0
    try:
        for offset, line, meaning in read_lines(segment.opened(), segment.size):
            writer.add(line, meaning, offset)
            cost += len(line)
            if cost > _BUFFER_BYTES:
                yield cost
                cost = 0
        writer.finish(segment.size)
    except DamageError:
        segment.damaged = True
        raise
    finally:
        writer.close()
        writer.sweep()
    segment.hinted = True


def read_hint(disk: Disk, number: int, segment_bytes: int) -> Iterator[Line] | None:
    """Return the lines of a segment's hint file, or None if there is none to be trusted.

    Raises DamageError where it tells that the segment has lost its end.
    """
    name = hint_name(number)
    try:
        file = disk.open(name)
    except FileNotFoundError:
        return None
    try:
        size = _checked_size(file, number, segment_bytes)
    except ShortSegmentError as error:
        file.close()
        raise DamageError(segment_name(number), segment_bytes, str(error)) from error
    except (LineError, DamageError) as error:
        file.close()
        _log.info("hint_refused", file=name, reason=str(error))
        return None
    return _lines(file, size)


def hint_state(disk: Disk, number: int, segment_bytes: int) -> HintState:
    """Return whether a segment's hint file can be trusted."""
    try:
        file = disk.open(hint_name(number))
    except FileNotFoundError:
        return HintState.MISSING
    try:
        _checked_size(file, number, segment_bytes)
    except ShortSegmentError:
        return HintState.LONGER
    except StaleHintError:
        return HintState.STALE
    except (LineError, DamageError):
        return HintState.DAMAGED
    finally:
        file.close()
    return HintState.WHOLE


def _lines(file: File, size: int) -> Iterator[Line]:
    """Yield the lines of a hint file that was checked, and close it."""
    try:
        for offset, line in split_lines(file, size):
            if offset:
                yield _decoded(file.name, line)
    finally:
        file.close()


def _decoded(name: str, line: bytes) -> Line:
    """Decode a line of a hint file that was checked as a whole. Raises StorageError."""
    try:
        return decode(line)
    except LineError as error:
        raise StorageError(f"{name}: {error} (written by a later release?)") from error


def _checked_size(file: File, number: int, segment_bytes: int) -> int:
    """Return the size of all but the last line. Raises LineError unless it all fits the segment."""
    size = file.size()
    tail = file.read(max(0, size - _END_BYTES), _END_BYTES)
    end = tail[tail.rfind(b"\n", 0, -1) + 1 :]
    last = decode(end)
    if not isinstance(last, HintEndLine):
        raise LineError("it does not end as it should")
    size -= len(end)
    total = 0
    for offset in range(0, size, _BUFFER_BYTES):
        total = crc32(file.read(offset, min(_BUFFER_BYTES, size - offset)), total)
    if total != last.sum:
        raise LineError("the checksum of the whole is wrong")
    _, line = next(split_lines(file, size), (0, b""))
    first = decode(line)
    if not isinstance(first, HintLine) or (first.format, first.segment) != (FORMAT, number):
        raise StaleHintError("it is of another segment or format")
    if last.bytes != segment_bytes:
        kind = ShortSegmentError if last.bytes > segment_bytes else StaleHintError
        raise kind(f"the file has {segment_bytes} bytes, and its hint file speaks for {last.bytes}")
    return size
