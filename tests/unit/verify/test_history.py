"""The file form of a history."""

from __future__ import annotations

from io import BytesIO

import pytest

from kvnode.errors import HistoryError
from kvnode.verify.history import Op, Told, read_history, write_history
from tests.unit.verify.ops import delete, get, match, put

OPS = [
    put(0, 5, 1, if_match=match(3, 4)),
    get(1, 2, 0),
    get(7, 8, 1),
    delete(9, 10, 2, Told.UNKNOWN, if_present=True),
]


def test_round_trip() -> None:
    """What was written is read."""
    file = BytesIO()
    write_history(file, OPS)
    file.seek(0)
    assert list(read_history(file)) == OPS


def test_lines_are_plain_json() -> None:
    """One object a line, without what says nothing."""
    file = BytesIO()
    write_history(file, OPS[1:2])
    assert file.getvalue() == b'{"client":1,"op":"get","key":"a","told":"absent","start_us":1,"end_us":2}\n'


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"client":1,"op":"scan","key":"a","told":"ok","start_us":1,"end_us":2}',
        b'{"client":1,"op":"get","key":"a","told":"ok","start_us":1,"end_us":2}',
        b'{"client":1,"op":"put","key":"a","told":"ok","start_us":1,"end_us":2}',
        b'{"client":1,"op":"get","key":"a","told":"absent","start_us":2,"end_us":1}',
        b'{"client":1,"op":"get","key":"a","told":"absent","start_us":2}',
        b'{"client":1,"op":"get","key":"a","told":"absent","start_us":1,"end_us":2,"more":1}',
    ],
)
def test_bad_lines_are_named(line: bytes) -> None:
    """A line that is no operation is refused with its number."""
    file = BytesIO()
    write_history(file, OPS[:1])
    file.write(line + b"\n")
    file.seek(0)
    with pytest.raises(HistoryError) as caught:
        list(read_history(file))
    assert caught.value.line == 2


def test_contradictions_are_refused() -> None:
    """No operation ends before it starts."""
    with pytest.raises(ValueError, match="before it starts"):
        Op(client=1, op=OPS[1].op, key="a", told=Told.ABSENT, start_us=2, end_us=1)
