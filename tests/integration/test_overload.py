"""A cluster that is offered ten times what it can serve."""

from __future__ import annotations

from tests.bench.overload import TIMES, Overload
from tests.support.cluster import Cluster

GROWTH_MIB = 300
"""What the bounds allow a worker at most is more; what was measured is a fraction of this."""


async def test_memory_stays_flat_and_work_goes_on_under_ten_times_the_load(cluster: Cluster) -> None:
    """No process grows without a bound, a good share of capacity is served, and health is told meanwhile."""
    overload = Overload(cluster)
    capacity = await overload.capacity(2.0)
    figures = await overload.offer(TIMES * capacity, 6.0)
    first, last = figures.rss_mib[0], figures.rss_mib[-1]
    assert max(last[node] - first[node] for node in first) < GROWTH_MIB
    assert figures.statuses[200] / 6.0 > capacity / 10
    assert set(figures.statuses) <= {200, 503}
    await cluster.wait_ready()
