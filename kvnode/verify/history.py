"""Histories: what clients asked, what they were told, and when; one JSON object a line.

A history says nothing of how a cluster works, so any checker of registers can judge it. Within one
history every PUT of a key carries a value of its own: a read then names the write that it saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import BinaryIO

import msgspec

from kvnode.errors import HistoryError


class Asked(StrEnum):
    """The operations."""

    GET = "get"
    PUT = "put"
    DELETE = "delete"


class Told(StrEnum):
    """How an operation ended for its client."""

    OK = "ok"
    """GET: a value was read. PUT, DELETE: it was done."""
    ABSENT = "absent"
    """GET: there was no value. DELETE: there was none, and nothing was done."""
    CONDITION_FAILED = "condition_failed"
    """The condition did not hold, and nothing was done."""
    NOT_DONE = "not_done"
    """It certainly did not happen, and never will."""
    UNKNOWN = "unknown"
    """It may have happened, may happen later, or never."""


class Op(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One operation of one client.

    ``value`` is what a PUT wrote or a GET read, as JSON text. ``version`` is the one that the answer
    named. ``if_match``, ``if_present`` and ``if_absent`` are the write's conditions (a deleted key is
    absent). ``start_us`` and ``end_us`` are microseconds on one clock; ``end_us`` None: no answer came.
    """

    client: int
    op: Asked
    key: str
    value: str | None = None
    if_match: tuple[str, ...] | None = None
    if_present: bool = False
    if_absent: bool = False
    told: Told
    version: str | None = None
    start_us: int
    end_us: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no client can have seen. Raises ValueError."""
        if self.end_us is not None and self.end_us < self.start_us:
            raise ValueError("it ends before it starts")
        if self.end_us is None and self.told is not Told.UNKNOWN:
            raise ValueError(f"it was told {self.told} but never ended")
        wrote_or_read = self.op is Asked.PUT or (self.op is Asked.GET and self.told is Told.OK)
        if wrote_or_read and self.value is None:
            raise ValueError("a PUT, and a GET that found something, have a value")


def write_history(file: BinaryIO, ops: Iterable[Op]) -> None:
    """Write operations as lines."""
    encode = msgspec.json.Encoder().encode
    file.writelines(encode(op) + b"\n" for op in ops)


def read_history(file: BinaryIO) -> Iterator[Op]:
    """Yield the operations of a file. Raises HistoryError with the number of the line that is none."""
    decode = msgspec.json.Decoder(Op).decode
    for number, line in enumerate(file, 1):
        try:
            yield decode(line)
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise HistoryError(number, str(error)) from error
