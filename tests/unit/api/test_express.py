"""The express lane answers as Sanic does, takes only what is plain, and never a byte that is not its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest

from kvnode.connections import Lane
from kvnode.core.operations import Outcome, Status
from kvnode.core.versions import Version
from tests.support.waiting import eventually
from tests.unit.api.conftest import Rest

HEADERS = b"Host: x\r\nUser-Agent: test\r\nAccept: */*\r\n"
UNUSUAL = b"X-Unusual: 1\r\n"
CLOSING = b"Connection: close\r\n"
FAILURES = [
    Outcome(Status.CONDITION_FAILED, Version(1, 2, 3)),
    Outcome(Status.NOT_STORED, reason="no majority"),
    Outcome(Status.UNKNOWN, reason="lost"),
    Outcome(Status.UNAVAILABLE, reason="nobody"),
    Outcome(Status.OVERLOADED, reason="full"),
    Outcome(Status.NO_SPACE, reason="no disk"),
    Outcome(Status.ABSENT, node=2),
]


def request(method: bytes, target: bytes, body: bytes | None = None, extra: bytes = b"") -> bytes:
    """Return a request as a client sends it."""
    length = b"" if body is None else b"Content-Length: %d\r\n" % len(body)
    return b"%b %b HTTP/1.1\r\n%b%b%b\r\n%b" % (method, target, HEADERS, length, extra, body or b"")


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, rest: Rest) -> Client:
        """Connect, and wait until the connection is served."""
        client = cls(*await asyncio.open_connection("127.0.0.1", rest.server.port))
        await client.ask(request(b"GET", b"/healthz"))
        return client

    async def ask(self, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send bytes, and return the answer's status, headers and body."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
        return await self.answer()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer."""
        head = (await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 10)).decode()
        line, *lines = head.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return int(line.split()[1]), headers, await self._reader.readexactly(int(headers["content-length"]))


class Watched:
    """A lane that records, for each piece of bytes offered to it, whether it took them."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self.seen: list[bool] = []

    def take(self, data: bytes, reply: Callable[[bytes, bool], None]) -> bool:
        """Offer the bytes to the lane."""
        self.seen.append(self._lane.take(data, reply))
        return self.seen[-1]


def taken(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Record, for each piece of bytes offered to the lane, whether it took them."""
    assert rest.server.guard.lane is not None
    watched = Watched(rest.server.guard.lane)
    monkeypatch.setattr(rest.server.guard, "lane", watched)
    return watched.seen


@pytest.mark.parametrize("outcome", [None, *FAILURES], ids=lambda outcome: outcome and outcome.status.name)
@pytest.mark.parametrize("method", [b"PUT", b"GET", b"DELETE"])
async def test_both_ways_give_the_same_answer(
    rest: Rest, monkeypatch: pytest.MonkeyPatch, method: bytes, outcome: Outcome | None
) -> None:
    """Status, headers and body are equal to the byte, but for the request's id."""
    body = b'{"value": {"a": 1}}' if method == b"PUT" else None
    await rest.put("/kv/%C3%A9/x", b"0")
    seen = taken(rest, monkeypatch)
    answers = []
    for extra in (b"", UNUSUAL):
        rest.service.records = {"é/x": (Version(3, 1, 7), b"0")}
        rest.service.answer = None if outcome is None else lambda _: outcome
        client = await Client.open(rest)
        status, headers, data = await client.ask(request(method, b"/kv/%C3%A9/x", body, extra))
        assert re.fullmatch("[0-9a-f]{16}", headers.pop("x-request-id"))
        answers.append((status, headers, data))
        client.writer.close()
    assert answers[0] == answers[1]
    assert seen.count(True) == 1


@pytest.mark.parametrize(
    "data",
    [
        request(b"HEAD", b"/kv/a"),
        request(b"GET", b"/kv/a?consistency=local"),
        request(b"GET", b"/kv/"),
        request(b"GET", b"/kv/%zz"),
        request(b"GET", b"/kv/a", b"x"),
        request(b"GET", b"/partition/a"),
        request(b"GET", b"/kv/a", extra=b"X-Request-ID: mine\r\n"),
        request(b"GET", b"/kv/a", extra=b'If-None-Match: "1.1.1"\r\n'),
        request(b"PUT", b"/kv/a", b'{"value":1}', extra=b"If-None-Match: *\r\n"),
        request(b"PUT", b"/kv/a", b'{"value":1}', extra=b"Content-Type: text/plain\r\n"),
        request(b"PUT", b"/kv/a", b'{"value":}'),
        request(b"PUT", b"/kv/a", b'{"value":1}', extra=b"Expect: 100-continues\r\n"),
        request(b"PUT", b"/kv/a", b'{"value":1}', extra=b"Content-Length: 11\r\n"),
        request(b"PUT", b"/kv/a", None, extra=b"Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n",
        request(b"PUT", b"/kv/a"),
        request(b"GET", b"/kv/a", extra=b"Broken\r\n"),
        request(b"GET", b"/kv/a", extra=b"Accept : x\r\n"),
        request(b"GET", b"/kv/a", extra=CLOSING),
        request(b"GET", b"/kv/a").replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
async def test_what_is_unusual_goes_sanics_way(
    rest: Rest, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    """The lane leaves alone whatever it does not know for sure, and somebody answers it."""
    client = await Client.open(rest)
    seen = taken(rest, monkeypatch)
    client.writer.write(data)
    await eventually(lambda: seen)
    assert seen[0] is False
    assert await client._reader.readuntil(b"\r\n")
    client.writer.close()


async def test_requests_that_come_in_pieces_or_together_are_all_answered_in_order(
    rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever does not send one whole request at a time is served all the same."""
    client = await Client.open(rest)
    seen = taken(rest, monkeypatch)
    await client.ask(request(b"PUT", b"/kv/0", b'{"value":0}'))
    whole = request(b"PUT", b"/kv/1", b'{"value":1}')
    await client.ask(whole[:30], whole[30:])
    client.writer.write(b"".join(request(b"GET", b"/kv/%d" % n) for n in (0, 1, 0)))
    values = [re.search(rb'"value":(\d)', (await client.answer())[2]) for _ in range(3)]
    assert [value and value[1] for value in values] == [b"0", b"1", b"0"]
    await client.ask(request(b"GET", b"/kv/0"))
    assert seen[0] is True
    assert seen[-1] is True
    client.writer.close()


async def test_a_client_that_does_not_wait_is_answered_in_order(rest: Rest) -> None:
    """What comes while a request is under way is kept until that one is answered."""
    client = await Client.open(rest)
    rest.service.hold()
    client.writer.write(request(b"PUT", b"/kv/a", b'{"value":1}'))
    await eventually(lambda: rest.service.waiting == 1)
    client.writer.write(request(b"GET", b"/kv/a") + request(b"DELETE", b"/kv/a"))
    connection = next(iter(rest.server._connections))
    await eventually(lambda: connection._early)
    assert not connection.idle
    rest.service.release()
    answers = [await client.answer() for _ in range(3)]
    assert [status for status, _, _ in answers] == [200, 200, 200]
    assert b'"value":1' in answers[1][2]
    client.writer.close()


async def test_a_drain_waits_for_what_the_lane_has_begun(rest: Rest) -> None:
    """The answer is given, says that the connection closes, and the connection does."""
    client = await Client.open(rest)
    rest.service.hold()
    client.writer.write(request(b"PUT", b"/kv/a", b'{"value":1}'))
    await eventually(lambda: rest.service.waiting == 1)
    drain = asyncio.create_task(rest.server.drain(10))
    await eventually(lambda: rest.app.ctx.draining)
    rest.service.release()
    status, headers, _ = await client.answer()
    assert (status, headers["connection"]) == (200, "close")
    assert await client._reader.read() == b""
    client.writer.close()
    await drain
