"""A cluster of processes, fresh for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.cluster import Cluster
from tests.support.installed import require_current


@pytest.fixture(scope="session", autouse=True)
def _current() -> None:
    require_current()


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """A fresh controller and four workers, all ready."""
    async with Cluster(tmp_path / "cluster") as running:
        yield running
