"""Fixtures for tests of single machines."""

from __future__ import annotations

from typing import cast

import pytest

from kvnode.core.context import Context
from kvnode.core.journal import Journal
from kvnode.core.peers import Peers
from kvnode.core.settings import Bounds, Timing
from tests.unit.core.building import RING, FakeJournal, greeting


@pytest.fixture
def journal() -> FakeJournal:
    """Return an empty journal."""
    return FakeJournal()


@pytest.fixture
def ctx(journal: FakeJournal) -> Context:
    """Return the context of worker 1 of three."""
    bounds = Bounds(latent_records=3)
    return Context(1, RING, cast("Journal", journal), random=lambda: 0.5, timing=Timing(), bounds=bounds)


@pytest.fixture
def peers(ctx: Context) -> Peers:
    """Return two live peers."""
    peers = Peers(ctx, [1, 2, 3])
    for worker in (2, 3):
        peers.link_up(greeting(worker))
    ctx.outbox.take()
    return peers
