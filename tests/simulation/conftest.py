"""Fixtures for schedules."""

from __future__ import annotations

import pytest

from tests.simulation.stage import Stage


@pytest.fixture
def stage() -> Stage:
    """Return a cluster of which every step is decided by the test."""
    return Stage()
