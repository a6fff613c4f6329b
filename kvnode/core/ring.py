"""The ring: which workers hold a key, as an immutable value that every node computes alike.

Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2018) over partitions that
are fixed for a cluster's life. It knows who *should* hold a partition, never who is alive. Only
integers, exact fractions and BLAKE2b take part, so the same members give the same ring on every
machine and Python version, in whatever order they are named.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from hashlib import blake2b
from math import ceil, isfinite
from typing import NamedTuple, final

from kvnode.core.hash_tree import key_hash

RING_BITS = 64
MAX_PARTITIONS = 65536


class Member(NamedTuple):
    """A worker as the ring sees it: its number, its placement labels and its weight (above 0)."""

    worker: int
    host: str
    zone: str = ""
    weight: float = 1.0


class Place(NamedTuple):
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
        tokens = _tokens(ordered, vnodes)
        onward = [*range(1, len(tokens)), 0]
        total = _total(ordered)
        room = {member.worker: _cap(member, total, partitions, epsilon) for member in ordered}
        by_worker = {member.worker: member for member in ordered}
        shift = RING_BITS - (partitions.bit_length() - 1)
        spread = _Spread(by_worker, replicas)
        lists = []
        for partition in range(partitions):
            start = bisect_left(tokens, (partition << shift,)) % len(tokens)
            primary = _first_with_room(tokens, onward, start, room)
            room[primary] -= 1
            lists.append(spread.choose(primary, _Walk(tokens, start)))
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
    return _cap(member, _total(members), partitions, epsilon)


def _total(members: Sequence[Member]) -> Fraction:
    return sum((_exact(member.weight) for member in members), Fraction())


def _cap(member: Member, total: Fraction, partitions: int, epsilon: float) -> int:
    return ceil((1 + _exact(epsilon)) * partitions * (_exact(member.weight) / total))


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


def _tokens(members: Sequence[Member], vnodes: int) -> list[tuple[int, int]]:
    """Return all tokens in order, as position and worker."""
    return sorted(
        (_token(member.worker, index), member.worker)
        for member in members
        for index in range(max(1, round(vnodes * member.weight)))
    )


def _first_with_room(
    tokens: Sequence[tuple[int, int]], onward: list[int], start: int, room: Mapping[int, int]
) -> int:
    """Return the first worker from a token on that has room.

    ``onward`` says for each token where to look next; it is shortened here, for room never comes back.
    """
    index, passed = start, []
    while room[tokens[index][1]] <= 0:
        passed.append(index)
        index = onward[index]
    for full in passed:
        onward[full] = index
    return tokens[index][1]


class _Walk:
    """The workers in the order met clockwise from a token on; no further is gone than is asked for."""

    def __init__(self, tokens: Sequence[tuple[int, int]], start: int) -> None:
        self._tokens = tokens
        self._next = start
        self._left = len(tokens)
        self._met: dict[int, None] = {}

    def __iter__(self) -> Iterator[int]:
        """Yield every worker once, from the first on."""
        yield from list(self._met)
        while self._left:
            _, worker = self._tokens[self._next % len(self._tokens)]
            self._next += 1
            self._left -= 1
            if worker not in self._met:
                self._met[worker] = None
                yield worker


class _Spread:
    """Chooses replicas: fewest on one host first, then fewest in one zone, then the first met."""

    def __init__(self, members: Mapping[int, Member], replicas: int) -> None:
        self._places = {worker: (member.host, member.zone) for worker, member in members.items()}
        self._hosts = len({host for host, _ in self._places.values()})
        self._zones = len({zone for _, zone in self._places.values()})
        self._replicas = replicas

    def choose(self, primary: int, walk: Iterable[int]) -> tuple[int, ...]:
        """Follow ``walk`` for the other replicas of a primary's partition."""
        chosen = [primary]
        hosts, zones = (Counter([label]) for label in self._places[primary])
        while len(chosen) < self._replicas:
            best = self._best(chosen, walk, hosts, zones)
            chosen.append(best)
            host, zone = self._places[best]
            hosts[host] += 1
            zones[zone] += 1
        return tuple(chosen)

    def _best(
        self, chosen: Sequence[int], walk: Iterable[int], hosts: Counter[str], zones: Counter[str]
    ) -> int:
        """Return the worker to be added; it goes no further when there can be no better one."""
        bound = (_least(hosts, self._hosts), _least(zones, self._zones))
        best, fewest = 0, (len(chosen) + 1, 0)
        for worker in walk:
            if worker in chosen:
                continue
            host, zone = self._places[worker]
            score = (hosts[host], zones[zone])
            if score < fewest:
                best, fewest = worker, score
                if score <= bound:
                    break
        return best


def _least(counts: Counter[str], labels: int) -> int:
    """Return the smallest count of any of so many labels."""
    return min(counts.values()) if len(counts) == labels else 0
