"""Metrics for what happens thousands of times a second: counted in plain numbers, read at a scrape.

prometheus-client takes a lock and several calls for each count, which is felt on a request's way.
Each is for one thread. What a scrape on the event loop reads of its own is exact, and of the log
writer's at most one batch old.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class CountTally(Collector):
    """A counter with labels."""

    def __init__(self, name: str, about: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._family = name, about, labels
        self._counts: dict[tuple[str, ...], int] = {}
        registry.register(self)

    def add(self, *labels: str) -> None:
        """Count one."""
        self._counts[labels] = self._counts.get(labels, 0) + 1

    def collect(self) -> Iterator[Metric]:
        """Yield what a scrape shows."""
        name, about, labels = self._family
        family = CounterMetricFamily(name, about, labels=labels)
        for values, count in self._counts.items():
            family.add_metric(values, count)
        yield family


class HistogramTally(Collector):
    """A histogram with at most one label."""

    def __init__(
        self, name: str, about: str, label: str | None, buckets: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._family = name, about, [] if label is None else [label]
        self._buckets = list(buckets)
        self._seen: dict[str, tuple[list[int], list[float]]] = {}
        if label is None:
            self._seen[""] = self._nothing()
        registry.register(self)

    def add(self, value: float, label: str = "") -> None:
        """Count one value."""
        seen = self._seen.get(label)
        if seen is None:
            seen = self._seen[label] = self._nothing()
        seen[0][bisect_left(self._buckets, value)] += 1
        seen[1][0] += value

    def _nothing(self) -> tuple[list[int], list[float]]:
        return [0] * (len(self._buckets) + 1), [0.0]

    def collect(self) -> Iterator[Metric]:
        """Yield what a scrape shows."""
        name, about, labels = self._family
        family = HistogramMetricFamily(name, about, labels=labels)
        bounds = [*map(floatToGoString, self._buckets), "+Inf"]
        for label, (counts, total) in self._seen.items():
            family.add_metric(
                [label] if labels else [], list(zip(bounds, accumulate(counts), strict=True)), total[0]
            )
        yield family
