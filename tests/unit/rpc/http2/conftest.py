"""The server that most tests here are about."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kvnode.rpc.http2.server import Http2Server
from tests.unit.rpc.http2.fakes import Service, serving


@pytest.fixture
def service() -> Service:
    """What the server serves."""
    return Service()


@pytest.fixture
async def server(service: Service) -> AsyncIterator[Http2Server]:
    """A server of ours, and nobody who has called it so far."""
    async with serving(service.routes()) as server:
        yield server
