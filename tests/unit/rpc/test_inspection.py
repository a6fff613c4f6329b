"""Asking a worker for the keys on its disk."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest

from kvnode.core.status import KeyPage, StoredKey
from kvnode.core.versions import Version
from kvnode.errors import DamageError, PeerError
from kvnode.rpc.channel import open_channel, unary_call
from kvnode.rpc.inspection import InspectionClient, inspection_routes
from kvnode.rpc.methods import LIST_KEYS
from tests.conftest import find_free_ports
from tests.unit.rpc.fakes import FakeInbox, hello, serving

PAGE = KeyPage(
    [StoredKey("a/ä", 7, Version(1, 2, 3), 9, b'"x"'), StoredKey("b", 8, Version(1, 2, 4), 2**33, None)], "b"
)


class FakeSource:
    """Answers one page, or fails."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, int]] = []
        self.failure: Exception | None = None

    def stored_keys(self, prefix: str, after: str, limit: int) -> KeyPage:
        """Note the question and answer it."""
        self.asked.append((prefix, after, limit))
        if self.failure is not None:
            raise self.failure
        return PAGE


@pytest.fixture
def source() -> FakeSource:
    """What worker 2 holds."""
    return FakeSource()


@pytest.fixture
async def port(source: FakeSource) -> AsyncIterator[int]:
    """Worker 2's port."""
    async with serving(FakeInbox(hello(2)), routes=inspection_routes(source)) as transport:
        yield transport.port


@pytest.fixture
async def client(port: int) -> AsyncIterator[InspectionClient]:
    """The controller's end; at worker 3's address nobody listens."""
    [silent] = find_free_ports(1)
    client = InspectionClient({2: f"127.0.0.1:{port}", 3: f"127.0.0.1:{silent}"})
    yield client
    await client.stop()


async def test_a_page_of_keys_is_answered(client: InspectionClient, source: FakeSource) -> None:
    """Question and page arrive as they were given."""
    assert await client.list_keys(2, "a", "a/", 50) == PAGE
    assert source.asked == [("a", "a/", 50)]


async def test_a_worker_that_is_away_is_an_error(client: InspectionClient) -> None:
    """A refused connection is told at once."""
    with pytest.raises(PeerError, match="unavailable"):
        await client.list_keys(3, "", "", 1)


async def test_an_unknown_worker_is_an_error(client: InspectionClient) -> None:
    """There is no address to ask."""
    with pytest.raises(PeerError, match="no worker 9"):
        await client.list_keys(9, "", "", 1)


async def test_damage_is_told(client: InspectionClient, source: FakeSource) -> None:
    """A worker that cannot read its disk says so."""
    source.failure = DamageError("log-00000001.jsonl", 17, "checksum")
    with pytest.raises(PeerError, match=r"log-00000001\.jsonl at byte 17: checksum"):
        await client.list_keys(2, "", "", 1)


async def test_a_malformed_question_is_refused(port: int) -> None:
    """Noise gets INVALID_ARGUMENT."""
    async with open_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await unary_call(channel, LIST_KEYS.path)(b"\xff\xff", timeout=5)
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
