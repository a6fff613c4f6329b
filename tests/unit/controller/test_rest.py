"""The controller's own routes on a real server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest

from kvnode.controller.app import Controller
from kvnode.controller.view import SILENCE_S
from kvnode.errors import MismatchError, PeerError
from kvnode.logs import LogBuffer
from tests.conftest import find_free_ports
from tests.support.waiting import eventually
from tests.unit.controller.building import controller_config, hello, log_line, report, status
from tests.unit.controller.conftest import Clock, FakeLister


async def get(http: aiohttp.ClientSession, path: str, expected: int = 200) -> dict[str, object]:
    """Return the JSON that a path answers with."""
    async with http.get(path) as answer:
        assert answer.status == expected
        decoded: dict[str, object] = await answer.json(content_type=None)
        return decoded


async def test_status_shows_the_cluster(http: aiohttp.ClientSession) -> None:
    """One answer has workers, partitions, ring and logs."""
    shown = await get(http, "/status")
    assert set(shown) == {"cluster", "health", "partitions", "workers", "ring", "logs"}
    assert shown["health"] == "healthy"
    assert isinstance(shown["workers"], list)
    assert shown["workers"][0]["rest_address"].startswith("http://127.0.0.1:")
    assert shown["workers"][0]["grpc_address"] == "127.0.0.1:6001"


async def test_silence_shows(http: aiohttp.ClientSession, controller: Controller, clock: Clock) -> None:
    """Workers that stop reporting are shown offline, and the controller is no longer ready."""
    assert (await get(http, "/readyz"))["ready"] is True
    clock.now += SILENCE_S + 0.1
    await eventually(lambda: controller.view.workers_online == 0)
    shown = await get(http, "/readyz", 503)
    assert shown["reasons"] == ["0 of 4 workers are online, 3 are needed"]
    assert (await get(http, "/healthz"))["status"] == "ok"


async def test_partition_names_where_a_key_lives(
    raw_get: Callable[[bytes], Awaitable[bytes]], http: aiohttp.ClientSession, controller: Controller
) -> None:
    """The same answer as a worker's: the primary first, addresses beside ids, and the leader."""
    place = controller.view.place("a/../ü")
    shown = await get(http, "/partition/a%2F..%2F%C3%BC")
    assert shown["key"] == "a/../ü"
    assert shown["partition"] == place.partition
    assert shown["replica_node_ids"] == list(place.replicas)
    assert shown["primary_id"] == place.replicas[0]
    assert shown["primary_address"] == controller.view.rest_address(place.replicas[0])
    assert shown["leader_id"] == place.partition % 4 + 1
    assert b'"key":"../b//"' in await raw_get(b"GET /partition/../b//")
    assert (await raw_get(b"GET /partition/%ff")).startswith(b"HTTP/1.1 400 ")
    assert (await raw_get(b"GET /partition/")).startswith(b"HTTP/1.1 400 ")


async def test_keys_of_a_worker(http: aiohttp.ClientSession, lister: FakeLister) -> None:
    """Values come as they were stored, long ones not at all."""
    async with http.get("/workers/2/keys?prefix=%C3%BC&after=a%2Fb&limit=7") as answer:
        text = await answer.text()
    assert lister.asked == [(2, "ü", "a/b", 7)]
    assert '"value":{"b":1.50}' in text
    shown = await get(http, "/workers/2/keys")
    assert lister.asked[-1] == (2, "", "", 50)
    assert isinstance(shown["keys"], list)
    assert [key["truncated"] for key in shown["keys"]] == [False, True, True]
    assert [key["value"] for key in shown["keys"][1:]] == [None, None]
    assert shown["keys"][0]["version"] == "3.1.42"
    assert shown["next_after"] == "ü/c"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/workers/9/keys", 404),
        ("/workers/4/keys", 503),
        ("/workers/1/keys?limit=0", 400),
        ("/workers/1/keys?limit=201", 400),
        ("/workers/1/keys?limit=x", 400),
        ("/logs?level=loud", 400),
        ("/logs?before=-1", 400),
        ("/logs?limit=100000", 400),
        ("/nothing", 404),
        ("/assets/nothing.js", 404),
    ],
)
async def test_what_cannot_be_answered_is_a_problem(
    http: aiohttp.ClientSession, path: str, expected: int
) -> None:
    """Refusals are problem+json and say what was wrong."""
    async with http.get(path) as answer:
        assert answer.content_type == "application/problem+json"
    shown = await get(http, path, expected)
    assert shown["status"] == expected
    assert shown["detail"]
    assert str(shown["type"]).startswith("urn:kvnode:problem:")


async def test_a_wrong_method_names_the_right_ones(http: aiohttp.ClientSession) -> None:
    """405 comes with Allow, and says the same in words."""
    async with http.delete("/status") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD"
        assert (await answer.json())["detail"] == "'DELETE' is not allowed here: expected one of GET, HEAD"


async def test_an_unknown_path_is_told_the_known_ones(http: aiohttp.ClientSession) -> None:
    """404 says what there is."""
    assert "/partition/{key}" in str((await get(http, "/nothing", 404))["detail"])


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/status", "/metrics", "/logs", "/partition/a"])
async def test_head_is_answered_wherever_get_is(http: aiohttp.ClientSession, path: str) -> None:
    """With the same status and no body."""
    async with http.get(path) as full, http.head(path) as head:
        assert (head.status, await head.read()) == (full.status, b"")
        assert head.content_type == full.content_type


async def test_a_write_that_is_not_sent_on_says_that_it_is_not_stored(http: aiohttp.ClientSession) -> None:
    """Refused by the controller itself: for its size, or for its target."""
    async with http.put("/kv/a", data=BytesIO(bytes(10 << 20))) as answer:
        assert (answer.status, (await answer.json())["outcome"]) == (413, "not_stored")
    async with http.put("/kv/a?node=9", data=b"{}") as answer:
        assert (answer.status, (await answer.json())["outcome"]) == (400, "not_stored")


async def test_logs_of_all_nodes_can_be_searched(
    http: aiohttp.ClientSession, controller: Controller, own_logs: LogBuffer
) -> None:
    """Workers' lines come with their reports, the controller's own from its buffer."""
    controller.report(hello(1), report(status(1), [log_line(1, request_id="abc"), log_line(2)]))
    controller.report(hello(2), report(status(2), [log_line(3, "error", request_id="abc")]))
    own_logs.append(log_line(4, request_id="abc"))

    await eventually(lambda: len(controller.logs) == 4)
    shown = await get(http, "/logs?request_id=abc")
    assert isinstance(shown["lines"], list)
    assert [line["node"] for line in shown["lines"]] == ["worker-1", "worker-2", "controller"]
    shown = await get(http, "/logs?level=error&node=worker-2")
    assert isinstance(shown["lines"], list)
    assert shown["lines"][0]["fields"] == {"n": 3}
    assert shown["next_before"] is None


async def test_metrics_tell_of_the_cluster(http: aiohttp.ClientSession) -> None:
    """A scrape sees the view as of now."""
    async with http.get("/metrics") as answer:
        text = await answer.text()
    assert "kvnode_cluster_healthy 1.0" in text
    assert 'kvnode_cluster_worker_online{worker="4"} 1.0' in text
    assert "kvnode_controller_workers_online 4.0" in text


async def test_the_dashboard_is_served(lister: FakeLister, tmp_path: Path) -> None:
    """Its files come with their types and a strict policy; the first page is the index."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "assets" / "index-12345678.js").write_text("1")
    [port] = find_free_ports(1)
    config = controller_config((1, 2, 3, 4), port)
    controller = Controller(config, lister, release="0.1.0", dashboard=tmp_path)
    await controller.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            async with http.get("/") as page:
                assert await page.text() == "<!doctype html>"
                assert page.content_type == "text/html"
                assert "script-src 'self'" in page.headers["Content-Security-Policy"]
            async with http.get("/assets/index-12345678.js") as script:
                assert script.content_type == "text/javascript"
                assert "immutable" in script.headers["Cache-Control"]
            async with http.get("/assets/..%2f..%2fconfig.py") as nothing:
                assert nothing.status == 404
    finally:
        await controller.stop()


async def test_without_a_dashboard_the_first_page_says_so(http: aiohttp.ClientSession) -> None:
    """A checkout without the built files is explained, not just not found."""
    async with http.get("/") as page:
        assert page.status == 503
        assert "make dashboard" in await page.text()


async def test_a_taken_port_is_named(controller: Controller, lister: FakeLister) -> None:
    """A second controller on the port fails to start and says why."""
    second = Controller(controller_config((1, 2, 3, 4), controller.port), lister, release="0.1.0")
    with pytest.raises(PeerError, match=f"port {controller.port} is taken"):
        await second.start()
    await second.stop()


async def test_a_stranger_is_refused(controller: Controller) -> None:
    """A worker of another layout is told so and changes nothing."""
    with pytest.raises(MismatchError):
        controller.check(hello(1, layout="other"))
