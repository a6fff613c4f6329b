"""Metrics: what /metrics shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from kvnode import metrics
from kvnode.tallies import CountTally, HistogramTally

Tally = CountTally | HistogramTally


def test_names_are_ours_with_help_and_units() -> None:
    """Every metric of ours has the prefix and a help text, and none appears twice."""
    families = list(text_string_to_metric_families(metrics.render().decode()))
    foreign = ("process_", "python_")
    ours = [family for family in families if not family.name.startswith(foreign)]
    assert ours
    assert all(family.name.startswith("kvnode_") and family.documentation for family in ours)
    assert len({family.name for family in families}) == len(families)


def test_what_was_counted_is_shown() -> None:
    """A count appears under its labels."""
    metrics.OPERATIONS.add("test_kind", "ok")
    assert b'kvnode_operations_total{kind="test_kind",outcome="ok"} 1.0' in metrics.render()


def test_every_metric_is_fed() -> None:
    """A metric that nobody counts would be a lie: each one's name stands somewhere in the package."""
    package = Path(metrics.__file__).parent
    sources = [path for path in package.rglob("*.py") if path != Path(metrics.__file__)]
    text = "".join(source.read_text(encoding="utf-8") for source in sources)
    ours = [name for name, value in vars(metrics).items() if isinstance(value, MetricWrapperBase | Tally)]
    assert ours
    assert [name for name in ours if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize("label", ["kind", None])
def test_a_tally_shows_what_a_histogram_shows(label: str | None) -> None:
    """Each bucket counts what is at or below its bound, and the last one everything."""
    registry = CollectorRegistry()
    tally = HistogramTally("s", "Seconds.", label, (0.5, 1.0), registry)
    usual_registry = CollectorRegistry()
    labels = [] if label is None else [label]
    usual = Histogram("s", "Seconds.", labels, buckets=(0.5, 1.0), registry=usual_registry)
    created = re.compile(rb"[^\n]*_created[^\n]*\n")
    for seconds in (0.1, 0.5, 0.7, 1.0, 3.0):
        assert created.sub(b"", generate_latest(registry)) == created.sub(
            b"", generate_latest(usual_registry)
        )
        tally.add(seconds, "a" if labels else "")
        (usual.labels("a") if labels else usual).observe(seconds)
    assert created.sub(b"", generate_latest(registry)) == created.sub(b"", generate_latest(usual_registry))
