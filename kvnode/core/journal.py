"""What the protocol needs of storage: the index in memory, and a log that becomes durable later.

Everything here answers at once and from memory, except ``value``. An append changes the index at
once; it is *durable* when ``durable_lsn`` has reached the number that the append returned. Nothing
that was appended may be acknowledged, promised or reported to a peer before that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from kvnode.core.hash_tree import HashTree
from kvnode.core.records import Entry, Record
from kvnode.core.versions import Ballot, Version


class Journal(Protocol):
    """The log and index of one worker. Log sequence numbers (lsn) count appends from 1."""

    @property
    def appended_lsn(self) -> int:
        """The number of the newest append."""

    @property
    def durable_lsn(self) -> int:
        """All appends up to this number have been written and synced."""

    @property
    def full(self) -> bool:
        """Whether the disk lacks space: nothing may be accepted or promised until it has some again."""

    @property
    def losses(self) -> int:
        """How often records were lost since the start: counted before the votes are given up for it."""

    def entry(self, partition: int, key: str) -> Entry | None:
        """Return the newest record of a key as an entry, durable or not."""

    def supersedes(self, record: Record) -> bool | None:
        """Whether a record takes the place of its key's newest; None where the key is not held.

        It does if its rank is higher, and also if what is held is a copy of it that does not stand yet.
        """

    def value(self, partition: int, key: str, entry: Entry) -> bytes:
        """Read an entry's JSON text (the entry is no tombstone). Raises DamageError."""

    def append(self, record: Record) -> int:
        """Make ``record`` the newest of its key, in the index now and in the log later.

        A tombstone at or below what is forgotten takes the key out of the index.
        """

    def promised(self, partition: int) -> Ballot:
        """Return the highest ballot promised (NO_BALLOT at first)."""

    def promise(self, partition: int, ballot: Ballot) -> int:
        """Promise a ballot higher than any before it."""

    def floor(self, partition: int) -> Version:
        """Return the version at or below which a key that is not held stays absent."""

    def forgotten(self, partition: int) -> Version:
        """Return the version at or below which tombstones are not held any more: never above the floor."""

    def tombstones(self, partition: int) -> int:
        """Count the tombstones that a partition holds."""

    def raise_floor(self, partition: int, floor: Version, forgotten: Version) -> int:
        """Raise both; from then on tombstones at or below ``forgotten`` leave index and tree at once.

        Either is left as it is where it is higher already. Raises ValueError when ``forgotten`` is
        above ``floor``.
        """

    def voting(self, partition: int) -> bool:
        """Whether this replica may promise, accept and confirm."""

    @property
    def votes(self) -> int:
        """In how many partitions this replica votes."""

    def set_voting(self, partition: int) -> int:
        """Let the replica vote: it has copied what the others hold."""

    def clear_voting(self, partition: int) -> int:
        """Give the right to vote up: something of the partition was lost. Also done by the journal itself."""

    def tree(self, partition: int) -> HashTree:
        """Return the hash tree over the partition's entries; it follows every append."""

    def keys(self, partition: int) -> Iterator[str]:
        """Yield the keys of a partition, tombstones included, in order of their UTF-8 bytes."""

    def keys_after(self, partition: int, after: str, limit: int) -> list[str]:
        """Return at most ``limit`` keys of a partition greater than ``after``, in that order."""
