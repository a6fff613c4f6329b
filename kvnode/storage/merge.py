"""Merge: sealed segments with much dead data are rewritten without it, while the store is in use.

Only lines that are their key's newest are copied, so that the new segment may stand where the last
of the old ones stood. In order: copy to a temporary file and sync it; wait until everything that
made a line dead is durable itself; give the file its name and sync the folder, which is the moment
of the merge (its header names what it replaces, and recovery removes that); point the index at it,
a few keys at a time; remove the old files, which stay readable for as long as somebody may hold an
entry from before. The partitions' states are not copied: the head of a newer segment has them, so
there must be one that was begun since the start.

A tombstone that the index has forgotten is dropped only when no older segment can hold an older line of
its key: such a line would bring the deleted value back at the next start.
"""

from __future__ import annotations

import contextlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from functools import partial

import structlog

from kvnode.errors import DamageError, StorageError
from kvnode.storage.disk import File
from kvnode.storage.hint_writer import HintWriter, create_temporary
from kvnode.storage.hints import packed_of, read_hint
from kvnode.storage.keydir import Keydir, is_tombstone, moved, place_of
from kvnode.storage.line_kinds import HintBlockLine, KeyLine, Line, TombstoneLine
from kvnode.storage.living import STEP_BYTES, Living, living, read_living
from kvnode.storage.log import Log
from kvnode.storage.placed import pack_line
from kvnode.storage.segment import TEMPORARY, Segment, encode_header, hint_name, read_lines, segment_name
from kvnode.storage.space import patiently

SYNC_BYTES = 1 << 20
"""How much is written in one go: a sync of the log waits behind it."""

_SMALL_RUN = 4

Kept = tuple[int, list[tuple[bytes, Living]]]
"""What a step cost, in bytes, and the lines that it found worth keeping, with their records."""

_log = structlog.get_logger(__name__)


class Merge:
    """One merge of adjacent segments, all at rest. ``steps`` does it, a little at a time."""

    def __init__(self, log: Log, keydirs: list[Keydir], inputs: list[Segment]) -> None:
        self._log = log
        self._keydirs = keydirs
        self._inputs = inputs
        self._buffer: list[bytes] = []
        self._old_segments = array("Q")
        self._old_offsets = array("Q")
        self._new_offsets = array("Q")
        self._unsynced = 0
        self._renamed = False
        with log.lock:
            place = inputs[-1].place
            at_rest = [segment for segment in log.segments.values() if segment.at_rest]
            clean = max(segment.place for segment in at_rest)
            older = [s for s in log.segments.values() if (s.place < place or s.damaged) and s not in inputs]
            self._drops = all(segment.clean >= place for segment in older)
            self._merged = Segment(log.take_number(), place, clean)
            self._merged.sealed = True
            replaced = {number for segment in inputs for number in segment.replaces} & log.listed
            self._merged.replaces = tuple(sorted(replaced.union(segment.number for segment in inputs)))

    def steps(self) -> Iterator[int]:
        """Do the merge, yielding the bytes handled (0: waiting). Raises DamageError, OSError."""
        name = segment_name(self._merged.number)
        temporary = create_temporary(self._log.disk, name)
        hints = HintWriter(self._log.disk, self._merged.number)
        try:
            yield from self._copy_all(temporary, hints)
        finally:
            temporary.close()
            hints.close()
        yield from self._log.settle()
        self._log.disk.rename(name + TEMPORARY, name)
        self._renamed = True
        yield from patiently(self._log.disk.sync_folder)
        self._commit(name)
        yield from self._repoint()
        self._log.replace(self._inputs, self._merged)
        yield from self._remove_inputs()

    def abandon(self) -> None:
        """Remove what a merge that could not go on has left; what cannot be is swept at the next start.

        Once the new segment has its name there is no way back: only a disk that fails stops it then.
        """
        if self._renamed:
            return
        number = self._merged.number
        left = {name + TEMPORARY for name in (segment_name(number), hint_name(number))}
        for name in left.union([hint_name(number)]).intersection(self._log.disk.names()):
            with contextlib.suppress(OSError):
                self._log.disk.remove(name)

    def _copy_all(self, file: File, hints: HintWriter) -> Iterator[int]:
        """Copy what lives of all inputs, durably."""
        merged = self._merged
        header = encode_header(self._log.identity, len(self._keydirs), merged)
        merged.overhead = len(header)
        self._add(header)
        for segment in self._inputs:
            try:
                yield from self._copy(segment, file, hints)
            except DamageError:
                segment.damaged = True
                raise
        self._add_last(hints)
        self._flush(file)
        file.sync()
        yield from hints.finish(merged.size)

    def _copy(self, segment: Segment, file: File, hints: HintWriter) -> Iterator[int]:
        """Copy what lives of one segment; nothing else is read, if it is known where that stands."""
        told = yield from living(self._log.disk, segment, self._keydirs)
        for cost, kept in self._read(segment) if told is None else self._read_told(segment, told):
            for line, record in kept:
                self._take(segment.number, line, record, hints)
            self._flush(file)
            yield cost

    def _read_told(self, segment: Segment, told: list[list[Living]]) -> Iterator[Kept]:
        """Read what still lives of what has been told."""
        for group in told:
            records = [
                (partition, key, packed)
                for partition, key, packed in group
                if self._lives(partition, key, place_of(packed), tombstone=is_tombstone(packed))
            ]
            if records:
                lines = read_living(segment, records)
                yield sum(map(len, lines)), list(zip(lines, records, strict=True))

    def _read(self, segment: Segment) -> Iterator[Kept]:
        """Read a whole segment for what lives in it."""
        cost, number = 0, segment.number
        kept: list[tuple[bytes, Living]] = []
        for offset, line, meaning in self._lines(segment):
            if isinstance(meaning, KeyLine):
                place, tombstone = (number, offset, len(line)), isinstance(meaning, TombstoneLine)
                if self._lives(meaning.p, meaning.k, place, tombstone=tombstone):
                    packed = pack_line(meaning, *place, self._log.identity.worker)
                    kept.append((line, (meaning.p, meaning.k, packed)))
            cost += len(line)
            if cost >= STEP_BYTES:
                yield cost, kept
                cost, kept = 0, []
        yield cost, kept

    def _lines(self, segment: Segment) -> Iterator[tuple[int, bytes, Line]]:
        """Yield (offset, line, its meaning) of a segment. Raises DamageError."""
        return read_lines(segment.opened(), segment.size)

    def _add_last(self, hints: HintWriter) -> None:
        """Add what no input holds: nothing."""

    def _take(self, number: int, line: bytes, record: Living, hints: HintWriter) -> None:
        """Take a line over that stood in segment ``number``."""
        partition, key, packed = record
        merged = self._merged
        hints.add(partition, key, moved(packed, merged.number, merged.size))
        self._old_segments.append(number)
        self._old_offsets.append(place_of(packed)[1])
        self._new_offsets.append(merged.size)
        self._add(line)

    def _lives(self, partition: int, key: str, place: tuple[int, int, int], *, tombstone: bool) -> bool:
        """Whether a record's line must be kept."""
        packed = self._keydirs[partition].packed.get(key)
        if packed is not None:
            return place_of(packed) == place
        return tombstone and not self._drops

    def _add(self, line: bytes) -> None:
        """Gather a line for the new segment."""
        self._buffer.append(line)
        self._merged.size += len(line)

    def _flush(self, file: File) -> None:
        """Write what has gathered."""
        data = b"".join(self._buffer)
        file.write(self._merged.size - len(data), data)
        self._buffer = []
        self._unsynced += len(data)
        if self._unsynced >= SYNC_BYTES:
            file.sync()
            self._unsynced = 0

    def _commit(self, name: str) -> None:
        """Let the new segment be read."""
        self._merged.file = self._log.disk.open(name)
        self._merged.written = self._merged.size
        with self._log.lock:
            self._log.segments[self._merged.number] = self._merged

    def _repoint(self) -> Iterator[int]:
        """Point the index at the new segment wherever it still points at the old ones."""
        hint = read_hint(self._log.disk, self._merged.number, self._merged.size)
        if hint is None:
            raise StorageError(f"{hint_name(self._merged.number)}: cannot be read back")
        for block in hint:
            if isinstance(block, HintBlockLine):
                with self._log.lock:
                    self._move(block)
                yield len(block.k)

    def _move(self, block: HintBlockLine) -> None:
        """Point keys at their new lines, but those that were written or forgotten meanwhile."""
        merged, entries = self._merged, self._keydirs[block.p].packed
        for key, new in zip(block.k, packed_of(block, merged.number), strict=True):
            _, offset, length = place_of(new)
            packed = entries.get(key)
            if packed is None:
                merged.forgotten += length if is_tombstone(new) else 0
                continue
            taken = bisect_left(self._new_offsets, offset)
            if place_of(packed)[:2] == (self._old_segments[taken], self._old_offsets[taken]):
                entries[key] = moved(packed, merged.number, offset)
                merged.live += length

    def _remove_inputs(self) -> Iterator[int]:
        """Let go of the old segments' files."""
        for segment in self._inputs:
            yield from self._discard(segment)
        yield from patiently(self._log.disk.sync_folder)
        _log.info(
            "segments_merged",
            inputs=[segment.number for segment in self._inputs],
            output=self._merged.number,
            before_bytes=sum(segment.size for segment in self._inputs),
            after_bytes=self._merged.size,
        )

    def _discard(self, segment: Segment) -> Iterator[int]:
        """Remove the files of an old segment."""
        disk = self._log.disk
        for name in (segment_name(segment.number), hint_name(segment.number)):
            if name in disk.names():
                yield from patiently(partial(disk.remove, name))


def choose(segments: list[Segment], segment_bytes: int) -> list[Segment]:
    """Return the segments to merge next, none if it is not worth it.

    ``segments`` are all that are at rest, in order of place. In this order: segments of which more
    than half is dead; segments in the way of forgotten tombstones, once those are a quarter of all;
    runs of small segments. What is chosen yields at most ``segment_bytes``, or is one segment.
    """
    for index, segment in enumerate(segments):
        if segment.dead * 2 > segment.size and not segment.damaged:
            return _run(segments, index, segment_bytes)
    return _choose_forgotten(segments) or _choose_small(segments, segment_bytes)


def _run(segments: list[Segment], index: int, segment_bytes: int) -> list[Segment]:
    """Return a segment and those after it that are also sparse or small, as far as they fit one."""
    run: list[Segment] = []
    total = 0
    for segment in segments[index:]:
        total += segment.size - segment.dead
        worth = segment.dead * 2 > segment.size or segment.size * 4 < segment_bytes
        if segment.damaged or (run and (total > segment_bytes or not worth)):
            break
        run.append(segment)
    return run


def _choose_forgotten(segments: list[Segment]) -> list[Segment]:
    """Return the first segment that must be rewritten before forgotten tombstones can go."""
    forgotten = sum(segment.forgotten for segment in segments)
    if not forgotten or any(segment.damaged for segment in segments):
        return []
    if forgotten * 4 < sum(segment.size for segment in segments):
        return []
    last = max(segment.place for segment in segments if segment.forgotten)
    return [s for s in segments if s.forgotten or s.clean < last][:1]


def _choose_small(segments: list[Segment], segment_bytes: int) -> list[Segment]:
    """Return a run of small segments, such as restarts leave."""
    for index in range(len(segments) - _SMALL_RUN + 1):
        run = segments[index : index + _SMALL_RUN]
        small = sum(segment.size for segment in run) * _SMALL_RUN <= segment_bytes
        if small and not any(segment.damaged for segment in run):
            return run
    return []
