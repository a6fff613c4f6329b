"""How a store looks after its disk: what its opener may choose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Choices that no format depends on.

    Below ``reserve_bytes`` of free space the store says that it is full. The scrub reads
    ``scrub_bytes_per_s``, none at 0. ``clock`` tells seconds for the work in the background; nothing
    that is decided of the data reads it.
    """

    reserve_bytes: int = 0
    scrub_bytes_per_s: int = 0
    clock: Callable[[], float] = monotonic


USUAL_UPKEEP = Upkeep()
"""What holds where the opener chooses nothing."""
