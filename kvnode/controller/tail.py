"""A bounded, numbered sequence that many readers follow, each with one integer of its own.

Readers keep no copies: one that is slow falls behind, and what left the sequence meanwhile is
counted as skipped for it. So no number of slow readers makes memory grow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Batch(NamedTuple, Generic[T]):
    """What a reader gets: items oldest first, its new position, and how many it will never see."""

    items: list[T]
    position: int
    skipped: int


class Tail(Generic[T]):
    """The newest items, at most ``max_items`` of them and at most ``max_bytes`` in all.

    Numbers count from 1 and are never given twice. The newest item always stays, whatever its size.
    """

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._items: deque[tuple[int, T]] = deque()
        self._bytes = 0
        self._last = 0

    def __len__(self) -> int:
        """How many items are held now."""
        return len(self._items)

    @property
    def size_bytes(self) -> int:
        """The sizes, as told by ``append``, of all items held now."""
        return self._bytes

    @property
    def last(self) -> int:
        """The number of the newest item; 0 before the first."""
        return self._last

    def append(self, item: T, size_bytes: int) -> int:
        """Add the newest item, drop the oldest ones past the bounds, and return its number."""
        self._last += 1
        self._items.append((size_bytes, item))
        self._bytes += size_bytes
        while len(self._items) > 1 and self._over():
            dropped_bytes, _ = self._items.popleft()
            self._bytes -= dropped_bytes
        return self._last

    def newest_first(self) -> Iterator[T]:
        """Yield what is held, newest first."""
        return (item for _, item in reversed(self._items))

    def read(self, position: int, *, limit: int, max_bytes: int, max_lag: int) -> Batch[T]:
        """Return what follows ``position``: at most ``limit`` items and about ``max_bytes``, at least one.

        A reader more than ``max_lag`` items behind is moved to the newest ``limit`` items.
        """
        start = max(position, self._last - len(self._items))
        if self._last - start > max_lag:
            start = max(start, self._last - limit)
        items: list[T] = []
        budget = max_bytes
        for size_bytes, item in self._from(start):
            if len(items) == limit or (items and size_bytes > budget):
                break
            items.append(item)
            budget -= size_bytes
        return Batch(items, start + len(items), start - position)

    def _over(self) -> bool:
        return len(self._items) > self._max_items or self._bytes > self._max_bytes

    def _from(self, position: int) -> Iterator[tuple[int, T]]:
        """Yield what follows ``position``, walking no further back than needed."""
        count = self._last - position
        newest = list(islice(reversed(self._items), count))
        return reversed(newest)
