"""Which faults a soak run makes, in which order: drawn from a seed, the same list for the same seed.

Values only; ``nemesis`` carries them out. One round hits one worker, or one shape of the network. Some rounds
carry a second fault that the promise allows at the same time: one of the same worker, or of the controller.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tests.hosts.plan import CONTROLLER, SMALL_DISK, WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPANION_SHARE = 0.35
LONGEST_S = 5.0
PAUSE_S = (0.5, 4.0)


class Fault(StrEnum):
    """What is done to the hosts of a step."""

    STOP = "stop"
    KILL = "kill"
    FREEZE = "freeze"
    ALONE = "cut off"
    HALVES = "halves"
    MUTE = "mute"
    DEAF = "deaf"
    FLAPPING = "flapping"
    UNPLUG = "cable pulled"
    POWER_OFF = "power off"
    DISK_FULL = "disk full"
    WIPE = "wipe"


SHORTEST_S = {
    Fault.STOP: 0.5,
    Fault.KILL: 0.0,
    Fault.FREEZE: 1.5,
    Fault.ALONE: 1.0,
    Fault.HALVES: 1.0,
    Fault.MUTE: 1.0,
    Fault.DEAF: 1.0,
    Fault.FLAPPING: 3.0,
    Fault.UNPLUG: 1.0,
    Fault.POWER_OFF: 0.0,
    Fault.DISK_FULL: 2.0,
    Fault.WIPE: 0.0,
}
FOR_THE_CONTROLLER = (Fault.STOP, Fault.KILL, Fault.FREEZE, Fault.UNPLUG, Fault.ALONE, Fault.POWER_OFF)
# What may befall a worker that is in trouble already, and is still reached by SSH.
ON_TOP = {
    Fault.FREEZE: (Fault.ALONE, Fault.FLAPPING, Fault.KILL),
    Fault.ALONE: (Fault.KILL, Fault.FREEZE, Fault.STOP),
    Fault.MUTE: (Fault.KILL, Fault.STOP),
    Fault.DEAF: (Fault.KILL, Fault.STOP),
    Fault.FLAPPING: (Fault.KILL, Fault.FREEZE),
    Fault.DISK_FULL: (Fault.KILL, Fault.FREEZE, Fault.ALONE, Fault.FLAPPING),
    Fault.WIPE: (Fault.FLAPPING,),
}


@dataclass(frozen=True)
class Step:
    """One fault: the names of the hosts it befalls, and how long it lasts before it is undone."""

    fault: Fault
    hosts: tuple[str, ...]
    lasts_s: float

    def __str__(self) -> str:
        return f"{self.fault} {'+'.join(self.hosts)}"


@dataclass(frozen=True)
class Round:
    """What begins together, and the pause after all of it is undone."""

    steps: tuple[Step, ...]
    pause_s: float

    @property
    def wipes(self) -> bool:
        """Whether a copy is lost: no second worker may be in trouble before it is made again."""
        return any(step.fault is Fault.WIPE for step in self.steps)


def rounds(seed: int) -> Iterator[Round]:
    """Draw rounds for ever. Each kind of fault comes once before any comes twice."""
    dice = random.Random(seed)
    for _ in itertools.count():
        deck = list(Fault)
        dice.shuffle(deck)
        for fault in deck:
            main = _step(dice, fault, _victims(dice, fault))
            extra = _companion(dice, main) if dice.random() < COMPANION_SHARE else ()
            yield Round((main, *extra), round(dice.uniform(*PAUSE_S), 1))


def _victims(dice: random.Random, fault: Fault) -> tuple[str, ...]:
    if fault is Fault.DISK_FULL:
        return (SMALL_DISK.name,)
    if fault is Fault.HALVES:
        return tuple(sorted(host.name for host in dice.sample(WORKERS, 2)))
    return (dice.choice(WORKERS).name,)


def _companion(dice: random.Random, main: Step) -> tuple[Step, ...]:
    on_top = ON_TOP.get(main.fault, ())
    if on_top and dice.random() < COMPANION_SHARE:
        return (_step(dice, dice.choice(on_top), main.hosts),)
    return (_step(dice, dice.choice(FOR_THE_CONTROLLER), (CONTROLLER.name,)),)


def _step(dice: random.Random, fault: Fault, hosts: tuple[str, ...]) -> Step:
    longest_s = 0.0 if fault is Fault.KILL else LONGEST_S
    return Step(fault, hosts, round(dice.uniform(SHORTEST_S[fault], longest_s), 1))
