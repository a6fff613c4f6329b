"""PUT, GET and DELETE of keys through the real server: answers, values, failures."""

from __future__ import annotations

import asyncio
import http.client
import json

import pytest

from kvnode.api.body import ENVELOPE_BYTES
from kvnode.config import Limits
from kvnode.core.operations import Operation, Outcome, Status
from kvnode.core.versions import Version
from tests.unit.api.conftest import Reply, Rest, Servers

MIB = 2**20
JSON = {"Content-Type": "application/json"}


async def test_a_put_is_answered_as_clients_expect(rest: Rest) -> None:
    """PUT says success, how many copies are durable, and that the last is under way."""
    reply = await rest.put("/kv/user:1", b'{"name":"Ada"}')
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["etag"] == '"3.1.1"'
    assert reply.json == {
        "status": "success",
        "replicas": 2,
        "note": "background_write_active",
        "key": "user:1",
        "version": "3.1.1",
        "partition": rest.service.ring.partition("user:1"),
        "leader_id": 1,
    }
    assert rest.service.timeout_s == 5.0


async def test_no_note_when_all_copies_are_durable(rest: Rest) -> None:
    """With three copies there is nothing to note."""
    rest.service.pending = 0
    reply = await rest.put("/kv/a", b"1")
    assert reply.json["replicas"] == 3
    assert "note" not in reply.json


async def test_a_get_gives_back_what_was_put(rest: Rest) -> None:
    """GET answers with the value, its version, and whose copy was read."""
    await rest.put("/kv/a", b'{"x": [1, 2]}')
    reply = await rest.call("GET", "/kv/a")
    assert reply.status == 200
    assert reply.headers["etag"] == '"3.1.1"'
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.json == {
        "found": True,
        "value": {"x": [1, 2]},
        "node_id": 1,
        "version": "3.1.1",
        "key": "a",
        "leader_id": 1,
    }


async def test_the_copy_of_another_worker_is_named(rest: Rest) -> None:
    """``node_id`` is the worker whose copy was read; an unknown leader is null."""
    rest.service.answer = lambda _: Outcome(Status.OK, Version(1, 2, 3), b"true", node=4)
    reply = await rest.call("GET", "/kv/a")
    assert (reply.json["node_id"], reply.json["leader_id"]) == (4, None)


async def test_head_is_get_without_a_body(rest: Rest) -> None:
    """HEAD tells existence, version and length."""
    await rest.put("/kv/a", b"1")
    got, head = await rest.call("GET", "/kv/a"), await rest.call("HEAD", "/kv/a")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["etag"] == got.headers["etag"]
    assert int(head.headers["content-length"]) == len(got.body)
    assert (await rest.call("HEAD", "/kv/b")).status == 404


async def test_an_absent_key_is_404(rest: Rest) -> None:
    """GET and DELETE of nothing have a normal answer, not a problem."""
    for method in ("GET", "DELETE"):
        reply = await rest.call(method, "/kv/nothing")
        assert reply.status == 404
        assert reply.headers["content-type"] == "application/json"
        assert reply.json == {"found": False, "key": "nothing", "node_id": 1}


async def test_a_delete_is_a_write(rest: Rest) -> None:
    """DELETE answers like PUT, and the key is absent afterwards."""
    await rest.put("/kv/a", b"1")
    reply = await rest.call("DELETE", "/kv/a")
    assert reply.status == 200
    assert reply.headers["etag"] == '"3.1.2"'
    assert (reply.json["status"], reply.json["replicas"], reply.json["version"]) == ("success", 2, "3.1.2")
    assert reply.json["note"] == "background_write_active"
    assert (await rest.call("GET", "/kv/a")).status == 404
    assert (await rest.call("DELETE", "/kv/a")).status == 404


async def test_a_local_read_says_so(rest: Rest) -> None:
    """``?consistency=local`` is handed on and shown in the answer."""
    await rest.put("/kv/a", b"1")
    local = await rest.call("GET", "/kv/a?consistency=local")
    assert local.json["consistency"] == "local"
    assert rest.service.operations[-1].local
    strong = await rest.call("GET", "/kv/a?consistency=linearizable")
    assert "consistency" not in strong.json
    assert not rest.service.operations[-1].local


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("GET", "?consistency=quorum"),
        ("GET", "?consistency="),
        ("GET", "?consistancy=local"),
        ("GET", "?x"),
        ("PUT", "?ttl_s=5"),
        ("PUT", "?consistency=local"),
        ("DELETE", "?recurse=true"),
    ],
)
async def test_unknown_parameters_are_refused(rest: Rest, method: str, query: str) -> None:
    """What would be ignored in silence is an error."""
    reply = await rest.call(method, f"/kv/a{query}", b'{"value":1}' if method == "PUT" else None, JSON)
    assert (reply.status, reply.problem) == (400, "invalid_parameter")
    assert not rest.service.operations


@pytest.mark.parametrize(
    "value",
    [
        "null",
        "true",
        "-0",
        "1.0",
        "1e400",
        "123456789012345678901234567890",
        '""',
        '"\\u0000\\ud83d\\ude00\\/"',
        '"日本語😀"',
        "[]",
        '{"a":[{"b":null}],"found":false}',
        "[" * 128 + "]" * 128,
    ],
)
async def test_values_come_back_byte_for_byte(rest: Rest, value: str) -> None:
    """The value in the answer is the text that was put."""
    await rest.put("/kv/a", value.encode())
    reply = await rest.call("GET", "/kv/a")
    assert b'"value":' + value.encode() + b"," in reply.body


async def test_a_value_of_full_size_passes_and_one_byte_more_does_not(rest: Rest) -> None:
    """The limit is on the value alone, a string's quotes left out, exact to the byte; the answer names it."""
    assert (await rest.put("/kv/big", b"[" + b"1" * (MIB - 1) + b"]")).status == 413
    assert (await rest.put("/kv/big", b"[" + b"1" * (MIB - 2) + b"]")).status == 200
    text = b'"' + b"x" * MIB + b'"'
    assert (await rest.put("/kv/big", text)).status == 200
    got = await rest.call("GET", "/kv/big")
    assert text in got.body
    reply = await rest.put("/kv/big", b'"' + b"y" * (MIB + 1) + b'"')
    assert (reply.status, reply.problem) == (413, "value_too_large")
    assert "1048577" in str(reply.json["detail"])
    assert "1048576" in str(reply.json["detail"])
    assert reply.json["outcome"] == "not_stored"
    assert (await rest.call("GET", "/kv/big")).body == got.body


async def test_line_breaks_do_not_count_as_value(rest: Rest) -> None:
    """A value is measured as it is kept."""
    text = b"[\r\n" + b"1,\n" * (MIB // 2 - 2) + b"1 \n]"
    assert (await rest.call("PUT", "/kv/a", b'{"value":' + text[: MIB // 2] + b"1]}", JSON)).status == 200


@pytest.mark.parametrize("size", [MIB + ENVELOPE_BYTES, 5 * MIB])
async def test_a_body_far_too_large_is_answered_not_cut_off(rest: Rest, size: int) -> None:
    """A client that sends all before it listens hears the 413, and may go on."""
    connection = http.client.HTTPConnection("127.0.0.1", rest.server.port, timeout=10)

    def send() -> tuple[int, bytes]:
        connection.request("PUT", "/kv/a", b'{"value":"' + b"x" * size + b'"}', JSON)
        response = connection.getresponse()
        return response.status, response.read()

    status, body = await asyncio.to_thread(send)
    assert status == 413
    assert json.loads(body)["type"].endswith("body_too_large")
    assert "1048576" in json.loads(body)["detail"]

    def again() -> int:
        connection.request("GET", "/healthz")
        return connection.getresponse().status

    assert await asyncio.to_thread(again) == 200
    connection.close()


async def test_chunked_uploads_are_as_good(rest: Rest) -> None:
    """A body without a length is read to its end, and bounded alike."""

    async def chunks(*parts: bytes) -> object:
        for part in parts:
            yield part

    reply = await rest.call("PUT", "/kv/a", chunks(b'{"val', b'ue":', b'"x"}'), JSON)  # type: ignore[arg-type]
    assert reply.status == 200
    assert (await rest.call("GET", "/kv/a")).json["value"] == "x"
    parts = [b'{"value":"', *[b"y" * 65536] * 40, b'"}']
    reply = await rest.call("PUT", "/kv/a", chunks(*parts), JSON)  # type: ignore[arg-type]
    assert (reply.status, reply.problem) == (413, "body_too_large")


async def test_limits_follow_the_configuration(servers: Servers) -> None:
    """Another limit is another limit."""
    rest = await servers.start(limits=Limits(value_bytes=10, request_timeout_ms=250))
    assert (await rest.put("/kv/a", b'"1234567890"')).status == 200
    assert (await rest.put("/kv/a", b'"12345678901"')).status == 413
    assert rest.service.timeout_s == 0.25


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/jsonx",
        "json",
        "",
    ],
)
async def test_a_wrong_content_type_is_415(rest: Rest, content_type: str) -> None:
    """Only JSON in UTF-8 is read, and the answer says what is expected."""
    reply = await rest.call("PUT", "/kv/a", b'{"value":1}', {"Content-Type": content_type})
    assert (reply.status, reply.problem) == (415, "unsupported_media_type")
    assert "application/json" in str(reply.json["detail"])
    assert reply.json["outcome"] == "not_stored"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        JSON,
        {"Content-Type": "Application/JSON"},
        {"Content-Type": "application/json; charset=UTF-8"},
        {"Content-Type": 'application/json;charset="utf-8"'},
        {**JSON, "Content-Encoding": "identity"},
    ],
)
async def test_right_content_types_pass(rest: Rest, headers: dict[str, str]) -> None:
    """JSON may be declared in any of its spellings, or not at all."""
    assert (await rest.call("PUT", "/kv/a", b'{"value":1}', headers)).status == 200


async def test_compressed_bodies_are_415(rest: Rest) -> None:
    """No content coding is understood."""
    reply = await rest.call("PUT", "/kv/a", b"\x1f\x8b", {**JSON, "Content-Encoding": "gzip"})
    assert (reply.status, reply.problem) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b'{"value":"\xff"}', "invalid_utf8"),
        (b'{"value":"\\ud800"}', "lone_surrogate"),
        (b'{"value":1,"value":2}', "duplicate_field"),
        (b'{"value":1,"ttl":2}', "unknown_field"),
        (b"{}", "missing_value"),
        (b"[1]", "not_an_object"),
        (b'{"value":' + b"[" * 129 + b"]" * 129 + b"}", "nesting_too_deep"),
        (b'{"value":' + b"[" * 100_000, "nesting_too_deep"),
    ],
)
async def test_bad_bodies_are_400(rest: Rest, body: bytes, problem: str) -> None:
    """The client hears what was wrong, and that nothing was stored."""
    reply = await rest.call("PUT", "/kv/a", body, JSON)
    assert (reply.status, reply.problem) == (400, problem)
    assert reply.json["outcome"] == "not_stored"
    assert not rest.service.operations


FAILURES = [
    (Status.NOT_STORED, 503, "not_stored", "not_stored"),
    (Status.NOT_LEADER, 503, "not_stored", "not_stored"),
    (Status.UNKNOWN, 503, "outcome_unknown", "unknown"),
    (Status.OVERLOADED, 503, "overloaded", "not_stored"),
    (Status.NO_SPACE, 507, "no_space", "not_stored"),
    (Status.UNAVAILABLE, 503, "unavailable", "unknown"),
    (Status.CONDITION_FAILED, 412, "condition_failed", "not_stored"),
]


@pytest.mark.parametrize(("status", "code", "problem", "stored"), FAILURES)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_failures_are_honest(
    rest: Rest, method: str, status: Status, code: int, problem: str, stored: str
) -> None:
    """A failed write says whether it may be stored; 503 says when to try again, and why."""
    rest.service.answer = lambda _: Outcome(status, reason="because")
    reply = await rest.call(method, "/kv/a", b'{"value":1}' if method == "PUT" else None)
    assert (reply.status, reply.problem) == (code, problem)
    assert reply.json["detail"] == "because"
    assert reply.json.get("outcome") == (None if method == "GET" else stored)
    assert reply.headers.get("retry-after") == ("1" if code == 503 else None)


async def test_a_defect_is_500_and_its_outcome_unknown(rest: Rest) -> None:
    """An exception tells clients nothing of our insides, and claims nothing about the write."""

    def crash(_operation: Operation) -> Outcome:
        raise ZeroDivisionError("secret")

    rest.service.answer = crash
    reply: Reply = await rest.put("/kv/a", b"1")
    assert (reply.status, reply.problem) == (500, "internal_server_error")
    assert reply.json["outcome"] == "unknown"
    assert b"secret" not in reply.body
    got = await rest.call("GET", "/kv/a")
    assert got.status == 500
    assert "outcome" not in got.json
