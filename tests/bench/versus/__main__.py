"""Runs kvnode and its peers in turn on the same cores and prints what clients saw of each.

Only the ratios of one run mean anything: they are taken round by round, and the median is shown.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress

from tests.bench.versus.peers import SERVERS, Server
from tests.bench.versus.report import Measurement, table
from tests.bench.versus.wrk import Workload, run

FILL_CONNECTIONS = 64
FILL_S = 3.0
WIDTH = 132
CONNECTIONS = (1, 16, 64, 256)
WORKLOADS = [
    *(
        Workload(name, connections)
        for connections in CONNECTIONS
        for name in ("put", "get", "mix", "new", "delete")
    ),
    *(Workload(name, connections, entries=4) for connections in (64, 256) for name in ("put", "get")),
    *(Workload(name, 64, value_bytes=4096) for name in ("put", "get")),
    *(Workload(name, 16, value_bytes=256 << 10) for name in ("put", "get")),
]


def main() -> int:
    """Measure what was asked for; return the exit code."""
    options = _options()
    workloads = [workload for workload in WORKLOADS if options.only.search(str(workload))]
    if options.keys:
        workloads = [msgspec.structs.replace(workload, keys=options.keys) for workload in workloads]
    measured: list[Measurement] = []
    with (
        Progress(console=Console(stderr=True)) as progress,
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
    ):
        steps = options.rounds * len(options.servers) * len(workloads)
        task = progress.add_task("starting", total=steps)
        for round_ in range(options.rounds):
            for name in options.servers:
                server = SERVERS[name](Path(folder) / f"{name}-{round_}")
                for measurement in _measure(server, workloads, options.seconds, round_):
                    measured.append(measurement)
                    progress.update(
                        task, advance=1, description=f"round {round_ + 1}: {name}, {measurement.workload}"
                    )
    Console(width=WIDTH).print(table(measured))
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(measured), indent=1))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.versus", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each workload")
    parser.add_argument(
        "--servers", type=lambda text: text.split(","), default=list(SERVERS), help="default: all"
    )
    parser.add_argument(
        "--only", type=re.compile, default=re.compile(""), help="workloads that match, as in the table"
    )
    parser.add_argument("--keys", type=int, default=0, help="of the data set (default 10,000)")
    parser.add_argument(
        "--folder", type=Path, default=None, help="where the servers keep their data meanwhile"
    )
    parser.add_argument("--json", type=Path, default=None, help="a file for all that was measured")
    options = parser.parse_args()
    if unknown := set(options.servers) - SERVERS.keys():
        parser.error(f"no such server: {', '.join(sorted(unknown))}; there are {', '.join(SERVERS)}")
    return options


def _measure(server: Server, workloads: list[Workload], seconds: float, round_: int) -> Iterator[Measurement]:
    """Start a server, fill it, and yield one measurement of each workload."""
    server.start()
    try:
        filled = (0, 0)
        for workload in workloads:
            if filled != (workload.keys, workload.value_bytes):
                filled = (workload.keys, workload.value_bytes)
                _fill(server, workload)
            used_s = server.cpu_s()
            seen = run(server.name, server.urls, workload, seconds, f"{round_}.{workload.connections}")
            used_s = server.cpu_s() - used_s
            yield Measurement(round_, server.name, workload, seen, used_s / max(1.0, seen.rate * seconds))
    finally:
        server.stop()


def _fill(server: Server, workload: Workload) -> None:
    """Write every key once, and warm the server up with it."""
    filling = msgspec.structs.replace(workload, name="fill", connections=FILL_CONNECTIONS, entries=1)
    done = 0
    while done < workload.keys:
        done += run(server.name, server.urls, filling, FILL_S, str(done)).succeeded


if __name__ == "__main__":
    sys.exit(main())
