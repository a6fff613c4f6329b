"""What the lines of the log hold, kind by kind: see ``lines`` for the format as a whole."""

from __future__ import annotations

import msgspec

from kvnode.core.versions import Ballot, Version


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False, kw_only=True, tag_field="t"):
    """What all kinds share."""

    crc: int = 0


class HeaderLine(_Line, frozen=True, tag="h"):
    """A segment's first line.

    ``place`` orders segments: a segment that a merge made stands where the last of those it
    ``replaces`` stood. It holds no line that was out of date when ``clean`` was the newest place.
    ``log`` names the segments that there were when it was begun, with their sizes in bytes: so one
    that is missing or cut short is noticed. A merge names none, but ``replaces`` goes on to name what
    its inputs had replaced, for as long as a segment in use counts on it.
    """

    format: int
    cluster: str
    worker: int
    incarnation: str
    partitions: int
    segment: int
    place: int
    clean: int = 0
    replaces: tuple[int, ...] = ()
    log: tuple[tuple[int, int], ...] = ()


class _KeyLine(_Line, frozen=True):
    """A record of a key."""

    p: int
    k: str
    a: Ballot
    ver: Version
    prev: Version | None
    c: int = 0


class ValueLine(_KeyLine, frozen=True, tag="v"):
    """A record with its value."""

    v: msgspec.Raw = msgspec.Raw()


class TombstoneLine(_KeyLine, frozen=True, tag="d"):
    """A record of a deletion."""


class PromiseLine(_Line, frozen=True, tag="p"):
    """A partition's promise."""

    p: int
    b: Ballot


class FloorLine(_Line, frozen=True, tag="f"):
    """A partition's floor, and up to which version (``gone``) tombstones are not held any more."""

    p: int
    ver: Version
    gone: Version


class VotingLine(_Line, frozen=True, tag="w"):
    """A partition's right to vote; ``no`` is 1 where it was given up. The later line wins."""

    p: int
    no: int = 0


class HintLine(_Line, frozen=True, tag="i"):
    """A hint file's first line: the segment that it stands for."""

    format: int
    segment: int


Column = list[int]


class HintBlockLine(_Line, frozen=True, tag="b"):
    """Records of one partition, as they stand in the segment, field by field.

    ``a``, ``ver`` and ``prev`` have a list for each of their numbers; ``at`` has the lines' offsets and
    lengths, ``f`` and ``d`` their flags and hash-tree hashes, as the index has them. ``x`` is what the last
    ones of each key add up to, for each bucket of the hash tree.
    """

    p: int
    k: list[str]
    a: tuple[Column, Column]
    ver: tuple[Column, Column, Column]
    prev: tuple[Column, Column, Column]
    at: tuple[Column, Column]
    f: Column
    d: Column
    x: Column


class HintEndLine(_Line, frozen=True, tag="e"):
    """A hint file's last line: the CRC-32 of all bytes before it, and the segment's size in bytes."""

    sum: int
    bytes: int


KeyLine = ValueLine | TombstoneLine
StateLine = PromiseLine | FloorLine | VotingLine
Line = HeaderLine | KeyLine | StateLine | HintLine | HintBlockLine | HintEndLine
