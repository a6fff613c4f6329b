"""Small clusters, hellos and reports for the controller's tests."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kvnode.config import ClusterConfig, ControllerConfig, ControllerEntry, WorkerEntry
from kvnode.core.messages import Hello
from kvnode.core.status import KeyEvent, PeerStatus, Report, WorkerStatus

WORKERS = (1, 2, 3, 4)


def cluster_config(
    rest_ports: Sequence[int] = (5001, 5002, 5003, 5004), controller_port: int = 5000
) -> ClusterConfig:
    """Return a cluster of one worker per port, 16 partitions, 3 replicas."""
    return ClusterConfig(
        name="test",
        partitions=16,
        replicas=3,
        controller=ControllerEntry(f"127.0.0.1:{controller_port}", "127.0.0.1:6000"),
        workers=tuple(
            WorkerEntry(id=n, host=f"host-{n}", rest=f"127.0.0.1:{port}", grpc=f"127.0.0.1:{6000 + n}")
            for n, port in enumerate(rest_ports, start=1)
        ),
    )


def controller_config(rest_ports: Sequence[int], controller_port: int) -> ControllerConfig:
    """Return a controller's configuration."""
    return ControllerConfig(cluster=cluster_config(rest_ports, controller_port))


def hello(worker: int, layout: str | None = None) -> Hello:
    """Return what a worker says first."""
    return Hello(
        worker=worker,
        process=f"process-{worker}",
        incarnation=f"disk-{worker}",
        cluster_id="c1",
        layout=cluster_config().layout_digest() if layout is None else layout,
        epoch=1,
        voting=True,
        release="0.1.0",
        protocol=(1, 1),
    )


def status(
    worker: int, *, state: str = "ready", led: Sequence[int] = (), peers: Sequence[PeerStatus] = ()
) -> WorkerStatus:
    """Return a worker's state."""
    return WorkerStatus(
        worker=worker,
        state=state,
        reasons=[] if state == "ready" else [f"is {state}"],
        release="0.1.0",
        cluster_id="c1",
        incarnation=f"disk-{worker}",
        process=f"process-{worker}",
        uptime_s=12.5,
        keys=10 * worker,
        tombstones=1,
        disk_bytes=1000,
        held=12,
        led=list(led),
        behind=0,
        peers=list(peers),
    )


def report(
    of: WorkerStatus, lines: Sequence[bytes] = (), events: Sequence[KeyEvent] = (), logs_dropped: int = 0
) -> Report:
    """Return what a worker ships."""
    return Report(1, of, list(lines), logs_dropped, list(events), 0)


def log_line(number: int, level: str = "info", **fields: object) -> bytes:
    """Return a line as a node's logger writes it."""
    line = {"timestamp": "2026-01-01T00:00:00.000000Z", "level": level, "event": "thing_done", "n": number}
    return msgspec.json.encode({**line, **fields})
