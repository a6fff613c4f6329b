"""If-Match and If-None-Match through the real server, deleted keys included."""

from __future__ import annotations

import pytest

from kvnode.core.operations import Condition
from kvnode.core.versions import Version
from tests.unit.api.conftest import Reply, Rest

PRESENT, DELETED, NEVER = "present", "deleted", "never"
STATES = (PRESENT, DELETED, NEVER)


async def prepare(rest: Rest, state: str) -> None:
    """Bring the key ``a`` into a state; its newest version is 3.1.1 or, deleted, 3.1.2."""
    if state != NEVER:
        await rest.put("/kv/a", b'"old"')
    if state == DELETED:
        await rest.call("DELETE", "/kv/a")


async def write(rest: Rest, method: str, headers: dict[str, str]) -> Reply:
    """PUT or DELETE the key ``a``."""
    if method == "PUT":
        return await rest.put("/kv/a", b'"new"', headers)
    return await rest.call("DELETE", "/kv/a", headers=headers)


@pytest.mark.parametrize(
    ("headers", "held_by"),
    [
        ({"If-Match": "*"}, {PRESENT}),
        ({"If-Match": '"3.1.1"'}, {PRESENT}),
        ({"If-Match": '"9.9.9", "3.1.1"'}, {PRESENT}),
        ({"If-Match": 'W/"3.1.1"'}, set()),
        ({"If-Match": '"3.1.2"'}, set()),
        ({"If-Match": '"anything"'}, set()),
        ({"If-None-Match": "*"}, {DELETED, NEVER}),
        ({"If-Match": "*", "If-None-Match": "*"}, set()),
    ],
)
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_conditional_writes(
    rest: Rest, method: str, state: str, headers: dict[str, str], held_by: set[str]
) -> None:
    """A write happens when its condition holds, and is a 412 with the version in the way when not."""
    await prepare(rest, state)
    reply = await write(rest, method, headers)
    if state in held_by:
        assert reply.status == (404 if method == "DELETE" and state != PRESENT else 200)
        return
    assert (reply.status, reply.problem) == (412, "condition_failed")
    assert str(reply.json["detail"]).startswith("the condition does not hold: the key")
    assert reply.json["outcome"] == "not_stored"
    assert reply.json.get("version") == {PRESENT: "3.1.1", DELETED: "3.1.2", NEVER: None}[state]
    assert (await rest.call("GET", "/kv/a")).status == (200 if state == PRESENT else 404)


async def test_the_etag_of_an_answer_guards_the_next_write(rest: Rest) -> None:
    """Compare-and-set by ETag: the second writer with the same tag is refused."""
    first = await rest.put("/kv/a", b"1", {"If-None-Match": "*"})
    second = await rest.put("/kv/a", b"2", {"If-Match": first.headers["etag"]})
    assert second.status == 200
    assert (await rest.put("/kv/a", b"3", {"If-Match": first.headers["etag"]})).status == 412
    assert (await rest.call("DELETE", "/kv/a", headers={"If-Match": second.headers["etag"]})).status == 200


async def test_the_condition_is_decided_by_the_leader(rest: Rest) -> None:
    """The worker hands the condition on and decides nothing itself."""
    await rest.put("/kv/a", b"1", {"If-Match": '"7.2.9",W/"1.1.1", "x"'})
    assert rest.service.operations[-1].condition == Condition(any_of=(Version(7, 2, 9),))
    await rest.put("/kv/a", b"1")
    assert rest.service.operations[-1].condition is None


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("value", ["3.1.1", '"a', "", '*, "a"'])
async def test_malformed_tags_are_400(rest: Rest, method: str, name: str, value: str) -> None:
    """A condition that cannot be read is never ignored."""
    reply = await rest.call(method, "/kv/a", b'{"value":1}' if method == "PUT" else None, {name: value})
    assert (reply.status, reply.problem) == (400, "invalid_etag")
    assert not rest.service.operations


async def test_a_write_cannot_name_versions_to_avoid(rest: Rest) -> None:
    """If-None-Match with tags is for reads."""
    reply = await rest.put("/kv/a", b"1", {"If-None-Match": '"3.1.1"'})
    assert (reply.status, reply.problem) == (400, "unsupported_condition")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": '"3.1.1"'}, 304),
        ({"If-None-Match": 'W/"3.1.1"'}, 304),
        ({"If-None-Match": '"9.9.9", "3.1.1"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"3.1.2"'}, 200),
        ({"If-Match": '"3.1.1"'}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": 'W/"3.1.1"'}, 412),
        ({"If-Match": '"3.1.2"'}, 412),
        ({"If-Match": '"3.1.2"', "If-None-Match": '"3.1.1"'}, 412),
        ({"If-Match": '"3.1.1"', "If-None-Match": '"3.1.1"'}, 304),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_conditional_reads(rest: Rest, method: str, headers: dict[str, str], status: int) -> None:
    """If-Match is asked first and compares strongly, If-None-Match second and weakly."""
    await prepare(rest, PRESENT)
    reply = await rest.call(method, "/kv/a", headers=headers)
    assert reply.status == status
    if status == 304:
        assert reply.body == b""
        assert reply.headers["etag"] == '"3.1.1"'
        assert "content-type" not in reply.headers
    if status == 412 and method == "GET":
        assert reply.problem == "condition_failed"
        assert reply.json["version"] == "3.1.1"


@pytest.mark.parametrize("state", [DELETED, NEVER])
@pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
async def test_a_read_of_nothing_is_404_whatever_its_condition(rest: Rest, state: str, name: str) -> None:
    """Preconditions only matter to what would else succeed."""
    await prepare(rest, state)
    assert (await rest.call("GET", "/kv/a", headers={name: "*"})).status == 404


async def test_a_connection_lives_on_after_304(rest: Rest) -> None:
    """A 304 has no body, so the next request on the connection is understood."""
    await prepare(rest, PRESENT)
    request = b'GET /kv/a HTTP/1.1\r\nIf-None-Match: "3.1.1"\r\n\r\n'
    answers = await rest.raw(request, b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answers.startswith(b"HTTP/1.1 304")
    assert b"HTTP/1.1 200" in answers
