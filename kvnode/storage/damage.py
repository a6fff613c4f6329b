"""Damage: bytes in a segment that are not what was written, and saying so loudly.

A line is damaged when its checksum is wrong, or when it stands where none of its kind can. A line
whose checksum is right and that is not understood is no damage: a later release wrote it, and the
folder is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import structlog

from kvnode import metrics
from kvnode.errors import DamageError, StorageError
from kvnode.storage.disk import File
from kvnode.storage.line_kinds import FloorLine, HeaderLine, KeyLine, Line, PromiseLine, VotingLine
from kvnode.storage.lines import LineError, UnknownLineError
from kvnode.storage.segment import survey

REPORTED_LINES = 20
"""So many damaged lines of a segment are logged one by one."""

STATE_LINES = PromiseLine | FloorLine | VotingLine

_log = structlog.get_logger(__name__)


class Damage(NamedTuple):
    """One damaged place: file, line (from 1; 0: the file as a whole), offset and length in bytes, why."""

    file: str
    line: int
    offset: int
    length: int
    reason: str


def report(damages: Sequence[Damage]) -> None:
    """Log and count what was found in one segment."""
    metrics.DAMAGED_LINES.inc(len(damages))
    for damage in damages[:REPORTED_LINES]:
        file, line, offset, length, reason = damage
        _log.error("segment_damaged", file=file, line=line, offset=offset, bytes=length, reason=reason)
    if len(damages) > REPORTED_LINES:
        _log.error("segment_damaged", file=damages[0].file, more_lines=len(damages) - REPORTED_LINES)


def flaw_of(meaning: Line | LineError, offset: int) -> str:
    """Return why a line of a segment is damaged; empty if it is not."""
    if isinstance(meaning, KeyLine | STATE_LINES):
        return ""
    if isinstance(meaning, LineError):
        return str(meaning)
    if not isinstance(meaning, HeaderLine):
        return "a line of a hint file stands in a segment"
    return "a header stands inside the segment" if offset else ""


def sound_lines(file: File, size: int, damages: list[Damage]) -> Iterator[tuple[int, bytes, Line]]:
    """Yield (offset, line, its meaning) of the lines that are sound; add the others to ``damages``.

    Raises StorageError for a line that a later release wrote.
    """
    number = 0
    try:
        for number, (offset, line, meaning) in enumerate(survey(file, size), 1):
            if isinstance(meaning, UnknownLineError):
                raise StorageError(
                    f"{file.name}, line {number} at byte {offset}: {meaning} (written by a later release?)"
                ) from meaning
            flaw = flaw_of(meaning, offset)
            if flaw:
                damages.append(Damage(file.name, number, offset, len(line), flaw))
            elif not isinstance(meaning, LineError):
                yield offset, line, meaning
    except DamageError as error:
        damages.append(Damage(file.name, number + 1, error.offset, size - error.offset, error.reason))
