"""The client panel."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

from tests.dashboard.browser import Dashboard
from tests.dashboard.local_cluster import LocalCluster


def test_a_put_stands_on_exactly_three_cards(dashboard: Dashboard, cluster: LocalCluster, key: str) -> None:
    """A key stored by the client appears on its three owners' cards, and on no other, by itself."""
    dashboard.show_keys(key)
    dashboard.send("PUT", key, '{"name": "Ada", "born": 1815}')
    dashboard.expect_status(200)
    assert dashboard.body()["replicas"] in {2, 3}
    owners = cluster.owners(key)
    assert len(owners) == 3
    dashboard.expect_key_on(owners, key)
    for worker in owners:
        expect(dashboard.key_on(worker, key)).to_contain_text('{"name":"Ada","born":1815}')


def test_what_was_put_is_got_and_deleted(dashboard: Dashboard, cluster: LocalCluster, key: str) -> None:
    """GET shows the value and its version, DELETE takes the key off every card, and GET then says 404."""
    dashboard.show_keys(key)
    dashboard.send("PUT", key, "[1, 2.50, null]")
    dashboard.expect_key_on(cluster.owners(key), key)
    dashboard.send("GET", key)
    dashboard.expect_status(200)
    body = dashboard.body()
    assert body["found"] is True
    assert body["value"] == [1, 2.5, None]
    expect(dashboard.at("client-answer")).to_contain_text("2.50")
    expect(dashboard.at("client-answer")).to_contain_text(body["version"])
    dashboard.send("DELETE", key)
    dashboard.expect_status(200)
    dashboard.expect_key_on([], key)
    dashboard.send("GET", key)
    dashboard.expect_status(404)


def test_the_chosen_node_answers(dashboard: Dashboard, cluster: LocalCluster, key: str) -> None:
    """A local read through each owner is answered from that owner's copy."""
    dashboard.show_keys(key)
    dashboard.send("PUT", key, "1")
    dashboard.expect_key_on(cluster.owners(key), key)
    dashboard.at("client-consistency").select_option("local")
    for worker in cluster.owners(key):
        dashboard.at("client-node").select_option(str(worker))
        dashboard.send("GET", key)
        dashboard.expect_status(200)
        expect(dashboard.at("client-answer")).to_contain_text(f'"node_id": {worker}')
        assert dashboard.body()["consistency"] == "local"


@pytest.mark.parametrize(
    "name",
    ["a/b//c/", "日本/💡", "100% %2F %zz", "a+b c?d#e&f=g", "a/../b/.", "\"quoted\" 'too' \\n", "~-._!*()"],
)
def test_a_key_arrives_as_typed(dashboard: Dashboard, cluster: LocalCluster, key: str, name: str) -> None:
    """Slashes, percent signs and any Unicode in a key, and the digits of a value, arrive unchanged."""
    whole = f"{key}/{name}"
    dashboard.send("PUT", whole, '{"n": 12345678901234567890, "d": 1.0}')
    dashboard.expect_status(200)
    assert dashboard.body()["key"] == whole
    text = cluster.get(2, whole)
    assert "12345678901234567890" in text
    assert "1.0" in text
    dashboard.show_keys(whole)
    dashboard.expect_key_on(cluster.owners(whole), whole)


def test_the_owners_of_a_key_are_named(dashboard: Dashboard, cluster: LocalCluster, key: str) -> None:
    """Below the key stand its partition's replicas, the primary first, and its leader."""
    dashboard.at("client-key").fill(key)
    primary, *others = cluster.owners(key)
    marks = r"\s*".join(map(str, [primary, *others]))
    named = re.compile(rf"on\s*{marks}\s*led by {primary}")
    expect(dashboard.at("client-owners")).to_contain_text(named)


def test_a_stale_condition_is_refused(dashboard: Dashboard, key: str) -> None:
    """The version of an answer can be made the condition of the next write, which holds only once."""
    dashboard.send("PUT", key, "1")
    dashboard.expect_status(200)
    dashboard.page.get_by_role("button", name="use as If-Match").click()
    dashboard.send("PUT", key, "2")
    dashboard.expect_status(200)
    dashboard.send("PUT", key, "3")
    dashboard.expect_status(412)
    assert dashboard.body()["outcome"] == "not_stored"


def test_wrong_json_is_not_sent(dashboard: Dashboard, cluster: LocalCluster, key: str) -> None:
    """What is no JSON is refused with a reason before anything is sent; Ctrl+Enter sends what is."""
    dashboard.at("client-key").fill(key)
    value = dashboard.at("client-value")
    value.fill('{"a": 1,}')
    dashboard.at("client-put").click()
    expect(dashboard.page.get_by_text("Not JSON")).to_be_visible()
    assert not [url for url in dashboard.requests if "/kv/" in url]
    value.fill('{"a": 1}')
    value.press("Control+Enter")
    dashboard.expect_status(200)
    assert json.loads(cluster.get(1, key))["value"] == {"a": 1}
