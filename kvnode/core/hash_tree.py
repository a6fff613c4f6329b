"""A two-level hash tree over the records of one partition: 64 buckets and their root.

Each bucket is the XOR of one hash per entry, so an update costs two hashes and comparing two
replicas costs no scan. A *copied* entry hashes together with its holder's number: it never equals
any other replica's, and so is always settled before it can count. The accepted ballot is part of
the hash: two replicas that hold the same version under different ballots do not agree.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from struct import Struct

from kvnode.core.records import Entry, Record

BUCKETS = 64

_FIELDS = Struct("<QIQIQI")
_BUCKETS = Struct(f"<{BUCKETS}Q")


@lru_cache(maxsize=4096)  # an operation asks several times
def key_hash(key: str) -> int:
    """Return the 64-bit position of a key: BLAKE2b of its UTF-8 form, read as big-endian."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big")


def bucket_of(key: str) -> int:
    """Return the bucket of a key: the low six bits of its position (the high ones choose the partition)."""
    return key_hash(key) % BUCKETS


def entry_hash(key: str, entry: Entry | Record, holder: int) -> int:
    """Return the 64-bit hash of one entry (or of its record) as held by worker ``holder``."""
    (b1, b2), (v1, v2, v3) = entry.accepted, entry.version
    fields = _FIELDS.pack(b1, b2, v1, v2, v3, holder if entry.copied else 0)
    return int.from_bytes(blake2b(fields + key.encode(), digest_size=8).digest(), "little")


class HashTree:
    """The 64 bucket hashes of one partition; ``root`` is their digest."""

    __slots__ = ("buckets",)

    def __init__(self) -> None:
        self.buckets = [0] * BUCKETS

    def toggle(self, key: str, entry: Entry, holder: int) -> None:
        """Add an entry, or take it out again: XOR is its own inverse."""
        self.buckets[bucket_of(key)] ^= entry_hash(key, entry, holder)

    @property
    def root(self) -> int:
        """One number that is equal when all buckets are (and, all but certainly, only then)."""
        if not any(self.buckets):
            return 0
        packed = _BUCKETS.pack(*self.buckets)
        return int.from_bytes(blake2b(packed, digest_size=8).digest(), "little")
