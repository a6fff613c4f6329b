"""What still lives in a sealed segment, told without reading it.

What is remembered of the segment tells it, or its hint file. Neither is relied on: what the index points at
and they do not tell of is noticed by its bytes, and then only the file itself can tell.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import islice

from kvnode.errors import DamageError
from kvnode.storage.disk import Disk
from kvnode.storage.hints import HintedLine, packed_of, read_hint
from kvnode.storage.keydir import Keydir, is_tombstone, place_of, unpack
from kvnode.storage.line_kinds import HintBlockLine
from kvnode.storage.lines import LineError, verify
from kvnode.storage.segment import Segment

STEP_BYTES = 1 << 14
"""How much is read in one go: the interpreter is held for it, a quarter of a millisecond."""

_STEP_RECORDS = 128
"""How many records are looked up in one go, which is worth less."""

Living = tuple[int, str, bytes]
"""A partition, a key and the packed entry of a record that may have to be kept."""


def remembered(keys: dict[str, int], segment: Segment, keydirs: list[Keydir]) -> Iterator[list[Living]]:
    """Yield those of a segment's records that the index points at: of some keys at a time, perhaps none."""
    rest = iter(keys.items())
    while some := list(islice(rest, _STEP_RECORDS)):
        found = [(partition, key, keydirs[partition].packed.get(key)) for key, partition in some]
        yield [
            (partition, key, packed)
            for partition, key, packed in found
            if packed is not None and place_of(packed)[0] == segment.number
        ]


def living(
    disk: Disk, segment: Segment, keydirs: list[Keydir]
) -> Generator[int, None, list[list[Living]] | None]:
    """Return a segment's records that the index points at, and tombstones that it has forgotten.

    Together those that begin within ``STEP_BYTES``, in order; None where only the file can tell. Yields now
    and then what the work is worth in bytes. Raises DamageError.
    """
    if segment.damaged:
        return None
    keys = segment.keys
    hint = read_hint(disk, segment.number, segment.size) if keys is None and segment.hinted else None
    if keys is not None:
        found = remembered(keys, segment, keydirs)
    elif hint is not None:
        found = _hinted(hint, segment, keydirs)
    else:
        return None
    places: dict[int, list[Living]] = {}
    told = 0
    for records in found:
        for record in records:
            _, offset, length = place_of(record[2])
            places.setdefault(offset // STEP_BYTES, []).append(record)
            told += length
        yield STEP_BYTES
    if told < segment.live or segment.keys is not keys:
        return None
    return [places[place] for place in sorted(places)]


def read_living(segment: Segment, records: list[Living]) -> list[bytes]:
    """Read the lines of some of a segment's records, in one go. Raises DamageError."""
    places = [place_of(packed)[1:] for _, _, packed in records]
    file, start = segment.opened(), min(places)[0]
    data = file.read(start, max(offset + length for offset, length in places) - start)
    lines = [data[offset - start : offset - start + length] for offset, length in places]
    for line, (offset, _), (partition, key, packed) in zip(lines, places, records, strict=True):
        try:
            verify(line, partition, key, unpack(packed))
        except LineError as error:
            raise DamageError(file.name, offset, str(error)) from error
    return lines


def _hinted(hint: Iterator[HintedLine], segment: Segment, keydirs: list[Keydir]) -> Iterator[list[Living]]:
    """Yield those of a hint file's records that the index points at, or that are forgotten tombstones."""
    for block in hint:
        if isinstance(block, HintBlockLine):
            entries = keydirs[block.p].packed
            found = zip(block.k, packed_of(block, segment.number), map(entries.get, block.k), strict=True)
            yield [
                (block.p, key, packed)
                for key, packed, newest in found
                if (is_tombstone(packed) if newest is None else place_of(newest) == place_of(packed))
            ]
