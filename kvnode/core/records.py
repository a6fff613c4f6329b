"""What a replica holds: records, and the index entry that stands for one in memory."""

from __future__ import annotations

import msgspec

from kvnode.core.versions import Ballot, Version


class Record(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One accepted write of one key.

    Records of a key are ordered by ``(accepted, version)``. ``previous`` is the version that this
    write replaced (None: the key had never been written), so that a reader of the stream of a
    key's records can tell a gap. ``value`` is the client's JSON text, or None for a tombstone.
    ``copied`` marks a record taken over by a rebuilt replica: a candidate, never a vote, until it
    is accepted again under a ballot.
    """

    partition: int
    key: str
    accepted: Ballot
    version: Version
    previous: Version | None
    value: bytes | None
    copied: bool = False


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A record without its value, and where the value stands.

    ``segment``, ``offset`` and ``length`` (bytes) locate the whole line in the log; they mean
    nothing to the protocol.
    """

    accepted: Ballot
    version: Version
    previous: Version | None
    tombstone: bool
    copied: bool
    segment: int = 0
    offset: int = 0
    length: int = 0

    @property
    def rank(self) -> tuple[Ballot, Version]:
        """What orders the records of one key."""
        return (self.accepted, self.version)
