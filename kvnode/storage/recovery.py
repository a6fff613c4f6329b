"""Opening a data folder: from files to the index in memory.

Damage does not stop it: what is sound is read, and the caller is told what is not, so that it gives
up its votes before anything else happens. The damaged files stay where they are until the tidier
sets them aside; should the process die before, the next start finds them again. What was read from
the newest segment is synced before it counts, since a process that was killed may leave lines that
are written but not durable.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kvnode.core.hash_tree import HashTree, bucket_of, entry_hash
from kvnode.core.identity import Identity
from kvnode.core.records import Entry
from kvnode.errors import DamageError, StorageError
from kvnode.storage.damage import STATE_LINES, Damage, report, sound_lines
from kvnode.storage.disk import Disk
from kvnode.storage.hints import read_hint
from kvnode.storage.keydir import Keydir, digest_of, pack, place_of, unpack
from kvnode.storage.lines import KeyLine, Line, TombstoneLine, VotingLine
from kvnode.storage.opening import Opened, mend_tail, open_segments, sweep
from kvnode.storage.partitions import PartitionStates
from kvnode.storage.segment import Segment, segment_name

PlacedLine = tuple[Line, int, int]
"""A line with its offset and length in bytes (0 where that is of no use)."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the data folder held. When it was ``damaged``, no partition can be vouched for."""

    opened: Opened
    segments: dict[int, Segment]
    keydirs: list[Keydir]
    trees: list[HashTree]
    states: PartitionStates
    damaged: bool


def recover(disk: Disk, identity: Identity, partitions: int) -> Recovered:
    """Read the whole folder, and report what is damaged. Raises StorageError, OSError."""
    sweep(disk)
    opened = open_segments(disk, identity, partitions)
    keydirs = [Keydir() for _ in range(partitions)]
    states = PartitionStates(partitions)
    damages: list[Damage] = []
    if opened.placed:
        mend_tail(disk, opened.placed[-1].opened())
    for segment in opened.placed:
        _replay(keydirs, states, segment, _lines(disk, segment, damages), identity.worker)
    for segment in opened.unplaced:
        lines = _outranking(keydirs, _lines(disk, segment, damages))
        _replay(keydirs, states, segment, lines, identity.worker)
    _report(opened.damages + damages)
    segments = {segment.number: segment for segment in opened.placed + opened.unplaced}
    trees = [HashTree() for _ in range(partitions)]
    recovered = Recovered(opened, segments, keydirs, trees, states, bool(opened.damages or damages))
    _forget(recovered)
    _account(recovered)
    return recovered


def _report(damages: list[Damage]) -> None:
    """Report each damaged place once, file by file."""
    places = {(damage.file, damage.line): damage for damage in reversed(damages)}
    for name in sorted({damage.file for damage in damages}):
        report([damage for place, damage in sorted(places.items()) if place[0] == name])


def _lines(disk: Disk, segment: Segment, damages: list[Damage]) -> Iterator[PlacedLine]:
    """Yield a segment's sound lines, from its hint file if that is whole."""
    size = segment.opened().size()
    segment.size = segment.written = size
    segment.sealed = True
    hint = None
    try:
        hint = None if segment.damaged else read_hint(disk, segment.number, size)
    except DamageError as error:
        segment.damaged = True
        damages.append(Damage(error.file, 0, error.offset, 0, error.reason))
    segment.hinted = hint is not None
    if hint is None:
        found: list[Damage] = []
        for offset, line, meaning in sound_lines(segment.opened(), size, found):
            yield meaning, offset, len(line)
        segment.damaged = segment.damaged or bool(found)
        damages += found
    else:
        for meaning in hint:
            at = meaning.at if isinstance(meaning, KeyLine) else None
            yield (meaning, *(at or (0, 0)))


def _outranking(keydirs: list[Keydir], lines: Iterable[PlacedLine]) -> Iterator[PlacedLine]:
    """Yield of a segment whose place is unknown what counts all the same.

    These are records above what is known of their keys, and promises and floors, which only rise.
    """
    for line, offset, length in lines:
        if isinstance(line, KeyLine) and 0 <= line.p < len(keydirs):
            packed = keydirs[line.p].packed.get(line.k)
            if packed is not None and unpack(packed).rank >= (line.a, line.ver):
                continue
        if not isinstance(line, VotingLine):
            yield line, offset, length


def _replay(
    keydirs: list[Keydir],
    states: PartitionStates,
    segment: Segment,
    lines: Iterable[PlacedLine],
    worker: int,
) -> None:
    """Take a segment's lines into the index, as they were appended."""
    for line, offset, length in lines:
        if not isinstance(line, KeyLine | STATE_LINES):
            continue
        if not 0 <= line.p < len(keydirs):
            raise StorageError(f"{segment_name(segment.number)}: partition {line.p} of {len(keydirs)}")
        if isinstance(line, KeyLine):
            entry = Entry(line.a, line.ver, line.prev, isinstance(line, TombstoneLine), bool(line.c))
            digest = entry_hash(line.k, entry, worker)
            keydirs[line.p].put(line.k, pack(entry, segment.number, offset, length, digest))
        else:
            states.apply(line)


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
