"""What a client asks for, and the honest answer to it."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

import msgspec

from kvnode.core.records import Entry
from kvnode.core.versions import Ballot, Version

Count = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class Kind(IntEnum):
    """The operations on a key. Numbers are the wire's."""

    GET = 1
    PUT = 2
    DELETE = 3


class Condition(msgspec.Struct, frozen=True, gc=False, array_like=True):
    r"""What must be true of the committed record for a write to happen.

    ``any_of``: its version is one of these (If-Match). ``present``: a value exists (If-Match: \*).
    ``absent``: no value exists (If-None-Match: \*). A deleted key is absent. All that are given
    must hold.
    """

    any_of: tuple[Version, ...] | None = None
    present: bool = False
    absent: bool = False

    def holds(self, entry: Entry | None) -> bool:
        """Whether it is true of a key's committed record."""
        exists = entry is not None and not entry.tombstone
        if (self.absent and exists) or (self.present and not exists):
            return False
        if self.any_of is None:
            return True
        return entry is not None and exists and entry.version in self.any_of


class Operation(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One request on one key. ``value`` is checked JSON text for a PUT, else None.

    ``local`` (GET only) asks for any replica's copy, committed or not. ``request_id`` is set when
    the request is to be traced on every node that it touches.
    """

    kind: Kind
    key: str
    value: bytes | None = None
    condition: Condition | None = None
    local: bool = False
    request_id: str | None = None


class Status(IntEnum):
    """How an operation ended. Numbers are the wire's."""

    OK = 1
    """A value was read, or the write is durable on a majority."""
    ABSENT = 2
    """GET: no value. DELETE: there was none, and nothing was written."""
    CONDITION_FAILED = 3
    """The condition did not hold, which was confirmed like a read. Nothing was written."""
    NOT_STORED = 4
    """A write that certainly did not happen and never will."""
    UNKNOWN = 5
    """A write that may have happened, or may happen yet."""
    UNAVAILABLE = 6
    """A read that no majority could confirm in time."""
    OVERLOADED = 7
    """Refused before anything was done: too much is waiting. Nothing was written."""
    NOT_LEADER = 8
    """Between workers only: definitely not executed here; ``leader`` is a hint."""
    NO_SPACE = 9
    """A write that was refused before it was begun: no majority of the key's replicas has disk space."""


class Outcome(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The answer to an operation.

    ``version`` is the record's (for ABSENT the tombstone's, if there is one; for CONDITION_FAILED
    that of the record in the way). ``replicas``: how many copies were durable when the answer was
    given, ``pending``: how many were not yet. ``node``: the worker whose copy was read, ``leader``:
    the one that ordered it (0: unknown). ``reason`` says in words why an operation failed. ``ballot``,
    between workers only: that of the leader, whom nobody has confirmed yet.
    """

    status: Status
    version: Version | None = None
    value: bytes | None = None
    replicas: Count = 0
    pending: Count = 0
    node: Count = 0
    leader: Count = 0
    reason: str = ""
    ballot: Ballot | None = None
