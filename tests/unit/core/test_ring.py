"""The ring's laws: spread, balance, movement, and the same ring everywhere."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from random import Random
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvnode.core.hash_tree import key_hash
from kvnode.core.ring import Member, Place, Ring, primary_cap

PARTITIONS = 256
VNODES = 64

weights = st.floats(min_value=0.25, max_value=8, allow_nan=False)

law = settings(max_examples=40, deadline=None)


@st.composite
def clusters(draw: st.DrawFn) -> list[Member]:
    """Workers with any numbers, weights and hosts; each host stands in one zone."""
    numbers = draw(st.lists(st.integers(1, 500), min_size=1, max_size=10, unique=True))
    zone_of = draw(st.lists(st.integers(0, 3), min_size=6, max_size=6))
    members = []
    for number in numbers:
        host = draw(st.integers(0, 5))
        members.append(Member(number, f"host-{host}", f"zone-{zone_of[host]}", draw(weights)))
    return members


def build(members: list[Member], *, replicas: int = 3, partitions: int = PARTITIONS) -> Ring:
    """Build a ring with the default cluster's vnodes."""
    return Ring.build(members, partitions=partitions, vnodes=VNODES, replicas=min(replicas, len(members)))


def alike(*numbers: int) -> list[Member]:
    """Workers of weight 1, each on its own host."""
    return [Member(number, f"host-{number}") for number in numbers]


def moved(before: Ring, after: Ring) -> int:
    """Count the partitions whose primary is another worker."""
    partitions = range(before.partitions)
    return sum(before.preference_list(p)[0] != after.preference_list(p)[0] for p in partitions)


@law
@given(members=clusters(), replicas=st.integers(1, 7))
def test_replicas_are_distinct_and_spread_over_hosts_then_zones(members: list[Member], replicas: int) -> None:
    """A preference list has n workers on as many hosts and zones as there can be."""
    ring = build(members, replicas=replicas)
    n = min(replicas, len(members))
    by_worker = {member.worker: member for member in members}
    hosts = {member.host for member in members}
    zones = {member.zone for member in members}
    for partition in range(PARTITIONS):
        chosen = [by_worker[worker] for worker in ring.preference_list(partition)]
        assert len({member.worker for member in chosen}) == n
        assert len({member.host for member in chosen}) == min(n, len(hosts))
        assert len({member.zone for member in chosen}) == min(n, len(zones))


@law
@given(members=clusters(), replicas=st.integers(1, 7))
def test_a_ring_is_what_the_plain_description_gives(members: list[Member], replicas: int) -> None:
    """Every list is as a twin makes it that goes all the way round for each choice."""
    ring = build(members, replicas=replicas)
    tokens = sorted(
        (int.from_bytes(blake2b(f"{it.worker}/{index}".encode(), digest_size=8).digest(), "big"), it)
        for it in sorted(members, key=lambda it: it.worker)
        for index in range(max(1, round(VNODES * it.weight)))
    )
    led: Counter[int] = Counter()
    for partition in range(PARTITIONS):
        after = [it for position, it in tokens if position >= partition << 56]
        walk = list({it.worker: it for it in [*after, *(it for _, it in tokens)]}.values())
        primary = next(it for it in walk if led[it.worker] < primary_cap(members, it, PARTITIONS))
        led[primary.worker] += 1
        chosen = [primary]
        while len(chosen) < min(replicas, len(members)):
            hosts, zones = Counter(it.host for it in chosen), Counter(it.zone for it in chosen)
            left = [it for it in walk if it not in chosen]
            chosen.append(min(left, key=lambda it: (hosts[it.host], zones[it.zone])))
        assert ring.preference_list(partition) == tuple(it.worker for it in chosen)


def test_a_thousand_workers_are_placed_at_once() -> None:
    """A ring of 1,000 workers and 16,384 partitions keeps its caps, and takes no minutes."""
    members = alike(*range(1, 1001))
    ring = build(members, partitions=16_384)
    assert max(len(ring.primaries_of(worker)) for worker in ring.workers) <= 18
    assert {len(set(ring.preference_list(partition))) for partition in range(16_384)} == {3}


@law
@given(members=clusters())
def test_a_prefix_of_the_list_is_spread_as_well_as_the_whole(members: list[Member]) -> None:
    """No host repeats in a preference list before every host has been used."""
    ring = build(members, replicas=7)
    by_worker = {member.worker: member for member in members}
    hosts = {member.host for member in members}
    for partition in range(PARTITIONS):
        used = [by_worker[worker].host for worker in ring.preference_list(partition)]
        first = min(len(used), len(hosts))
        assert len(set(used[:first])) == first


@law
@given(members=clusters())
def test_primaries_stay_under_their_cap(members: list[Member]) -> None:
    """No worker is primary of more than ceil((1+epsilon)*Q*share), and each partition has one."""
    ring = build(members)
    for member in members:
        cap = primary_cap(members, member, PARTITIONS)
        assert len(ring.primaries_of(member.worker)) <= cap
    assert sum(len(ring.primaries_of(worker)) for worker in ring.workers) == PARTITIONS


def test_the_cap_is_exact() -> None:
    """The cap is computed on decimals as written, never on rounded binary fractions."""
    members = alike(*range(1, 22))
    assert primary_cap(members, members[0], 20 * 21, epsilon=0.05) == 21
    thirds = [Member(1, "a", weight=0.1), Member(2, "b", weight=0.2)]
    assert primary_cap(thirds, thirds[0], 300, epsilon=0.0) == 100


@law
@given(members=clusters(), seed=st.integers())
def test_the_order_of_members_does_not_matter(members: list[Member], seed: int) -> None:
    """The same members in another order give the same ring."""
    shuffled = members.copy()
    Random(seed).shuffle(shuffled)
    assert build(members) == build(shuffled)
    assert hash(build(members)) == hash(build(shuffled))


@law
@given(numbers=st.lists(st.integers(1, 200), min_size=3, max_size=6, unique=True))
def test_a_leaving_or_joining_worker_moves_little(numbers: list[int]) -> None:
    """One worker more or less moves at most 2/workers of the primaries."""
    whole = build(alike(*numbers))
    for gone in numbers:
        rest = build(alike(*(number for number in numbers if number != gone)))
        assert moved(whole, rest) <= 2 * PARTITIONS / len(numbers)


@pytest.mark.parametrize("workers", [3, 4, 5, 8, 12])
def test_movement_is_small_on_average(workers: int) -> None:
    """Over many rings, one worker more or less moves at most 1.6/workers of the primaries."""
    rng = Random(workers)
    shares = []
    for _ in range(25):
        numbers = rng.sample(range(1, 500), workers)
        whole, rest = build(alike(*numbers)), build(alike(*numbers[1:]))
        shares.append(moved(whole, rest) / PARTITIONS)
    assert mean(shares) <= 1.6 / workers


def test_weights_are_respected() -> None:
    """A worker of double weight leads about twice as many partitions."""
    members = [Member(1, "a", weight=2.0), Member(2, "b"), Member(3, "c"), Member(4, "d")]
    ring = build(members)
    counts = [len(ring.primaries_of(worker)) for worker in (1, 2, 3, 4)]
    assert counts[0] >= 1.6 * max(counts[1:])
    assert all(count >= 35 for count in counts[1:])


def test_the_default_cluster_is_the_same_for_ever() -> None:
    """The ring of four equal workers is this one, on every machine and Python version."""
    ring = build(alike(1, 2, 3, 4))
    lists = repr([ring.preference_list(p) for p in range(PARTITIONS)]).encode()
    assert blake2b(lists, digest_size=16).hexdigest() == "511b61a3b234ed0cc5d9e740c2af4c81"


def test_zones_are_spread_with_weights_the_same_for_ever() -> None:
    """So is a ring with zones, weights and two workers on one host."""
    members = [
        Member(7, "a", "east", 1.5),
        Member(3, "a", "east", 0.5),
        Member(12, "b", "east"),
        Member(4, "c", "west", 2.0),
        Member(5, "d", "west", 0.1),
    ]
    lists = repr([build(members).preference_list(p) for p in range(PARTITIONS)]).encode()
    assert blake2b(lists, digest_size=16).hexdigest() == "0e279bd170ca0e5751b03bc32b4a792b"


@law
@given(key=st.text(max_size=50), bits=st.integers(0, 10))
def test_a_key_falls_in_the_arc_of_its_partition(key: str, bits: int) -> None:
    """The partition is the high bits of the key's position; with one partition it is 0."""
    ring = build(alike(1), partitions=1 << bits)
    assert ring.partition(key) == key_hash(key) >> (64 - bits)


@law
@given(members=clusters())
def test_both_directions_agree(members: list[Member]) -> None:
    """``held_by`` and ``primaries_of`` say the same as the preference lists."""
    ring = build(members)
    assert ring.workers == tuple(sorted(member.worker for member in members))
    for worker in ring.workers:
        lists = {p: ring.preference_list(p) for p in range(PARTITIONS)}
        assert ring.held_by(worker) == tuple(p for p in lists if worker in lists[p])
        assert ring.primaries_of(worker) == tuple(p for p in lists if lists[p][0] == worker)


def test_a_single_worker_holds_all() -> None:
    """One worker is the primary of everything."""
    ring = build(alike(9), partitions=8)
    assert ring.primaries_of(9) == ring.held_by(9) == tuple(range(8))
    with pytest.raises(KeyError):
        ring.held_by(1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"partitions": 0},
        {"partitions": 100},
        {"partitions": 131072},
        {"vnodes": 0},
        {"replicas": 0},
        {"replicas": 4},
        {"epsilon": -0.1},
        {"epsilon": float("nan")},
        {"members": []},
        {"members": alike(1, 1, 2)},
        {"members": [Member(1, "a", weight=0.0), *alike(2, 3)]},
        {"members": [Member(1, "a", weight=float("inf")), *alike(2, 3)]},
    ],
)
def test_an_impossible_ring_is_refused(wrong: dict[str, object]) -> None:
    """What no ring can be built of raises ValueError."""
    arguments = {"members": alike(1, 2, 3), "partitions": 8, "vnodes": 4, "replicas": 3} | wrong
    with pytest.raises(ValueError, match=r"must be|twice"):
        Ring.build(**arguments)  # type: ignore[arg-type]


def test_values_are_immutable() -> None:
    """Members and places cannot be changed."""
    place = Place(partition=1, replicas=(1, 2, 3), leader=0)
    with pytest.raises(AttributeError):
        place.leader = 2  # type: ignore[misc]
