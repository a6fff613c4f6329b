"""What one seed simulates: its cluster, its clients and its own few kinds of fault.

Each seed draws a subset of the faults and its own rates (swarm testing, Groce et al. 2012): a
schedule of all faults at once hides what only a few of them together bring about.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

FAULTS = (
    "crash",
    "power_cut",
    "crash_many",
    "wipe",
    "pause",
    "cut",
    "cut_both",
    "isolate",
    "mute",
    "halves",
    "flap",
    "break_link",
    "slow_link",
    "slow_disk",
    "full_disk",
    "damage",
    "clock_jump",
    "clock_drift",
    "pair",
    "drain",
)
LOSES = ("wipe", "damage")
"""Faults that cost a copy: not for keys that have only one."""

SHARE_OF_FAULTS = 0.35


@dataclass(frozen=True, slots=True)
class Plan:
    """The choices of one seed.

    ``weights`` tells how often each of its faults comes, ``survives`` what a crash leaves of unsynced
    writes: "nothing", "part" or "all". ``older``: the workers speak an older protocol.
    ``eager``: leadership follows every operation; ``gather_operations``: so many send it to the first.
    """

    seed: int
    workers: int
    replicas: int
    partitions: int
    keys: int
    clients: int
    in_flight: int
    think_ms: int
    timeout_ms: int
    comparing: float
    chaos_ms: int
    fault_every_ms: int
    weights: dict[str, int]
    survives: str
    drop_share: float
    copy_share: float
    straggler_share: float
    delay_ms: int
    sync_ms: int
    segment_bytes: int
    reserve_bytes: int
    at_birth: bool
    cuts_last: bool
    reads_early: bool
    older: bool
    eager: bool
    gather_operations: int


def draw(seed: int) -> Plan:
    """Return the plan of a seed."""
    random = Random(f"plan {seed}")
    workers, replicas = _size(random)
    chosen = [fault for fault in FAULTS if random.random() < SHARE_OF_FAULTS] or [random.choice(FAULTS)]
    if replicas == 1:
        chosen = [fault for fault in chosen if fault not in LOSES] or ["crash"]
    return Plan(
        seed=seed,
        workers=workers,
        replicas=replicas,
        partitions=random.choices((1, 2, 4), (4, 3, 2))[0],
        keys=random.choices((1, 2, 3, 4), (2, 4, 3, 1))[0],
        clients=random.choice((3, 4, 6)),
        in_flight=random.choice((1, 1, 2)),
        think_ms=random.choice((20, 60, 150)),
        timeout_ms=random.choice((150, 400, 800)),
        comparing=random.choice((0.1, 0.4, 0.8)),
        chaos_ms=random.choice((1200, 2000, 3000)),
        fault_every_ms=random.choice((60, 120, 250)),
        weights={fault: random.randint(1, 4) for fault in chosen},
        survives=random.choices(("nothing", "part", "all"), (4, 4, 1))[0],
        drop_share=_sometimes(random, 0.3, 0.02),
        copy_share=_sometimes(random, 0.3, 0.2),
        straggler_share=_sometimes(random, 0.4, 0.1),
        delay_ms=random.choice((1, 3, 10)),
        sync_ms=random.choice((1, 4, 15)),
        segment_bytes=random.choice((1024, 4096, 16384)),
        reserve_bytes=random.choice((0, 0, 1024)),
        at_birth=random.random() < 0.1,
        cuts_last=random.random() < 0.3,
        reads_early=random.random() < 0.4,
        older=random.random() < 0.2,
        eager=random.random() < 0.4,
        gather_operations=random.choice((0, 0, 3)),
    )


def _size(random: Random) -> tuple[int, int]:
    """Choose how many workers there are, and how many replicas of each key."""
    replicas = random.choices((3, 5, 1), (88, 8, 4))[0]
    if replicas == 5:
        return random.choice((5, 6)), replicas
    return random.choices((3, 4, 5, 6), (5, 3, 1, 1))[0], replicas


def _sometimes(random: Random, chance: float, most: float) -> float:
    """Return a rate up to ``most``, or 0."""
    rate = random.random() * most
    return rate if random.random() < chance else 0.0
