"""Running wrk, one process per entry, and adding up what they saw."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec

SCRIPT = Path(__file__).with_name("load.lua")
GRACE_S = 30.0


class Workload(msgspec.Struct, frozen=True):
    """What clients do: ``connections`` of them in all ask the first ``entries`` addresses of a server."""

    name: str
    connections: int
    entries: int = 1
    keys: int = 10_000
    value_bytes: int = 100

    def __str__(self) -> str:
        """Return the row's title."""
        spread = "" if self.entries == 1 else f", {self.entries} entries"
        size = "" if self.value_bytes == 100 else f", {self.value_bytes // 1024} KiB"
        keys = "" if self.keys == 10_000 else f", {self.keys:,} keys"
        return f"{self.name}, {self.connections} conn{spread}{size}{keys}"


class _Output(msgspec.Struct, frozen=True):
    micros: int
    requests: int
    refused: int
    broken: int
    latencies: list[tuple[int, int]]


class Seen(msgspec.Struct, frozen=True):
    """What clients saw: rates in operations a second that succeeded, latencies in microseconds."""

    rate: float
    succeeded: int
    p50_us: int
    p99_us: int
    p999_us: int
    failed: int


def run(server: str, urls: list[str], workload: Workload, seconds: float, fresh: str) -> Seen:
    """Load a server for a while. Raises RuntimeError when wrk says nothing of use."""
    used = urls[: workload.entries]
    each = max(1, workload.connections // len(used))
    processes = [
        subprocess.Popen(
            _command(server, url, workload, each, seconds, f"{fresh}.{number}", number),
            stdout=subprocess.PIPE,
            text=True,
        )
        for number, url in enumerate(used)
    ]
    return _add_up([_result(process.communicate(timeout=seconds + GRACE_S)[0]) for process in processes])


def _command(
    server: str, url: str, workload: Workload, connections: int, seconds: float, fresh: str, number: int
) -> list[str]:
    wrk = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds:.0f}s",
        "--timeout",
        "10s",
        "-s",
        str(SCRIPT),
        url,
        "--",
    ]
    return [
        *wrk,
        server,
        workload.name,
        str(workload.keys),
        str(workload.value_bytes),
        fresh,
        str(number + 1),
    ]


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
    return Seen(rate, succeeded, quantile(0.5), quantile(0.99), quantile(0.999), failed)
