"""What grows with the cluster, on paper: ``python -m tests.bench.scale``.

The ring of so many workers: time to compute it, balance, and what one more worker moves. What workers say to
each other and to the controller all the time: bytes and processor time, of the real messages written and read
by the real codec. What gRPC itself takes for a message is not in it (``python -m tests.bench.rpc``).
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from functools import partial
from statistics import mean

from rich.console import Console
from rich.table import Table

from kvnode.config import ClusterConfig, ControllerEntry, WorkerEntry
from kvnode.controller.view import ClusterView
from kvnode.core.messages import ConfirmBatch, ConfirmReply, Hello
from kvnode.core.ring import Member, Ring
from kvnode.core.settings import Timing
from kvnode.core.status import PeerStatus, Report, WorkerStatus
from kvnode.rpc.methods import CONFIRM, REPORT

LEAST_S = 0.2
VNODES = 64
REPLICAS = 3
REPORTS_A_SECOND = 2
LOOKS_A_SECOND = 4
"""How often the dashboard's feed looks at the whole cluster while anything changes, and somebody watches."""


def ring(workers: list[int], partitions: int) -> Ring:
    """Return the ring of workers on hosts of their own."""
    members = [Member(worker, f"host-{worker}") for worker in workers]
    return Ring.build(members, partitions=partitions, vnodes=VNODES, replicas=REPLICAS)


def seconds(work: Callable[..., object], *arguments: object) -> float:
    """Return the processor time of one call, as a mean over enough of them."""
    count, began = 0, time.thread_time()
    while (passed := time.thread_time() - began) < LEAST_S:
        work(*arguments)
        count += 1
    return passed / count


def rings(sizes: list[int], partitions: int, changes: int) -> Table:
    """Measure the ring: balance, and movement as a share of what an ideal placement would move."""
    table = Table(
        "workers",
        "computed in",
        "primaries, least to most",
        "copies, least to most",
        "one joins: primaries moved, mean (worst)",
        "copies moved, mean (worst)",
        title=f"the ring, {partitions:,} partitions; moved is in units of partitions/workers",
    )
    rng = random.Random(1)
    for size in sizes:
        workers = list(range(1, size + 1))
        before = ring(workers, partitions)
        took = seconds(ring, workers, partitions)
        primaries = [len(before.primaries_of(worker)) for worker in workers]
        copies = [len(before.held_by(worker)) for worker in workers]
        moves = [
            _moved(before, ring([*workers, rng.randrange(10_000, 10**6)], partitions)) for _ in range(changes)
        ]
        ideal = partitions / (size + 1)
        shares = [[move / ideal for move in kind] for kind in zip(*moves, strict=True)]
        table.add_row(
            f"{size:,}",
            f"{took * 1000:,.0f} ms",
            f"{min(primaries)} to {max(primaries)}",
            f"{min(copies)} to {max(copies)}",
            *(f"{mean(kind):.2f} ({max(kind):.2f})" for kind in shares),
        )
    return table


def _moved(before: Ring, after: Ring) -> tuple[int, float]:
    """Count the partitions with another primary, and the copies on workers that had none, per replica."""
    primaries = copies = 0
    for partition in range(before.partitions):
        old, new = before.preference_list(partition), after.preference_list(partition)
        primaries += old[0] != new[0]
        copies += len(set(new) - set(old))
    return primaries, copies / REPLICAS


def messages(sizes: list[int], partitions: int) -> Table:
    """Measure what is said all the time without any load."""
    beats = 1000 / Timing().heartbeat_ms
    table = Table(
        "workers",
        "heartbeats a worker sends",
        "their bytes",
        "cores of each worker for them",
        "reports to the controller",
        "their bytes",
        "cores of the controller for them",
        "one look at the cluster",
        "cores for the dashboard",
        title="without load, each second",
    )
    for size in sizes:
        sees = tuple(range(1, size))
        batch = ConfirmBatch(1 << 30, [], sees=sees)
        reply = ConfirmReply(1 << 30, [], sees=sees)
        asked, answered = CONFIRM.encode_request(batch), CONFIRM.encode_reply(reply)
        beat_s = (
            seconds(CONFIRM.encode_request, batch)
            + seconds(CONFIRM.decode_request, asked)
            + seconds(CONFIRM.encode_reply, reply)
            + seconds(CONFIRM.decode_reply, answered)
        )
        sent = beats * (size - 1)
        view, report, hello = _view(size, partitions)
        told = REPORT.encode_request((None, report))
        report_s = seconds(REPORT.decode_request, told) + seconds(view.report, hello, report, 1.0)
        look_s = seconds(partial(view.status, 2.0, log_lines=0, ring=False))
        table.add_row(
            f"{size:,}",
            f"{sent:,.0f}",
            f"{sent * (len(asked) + len(answered)) / 1e6:,.2f} MB",
            f"{sent * beat_s:.3f}",
            f"{REPORTS_A_SECOND * size:,}",
            f"{REPORTS_A_SECOND * size * len(told) / 1e6:,.2f} MB",
            f"{REPORTS_A_SECOND * size * report_s:.3f}",
            f"{look_s * 1000:,.1f} ms",
            f"{LOOKS_A_SECOND * look_s:.3f}",
        )
    return table


def _view(size: int, partitions: int) -> tuple[ClusterView, Report, Hello]:
    """Return a controller's view of so many workers that have all reported, and a report."""
    entries = tuple(
        WorkerEntry(worker, f"host-{worker}", f"10.0.0.1:{worker}", f"10.0.0.2:{worker}")
        for worker in range(1, size + 1)
    )
    config = ClusterConfig("bench", ControllerEntry("10.0.0.3:1", "10.0.0.3:2"), entries, partitions)
    placed = config.ring()
    view = ClusterView(config, placed, release="0")
    told: list[Report] = []
    for entry in entries:
        peers = [PeerStatus(other.id, True, 0, 0, 0) for other in entries if other is not entry]  # noqa: FBT003
        status = WorkerStatus(
            worker=entry.id,
            state="ready",
            reasons=[],
            release="0",
            cluster_id="c" * 32,
            incarnation="i" * 32,
            process="p" * 32,
            uptime_s=1e6,
            keys=10**6,
            tombstones=0,
            disk_bytes=10**9,
            held=len(placed.held_by(entry.id)),
            led=list(placed.primaries_of(entry.id)),
            behind=0,
            peers=peers,
        )
        told.append(Report(1, status, [], 0, [], 0))
        view.report(_hello(entry.id, config), told[-1], 1.0)
    return view, told[0], _hello(1, config)


def _hello(worker: int, config: ClusterConfig) -> Hello:
    return Hello(worker, "p" * 32, "i" * 32, "c" * 32, config.layout_digest(), 1, True, "0", (1, 1))  # noqa: FBT003


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    parser.add_argument(
        "--workers", type=lambda text: [int(n) for n in text.split(",")], default=[4, 16, 64, 256, 1000]
    )
    parser.add_argument("--partitions", type=int, default=16_384)
    parser.add_argument("--changes", type=int, default=10, help="workers that join, one at a time")
    options = parser.parse_args()
    console = Console(width=150)
    console.print(rings(options.workers, options.partitions, options.changes))
    console.print(messages(options.workers, options.partitions))


if __name__ == "__main__":
    main()
