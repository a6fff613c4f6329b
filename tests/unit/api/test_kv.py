"""PUT, GET and DELETE of keys through the real server: answers, errors, conditions."""

from __future__ import annotations

import json

import msgspec
import pytest

from kvnode.config import Limits
from kvnode.core.operations import Condition, Outcome, Status
from kvnode.core.versions import Version
from tests.unit.api.conftest import Rest, Servers


async def test_a_put_is_answered_as_clients_expect(rest: Rest) -> None:
    """PUT says success, how many copies are durable, and that the last is under way."""
    answer = await rest.put("/kv/user:1", b'{"name":"Ada"}')
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["etag"] == '"3.1.1"'
    assert answer.json == {
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
    answer = await rest.put("/kv/a", b"1")
    assert answer.json["replicas"] == 3
    assert "note" not in answer.json


async def test_a_get_gives_back_what_was_put(rest: Rest) -> None:
    """GET answers with the value, its version, and whose copy was read."""
    await rest.put("/kv/a", b'{"x": [1, 2]}')
    answer = await rest.call("GET", "/kv/a")
    assert answer.status == 200
    assert answer.headers["etag"] == '"3.1.1"'
    assert answer.json == {
        "found": True,
        "value": {"x": [1, 2]},
        "node_id": 1,
        "version": "3.1.1",
        "key": "a",
        "leader_id": 1,
    }


async def test_an_absent_key_is_404(rest: Rest) -> None:
    """GET of nothing is a normal answer, not a problem."""
    answer = await rest.call("GET", "/kv/nothing")
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {"found": False, "key": "nothing", "node_id": 1}
