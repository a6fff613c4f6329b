"""``/kv/…`` through the controller: real sockets on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from io import BytesIO

import aiohttp
import pytest
from structlog.testing import capture_logs

from kvnode.controller import proxy
from kvnode.controller.app import Controller
from tests.support.waiting import eventually
from tests.unit.controller.building import hello, report, status
from tests.unit.controller.conftest import FakeWorker

RawGet = Callable[[bytes], Awaitable[bytes]]


def served(workers: list[FakeWorker]) -> list[str]:
    """Return the targets of all requests that reached any worker."""
    return [target for fake in workers for target in fake.targets]


@pytest.mark.parametrize(
    "target",
    [
        "/kv/a",
        "/kv/a%2Fb",
        "/kv/a%2fb",
        "/kv/../up",
        "/kv/..",
        "/kv/./a/.",
        "/kv//a",
        "/kv//",
        "/kv/a//b/",
        "/kv/a/",
        "/kv/%C3%BC%00%25",
        "/kv/a+b;c=d,e@f:g!*'()$~",
        "/kv/status",
        '/kv/"<>`{|}[]^\\',
        "/kv/a?consistency=local&x=%2F",
        "/kv/",
        "/kv/" + "%C3%BC" * 512,
    ],
)
async def test_the_target_reaches_the_worker_as_it_was_sent(
    raw_get: RawGet, workers: list[FakeWorker], target: str
) -> None:
    """No byte of the path or query is decoded, encoded or normalised on the way."""
    answer = await raw_get(b"GET " + target.encode())
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert served(workers) == [target]


@pytest.mark.parametrize("target", [b"http://127.0.0.1:1/kv/a", b"/kv/a#b", b"/kv/%C3%BC?node=7"])
async def test_a_doubtful_target_goes_nowhere(
    raw_get: RawGet, workers: list[FakeWorker], target: bytes
) -> None:
    """What is no plain path, or names no worker, is answered with 400."""
    assert (await raw_get(b"GET " + target)).startswith(b"HTTP/1.1 400 ")
    assert served(workers) == []


async def test_headers_and_body_go_both_ways(http: aiohttp.ClientSession, workers: list[FakeWorker]) -> None:
    """End-to-end headers and bodies pass, those of one hop do not."""
    fake = workers[2]
    fake.answer = (
        b'HTTP/1.1 412 Precondition Failed\r\nContent-Type: application/problem+json\r\nETag: "1.2.3"\r\n'
        b"X-Twice: a\r\nX-Twice: b\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nContent-Length: 4\r\n\r\n"
        b"\xc3\xbc\x00\xff"
    )
    sent = {
        "If-Match": '"1.2.2"',
        "X-Request-ID": "abc",
        "Content-Type": "application/json",
        "TE": "trailers",
    }
    async with http.put("/kv/a?node=3", data=b'{"value": 1}', headers=sent) as answer:
        assert answer.status == 412
        assert await answer.read() == b"\xc3\xbc\x00\xff"
        assert answer.headers.getall("X-Twice") == ["a", "b"]
        assert answer.headers["ETag"] == '"1.2.3"'
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["Kvnode-Worker"] == "3"
        assert "X-Hop" not in answer.headers
    head = fake.heads[0].decode().lower()
    assert head.startswith("put /kv/a http/1.1\r\n")
    assert f"host: 127.0.0.1:{fake.port}\r\n" in head
    assert 'if-match: "1.2.2"\r\n' in head
    assert "x-request-id: abc\r\n" in head
    assert head.count("content-type:") == 1
    assert "te:" not in head
    assert fake.bodies == [b'{"value": 1}']


async def test_a_request_that_brings_an_id_is_logged(
    http: aiohttp.ClientSession, workers: list[FakeWorker]
) -> None:
    """The id comes back, whoever answers, and finds the request in the controller's log."""
    for fake in workers:
        await fake.stop()
    with capture_logs() as logged:
        async with http.get("/kv/a", headers={"X-Request-ID": "find me"}) as answer:
            assert answer.headers["X-Request-ID"] == "find me"
    [line] = [entry for entry in logged if entry["event"] == "request_forwarded"]
    assert (line["request_id"], line["status"], line["worker"]) == ("find me", 503, 0)


async def test_a_request_without_an_id_is_logged_only_when_it_fails(
    http: aiohttp.ClientSession, workers: list[FakeWorker]
) -> None:
    """What goes well costs no line; what fails is logged under the worker's id."""
    with capture_logs() as logged:
        async with http.get("/kv/a?node=1"):
            pass
        workers[1].answer = b"HTTP/1.1 503 Down\r\nX-Request-ID: made-up\r\nContent-Length: 0\r\n\r\n"
        async with http.get("/kv/a?node=2"):
            pass
    lines = [entry for entry in logged if entry["event"] == "request_forwarded"]
    assert [line["request_id"] for line in lines] == ["made-up"]


async def test_bodies_of_a_mebibyte_pass(http: aiohttp.ClientSession, workers: list[FakeWorker]) -> None:
    """The largest value goes through in both directions."""
    body = b'{"value":"' + b"v" * (1 << 20) + b'"}'
    workers[0].answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with http.put("/kv/big?node=1", data=BytesIO(body)) as answer:
        assert await answer.read() == body
    assert workers[0].bodies == [body]


async def test_a_body_beyond_all_limits_is_refused(
    http: aiohttp.ClientSession, workers: list[FakeWorker]
) -> None:
    """The controller buffers no more than a worker could accept."""
    async with http.put("/kv/big", data=BytesIO(b"v" * (3 << 20))) as answer:
        assert answer.status == 413
        assert answer.content_type == "application/problem+json"
    assert served(workers) == []


async def test_workers_take_turns(http: aiohttp.ClientSession, workers: list[FakeWorker]) -> None:
    """Without a choice of node, requests spread over the ready workers."""
    for _ in range(8):
        async with http.get("/kv/a") as answer:
            assert answer.status == 200
    assert [len(fake.heads) for fake in workers] == [2, 2, 2, 2]


async def test_a_dead_worker_is_skipped(http: aiohttp.ClientSession, workers: list[FakeWorker]) -> None:
    """A refused connection has sent nothing, so the next worker gets the write."""
    await workers[0].stop()
    await workers[1].stop()
    for _ in range(4):
        async with http.put("/kv/a", data=b"{}") as answer:
            assert answer.status == 200
    assert len(served(workers)) == 4


async def test_ready_workers_come_first(
    http: aiohttp.ClientSession, controller: Controller, workers: list[FakeWorker]
) -> None:
    """A worker that catches up gets nothing while another is ready."""
    for number in (1, 2, 3):
        controller.report(hello(number), report(status(number, state="catching_up")))
    for _ in range(4):
        async with http.get("/kv/a") as answer:
            assert answer.headers["Kvnode-Worker"] == "4"


async def test_all_workers_down(http: aiohttp.ClientSession, workers: list[FakeWorker]) -> None:
    """A write that nobody was sent is certainly not stored."""
    for fake in workers:
        await fake.stop()
    async with http.put("/kv/a", data=b"{}") as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "1"
        assert answer.content_type == "application/problem+json"
        problem = await answer.json(content_type=None)
    assert problem["outcome"] == "not_stored"
    assert problem["status"] == 503
    async with http.get("/kv/a") as answer:
        assert answer.status == 503
        assert "outcome" not in await answer.json(content_type=None)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "PATCH"])
async def test_a_write_that_breaks_off_is_unknown_and_sent_once(
    http: aiohttp.ClientSession, workers: list[FakeWorker], method: str
) -> None:
    """The worker had the request: it may have been executed, so it is never sent again."""
    for fake in workers:
        fake.answer = None
    async with http.request(method, "/kv/a", data=b"{}") as answer:
        assert answer.status == 503
        assert (await answer.json(content_type=None))["outcome"] == "unknown"
    assert len(served(workers)) == 1


async def test_a_read_that_breaks_off_is_tried_elsewhere(
    http: aiohttp.ClientSession, workers: list[FakeWorker]
) -> None:
    """Reading twice does no harm."""
    for fake in workers[:3]:
        fake.answer = None
    for _ in range(4):
        async with http.get("/kv/a") as answer:
            assert answer.status == 200
            assert answer.headers["Kvnode-Worker"] == "4"


async def test_a_chosen_worker_is_the_only_one_asked(
    http: aiohttp.ClientSession, workers: list[FakeWorker]
) -> None:
    """With node=N no other worker answers, however N is."""
    await workers[1].stop()
    async with http.put("/kv/a?node=2", data=b"{}") as answer:
        assert answer.status == 503
        assert (await answer.json(content_type=None))["outcome"] == "not_stored"
    assert served(workers) == []


async def test_a_silent_worker_is_given_up(
    http: aiohttp.ClientSession, controller: Controller, workers: list[FakeWorker]
) -> None:
    """An answer that does not come in time leaves a write unknown."""
    session = controller.proxy._session
    assert session is not None
    session._timeout = aiohttp.ClientTimeout(total=0.2)
    workers[0].silent = True
    async with http.put("/kv/a?node=1", data=b"{}") as answer:
        assert (await answer.json(content_type=None))["outcome"] == "unknown"


async def test_head_and_not_modified_pass(http: aiohttp.ClientSession, workers: list[FakeWorker]) -> None:
    """Answers without a body stay answers without a body."""
    workers[0].answer = b'HTTP/1.1 200 OK\r\nContent-Length: 77\r\nETag: "1.1.1"\r\n\r\n'
    async with http.head("/kv/a?node=1") as answer:
        assert answer.headers["Content-Length"] == "77"
        assert answer.headers["ETag"] == '"1.1.1"'
    workers[0].answer = b'HTTP/1.1 304 Not Modified\r\nETag: "1.1.1"\r\n\r\n'
    async with http.get("/kv/a?node=1") as answer:
        assert answer.status == 304


async def test_stopping_waits_for_answers(
    http: aiohttp.ClientSession, controller: Controller, workers: list[FakeWorker]
) -> None:
    """A request in flight is answered before the controller is gone."""
    fake = workers[0]
    hold = asyncio.Event()
    serve = fake._serve

    async def held(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hold.wait()
        await serve(reader, writer)

    await fake.stop()
    fake._serve = held  # type: ignore[method-assign]
    await fake.start()
    request = asyncio.create_task(http.get("/kv/a?node=1").__aenter__())
    await eventually(lambda: controller._server._app.ctx.in_flight._count == 1)
    drain = asyncio.create_task(controller._server.drain(10))
    await eventually(lambda: controller._server._app.ctx.in_flight.draining)
    assert not drain.done()
    hold.set()
    assert (await request).status == 200
    assert await drain


async def test_a_method_of_no_characters_is_refused_in_words(controller: Controller) -> None:
    """Bytes that are no UTF-8 in a request line make an answer, not a failure."""
    reader, writer = await asyncio.open_connection("127.0.0.1", controller.port)
    writer.write(b"\xff\xfeBREW /kv/a HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 405 ")
    writer.close()


async def test_only_so_many_requests_are_sent_on_at_a_time(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the bound a write is refused as not stored, and told when to come again."""
    monkeypatch.setattr(proxy, "UNDER_WAY", 0)
    async with http.put("/kv/a", json={"value": 1}) as answer:
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert (await answer.json())["outcome"] == "not_stored"
