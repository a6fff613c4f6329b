"""Writing every key of a data set."""

from __future__ import annotations

import msgspec

from tests.bench.versus.wrk import Workload, run

CONNECTIONS = 64
STEP_S = 2.0
IN_FLIGHT = 4 * CONNECTIONS
"""When wrk stops, the newest keys may be on their way yet: so many are written again."""


def fill(server: str, urls: list[str], workload: Workload) -> None:
    """Write the keys ``bench.000000000`` and following that a workload uses, through all entries."""
    filling = msgspec.structs.replace(workload, name="fill", connections=CONNECTIONS, entries=1)
    first = 0
    while first < workload.keys:
        done = run(server, urls, filling, STEP_S, first=first).succeeded
        first += max(0, done - IN_FLIGHT)
