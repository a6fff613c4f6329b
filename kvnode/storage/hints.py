"""Hint files: a sealed segment without its values, so that opening a store reads less.

``log-00000001.hint`` holds the segment's records in blocks of one partition, field by field and with
what the hash tree needs, so that a start puts them into the index a block at a time; and the partitions'
states as they are. Records that had been replaced, durably, when it was made may be left out. Its last
line is a checksum of all before it, and the size of the segment that it speaks for. It is only a help: one
that is missing, broken or of another size is made anew from the segment, never trusted.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from itertools import repeat
from zlib import crc32

import structlog

from kvnode.errors import DamageError, StorageError
from kvnode.storage.disk import Disk, File
from kvnode.storage.hint_writer import HINT_FORMAT
from kvnode.storage.keydir import from_columns
from kvnode.storage.line_kinds import HintBlockLine, HintEndLine, HintLine, StateLine
from kvnode.storage.lines import LineError, decode
from kvnode.storage.segment import hint_name, segment_name, split_lines

HintedLine = HintBlockLine | StateLine
"""What stands in a hint file between its first line and its last."""

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


def read_hint(disk: Disk, number: int, segment_bytes: int) -> Iterator[HintedLine] | None:
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
    except ShortSegmentError as short:
        file.close()
        raise DamageError(segment_name(number), segment_bytes, str(short)) from short
    except (LineError, DamageError) as error:
        file.close()
        _log.info("hint_refused", file=name, reason=str(error))
        return None
    return _lines(file, size)


def packed_of(block: HintBlockLine, segment: int) -> list[bytes]:
    """Return the packed entries of a block's records. Raises StorageError for what was never written."""
    lists = (*block.a, *block.ver, *block.prev, *block.at, block.f, block.d)
    if {len(numbers) for numbers in lists} != {len(block.k)}:
        raise StorageError(f"{hint_name(segment)}: a block's lists differ in length")
    return from_columns((*lists[:8], repeat(segment), *lists[8:]))


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


def _lines(file: File, size: int) -> Iterator[HintedLine]:
    """Yield the lines of a hint file that was checked, and close it."""
    try:
        for offset, line in split_lines(file, size):
            if offset:
                yield _decoded(file.name, line)
    finally:
        file.close()


def _decoded(name: str, line: bytes) -> HintedLine:
    """Decode a line of a hint file that was checked as a whole. Raises StorageError."""
    try:
        meaning = decode(line)
    except LineError as error:
        raise StorageError(f"{name}: {error} (written by a later release?)") from error
    if not isinstance(meaning, HintedLine):
        raise StorageError(f"{name}: a line of a segment stands in a hint file")
    return meaning


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
    if not isinstance(first, HintLine) or (first.format, first.segment) != (HINT_FORMAT, number):
        raise StaleHintError("it is of another segment or format")
    if last.bytes != segment_bytes:
        kind = ShortSegmentError if last.bytes > segment_bytes else StaleHintError
        raise kind(f"the file has {segment_bytes} bytes, and its hint file speaks for {last.bytes}")
    return size
