"""Continuous requests to hosts, and what became of each: the clients that must not notice a fault."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tests.hosts import namespace
from tests.hosts.client import exchange, path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.hosts.plan import Host

KEYS_PER_CLIENT = 40
PAUSE_S = 0.04


@dataclass(frozen=True)
class Sample:
    """One request: ``at_s`` and ``took_s`` on the monotonic clock; ``status`` 0 when there was no answer."""

    host: str
    method: str
    key: str
    value: int
    status: int
    at_s: float
    took_s: float
    detail: str


class Load:
    """One client thread per host writes its own keys and reads them back, until the ``with`` block ends."""

    def __init__(self, hosts: Sequence[Host], name: str) -> None:
        self._hosts = hosts
        self._name = name
        self._pool = namespace.executor(len(hosts))
        self._stop = threading.Event()
        self.samples: list[Sample] = []

    def __enter__(self) -> Self:
        self._running = [self._pool.submit(self._client, host) for host in self._hosts]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        for client in self._running:
            client.result()

    def failures(self) -> list[Sample]:
        """Requests that were not answered with success."""
        return [sample for sample in list(self.samples) if sample.status != 200]

    def acknowledged(self) -> dict[str, int]:
        """The newest acknowledged value of each key. Each client counts up, so a later one is larger."""
        newest: dict[str, int] = {}
        for sample in list(self.samples):
            if sample.method == "PUT" and sample.status == 200:
                newest[sample.key] = sample.value
        return newest

    def count(self) -> int:
        """How many requests have ended."""
        return len(self.samples)

    def _client(self, host: Host) -> None:
        for number in self._numbers():
            key = f"{self._name}/{host.name}/{number % KEYS_PER_CLIENT}"
            if self._sample(host, "PUT", key, number):
                self._sample(host, "GET", key, number)

    def _numbers(self) -> Iterable[int]:
        for number in itertools.count(1):
            if self._stop.wait(PAUSE_S):
                return
            yield number

    def _sample(self, host: Host, method: str, key: str, value: int) -> bool:
        body = {"value": value} if method == "PUT" else None
        begun = time.monotonic()
        answer = exchange(host, method, path(key), body, {}, 10)
        took = time.monotonic() - begun
        status, detail = answer.status, answer.error or str(answer.body)[:300]
        if method == "GET" and status == 200 and answer.body["value"] != value:
            status, detail = 0, f"read {answer.body['value']} after {value} was acknowledged"
        self.samples.append(Sample(host.name, method, key, value, status, begun, took, detail))
        return status == 200
