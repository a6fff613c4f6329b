"""Making a sealed segment's hint file: from what is remembered of the segment, or else by reading it.

It gets the records that the index points at, and the tombstones that the index has forgotten. What replaced
the others is durable before the hint file is visible.
"""

from __future__ import annotations

from collections.abc import Iterator

from kvnode.errors import DamageError
from kvnode.storage.hint_writer import HintWriter
from kvnode.storage.keydir import Keydir, place_of
from kvnode.storage.line_kinds import HeaderLine, KeyLine, TombstoneLine
from kvnode.storage.living import STEP_BYTES, remembered
from kvnode.storage.log import Log
from kvnode.storage.placed import pack_line
from kvnode.storage.segment import Segment, read_lines


def write_hint(log: Log, segment: Segment, keydirs: list[Keydir]) -> Iterator[int]:
    """Make a hint file, yielding now and then the bytes handled (0: waiting). Raises DamageError, OSError.

    What is no longer remembered when it is needed leaves the segment without one, to be tried again.
    """
    writer = HintWriter(log.disk, segment.number)
    keys = segment.keys
    try:
        if keys is None:
            yield from _read(log, segment, keydirs, writer)
        else:
            yield from _recall(keys, segment, keydirs, writer)
        yield from log.settle()
        if segment.keys is not keys:
            writer.sweep()
            return
        yield from writer.finish(segment.size)
    except (DamageError, OSError) as error:
        segment.damaged = segment.damaged or isinstance(error, DamageError)
        writer.sweep()
        raise
    finally:
        writer.close()
    segment.hinted = True
    segment.forget()


def _recall(
    keys: dict[str, int], segment: Segment, keydirs: list[Keydir], writer: HintWriter
) -> Iterator[int]:
    """Note the records that the index points at."""
    for line in segment.states:
        writer.add_state(line)
    told = 0
    for records in remembered(keys, segment, keydirs):
        for partition, key, packed in records:
            writer.add(partition, key, packed)
            told += place_of(packed)[2]
        yield STEP_BYTES
    if told < segment.live:
        segment.forget()


def _read(log: Log, segment: Segment, keydirs: list[Keydir], writer: HintWriter) -> Iterator[int]:
    """Read the segment, and note what the index points at or has forgotten."""
    cost = 0
    for offset, line, meaning in read_lines(segment.opened(), segment.size):
        if isinstance(meaning, KeyLine):
            packed = keydirs[meaning.p].packed.get(meaning.k)
            if packed is not None:
                if place_of(packed)[:2] == (segment.number, offset):
                    writer.add(meaning.p, meaning.k, packed)
            elif isinstance(meaning, TombstoneLine):
                worker = log.identity.worker
                packed = pack_line(meaning, segment.number, offset, len(line), worker)
                writer.add(meaning.p, meaning.k, packed)
        elif not isinstance(meaning, HeaderLine):
            writer.add_state(line)
        cost += len(line)
        if cost > STEP_BYTES:
            yield cost
            cost = 0
