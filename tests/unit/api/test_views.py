"""Where keys live, health, readiness, status and metrics."""

from __future__ import annotations

import re

from kvnode.core.status import WorkerStatus
from tests.unit.api.conftest import Rest, Servers


async def test_partition_names_the_places_of_a_key(rest: Rest) -> None:
    """All replicas with the primary first, their REST addresses, and the leader beside them."""
    rest.service.leader = 3
    reply = await rest.call("GET", "/partition/user%2F1")
    partition = rest.service.ring.partition("user/1")
    replicas = list(rest.service.ring.preference_list(partition))
    assert reply.status == 200
    assert reply.json == {
        "key": "user/1",
        "partition": partition,
        "primary_address": f"http://127.0.0.1:{5000 + replicas[0]}",
        "primary_id": replicas[0],
        "replica_node_ids": replicas,
        "replica_addresses": [f"http://127.0.0.1:{5000 + worker}" for worker in replicas],
        "leader_id": 3,
    }


async def test_an_unknown_leader_is_null(rest: Rest) -> None:
    """Nobody is named when nobody is known."""
    rest.service.leader = 0
    assert (await rest.call("GET", "/partition/a")).json["leader_id"] is None


async def test_all_workers_tell_the_same_places(servers: Servers) -> None:
    """The ring is the same everywhere; several servers run in one process."""
    one, two = await servers.start(worker=1), await servers.start(worker=2)
    places = [await rest.call("GET", "/partition/a") for rest in (one, two)]
    assert places[0].json["replica_node_ids"] == places[1].json["replica_node_ids"]
    assert [(await rest.call("GET", "/healthz")).json["worker"] for rest in (one, two)] == [1, 2]


async def test_healthz_says_that_the_process_answers(rest: Rest) -> None:
    """Liveness asks nothing of the cluster."""
    rest.service.reasons = ["forming"]
    reply = await rest.call("GET", "/healthz")
    assert (reply.status, reply.json) == (200, {"status": "ok", "worker": 1})
    assert reply.headers["cache-control"] == "no-store"


async def test_readyz_says_why_not(rest: Rest) -> None:
    """200 when ready, else 503 with the reasons."""
    reply = await rest.call("GET", "/readyz")
    assert (reply.status, reply.json) == (200, {"ready": True, "state": "ready", "reasons": []})
    rest.service.reasons = ["3 partitions are behind"]
    reply = await rest.call("GET", "/readyz")
    assert reply.status == 503
    assert reply.json == {"ready": False, "state": "ready", "reasons": ["3 partitions are behind"]}


async def test_status_is_the_workers_own(rest: Rest) -> None:
    """All fields of a worker's status stand in its answer."""
    reply = await rest.call("GET", "/status")
    assert reply.status == 200
    assert list(reply.json) == list(WorkerStatus.__struct_fields__)


async def test_metrics_count_requests(rest: Rest) -> None:
    """Prometheus text, with requests by method and code; unknown methods share a label."""
    await rest.call("GET", "/kv/a")
    await rest.call("BREW", "/kv/a")
    reply = await rest.call("GET", "/metrics")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain")
    text = reply.body.decode()
    assert re.search(r'^kvnode_http_requests_total\{code="404",method="GET"\} \d', text, re.MULTILINE)
    assert re.search(r'^kvnode_http_requests_total\{code="405",method="other"\} \d', text, re.MULTILINE)
    assert re.search(r'^kvnode_http_request_duration_seconds_count\{method="GET"\} \d', text, re.MULTILINE)
