"""Opening a data folder: from files to the index in memory.

Only the newest segment can have been under way when the process died: its last line, if it lacks
its line break, is cut off and reported. Anything else that does not check is damage and raises
DamageError. What was read from the newest segment is synced before it counts, since a process that
was killed may leave lines that are written but not durable.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import structlog

from kvnode.core.hash_tree import HashTree, bucket_of, entry_hash
from kvnode.core.identity import Identity
from kvnode.core.records import Entry
from kvnode.errors import DamageError, StorageError
from kvnode.storage.disk import Disk, File
from kvnode.storage.hints import read_hint
from kvnode.storage.keydir import Keydir, digest_of, pack, place_of, unpack
from kvnode.storage.lines import (
    FloorLine,
    HeaderLine,
    KeyLine,
    Line,
    LineError,
    PromiseLine,
    TombstoneLine,
    VotingLine,
    check,
)
from kvnode.storage.partitions import PartitionStates
from kvnode.storage.segment import (
    TEMPORARY,
    Segment,
    check_header,
    decode_at,
    hint_name,
    numbers,
    read_lines,
    segment_name,
    split_lines,
)

_CRC_END = re.compile(rb',"crc":\d+}')
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the data folder held."""

    segments: dict[int, Segment]
    keydirs: list[Keydir]
    trees: list[HashTree]
    states: PartitionStates


def recover(disk: Disk, identity: Identity, partitions: int) -> Recovered:
    """Read the whole folder. Raises DamageError, StorageError."""
    _sweep(disk)
    segments = _open_segments(disk, identity, partitions)
    recovered = Recovered(
        {segment.number: segment for segment in segments},
        [Keydir() for _ in range(partitions)],
        [HashTree() for _ in range(partitions)],
        PartitionStates(partitions),
    )
    for segment in segments:
        if segment is segments[-1]:
            _mend_tail(disk, segment.opened())
        segment.size = segment.written = segment.opened().size()
        segment.sealed = True
        _replay(recovered, segment, _lines(disk, segment), identity.worker)
    _forget(recovered)
    _account(recovered)
    return recovered


def _sweep(disk: Disk) -> None:
    """Remove what a crash left half made: files that were never given their final names."""
    names = disk.names()
    orphans = set(numbers(names, "hint")) - set(numbers(names, "jsonl"))
    for name in [name for name in names if name.endswith(TEMPORARY)] + [hint_name(n) for n in orphans]:
        disk.remove(name)
    disk.sync_folder()


def _open_segments(disk: Disk, identity: Identity, partitions: int) -> list[Segment]:
    """Open all segments, in order of place, without those that a finished merge has replaced."""
    headers: list[HeaderLine] = []
    files: dict[int, File] = {}
    blank: list[int] = []
    for number in numbers(disk.names(), "jsonl"):
        file = files[number] = disk.open(segment_name(number))
        _, first = next(split_lines(file, file.size()), (0, b""))
        if first.endswith(b"\n"):
            line = decode_at(file.name, 0, first)
            headers.append(check_header(line, number, identity, partitions))
        else:
            blank.append(number)
    newest = max((header.place for header in headers), default=0)
    for number in blank:
        if number < newest:
            raise DamageError(segment_name(number), 0, "the segment's header is gone")
    replaced = {number for header in headers for number in header.replaces} & files.keys()
    _remove(disk, {number: files[number] for number in replaced.union(blank)})
    kept = sorted((h for h in headers if h.segment not in replaced), key=lambda h: h.place)
    return [_segment(header, files[header.segment]) for header in kept]


def _segment(header: HeaderLine, file: File) -> Segment:
    """Return a segment as its header describes it."""
    segment = Segment(header.segment, header.place, header.clean)
    segment.file = file
    if header.replaces:
        _, line = next(split_lines(file, file.size()))
        segment.overhead = len(line)
    return segment


def _remove(disk: Disk, files: dict[int, File]) -> None:
    """Remove segments that hold nothing: replaced by a merge, or created and never written."""
    names = disk.names()
    for number, file in files.items():
        file.close()
        disk.remove(segment_name(number))
        if hint_name(number) in names:
            disk.remove(hint_name(number))
        _log.info("segment_removed", file=segment_name(number))
    disk.sync_folder()


def _mend_tail(disk: Disk, file: File) -> None:
    """Make the newest segment end with a whole line, and durable.

    A write that a crash cut short lacks its line break: it was never acknowledged, and goes. A last
    line that lacks nothing but its line break is kept: only that byte is added.
    """
    offset, last = deque(split_lines(file, file.size()), maxlen=1)[0]
    if not last.endswith(b"\n"):
        if _is_whole(last + b"\n"):
            file.write(offset + len(last), b"\n")
            _log.warning("log_tail_completed", file=file.name, offset=offset)
        elif any(_is_whole(last[: found.end()] + b"\n") for found in _CRC_END.finditer(last)):
            raise DamageError(file.name, offset, "a whole line lacks its line break, but the file goes on")
        else:
            file.truncate(offset)
            _log.warning("log_tail_cut", file=file.name, offset=offset, cut_bytes=len(last))
    file.sync()
    disk.sync_folder()


def _is_whole(line: bytes) -> bool:
    """Whether a line's checksum holds."""
    try:
        check(line)
    except LineError:
        return False
    return True


def _lines(disk: Disk, segment: Segment) -> Iterator[tuple[Line, int, int]]:
    """Yield a segment's lines with their offsets and lengths, from its hint file if that is whole."""
    hint = read_hint(disk, segment.number, segment.size)
    segment.hinted = hint is not None
    if hint is None:
        for offset, line, meaning in read_lines(segment.opened(), segment.size):
            yield meaning, offset, len(line)
    else:
        for meaning in hint:
            at = meaning.at if isinstance(meaning, KeyLine) else None
            yield (meaning, *(at or (0, 0)))


def _replay(
    recovered: Recovered, segment: Segment, lines: Iterable[tuple[Line, int, int]], worker: int
) -> None:
    """Take a segment's lines into the index, as they were appended."""
    keydirs, states = recovered.keydirs, recovered.states
    for line, offset, length in lines:
        if isinstance(line, KeyLine):
            if not 0 <= line.p < len(keydirs):
                raise StorageError(f"{segment_name(segment.number)}: partition {line.p} of {len(keydirs)}")
            entry = Entry(line.a, line.ver, line.prev, isinstance(line, TombstoneLine), bool(line.c))
            digest = entry_hash(line.k, entry, worker)
            keydirs[line.p].put(line.k, pack(entry, segment.number, offset, length, digest))
        elif isinstance(line, PromiseLine | FloorLine | VotingLine):
            states.apply(line)
        elif offset:
            raise DamageError(segment_name(segment.number), offset, "a header stands inside the segment")


def _forget(recovered: Recovered) -> None:
    """Drop the tombstones that their partition has forgotten."""
    for keydir, gone in zip(recovered.keydirs, recovered.states.forgotten, strict=True):
        forgotten = [(key, packed) for key, packed in keydir.graves() if unpack(packed).version <= gone]
        keydir.remove([key for key, _ in forgotten])
        for _, packed in forgotten:
            number, _, length = place_of(packed)
            recovered.segments[number].forgotten += length


def _account(recovered: Recovered) -> None:
    """Build the hash trees, and count each segment's live bytes."""
    for keydir, tree in zip(recovered.keydirs, recovered.trees, strict=True):
        for key, packed in keydir.packed.items():
            tree.buckets[bucket_of(key)] ^= digest_of(packed)
            number, _, length = place_of(packed)
            recovered.segments[number].live += length
