"""Which followers of a led partition are known to hold all of it, and how often one came to lack some."""

from __future__ import annotations

from collections.abc import Iterable


class Followers:
    """What a leader knows of its followers' copies, under one ballot."""

    __slots__ = ("_losses", "_whole")

    def __init__(self, workers: Iterable[int]) -> None:
        self._losses = dict.fromkeys(workers, 0)
        self._whole: set[int] = set()

    def whole(self, worker: int) -> bool:
        """Whether a follower holds all that the leader does, but for what is on its way."""
        return worker in self._whole

    def lacking(self) -> list[int]:
        """Return the followers that are not known to be whole."""
        return [worker for worker in self._losses if worker not in self._whole]

    def agreed(self, worker: int) -> bool:
        """Take note that a follower is whole; return whether that is news."""
        news = worker not in self._whole
        self._whole.add(worker)
        return news

    def lost(self, worker: int) -> None:
        """Take note that a follower will not get something that was meant for it, or has lost something."""
        if worker in self._losses:
            self._whole.discard(worker)
            self._losses[worker] += 1

    def losses(self, worker: int) -> int:
        """Count what a follower has lost: what was compared before a loss tells nothing about it."""
        return self._losses[worker]
