"""A segment: one append-only file of the log, what the store knows of it, and how it is read.

Segments have numbers, which are never used twice while it matters, and places, which order them: a
later line of a key wins. A segment made by appending has its number as its place; one made by a
merge has a new number and the place of the last segment that it replaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from kvnode.core.identity import Identity
from kvnode.errors import DamageError, StorageError
from kvnode.storage.disk import File
from kvnode.storage.line_kinds import HeaderLine, Line
from kvnode.storage.lines import FORMAT, MAX_LINE_BYTES, LineError, decode, encode_struct

TEMPORARY = ".tmp"
DAMAGED = ".damaged"
_NAME = re.compile(r"log-(\d{8,})\.(jsonl|hint|jsonl\.damaged)")
_READ_BYTES = 1 << 18


def segment_name(number: int) -> str:
    """Return the file name of a segment."""
    return f"log-{number:08d}.jsonl"


def hint_name(number: int) -> str:
    """Return the file name of a segment's hint file."""
    return f"log-{number:08d}.hint"


def numbers(names: list[str], suffix: str) -> list[int]:
    """Return the numbers of the files among names with a suffix: jsonl, hint or jsonl.damaged."""
    found = (_NAME.fullmatch(name) for name in names)
    return [int(match[1]) for match in found if match is not None and match[2] == suffix]


def is_log_file(name: str) -> bool:
    """Whether a file is a part of the log, in use or set aside."""
    return _NAME.fullmatch(name) is not None


class Segment:
    """What the store knows of one segment. Guarded by the store's lock.

    ``size`` counts the bytes assigned, ``written`` those that are durable. ``live`` are the bytes of
    lines that the index points at, ``forgotten`` those of tombstones that it has forgotten,
    ``overhead`` the header's where no merge can save it. ``replaces`` are the segments that it stands
    for. A ``damaged`` one is merged by nobody but who sets it aside, unless it is ``kept`` until the
    next start.

    ``keys`` are the keys of its records, with their partitions, and ``states`` its other lines: what a hint
    file is made of, for as long as it is remembered (``keys`` None: not any more, or not at all).
    """

    __slots__ = (
        "clean", "damaged", "file", "forgotten", "hinted", "kept", "keys", "live", "number", "overhead",
        "place", "replaces", "sealed", "size", "states", "written",
    )  # fmt: skip

    def __init__(self, number: int, place: int, clean: int = 0) -> None:
        self.number = number
        self.place = place
        self.clean = clean
        self.file: File | None = None
        self.size = 0
        self.written = 0
        self.overhead = 0
        self.live = 0
        self.forgotten = 0
        self.sealed = False
        self.hinted = False
        self.damaged = False
        self.kept = False
        self.replaces: tuple[int, ...] = ()
        self.keys: dict[str, int] | None = None
        self.states: list[bytes] = []

    @property
    def dead(self) -> int:
        """The bytes that a merge would save."""
        return self.size - self.live - self.forgotten - self.overhead

    @property
    def at_rest(self) -> bool:
        """Nothing will be written to it any more, and what was is durable."""
        return self.sealed and self.written == self.size

    @property
    def wants_hint(self) -> bool:
        """It is sealed and sound, and has no hint file yet."""
        return self.sealed and not (self.hinted or self.damaged)

    def forget(self) -> None:
        """Remember no longer what stands in it: only the file can tell."""
        self.keys = None
        self.states = []

    def opened(self) -> File:
        """Return the file of a segment that has been written."""
        if self.file is None:
            raise StorageError(f"{segment_name(self.number)}: not written yet")
        return self.file


def encode_header(
    identity: Identity, partitions: int, segment: Segment, log: tuple[tuple[int, int], ...] = ()
) -> bytes:
    """Return a segment's first line."""
    return encode_struct(
        HeaderLine(
            format=FORMAT,
            cluster=identity.cluster_id,
            worker=identity.worker,
            incarnation=identity.incarnation,
            partitions=partitions,
            segment=segment.number,
            place=segment.place,
            clean=segment.clean,
            replaces=segment.replaces,
            log=log,
        )
    )


def split_lines(file: File, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, line) for the first ``size`` bytes of a file.

    Only the last may lack its break, and what is longer than any line comes in pieces.
    """
    rest, position = b"", 0
    while position < size:
        data = file.read(position, min(_READ_BYTES, size - position))
        if not data:
            raise DamageError(file.name, position, f"the file ends before its {size} bytes")
        lines = (rest + data).split(b"\n")
        offset = position - len(rest)
        rest = lines.pop()
        for line in lines:
            yield offset, line + b"\n"
            offset += len(line) + 1
        position += len(data)
        if len(rest) > MAX_LINE_BYTES:
            yield position - len(rest), rest
            rest = b""
    if rest:
        yield size - len(rest), rest


def read_lines(file: File, size: int) -> Iterator[tuple[int, bytes, Line]]:
    """Yield (offset, line, its meaning) of a sealed segment. Raises DamageError, never skips."""
    for offset, line, meaning in survey(file, size):
        if isinstance(meaning, LineError):
            raise DamageError(file.name, offset, str(meaning)) from meaning
        yield offset, line, meaning


def survey(file: File, size: int) -> Iterator[tuple[int, bytes, Line | LineError]]:
    """Yield (offset, line, its meaning or what is wrong with it) of all lines of a segment."""
    for offset, line in split_lines(file, size):
        yield offset, line, _meaning(line)


def _meaning(line: bytes) -> Line | LineError:
    try:
        return decode(line)
    except LineError as error:
        return error


def check_header(line: Line, number: int, identity: Identity, partitions: int) -> HeaderLine:
    """Return the header if it is one, of this data folder and of this segment.

    Raises StorageError for another folder's, and DamageError for none or another segment's.
    """
    name = segment_name(number)
    if not isinstance(line, HeaderLine):
        raise DamageError(name, 0, "the segment does not begin with a header")
    if line.format != FORMAT:
        raise StorageError(f"{name}: format {line.format}; this release reads {FORMAT}")
    owner = (line.worker, line.incarnation)
    if owner != (identity.worker, identity.incarnation):
        raise StorageError(f"{name}: belongs to worker {owner[0]}, incarnation {owner[1]}")
    if line.cluster not in ("", identity.cluster_id):
        raise StorageError(f"{name}: belongs to cluster {line.cluster}")
    if line.partitions != partitions:
        raise StorageError(f"{name}: written with {line.partitions} partitions, not {partitions}")
    if line.segment != number:
        raise DamageError(name, 0, f"this is segment {line.segment}")
    return line
