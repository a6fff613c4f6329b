"""Opening a data folder: from files to the index in memory.

Damage does not stop it: what is sound is read, and the caller is told what is not, so that it gives
up its votes before anything else happens. The damaged files stay where they are until the tidier
sets them aside; should the process die before, the next start finds them again. What was read from
the newest segment is synced before it counts, since a process that was killed may leave lines that
are written but not durable.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import xor

from kvnode.core.hash_tree import HashTree, bucket_of
from kvnode.core.identity import Identity
from kvnode.core.versions import Ballot, Version
from kvnode.errors import DamageError, StorageError
from kvnode.storage.damage import STATE_LINES, Damage, report, sound_lines
from kvnode.storage.disk import Disk
from kvnode.storage.hints import packed_of, read_hint
from kvnode.storage.keydir import Keydir, digest_of, place_of, unpack
from kvnode.storage.line_kinds import HintBlockLine, KeyLine, StateLine, VotingLine
from kvnode.storage.opening import Opened, mend_tail, open_segments, sweep
from kvnode.storage.partitions import PartitionStates
from kvnode.storage.placed import pack_line
from kvnode.storage.segment import Segment, segment_name


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
    damages: list[Damage] = []
    if opened.placed:
        mend_tail(disk, opened.placed[-1].opened())
    segments = {segment.number: segment for segment in opened.placed + opened.unplaced}
    index = _Index(segments, partitions, identity.worker)
    for segment in opened.placed:
        _replay(index, disk, segment, damages, outranking=False)
    for segment in opened.unplaced:
        _replay(index, disk, segment, damages, outranking=True)
    _report(opened.damages + damages)
    index.forget()
    damaged = bool(opened.damages or damages)
    return Recovered(opened, segments, index.keydirs, index.trees, index.states, damaged)


def _report(damages: list[Damage]) -> None:
    """Report each damaged place once, file by file."""
    places = {(damage.file, damage.line): damage for damage in reversed(damages)}
    for name in sorted({damage.file for damage in damages}):
        report([damage for place, damage in sorted(places.items()) if place[0] == name])


class _Index:
    """The index while it is being read: entries, hash trees, and each segment's live bytes."""

    def __init__(self, segments: dict[int, Segment], partitions: int, worker: int) -> None:
        self.keydirs = [Keydir() for _ in range(partitions)]
        self.trees = [HashTree() for _ in range(partitions)]
        self.states = PartitionStates(partitions)
        self._segments = segments
        self._worker = worker

    def put_line(
        self, line: KeyLine, segment: Segment, offset: int, length: int, *, outranking: bool
    ) -> None:
        """Take one record in; ``outranking``: only if it is above what is known of its key."""
        self._check(line.p, segment)
        if outranking and self._outranked(line.p, line.k, (line.a, line.ver)):
            return
        packed = pack_line(line, segment.number, offset, length, self._worker)
        self._put(line.p, line.k, packed, segment, length)

    def put_block(self, block: HintBlockLine, segment: Segment, *, outranking: bool) -> None:
        """Take records of a hint file in, in the order in which they were appended."""
        self._check(block.p, segment)
        packed = packed_of(block, segment.number)
        if outranking:
            for key, entry in zip(block.k, packed, strict=True):
                if not self._outranked(block.p, key, unpack(entry).rank):
                    self._put(block.p, key, entry, segment, _length_of(entry))
            return
        latest = dict(zip(block.k, packed, strict=True))
        lengths = block.at[1] if len(latest) == len(packed) else map(_length_of, latest.values())
        segment.live += sum(lengths)
        buckets = self.trees[block.p].buckets
        buckets[:] = map(xor, buckets, block.x)
        for key, old in self.keydirs[block.p].put_all(latest):
            self._take_out(block.p, key, old)

    def put_state(self, line: StateLine, segment: Segment) -> None:
        """Take a partition's state in."""
        self._check(line.p, segment)
        self.states.apply(line)

    def forget(self) -> None:
        """Drop the tombstones that their partition has forgotten."""
        for partition, (keydir, gone) in enumerate(zip(self.keydirs, self.states.forgotten, strict=True)):
            forgotten = [(key, packed) for key, packed in keydir.graves() if unpack(packed).version <= gone]
            keydir.remove([key for key, _ in forgotten])
            for key, packed in forgotten:
                self._take_out(partition, key, packed)
                number, _, length = place_of(packed)
                self._segments[number].forgotten += length

    def _check(self, partition: int, segment: Segment) -> None:
        if not 0 <= partition < len(self.keydirs):
            name = segment_name(segment.number)
            raise StorageError(f"{name}: partition {partition} of {len(self.keydirs)}")

    def _outranked(self, partition: int, key: str, rank: tuple[Ballot, Version]) -> bool:
        packed = self.keydirs[partition].packed.get(key)
        return packed is not None and unpack(packed).rank >= rank

    def _put(self, partition: int, key: str, packed: bytes, segment: Segment, length: int) -> None:
        digest = digest_of(packed)
        old = self.keydirs[partition].put(key, packed)
        if old is not None:
            digest ^= digest_of(old)
            number, _, replaced = place_of(old)
            self._segments[number].live -= replaced
        self.trees[partition].buckets[bucket_of(key)] ^= digest
        segment.live += length

    def _take_out(self, partition: int, key: str, packed: bytes) -> None:
        self.trees[partition].buckets[bucket_of(key)] ^= digest_of(packed)
        number, _, length = place_of(packed)
        self._segments[number].live -= length


def _length_of(packed: bytes) -> int:
    return place_of(packed)[2]


def _replay(index: _Index, disk: Disk, segment: Segment, damages: list[Damage], *, outranking: bool) -> None:
    """Take a segment's sound lines into the index, from its hint file if that is whole.

    Of a segment whose place is unknown that counts which is ``outranking``: records above what is known of
    their keys, and promises and floors, which only rise.
    """
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
    if hint is not None:
        for line in hint:
            if isinstance(line, HintBlockLine):
                index.put_block(line, segment, outranking=outranking)
            elif not (outranking and isinstance(line, VotingLine)):
                index.put_state(line, segment)
        return
    found: list[Damage] = []
    for offset, text, meaning in sound_lines(segment.opened(), size, found):
        if isinstance(meaning, KeyLine):
            index.put_line(meaning, segment, offset, len(text), outranking=outranking)
        elif isinstance(meaning, STATE_LINES) and not (outranking and isinstance(meaning, VotingLine)):
            index.put_state(meaning, segment)
    segment.damaged = segment.damaged or bool(found)
    damages += found
