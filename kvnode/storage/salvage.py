"""Living with a damaged segment: give up what it held, keep what is sound, set the file aside.

First the votes: what is lost was acknowledged, so the partitions concerned must not vote before they
have been made whole by their peers. Then a new segment takes the old one's place, as in a merge, with
its sound lines; its header names the old file, and so do the steps by which a crash is survived. Last
the old file gets the name ``….damaged``.

A line that is lost may have been what hid an older line of its key. Found by a start, nothing hides
that older line: the index has it, in a partition without a vote. Found later, the hint file says which
keys stood in the damaged lines; each that the index does not hold gets a line that says so (an
*absence*: a tombstone below every version). Without a hint file nobody knows those keys: then the
file stays until the next start, which finds the damage again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import structlog

from kvnode import metrics
from kvnode.core.hash_tree import HashTree, bucket_of
from kvnode.core.records import Entry, Record
from kvnode.core.versions import NO_BALLOT, NO_VERSION
from kvnode.errors import NoSpaceError, StorageError
from kvnode.storage.damage import Damage, report, sound_lines
from kvnode.storage.hint_writer import HintWriter
from kvnode.storage.hints import packed_of, read_hint
from kvnode.storage.keydir import Keydir, digest_of, place_of, unpack
from kvnode.storage.line_kinds import HintBlockLine, KeyLine, Line
from kvnode.storage.lines import decode, encode_record
from kvnode.storage.living import STEP_BYTES
from kvnode.storage.log import Log
from kvnode.storage.merge import Merge
from kvnode.storage.placed import pack_line
from kvnode.storage.segment import DAMAGED, Segment, hint_name, segment_name
from kvnode.storage.space import patiently

_log = structlog.get_logger(__name__)


class Salvage(Merge):
    """Rewrites one damaged segment without its damaged lines, and sets the old file aside."""

    def __init__(
        self, log: Log, keydirs: list[Keydir], segment: Segment, damages: list[Damage], absences: list[bytes]
    ) -> None:
        super().__init__(log, keydirs, [segment])
        self._damages = damages
        self._absences = absences

    def _lines(self, segment: Segment) -> Iterator[tuple[int, bytes, Line]]:
        """Yield the sound lines."""
        return sound_lines(segment.opened(), segment.size, [])

    def _add_last(self, hints: HintWriter) -> None:
        """Say which keys are absent now."""
        for line in self._absences:
            meaning = decode(line)
            if isinstance(meaning, KeyLine):
                packed = pack_line(meaning, 0, 0, len(line), self._log.identity.worker)
                self._take(0, line, (meaning.p, meaning.k, packed), hints)

    def _discard(self, segment: Segment) -> Iterator[int]:
        """Keep the old file under another name."""
        disk, name = self._log.disk, segment_name(segment.number)
        if hint_name(segment.number) in disk.names():
            yield from patiently(lambda: disk.remove(hint_name(segment.number)))
        yield from patiently(lambda: disk.rename(name, name + DAMAGED))
        metrics.SEGMENTS_SET_ASIDE.inc()
        _log.warning("segment_set_aside", file=name + DAMAGED, damaged_lines=len(self._damages))


class Mender:
    """Deals with the damage that is found while the store is in use.

    ``give_up(partition)`` gives the right to vote up. ``on_damage(partitions)`` is told afterwards
    which partitions have lost something; from the event loop's thread or from the tidier's.
    """

    def __init__(
        self,
        log: Log,
        keydirs: list[Keydir],
        trees: list[HashTree],
        give_up: Callable[[int], int],
        on_damage: Callable[[frozenset[int]], None],
    ) -> None:
        self._log = log
        self._keydirs = keydirs
        self._trees = trees
        self._give_up = give_up
        self._on_damage = on_damage
        self.losses = 0
        damaged = [segment.number for segment in log.segments.values() if segment.damaged]
        self._absences: dict[int, list[bytes]] = {number: [] for number in damaged}

    def give_up_all(self) -> None:
        """Give up all votes, durably: what of them could be kept is not known. Raises StorageError."""
        for partition in range(len(self._keydirs)):
            self._give_up(partition)
        committer = self._log.committer
        while committer.step():
            pass
        if committer.durable_lsn < committer.appended_lsn:
            kind = StorageError if committer.failed else NoSpaceError
            raise kind("the data is damaged, and it cannot be written down that it is")

    def found(self, partition: int, key: str, entry: Entry) -> None:
        """Take note that an entry's line was found damaged. The event loop's thread."""
        with self._log.lock:
            segment = self._log.segments.get(entry.segment)
            packed = self._keydirs[partition].packed.get(key)
        if segment is None:
            return
        segment.damaged = True
        self._log.on_sealed()
        if packed is not None and place_of(packed)[:2] == (entry.segment, entry.offset):
            self._lose(partition, [(key, packed)])
            self._on_damage(frozenset([partition]))

    def mend(self, segment: Segment) -> Iterator[int]:
        """Do all that a damaged segment at rest needs, yielding the bytes handled."""
        damages: list[Damage] = []
        sound: dict[int, int] = {}
        yield from _survey(segment, damages, sound)
        if segment.number not in self._absences:
            yield from self._take_in(segment, damages, sound)
        if segment.damaged and not segment.kept:
            absences = self._absences[segment.number]
            yield from self._set_aside(segment, damages, absences)
            del self._absences[segment.number]

    def _take_in(self, segment: Segment, damages: list[Damage], sound: dict[int, int]) -> Iterator[int]:
        """Give up what is lost, and find out what must be said to be absent.

        ``sound`` tells which record stands where: a line may also be lost to a sound one in its place.
        """
        lost = False
        for partition, keydir in enumerate(self._keydirs):
            entries = [
                (key, packed)
                for key, packed in list(keydir.packed.items())
                if place_of(packed)[0] == segment.number and not _stands(partition, key, packed, sound)
            ]
            if entries:
                lost = True
                self._lose(partition, entries)
                self._on_damage(frozenset([partition]))
            yield len(keydir.packed) << 6
        hint = read_hint(self._log.disk, segment.number, segment.size)
        gone = [
            (block.p, key)
            for block in hint or ()
            if isinstance(block, HintBlockLine)
            for key, packed in zip(block.k, packed_of(block, segment.number), strict=True)
            if not _stands(block.p, key, packed, sound)
        ]
        name = segment_name(segment.number)
        if not damages and (gone or lost):
            damages.append(Damage(name, 0, 0, 0, "sound lines stand where others did"))
        report(damages)
        if not damages:
            segment.damaged = False
            _log.warning("damage_not_found_again", file=name)
        elif hint is None:
            segment.kept = True
            _log.warning("segment_kept", file=name, reason="no hint file")
        else:
            self._absences[segment.number] = [_absence(*key) for key in gone if self._absent(*key)]

    def _absent(self, partition: int, key: str) -> bool:
        """Whether the index holds nothing of a key."""
        with self._log.lock:
            return key not in self._keydirs[partition].packed

    def _lose(self, partition: int, entries: list[tuple[str, bytes]]) -> None:
        """Give up a partition's vote, and drop from the index what its damaged lines held."""
        self.losses += 1
        self._give_up(partition)
        keydir, buckets = self._keydirs[partition], self._trees[partition].buckets
        with self._log.lock:
            gone = [(key, packed) for key, packed in entries if keydir.packed.get(key) == packed]
            for key, packed in gone:
                buckets[bucket_of(key)] ^= digest_of(packed)
                number, _, length = place_of(packed)
                self._log.segments[number].live -= length
            keydir.remove([key for key, _ in gone])

    def _set_aside(self, segment: Segment, damages: list[Damage], absences: list[bytes]) -> Iterator[int]:
        """Let a new segment take the place of the damaged one."""
        salvage = Salvage(self._log, self._keydirs, segment, damages, absences)
        try:
            yield from salvage.steps()
        except OSError:
            salvage.abandon()
            raise


def _survey(segment: Segment, damages: list[Damage], sound: dict[int, int]) -> Iterator[int]:
    """Read a segment whole, yielding now and then the bytes read; note which record stands where."""
    cost = 0
    for offset, line, meaning in sound_lines(segment.opened(), segment.size, damages):
        if isinstance(meaning, KeyLine):
            sound[offset] = hash((meaning.p, meaning.k, meaning.a, meaning.ver))
        cost += len(line)
        if cost >= STEP_BYTES:
            yield cost
            cost = 0
    yield cost


def _stands(partition: int, key: str, packed: bytes, sound: dict[int, int]) -> bool:
    """Whether the line of an entry stands where the index, or a hint file, says."""
    entry = unpack(packed)
    return sound.get(entry.offset) == hash((partition, key, entry.accepted, entry.version))


def _absence(partition: int, key: str) -> bytes:
    """Return the line that says that a key is absent."""
    return encode_record(Record(partition, key, NO_BALLOT, NO_VERSION, None, None))
