"""The ring: which workers hold a key, as an immutable value that every node computes alike.

Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2018) over partitions that
are fixed for a cluster's life. It knows who *should* hold a partition, never who is alive. Only
integers, exact fractions and BLAKE2b take part, so the same members give the same ring on every
machine and Python version, in whatever order they are named.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from hashlib import blake2b
from math import ceil, isfinite
from typing import final

import msgspec

from kvnode.core.hash_tree import key_hash

RING_BITS = 64
MAX_PARTITIONS = 65536


class Member(msgspec.Struct, frozen=True):
    """A worker as the ring sees it: its number, its placement labels and its weight (above 0)."""

    worker: int
    host: str
    zone: str = ""
    weight: float = 1.0


class Place(msgspec.Struct, frozen=True):
    """Where a key lives: its replicas (primary first) and its partition's leader now (0: unknown)."""

    partition: int
    replicas: tuple[int, ...]
    leader: int


@final
class Ring:
    """The preference lists of all partitions. Build one with ``Ring.build``; it never changes."""

    __slots__ = ("_held", "_lists", "_primaries", "_shift")

    def __init__(self, lists: tuple[tuple[int, ...], ...], workers: Sequence[int]) -> None:
        self._lists = lists
        self._shift = RING_BITS - (len(lists).bit_length() - 1)
        held: dict[int, list[int]] = {worker: [] for worker in workers}
        primaries: dict[int, list[int]] = {worker: [] for worker in workers}
        for partition, replicas in enumerate(lists):
            primaries[replicas[0]].append(partition)
            for worker in replicas:
                held[worker].append(partition)
        self._held = {worker: tuple(partitions) for worker, partitions in held.items()}
        self._primaries = {worker: tuple(parts) for worker, parts in primaries.items()}

    @classmethod
    def build(
        cls,
        members: Sequence[Member],
        *,
        partitions: int,
        vnodes: int,
        replicas: int,
        epsilon: float = 0.05,
    ) -> Ring:
        """Compute the ring of ``members``.

        ``partitions`` is a power of two up to 65536, ``vnodes`` the tokens per unit of weight,
        ``replicas`` at most the number of members. No worker is the primary of more than
        ``primary_cap`` partitions. Raises ValueError for anything else.
        """
        ordered = sorted(members, key=lambda member: member.worker)
        _check(ordered, partitions, vnodes, replicas, epsilon)
        positions, walks = _walks(ordered, vnodes)
        room = {member.worker: primary_cap(ordered, member, partitions, epsilon) for member in ordered}
        by_worker = {member.worker: member for member in ordered}
        shift = RING_BITS - (partitions.bit_length() - 1)
        lists = []
        for partition in range(partitions):
            walk = walks[bisect_left(positions, partition << shift)]
            primary = next(worker for worker in walk if room[worker] > 0)
            room[primary] -= 1
            lists.append(_spread(primary, walk, by_worker, replicas))
        return cls(tuple(lists), tuple(by_worker))

    def partition(self, key: str) -> int:
        """Return the partition of a key: the high bits of its position."""
        return key_hash(key) >> self._shift

    def preference_list(self, partition: int) -> tuple[int, ...]:
        """Return the workers that hold a partition, its primary first."""
        return self._lists[partition]

    def held_by(self, worker: int) -> tuple[int, ...]:
        """Return the partitions that a worker holds a replica of; KeyError for a stranger."""
        return self._held[worker]

    def primaries_of(self, worker: int) -> tuple[int, ...]:
        """Return the partitions that a worker is the primary of; KeyError for a stranger."""
        return self._primaries[worker]

    @property
    def partitions(self) -> int:
        """How many partitions there are."""
        return len(self._lists)

    @property
    def workers(self) -> tuple[int, ...]:
        """The numbers of all members, ascending."""
        return tuple(self._held)

    def __eq__(self, other: object) -> bool:
        """Rings are equal when they place every partition alike."""
        return isinstance(other, Ring) and self._lists == other._lists

    def __hash__(self) -> int:
        """Agree with equality."""
        return hash(self._lists)


def primary_cap(members: Sequence[Member], member: Member, partitions: int, epsilon: float = 0.05) -> int:
    """Return the most partitions that a member may be primary of: ceil((1+epsilon)*Q*its share)."""
    share = _exact(member.weight) / sum(_exact(other.weight) for other in members)
    return ceil((1 + _exact(epsilon)) * partitions * share)


def _exact(number: float) -> Fraction:
    """Read a float as the decimal that it is written as: 0.05 is one twentieth."""
    return Fraction(repr(number))


def _check(members: Sequence[Member], partitions: int, vnodes: int, replicas: int, epsilon: float) -> None:
    """Refuse what no ring can be built of."""
    if not 1 <= partitions <= MAX_PARTITIONS or partitions & (partitions - 1):
        message = f"partitions must be a power of two from 1 to {MAX_PARTITIONS}, not {partitions}"
        raise ValueError(message)
    if vnodes < 1 or not isfinite(epsilon) or epsilon < 0:
        message = "vnodes must be at least 1 and epsilon at least 0"
        raise ValueError(message)
    if len({member.worker for member in members}) != len(members):
        message = "a worker number is given twice"
        raise ValueError(message)
    if any(not isfinite(member.weight) or member.weight <= 0 for member in members):
        message = "a weight must be a finite number above 0"
        raise ValueError(message)
    if not 1 <= replicas <= len(members):
        message = f"replicas must be from 1 to the number of workers, not {replicas}"
        raise ValueError(message)


def _token(worker: int, index: int) -> int:
    """Return the position of a worker's claim number ``index``."""
    return int.from_bytes(blake2b(f"{worker}/{index}".encode(), digest_size=8).digest(), "big")


def _walks(members: Sequence[Member], vnodes: int) -> tuple[list[int], list[tuple[int, ...]]]:
    """Return all token positions in order, and the workers in the order met clockwise from each.

    There is one walk more than positions: beyond the last token the ring begins again.
    """
    tokens = sorted(
        (_token(member.worker, index), member.worker)
        for member in members
        for index in range(max(1, round(vnodes * member.weight)))
    )
    walk = tuple(dict.fromkeys(worker for _, worker in tokens))
    walks = [walk]
    for _, worker in reversed(tokens):
        walk = (worker, *(other for other in walk if other != worker))
        walks.append(walk)
    walks.reverse()
    return [position for position, _ in tokens], walks


def _spread(
    primary: int, walk: Sequence[int], members: Mapping[int, Member], replicas: int
) -> tuple[int, ...]:
    """Follow ``walk`` for the other replicas: fewest on one host first, then fewest in one zone."""
    chosen = [primary]
    hosts = Counter({members[primary].host: 1})
    zones = Counter({members[primary].zone: 1})
    left = [worker for worker in walk if worker != primary]
    while len(chosen) < replicas:
        best = min(left, key=lambda w: (hosts[members[w].host], zones[members[w].zone]))
        left.remove(best)
        chosen.append(best)
        hosts[members[best].host] += 1
        zones[members[best].zone] += 1
    return tuple(chosen)
