"""What runs as a process: the installed wheel, and neither the sources here nor interpreted code."""

from __future__ import annotations

from pathlib import Path

from tests.support.cluster import Cluster
from tests.support.installed import require_compiler


def in_memory(pid: int) -> str:
    """Return the list of the files that a process has in its memory."""
    return Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")


async def test_a_worker_runs_compiled_code(cluster: Cluster) -> None:
    """The compiled library is in its memory, wherever this machine can compile."""
    require_compiler()
    for worker in cluster.workers:
        assert "/kvnode__mypyc." in in_memory(cluster.pid(worker))
