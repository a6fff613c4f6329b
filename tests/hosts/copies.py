"""Whether all copies of every key agree: read off the workers' own disks, through the controller."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from tests.hosts.plan import CONTROLLER, WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hosts.client import Client
    from tests.hosts.plan import Host

PAGE = 200
REPLICAS = 3
LOOK_S = 0.25


class Copy(NamedTuple):
    """What one worker holds of a key: the version decides, the value must then be the same."""

    version: str
    value: str


class UnreadableError(Exception):
    """A worker's keys cannot be listed now; the text says why."""


def differences(client: Client) -> list[str]:
    """Say of each key on whose copies the workers do not agree who holds what; empty when all agree.

    A key is whole when exactly three workers hold it with one version and one value; a deleted key is
    held by none. Raises UnreadableError while a worker cannot be asked.
    """
    copies: dict[str, dict[str, Copy]] = {}
    for worker in WORKERS:
        for key, copy in _stored(client, worker):
            copies.setdefault(key, {})[worker.name] = copy
    return [
        f"{key}: {', '.join(f'{worker} {copy.version}' for worker, copy in holders.items())}"
        for key, holders in copies.items()
        if len(holders) != REPLICAS or len(set(holders.values())) != 1
    ]


def until_equal(client: Client, deadline_s: float) -> list[str]:
    """Wait until all copies of all keys agree; what still differs after ``deadline_s``, in words."""
    end_s = time.monotonic() + deadline_s
    while True:
        try:
            differ = differences(client)
        except UnreadableError as error:
            differ = [str(error)]
        if not differ or time.monotonic() > end_s:
            return differ
        time.sleep(LOOK_S)


def _stored(client: Client, worker: Host) -> Iterator[tuple[str, Copy]]:
    after = ""
    while True:
        target = f"/workers/{worker.worker}/keys?limit={PAGE}&after={quote(after, safe='')}"
        answer = client.get(CONTROLLER, target)
        if answer.status != 200:
            raise UnreadableError(f"{worker.name}: {answer.error or answer.body}")
        for entry in answer.body["keys"]:
            yield entry["key"], Copy(entry["version"], json.dumps(entry["value"]))
        after = answer.body["next_after"]
        if not after:
            return
