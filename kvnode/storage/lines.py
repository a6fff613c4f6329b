"""The format of the log: one JSON object a line, its checksum last.

    {"t":"v","p":17,"k":"user:1","a":[3,1],"ver":[3,1,42],"prev":[2,4,7],"v":{"name":"Ada"},"crc":…}

``t`` is the kind: ``h`` a segment's header, ``v`` a value, ``d`` a tombstone (as ``v``, without a
value), ``p`` a promise, ``f`` a floor, ``w`` the right to vote (given, or with ``no`` given up);
hint files have ``i``, ``b`` and ``e``.
``c`` is 1 in a copied record and else left out. ``crc`` is the CRC-32 of the line's bytes before
its last ``,"crc":``. A kind or a field that is not known is refused: it was written by a later
release, and a guess would lose data. Lines are built by hand because every write passes here.
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

import msgspec

from kvnode.core.records import Entry, Record
from kvnode.core.versions import Ballot, Version
from kvnode.storage.line_kinds import HeaderLine, HintBlockLine, HintEndLine, HintLine, Line

FORMAT = 1
"""The version of the log's format; a segment of another is refused."""

MAX_KEY_BYTES = 1024
MAX_LINE_BYTES = 9 << 20
"""No longer is any line that a worker writes: a value of 8 MiB at most, its key, and the rest."""

_CRC = b',"crc":'
_VALUE = b',"v":'
_encode_text = msgspec.json.Encoder().encode


class LineError(Exception):
    """The bytes are no line of ours. The text says why; where is known to whoever read them."""


class UnknownLineError(LineError):
    """The checksum is right, but the line is none that this release writes: it is no damage."""


_decode: Callable[[bytes], Line] = msgspec.json.Decoder(Line).decode


def seal(body: bytes) -> bytes:
    """Add the checksum and the line break to a line's body."""
    return body + b',"crc":%d}\n' % crc32(body)


def check(line: bytes) -> int:
    """Return where a sealed line's body ends. Raises LineError when its checksum is wrong."""
    end = line.rfind(_CRC)
    if end < 0 or line[end:] != b',"crc":%d}\n' % crc32(memoryview(line)[:end]):
        raise LineError("the checksum is wrong")
    return end


def encode_head(record: Record) -> bytes:
    """Return a record's line up to its value: all that the index knows of it."""
    head = b'{"t":"%b","p":%d,"k":%b,"a":%b,"ver":%b,"prev":%b' % (
        b"d" if record.value is None else b"v",
        record.partition,
        _encode_text(record.key),
        _encode_text(record.accepted),
        _encode_text(record.version),
        _encode_text(record.previous),
    )
    return head + b',"c":1' if record.copied else head


def head_of(partition: int, key: str, entry: Entry) -> bytes:
    """Return what an entry's line begins with: all but the value, if it has one."""
    value = None if entry.tombstone else b""
    return encode_head(
        Record(partition, key, entry.accepted, entry.version, entry.previous, value, entry.copied)
    )


def encode_record(record: Record) -> bytes:
    """Return a record's line. The value must be one line of JSON, which is not checked further."""
    value = record.value
    if value is None:
        return seal(encode_head(record))
    if b"\n" in value:
        raise ValueError("a value must not hold a line break")
    return seal(encode_head(record) + _VALUE + value)


def encode_promise(partition: int, ballot: Ballot) -> bytes:
    """Return the line of a promise."""
    return seal(b'{"t":"p","p":%d,"b":[%d,%d]' % (partition, *ballot))


def encode_floor(partition: int, floor: Version, forgotten: Version) -> bytes:
    """Return the line of a floor."""
    return seal(b'{"t":"f","p":%d,"ver":[%d,%d,%d],"gone":[%d,%d,%d]' % (partition, *floor, *forgotten))


def encode_voting(partition: int, *, voting: bool) -> bytes:
    """Return the line that gives the right to vote, or gives it up."""
    return seal(b'{"t":"w","p":%d%b' % (partition, b"" if voting else b',"no":1'))


def encode_struct(line: HeaderLine | HintLine | HintBlockLine | HintEndLine) -> bytes:
    """Return a line that is written seldom; its ``crc`` is set here."""
    return seal(_encode_text(line).rsplit(_CRC, 1)[0])


def decode(line: bytes) -> Line:
    """Read a whole line, its line break included.

    Raises UnknownLineError where the checksum is right, and LineError where it is wrong.
    """
    check(line)
    try:
        return _decode(line)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnknownLineError(str(error)) from error


def verify(line: bytes, partition: int, key: str, entry: Entry) -> None:
    """Raise LineError unless a line is whole, and the one that an entry stands for."""
    body, head = line[: check(line)], head_of(partition, key, entry)
    if body != head if entry.tombstone else not body.startswith(head + _VALUE):
        raise LineError("another record stands here")


def value_of(line: bytes, head: bytes) -> bytes:
    """Return the value from a record's line that must begin with ``head``. Raises LineError."""
    end = check(line)
    head += _VALUE
    if not line.startswith(head):
        raise LineError("another record stands here")
    return line[len(head) : end]
