"""The format of one line."""

from __future__ import annotations

from zlib import crc32

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvnode.core.records import Record
from kvnode.core.versions import Ballot, Version
from kvnode.storage import line_kinds, lines

numbers = st.integers(1, 2**64 - 1)
workers = st.integers(1, 2**32 - 1)
versions = st.builds(Version, numbers, workers, numbers)
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.one_of(texts, st.integers(), st.lists(st.dictionaries(texts, texts, max_size=3), max_size=3))
records = st.builds(
    Record,
    partition=st.integers(0, 65535),
    key=st.one_of(texts, st.sampled_from(['a","v":1', ',"crc":1}\n', "\u2028\U0001f600", '\\",\\'])),
    accepted=st.builds(Ballot, numbers, workers),
    version=versions,
    previous=st.none() | versions,
    value=st.none() | values.map(msgspec.json.encode),
    copied=st.booleans(),
)


def as_record(line: line_kinds.Line) -> Record:
    """Return the record that a line stands for."""
    assert isinstance(line, line_kinds.KeyLine)
    value = bytes(line.v) if isinstance(line, line_kinds.ValueLine) else None
    return Record(line.p, line.k, line.a, line.ver, line.prev, value, bool(line.c))


def test_line_is_as_documented() -> None:
    """A record's line reads as the format says, byte for byte."""
    record = Record(17, "user:1", Ballot(3, 1), Version(3, 1, 42), Version(2, 4, 7), b'{"name":"Ada"}')
    body = b'{"t":"v","p":17,"k":"user:1","a":[3,1],"ver":[3,1,42],"prev":[2,4,7],"v":{"name":"Ada"}'
    assert lines.encode_record(record) == body + b',"crc":%d}\n' % crc32(body)


@given(records)
def test_record_round_trip(record: Record) -> None:
    """What was encoded is decoded again, in one line of valid JSON."""
    line = lines.encode_record(record)
    assert line.count(b"\n") == 1
    assert msgspec.json.decode(line)["k"] == record.key
    assert as_record(lines.decode(line)) == record


@given(records)
def test_value_is_cut_out(record: Record) -> None:
    """A value is found in its line by what stands before it, and by nothing else."""
    if record.value is None:
        return
    line = lines.encode_record(record)
    assert lines.value_of(line, lines.encode_head(record)) == record.value
    other = msgspec.structs.replace(record, key=record.key + "x")
    with pytest.raises(lines.LineError):
        lines.value_of(line, lines.encode_head(other))


@given(records, st.data())
def test_any_changed_byte_is_noticed(record: Record, data: st.DataObject) -> None:
    """A line with one byte changed is refused."""
    line = bytearray(lines.encode_record(record))
    line[data.draw(st.integers(0, len(line) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(lines.LineError):
        lines.decode(bytes(line))


@pytest.mark.parametrize(
    "body",
    [
        b'{"t":"x","p":1',
        b'{"p":1',
        b'{"t":"w"',
        b'{"t":"w","p":1,"new":2',
        b'{"t":"w","p":"1"',
        b'{"t":"p","p":1,"b":[1]',
        b'{"t":"v","p":1,"k":"\xff","a":[1,1],"ver":[1,1,1],"prev":null,"v":1',
        b'{"t":"v","p":1,"k":"k","a":[1,1],"ver":[1,1,1],"prev":null,"v":' + b"[" * 100_000,
        b"[1",
        b"",
    ],
)
def test_what_is_not_known_is_refused(body: bytes) -> None:
    """A kind or field of a later release, or a wrong type, is refused though its checksum holds."""
    with pytest.raises(lines.LineError):
        lines.decode(lines.seal(body))


def test_line_break_in_a_value_is_refused() -> None:
    """A value that would break the line is never written."""
    with pytest.raises(ValueError, match="line break"):
        lines.encode_record(Record(0, "k", Ballot(1, 1), Version(1, 1, 1), None, b"[1,\n2]"))
