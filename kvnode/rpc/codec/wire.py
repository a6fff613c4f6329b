"""What all messages share: parsing, the epoch, and the fields that may not be just anything."""

from __future__ import annotations

from collections.abc import Sized
from functools import lru_cache
from typing import Protocol, Self, TypeVar

import msgspec
from google.protobuf.message import DecodeError

from kvnode.core.versions import NO_BALLOT, NO_VERSION, Ballot, Version
from kvnode.errors import MessageError

EPOCH = 1
"""The cluster's epoch in every message, until membership can change."""

KEY_BYTES = 1024
"""The longest key, in bytes of UTF-8."""

SURELY_SHORT = KEY_BYTES // 4
"""A key of so many characters is not too long, whatever they are."""

LARGEST = 10**18 - 1
"""The largest term or number of a version: what an entity tag can say, with room to count on."""

LARGEST_WORKER = 10**9 - 1

LARGEST_PARTITION = 2**32 - 1

ITEMS = 10_000
"""The most records, attempts, keys, lines or reasons in one message: ten times what is ever sent."""

NAME_CHARACTERS = 128
"""The longest id, release or word of state."""

_JSON = msgspec.json.Decoder(msgspec.Raw)


class _Epochal(Protocol):
    epoch: int

    @classmethod
    def FromString(cls, data: bytes, /) -> Self:  # noqa: N802 - protobuf's name
        """Parse; raises DecodeError."""


M = TypeVar("M", bound=_Epochal)


def parse(kind: type[M], data: bytes) -> M:
    """Read one message, whatever epoch it names."""
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise MessageError(f"{kind.__name__} of {len(data)} bytes cannot be parsed: {error}") from error


def parse_current(kind: type[M], data: bytes) -> M:
    """Read one message of this epoch."""
    message = parse(kind, data)
    if message.epoch != EPOCH:
        raise MessageError(f"{kind.__name__} of epoch {message.epoch}, expected {EPOCH}")
    return message


def checked_key(key: str) -> str:
    """Return the key if it may be one: not empty, not over 1,024 bytes."""
    if not 0 < len(key) <= SURELY_SHORT and (not key or len(key.encode()) > KEY_BYTES):
        raise MessageError(f"a key of {len(key.encode())} bytes, expected 1 to {KEY_BYTES}")
    return key


def checked_value(value: bytes) -> bytes:
    """Return a value if a line of the log can hold it: JSON, without line breaks."""
    if b"\n" in value or b"\r" in value:
        raise MessageError("a value with line breaks")
    try:
        _JSON.decode(value)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MessageError(f"a value that is no JSON: {error}") from error
    return value


def checked_name(name: str) -> str:
    """Return an id, a release or a state if it may be one: short, and printable."""
    if len(name) > NAME_CHARACTERS or not name.isprintable():
        raise MessageError(
            f"{name[:NAME_CHARACTERS]!r}, expected at most {NAME_CHARACTERS} printable characters"
        )
    return name


def check_count(what: str, items: Sized) -> None:
    """Refuse a list that nobody would send."""
    if len(items) > ITEMS:
        raise MessageError(f"{len(items)} {what}, expected at most {ITEMS}")


@lru_cache(maxsize=4096)  # many records share few ballots
def ballot(term: int, worker: int) -> Ballot:
    """Return a ballot that must be one."""
    if not (0 < term <= LARGEST and 0 < worker <= LARGEST_WORKER):
        raise MessageError(f"ballot ({term}, {worker}), expected a term and a worker")
    return Ballot(term, worker)


@lru_cache(maxsize=4096)
def ballot_or_none(term: int, worker: int) -> Ballot:
    """Return a ballot, or NO_BALLOT for zeros."""
    return ballot(term, worker) if term or worker else NO_BALLOT


def version(term: int, worker: int, seq: int) -> Version:
    """Return a version that must be one."""
    if not (0 < term <= LARGEST and 0 < worker <= LARGEST_WORKER and 0 < seq <= LARGEST):
        raise MessageError(f"version ({term}, {worker}, {seq}), expected a term, a worker and a number")
    return Version(term, worker, seq)


def version_or_none(term: int, worker: int, seq: int) -> Version:
    """Return a version, or NO_VERSION for zeros."""
    return version(term, worker, seq) if term or worker or seq else NO_VERSION
