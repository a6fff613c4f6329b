"""Running wrk, one process per entry, and adding up what they saw."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec

SCRIPT = Path(__file__).with_name("load.lua")
GRACE_S = 30.0
USUAL_KEYS = 10_000
USUAL_BYTES = 100


class Workload(msgspec.Struct, frozen=True):
    """What clients do: ``connections`` of them in all ask the first ``entries`` addresses of a server.

    ``stopped`` workers, or members, were stopped before.
    """

    name: str
    connections: int
    entries: int = 1
    keys: int = USUAL_KEYS
    value_bytes: int = USUAL_BYTES
    stopped: int = 0

    def __str__(self) -> str:
        """Return the row's title."""
        spread = "" if self.entries == 1 else f", {self.entries} entries"
        size = "" if self.value_bytes == USUAL_BYTES else f", {self.value_bytes // 1024} KiB"
        keys = "" if self.keys == USUAL_KEYS else f", {self.keys:,} keys"
        stopped = f", {self.stopped} stopped" if self.stopped else ""
        return f"{self.name}, {self.connections} conn{spread}{size}{keys}{stopped}"


class _Output(msgspec.Struct, frozen=True):
    cpu_s: float
    micros: int
    requests: int
    refused: int
    broken: int
    latencies: list[tuple[int, int]]


class Seen(msgspec.Struct, frozen=True):
    """What clients saw: rates in operations a second that succeeded, latencies in microseconds.

    ``client_cpu_s`` is the processor time of the clients themselves.
    """

    rate: float
    succeeded: int
    p50_us: int
    p99_us: int
    p999_us: int
    failed: int
    client_cpu_s: float


def run(
    server: str,
    urls: list[str],
    workload: Workload,
    seconds: float,
    *,
    prefix: str = "bench.",
    first: int = 0,
    seed: int = 0,
    chosen: Path | None = None,
) -> Seen:
    """Load a server for a while. Raises RuntimeError when wrk says nothing of use.

    New keys, and those to be deleted, have a prefix of their own and are numbered from ``first`` on;
    ``chosen`` is a file of the keys to use in place of the numbered ones.
    """
    used = urls[: workload.entries]
    each = max(1, workload.connections // len(used))
    processes = []
    for number, url in enumerate(used):
        arguments = [
            *(server, workload.name, str(workload.keys), str(workload.value_bytes)),
            *(f"{prefix}{number}.", str(first), str(seed + number + 1), *([str(chosen)] if chosen else [])),
        ]
        wrk = [
            "wrk",
            "-t1",
            f"-c{each}",
            f"-d{seconds:.0f}s",
            "--timeout",
            "10s",
            "-s",
            str(SCRIPT),
            url,
            "--",
        ]
        processes.append(subprocess.Popen([*wrk, *arguments], stdout=subprocess.PIPE, text=True))
    outputs = [_result(process.communicate(timeout=seconds + GRACE_S)[0]) for process in processes]
    return _add_up(outputs)


def _result(output: str) -> _Output:
    for line in output.splitlines():
        if line.startswith("RESULT "):
            return msgspec.json.decode(line.removeprefix("RESULT "), type=_Output)
    raise RuntimeError(f"wrk gave no result: {output}")


def _add_up(results: list[_Output]) -> Seen:
    latencies = sorted(pair for result in results for pair in result.latencies)
    total = sum(count for _, count in latencies)

    def quantile(share: float) -> int:
        passed = 0
        for micros, count in latencies:
            passed += count
            if passed >= share * total:
                return micros
        return 0

    failed = sum(result.refused + result.broken for result in results)
    rate = sum((result.requests - result.refused) / (result.micros / 1e6) for result in results)
    succeeded = sum(result.requests - result.refused for result in results)
    cpu_s = sum(result.cpu_s for result in results)
    return Seen(rate, succeeded, quantile(0.5), quantile(0.99), quantile(0.999), failed, cpu_s)
