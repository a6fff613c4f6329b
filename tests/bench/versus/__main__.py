"""Runs kvnode and its peers in turn on the same cores and prints what clients saw of each.

Only the ratios of one run mean anything: they are taken round by round, and the median is shown. All servers
keep their data on one file system, which must be a real disk's; "flushes" counts how often it was told, by
anybody, to make its cache durable. ``python -m tests.bench.versus.picture`` draws what --json has written.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress

from tests.bench.versus.device import Device
from tests.bench.versus.fill import fill
from tests.bench.versus.peers import SERVERS, Server
from tests.bench.versus.report import Measurement, own_table, table
from tests.bench.versus.wrk import Workload, run

WIDTH = 160
MANY_KEYS = 1_000_000
LARGE_KEYS = 1000
"""Of 256 KiB: etcd refuses writes from 2 GiB on."""

WARM_S = 10
"""For so long a server is asked in a new way before it is measured: leadership may follow."""

SPARE = 1.5
"""So many times the keys that were written in a run are there to be deleted in the next."""

WORKLOADS = [
    *(
        Workload(name, connections)
        for connections in (1, 16, 64, 256)
        for name in ("put", "get", "mix", "new", "delete")
    ),
    *(Workload(name, connections, entries=4) for connections in (64, 256) for name in ("put", "get")),
    *(Workload(name, 64, value_bytes=4096) for name in ("put", "get")),
    *(Workload(name, 16, keys=LARGE_KEYS, value_bytes=256 << 10) for name in ("put", "get")),
    *(Workload(name, 64, stopped=1) for name in ("put", "get")),
    *(Workload(name, 64, keys=MANY_KEYS) for name in ("put", "get")),
]


def main() -> int:
    """Measure what was asked for; return the exit code."""
    options = _options()
    workloads = [workload for workload in WORKLOADS if options.only.search(str(workload))]
    few = [workload for workload in workloads if workload.keys != MANY_KEYS]
    many = [workload for workload in workloads if workload.keys == MANY_KEYS]
    plan = [
        (round_, name, [workload for workload in part if workload.stopped <= SERVERS[name].spare])
        for round_ in range(options.rounds)
        for name in options.servers
        if round_ == 0 or not SERVERS[name].second_opinion
        for part in (few, many)
        if part
    ]
    measured: list[Measurement] = []
    with (
        Progress(console=Console(stderr=True)) as progress,
        tempfile.TemporaryDirectory(dir=options.folder.absolute()) as folder,
    ):
        device = Device.under(Path(folder))
        task = progress.add_task("starting", total=sum(len(part) for _, _, part in plan))
        for round_, name, part in plan:
            keeps = part[0].keys == MANY_KEYS
            place = Path(folder) / (f"{name}-many" if keeps else name)
            for measurement in _measure(SERVERS[name](place), part, options.seconds, round_, device):
                measured.append(measurement)
                told = f"round {round_ + 1}: {name}, {measurement.workload}"
                progress.update(task, advance=1, description=told)
            if not keeps:
                shutil.rmtree(place)
    console = Console(width=WIDTH)
    console.print(table(measured))
    if (own := own_table(measured)).row_count:
        console.print(own)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(measured), indent=1) + b"\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.versus", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="for each workload")
    parser.add_argument(
        "--servers", type=lambda text: text.split(","), default=list(SERVERS), help="default: all"
    )
    parser.add_argument(
        "--only", type=re.compile, default=re.compile(""), help="workloads that match, as in the table"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(".cache/bench"),
        help="where the servers keep their data meanwhile",
    )
    parser.add_argument("--json", type=Path, default=None, help="a file for all that was measured")
    options = parser.parse_args()
    if unknown := set(options.servers) - SERVERS.keys():
        parser.error(f"no such server: {', '.join(sorted(unknown))}; there are {', '.join(SERVERS)}")
    options.folder.mkdir(parents=True, exist_ok=True)
    return options


def _measure(
    server: Server, workloads: list[Workload], seconds: int, round_: int, device: Device
) -> Iterator[Measurement]:
    """Start a server, fill it, and yield one measurement of each workload.

    One that keeps its data from round to round is filled in the first.
    """
    try:
        server.start()
        filled, stopped = (MANY_KEYS, 100) if round_ else (0, 0), 0
        warm = (0, 0)
        for number, workload in enumerate(workloads):
            if filled != (workload.keys, workload.value_bytes):
                filled = (workload.keys, workload.value_bytes)
                fill(server.name, server.urls, workload)
            if workload.stopped > stopped:
                stopped = workload.stopped
                server.stop_one()
            if warm != (workload.entries, stopped):
                warm = (workload.entries, stopped)
                run(server.name, server.urls, msgspec.structs.replace(workload, name="put"), WARM_S)
            prefix = f"r{round_}.{workload.connections:03}."
            if workload.name == "delete":
                _prepare(server, workload, seconds, prefix)
            used_s, flushed = server.cpu_s(), device.flushes()
            seen = run(
                server.name, server.urls, workload, seconds, prefix=prefix, seed=1000 * round_ + number
            )
            used_s, flushed = server.cpu_s() - used_s, device.flushes() - flushed
            operations = max(1, seen.succeeded)
            yield Measurement(round_, server.name, workload, seen, used_s / operations, flushed / operations)
    finally:
        server.stop()


def _prepare(server: Server, workload: Workload, seconds: int, prefix: str) -> None:
    """Write more keys than will be deleted."""
    new = msgspec.structs.replace(workload, name="new")
    made, wanted = 0, 1
    while made < wanted:
        made += run(server.name, server.urls, new, seconds, prefix=prefix, first=made).succeeded
        wanted = wanted if wanted > 1 else int(made * SPARE)


if __name__ == "__main__":
    sys.exit(main())
