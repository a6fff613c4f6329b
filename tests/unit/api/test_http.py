"""What is no proper request: every answer is a problem, and the connection's state is clear after it."""

from __future__ import annotations

import re

import pytest

from kvnode.api import body as body_module
from kvnode.core.operations import Operation, Outcome, Status
from tests.support.waiting import eventually
from tests.unit.api.conftest import Rest

END = b"Connection: close\r\n\r\n"


def parse(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    """Split an answer into status, head (names in lower case) and body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status_line, *lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    return int(status_line.split()[1]), {name.lower(): value for name, value in fields.items()}, body


@pytest.mark.parametrize("target", ["/", "/nope", "/kv", "/KV/a", "//kv/a", "/healthz/", "/v1/kv/a"])
async def test_an_unknown_resource_is_404(rest: Rest, target: str) -> None:
    """The problem names the resources that there are."""
    reply = await rest.call("GET", target)
    assert (reply.status, reply.problem) == (404, "not_found")
    assert "/kv/{key}" in str(reply.json["detail"])


@pytest.mark.parametrize(
    ("method", "target", "allow"),
    [
        ("POST", "/kv/a", "DELETE, GET, HEAD, PUT"),
        ("PATCH", "/kv/a/b", "DELETE, GET, HEAD, PUT"),
        ("OPTIONS", "/kv/a", "DELETE, GET, HEAD, PUT"),
        ("BREW", "/kv/a", "DELETE, GET, HEAD, PUT"),
        ("PUT", "/partition/a", "GET, HEAD"),
        ("DELETE", "/healthz", "GET, HEAD"),
        ("POST", "/readyz", "GET, HEAD"),
        ("PUT", "/status", "GET, HEAD"),
        ("POST", "/metrics", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_405(rest: Rest, method: str, target: str, allow: str) -> None:
    """Allow lists what is possible."""
    reply = await rest.call(method, target)
    assert (reply.status, reply.problem) == (405, "method_not_allowed")
    assert reply.headers["allow"] == allow


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"\xff\xfe\x00\r\n\r\n", 400),
        (b"GET /kv/a\r\n" + END, 400),
        (b"GET /kv/a HTTP/3\r\n" + END, 400),
        (b"GET /kv/\xc3\xa9 HTTP/1.1\r\n" + END, 400),
        (b"GET /kv/a b HTTP/1.1\r\n" + END, 400),
        (b"GET kv/a HTTP/1.1\r\n" + END, 400),
        (b"GET ?x HTTP/1.1\r\n" + END, 400),
        (b"GET http://host HTTP/1.1\r\n" + END, 400),
        (b"GET /kv/a#b HTTP/1.1\r\n" + END, 400),
        (b"PUT /kv/a#b HTTP/1.1\r\nContent-Length: 11\r\n" + END + b'{"value":1}', 400),
        (b"GET * HTTP/1.1\r\n" + END, 404),
        (b"GET /kv/a HTTP/1.1\r\nno colon\r\n" + END, 400),
        (b"GET /kv/a HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n" + END, 431),
        (b"GET /kv/" + b"k" * 70_000 + b" HTTP/1.1\r\n" + END, 431),
        (b"PUT /kv/a HTTP/1.1\r\nContent-Length: x\r\n" + END, 400),
        (b"PUT /kv/a HTTP/1.1\r\nContent-Length: -1\r\n" + END, 400),
        (b"PUT /kv/a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n" + END, 400),
        (b"PUT /kv/a HTTP/1.1\r\nTransfer-Encoding: gzip\r\n" + END, 400),
        (b"PUT /kv/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + END + b"zz\r\nx", 400),
        (b"PUT /kv/a HTTP/1.1\r\nExpect: \x82\r\nContent-Length: 1\r\n" + END + b"1", 417),
        (b"PUT /kv/a HTTP/1.1\r\nExpect: cake\r\nContent-Length: 1\r\n" + END + b"1", 417),
    ],
)
async def test_what_is_no_request_is_answered_with_a_problem(rest: Rest, head: bytes, status: int) -> None:
    """Nothing malformed is cut off without an answer, and none reaches the service."""
    code, headers, body = parse(await rest.raw(head))
    assert code == status
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert headers["x-request-id"]
    assert b'"detail"' in body
    assert not rest.service.operations


async def test_a_whole_address_as_target_names_the_same_key(rest: Rest) -> None:
    """Proxies may send the absolute form."""
    await rest.put("/kv/a", b"1")
    code, _, body = parse(await rest.raw(b"GET http://anywhere:1/kv/a HTTP/1.1\r\n" + END))
    assert (code, b'"value":1' in body) == (200, True)


async def test_an_expected_body_is_asked_for(rest: Rest) -> None:
    """Expect: 100-continue is honoured."""
    head = b"PUT /kv/a HTTP/1.1\r\nContent-Length: 11\r\nExpect: 100-continue\r\n" + END
    answer = await rest.raw(head, b'{"value":1}')
    assert answer.startswith(b"HTTP/1.1 100 ")
    assert b"HTTP/1.1 200 " in answer


async def test_an_expected_body_that_is_too_large_is_never_read(rest: Rest) -> None:
    """A client that asks first hears the 413 before it sends anything."""
    head = b"PUT /kv/a HTTP/1.1\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n" + END
    assert b"HTTP/1.1 413 " in await rest.raw(head)


async def test_pipelined_requests_are_answered_in_order(rest: Rest) -> None:
    """A body that a handler does not want takes no part in the next request."""
    body = b"GET /metrics HTTP/1.1\r\n\r\n"
    first = b"DELETE /kv/a HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    answers = await rest.raw(first + b"GET /healthz HTTP/1.1\r\n" + END)
    assert answers.count(b"HTTP/1.1 ") == 2
    assert answers.index(b"404") < answers.index(b'"status":"ok"')


async def test_a_slow_body_is_408(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not arrive in time is not waited for; nothing was stored."""
    monkeypatch.setattr(body_module, "BODY_TIMEOUT_S", 0.05)
    head = b"PUT /kv/a HTTP/1.1\r\nContent-Length: 11\r\n" + END
    code, _, body = parse(await rest.raw(head + b'{"val'))
    assert code == 408
    assert b'"outcome":"not_stored"' in body


async def test_a_slow_head_is_408(rest: Rest) -> None:
    """Neither is a head."""
    rest.app.config.update(REQUEST_TIMEOUT=0.1)
    code, headers, _ = parse(await rest.raw(b"GET /kv/a HTTP/1.1\r\nHo"))
    assert code == 408
    assert headers["content-type"] == "application/problem+json"


async def test_a_stuck_service_is_503_with_unknown_outcome(rest: Rest) -> None:
    """When the service breaks its promise to answer in time, the server still answers honestly."""
    rest.app.config.update(RESPONSE_TIMEOUT=0.1)
    rest.service.hold()
    head = b"PUT /kv/a HTTP/1.1\r\nContent-Length: 11\r\n" + END
    code, headers, body = parse(await rest.raw(head + b'{"value":1}'))
    assert (code, headers["retry-after"]) == (503, "1")
    assert b'"outcome":"unknown"' in body
    await eventually(lambda: rest.app.ctx.inflight == 0)


async def test_a_client_that_hangs_up_leaves_nothing_behind(rest: Rest) -> None:
    """The connection is gone at once, what was begun is finished, and the next client is served."""
    rest.service.hold()
    writer = await rest.connect()
    writer.write(b'PUT /kv/a HTTP/1.1\r\nContent-Length: 11\r\n\r\n{"value":1}')
    await eventually(lambda: rest.service.waiting == 1)
    writer.transport.abort()
    await eventually(lambda: len(rest.server.guard) == 0)
    rest.service.release()
    assert rest.app.ctx.inflight == 0
    assert (await rest.put("/kv/a", b"2")).status == 200
    assert (await rest.call("GET", "/kv/a")).json["value"] == 2


async def test_a_client_that_hangs_up_amid_its_body_leaves_nothing_behind(rest: Rest) -> None:
    """Half a body is no request."""
    writer = await rest.connect()
    writer.write(b'PUT /kv/a HTTP/1.1\r\nContent-Length: 11\r\n\r\n{"val')
    await eventually(lambda: rest.app.ctx.held_bytes > 0)
    writer.close()
    await eventually(lambda: rest.app.ctx.held_bytes == 0)
    assert not rest.service.operations


async def test_an_answer_is_not_disturbed_by_the_next(rest: Rest) -> None:
    """Errors leave a connection usable where the request could be read to its end."""
    rest.service.answer = lambda _: Outcome(Status.UNKNOWN, reason="lost")
    bad = b'PUT /kv/a HTTP/1.1\r\nContent-Length: 11\r\n\r\n{"value":1}'
    answers = await rest.raw(bad, bad, b"GET /kv/%zz HTTP/1.1\r\n\r\n", b"GET /healthz HTTP/1.1\r\n" + END)
    assert re.findall(rb"HTTP/1\.1 (\d+)", answers) == [b"503", b"503", b"400", b"200"]


async def test_a_crash_keeps_the_connection(rest: Rest) -> None:
    """A defect in one request is no reason to drop the next."""

    def crash(_operation: Operation) -> Outcome:
        raise RuntimeError

    rest.service.answer = crash
    answers = await rest.raw(b"GET /kv/a HTTP/1.1\r\n\r\n", b"GET /healthz HTTP/1.1\r\n" + END)
    assert b"HTTP/1.1 500" in answers
    assert b"HTTP/1.1 200" in answers
