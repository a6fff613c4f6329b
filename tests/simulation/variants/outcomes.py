"""Broken on purpose: doing twice what was asked for once."""

from __future__ import annotations

from functools import partial

import pytest

from kvnode.core.coordinator import Coordinator
from kvnode.core.executor import Executor
from kvnode.core.messages import Request
from tests.simulation.network import Link, Network


def resend_unknown_writes(patch: pytest.MonkeyPatch) -> None:
    """Try again, elsewhere or over the next link, what was sent and not answered."""
    down = Coordinator.link_down

    def link_down(coordinator: Coordinator, worker: int) -> None:
        for number in coordinator._sent_to(worker):
            coordinator._retry(coordinator._requests.pop(number), "the leader could not be reached")
        down(coordinator, worker)

    patch.setattr(Coordinator, "link_down", link_down)


def execute_copies(patch: pytest.MonkeyPatch) -> None:
    """Take every batch of attempts for a new one."""
    patch.setattr(Executor, "_is_new", lambda *_: True)


def listen_to_earlier_links(patch: pytest.MonkeyPatch) -> None:
    """Take requests that were meant for an earlier process of the same worker."""

    def arrived(network: Network, link: Link, request: Request) -> None:
        if link.peer.up:
            link.peer.receive(link.greeting, request, partial(network._respond, link))

    patch.setattr(Network, "_request_arrived", arrived)
