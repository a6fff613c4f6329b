"""Request ids, the log of requests, and the bound on those under way."""

from __future__ import annotations

import asyncio
from time import perf_counter

import pytest
from structlog.testing import LogCapture

from kvnode.config import Limits, LoggingConfig
from kvnode.core.operations import Operation, Outcome, Status
from tests.support.waiting import eventually
from tests.unit.api.conftest import Rest, Servers

ID = {"X-Request-ID": "order-17 / retry 2"}


def answered(events: LogCapture) -> list[dict[str, object]]:
    """Return the log's entries on answered requests."""
    return [dict(entry) for entry in events.entries if entry["event"] == "request_answered"]


async def test_a_request_id_is_echoed_handed_on_and_logged(rest: Rest, events: LogCapture) -> None:
    """The client's id finds the request everywhere."""
    reply = await rest.put("/kv/a", b"1", ID)
    assert reply.headers["x-request-id"] == ID["X-Request-ID"]
    assert rest.service.operations[-1].request_id == ID["X-Request-ID"]
    (entry,) = answered(events)
    assert entry["request_id"] == ID["X-Request-ID"]
    assert (entry["method"], entry["path"], entry["status"]) == ("PUT", "/kv/a", 200)
    assert entry["log_level"] == "info"
    assert float(str(entry["duration_ms"])) >= 0


async def test_without_an_id_one_is_made_and_nothing_is_logged(rest: Rest, events: LogCapture) -> None:
    """Ordinary requests cost no log line and no trace."""
    first, second = await rest.put("/kv/a", b"1"), await rest.call("GET", "/kv/a")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert {operation.request_id for operation in rest.service.operations} == {None}
    assert not events.entries


@pytest.mark.parametrize("value", ["", "x" * 129, "é", "a\tb"])
@pytest.mark.parametrize("target", ["/kv/a", "/partition/a", "/healthz", "/nope"])
async def test_a_bad_request_id_is_400(rest: Rest, target: str, value: str) -> None:
    """The answer carries a new id instead."""
    reply = await rest.call("GET", target, headers={"X-Request-ID": value})
    assert (reply.status, reply.problem) == (400, "invalid_request_id")
    assert reply.headers["x-request-id"] != value


async def test_a_request_id_may_be_given_once(rest: Rest) -> None:
    """Two ids are none."""
    head = b"GET /kv/a HTTP/1.1\r\nX-Request-ID: a\r\nX-Request-ID: b\r\nConnection: close\r\n\r\n"
    assert b"invalid_request_id" in await rest.raw(head)


@pytest.mark.parametrize("value", ["x", "x" * 128, "a b", "~!\"'{}"])
async def test_any_printable_ascii_is_a_request_id(rest: Rest, value: str) -> None:
    """Errors echo it as well."""
    for target in ("/kv/a", "/kv/%zz", "/nope"):
        assert (await rest.call("GET", target, headers={"X-Request-ID": value})).headers[
            "x-request-id"
        ] == value


async def test_failures_are_logged(rest: Rest, events: LogCapture) -> None:
    """A 5xx is logged with the id that the client got."""
    rest.service.answer = lambda _: Outcome(Status.UNKNOWN, reason="lost")
    reply = await rest.put("/kv/a", b"1")
    (entry,) = answered(events)
    assert (entry["status"], entry["log_level"]) == (503, "warning")
    assert entry["request_id"] == reply.headers["x-request-id"]


async def test_defects_are_logged_in_full(rest: Rest, events: LogCapture) -> None:
    """The exception that a client is not told stands in the log."""
    failure = ZeroDivisionError("here")

    def crash(_operation: Operation) -> Outcome:
        raise failure

    rest.service.answer = crash
    reply = await rest.call("GET", "/kv/a")
    (entry,) = [entry for entry in events.entries if entry["event"] == "request_crashed"]
    assert entry["exc_info"] is failure
    assert entry["request_id"] == reply.headers["x-request-id"]


async def test_slow_requests_are_logged(servers: Servers, events: LogCapture) -> None:
    """What takes longer than the limit is logged without being asked."""
    rest = await servers.start(limits=Limits(slow_request_ms=20))

    def slow(_operation: Operation) -> Outcome:
        begun_s = perf_counter()
        while perf_counter() < begun_s + 0.025:
            pass
        return Outcome(Status.ABSENT)

    rest.service.answer = slow
    await rest.call("GET", "/kv/slow")
    assert [entry["path"] for entry in answered(events)] == ["/kv/slow"]


async def test_a_share_of_requests_is_sampled(servers: Servers, events: LogCapture) -> None:
    """A sampled request is traced as if it had brought an id."""
    rest = await servers.start(logging=LoggingConfig(sample=1.0))
    reply = await rest.call("GET", "/kv/a")
    assert rest.service.operations[-1].request_id == reply.headers["x-request-id"]
    assert len(answered(events)) == 1


async def test_too_many_requests_are_refused_at_once(servers: Servers) -> None:
    """Past the bound the answer is 503 with Retry-After, and nothing was stored; views still answer."""
    rest = await servers.start(limits=Limits(inflight_requests=2))
    rest.service.hold()
    async with asyncio.TaskGroup() as group:
        under_way = [group.create_task(rest.put(f"/kv/{n}", b"1")) for n in range(2)]
        await eventually(lambda: rest.service.waiting == 2)
        put, got = await rest.put("/kv/c", b"1"), await rest.call("GET", "/kv/c")
        assert (put.status, put.problem, put.headers["retry-after"]) == (503, "overloaded", "1")
        assert put.json["outcome"] == "not_stored"
        assert (got.status, "outcome" in got.json) == (503, False)
        assert (await rest.call("GET", "/healthz")).status == 200
        assert (await rest.call("GET", "/partition/a")).status == 200
        assert b"kvnode_inflight_requests 2.0" in (await rest.call("GET", "/metrics")).body
        rest.service.release()
    assert [task.result().status for task in under_way] == [200, 200]
    assert (await rest.put("/kv/c", b"1")).status == 200
    assert rest.app.ctx.inflight == 0
