"""Loads a cluster, samples its workers with py-spy, and prints the functions where their time goes.

With ``--roles apart`` (the default) only keys are used that worker 2 leads, 3 and 4 have copies of, and
worker 1, which is asked, does not hold: so each process plays one role. With ``mixed`` any key is used, as
in ``make bench``. Percentages are of a process's own samples; how busy it was stands beside its name.
Times are inflated by the sampling; compare shares, not rates. The sources are run interpreted, for py-spy
sees no compiled function.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
from rich.console import Console

from kvnode.config import load_worker_config
from tests.bench.profile.stacks import Stacks
from tests.bench.versus import wrk
from tests.bench.versus.fill import fill
from tests.support.cluster import SOURCES, Cluster

ENTRY, LEADER = 1, 2
ROLES = {1: "coordinator", 2: "leader", 3: "replica", 4: "replica"}
KEYS = 10_000
MARGIN_S = 3
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Profile what was asked for; return the exit code."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    console = Console(width=options.width)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        asyncio.run(_profile(Path(folder), options, console))
    console.print(f"folded stacks, for flamegraph.pl, inferno or speedscope: {options.out}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile", description=__doc__)
    parser.add_argument("--loads", type=lambda text: text.split(","), default=["put", "get"])
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=10, help="of sampling, for each load")
    parser.add_argument("--rate", type=int, default=100, help="samples a second")
    parser.add_argument("--roles", choices=("apart", "mixed"), default="apart")
    parser.add_argument("--gil", action="store_true", help="only count threads that hold the interpreter")
    parser.add_argument("--top", type=int, default=25, help="rows of each table")
    parser.add_argument("--width", type=int, default=110)
    parser.add_argument("--out", type=Path, default=Path(".cache/profile"), help="for the folded stacks")
    parser.add_argument(
        "--folder", type=Path, default=None, help="where the cluster keeps its data meanwhile"
    )
    return parser.parse_args()


async def _profile(folder: Path, options: argparse.Namespace, console: Console) -> None:
    async with Cluster(folder / "cluster", program=SOURCES) as cluster:
        urls = [f"http://127.0.0.1:{cluster.node(number).rest_port}" for number in cluster.workers]
        filled = wrk.Workload("fill", options.connections, keys=KEYS)
        await asyncio.to_thread(fill, "kvnode", urls, filled)
        chosen = folder / "keys"
        chosen.write_text("\n".join(_keys(cluster, options.roles)), encoding="utf-8")
        for load in options.loads:
            workload = msgspec.structs.replace(filled, name=load)
            seconds = options.seconds + MARGIN_S
            loading = asyncio.create_task(
                asyncio.to_thread(wrk.run, "kvnode", urls, workload, seconds, chosen=chosen)
            )
            busy = await _sample(cluster, load, options)
            seen = await loading
            console.rule(f"{load}, {options.connections} conn: {seen.rate:,.0f}/s while sampled")
            for number in cluster.workers:
                _show(console, number, _path(options, load, number), busy[number], options)


def _keys(cluster: Cluster, roles: str) -> list[str]:
    """Return the keys to ask for."""
    ring = load_worker_config(cluster.node(ENTRY).config).cluster.ring()
    keys = [f"bench.{number:09d}" for number in range(KEYS)]
    if roles == "mixed":
        return keys
    lists = {key: ring.preference_list(ring.partition(key)) for key in keys}
    return [key for key, workers in lists.items() if workers[0] == LEADER and ENTRY not in workers]


async def _sample(cluster: Cluster, load: str, options: argparse.Namespace) -> dict[int, dict[str, float]]:
    """Sample all workers at once; return how busy each one's threads were meanwhile, in cores."""
    before = {number: _threads(cluster.pid(number)) for number in cluster.workers}
    samplers = [
        _sampler(cluster.pid(number), _path(options, load, number), options) for number in cluster.workers
    ]
    for sampler in samplers:
        complaint = (await asyncio.to_thread(sampler.communicate))[1]
        if sampler.returncode:
            raise RuntimeError(f"py-spy failed: {complaint.decode()}")
    busy: dict[int, dict[str, float]] = {}
    for number in cluster.workers:
        busy[number] = {}
        for thread, ticks in _threads(cluster.pid(number)).items():
            used = (ticks - before[number].get(thread, 0)) / TICKS_A_SECOND / options.seconds
            busy[number][thread[1]] = busy[number].get(thread[1], 0.0) + used
    return busy


def _sampler(pid: int, path: Path, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    command = [
        *(str(Path(sys.executable).with_name("py-spy")), "record", "--format", "raw", "--threads"),
        *("--function", "--pid", str(pid), "--rate", str(options.rate)),
        *("--duration", str(options.seconds), "--output", str(path)),
        *(["--gil"] if options.gil else []),
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _path(options: argparse.Namespace, load: str, number: int) -> Path:
    path: Path = options.out / f"{load}-worker-{number}.folded"
    return path


def _threads(pid: int) -> dict[tuple[int, str], int]:
    """Return the processor ticks of each thread of a process, by its number and name."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        head, _, tail = (task / "stat").read_text(encoding="utf-8").rpartition(")")
        fields = tail.split()
        name = "main" if int(task.name) == pid else head.partition("(")[2]
        found[int(task.name), name] = int(fields[11]) + int(fields[12])
    return found


def _show(
    console: Console, number: int, path: Path, busy: dict[str, float], options: argparse.Namespace
) -> None:
    stacks = Stacks.read(path)
    role = f" ({ROLES[number]})" if options.roles == "apart" else ""
    console.rule(
        f"worker {number}{role}: {sum(busy.values()):.2f} cores, {stacks.samples} samples", align="left"
    )
    native = ", ".join(f"{name} {used:.2f}" for name, used in sorted(busy.items()) if used >= 0.005)
    console.print(f"cores by thread: {native}")
    shares = [f"{name} {100 * count / stacks.samples:.0f}%" for name, count in stacks.threads.most_common()]
    console.print(f"samples by Python thread: {', '.join(shares)}")
    for title, counts in (("at", stacks.own), ("at or within", stacks.within)):
        console.print(stacks.table(counts, title, options.top))


if __name__ == "__main__":
    sys.exit(main())
