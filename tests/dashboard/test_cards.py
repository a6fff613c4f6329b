"""The page as a whole and a worker's card."""

from __future__ import annotations

from playwright.sync_api import ViewportSize, expect

from tests.dashboard.browser import WORKERS, Dashboard
from tests.dashboard.conftest import OpenDashboard
from tests.dashboard.local_cluster import LocalCluster

OFFLINE_MS = 3000
BACK_MS = 60_000
PHONE = ViewportSize(width=390, height=844)


def expect_all_online(dashboard: Dashboard) -> None:
    """Wait until every card says that its worker is online and ready."""
    for worker in WORKERS:
        expect(dashboard.at(f"worker-state-{worker}")).to_have_attribute("data-state", "ready")


def test_the_page_loads_cleanly(dashboard: Dashboard) -> None:
    """The page logs no error, and asks nobody but the controller for anything."""
    expect(dashboard.at("worker-card-1")).to_be_visible()
    dashboard.page.wait_for_load_state("networkidle")
    assert not dashboard.errors
    own = (f"{dashboard.url}/", f"{dashboard.url.replace('http', 'ws')}/", "data:")
    assert [url for url in dashboard.requests if not url.startswith(own)] == []


def test_all_workers_are_online(dashboard: Dashboard, cluster: LocalCluster) -> None:
    """A healthy cluster shows four workers online, with their addresses, and all partitions led."""
    expect_all_online(dashboard)
    expect(dashboard.at("worker-state-1")).to_contain_text("Online")
    expect(dashboard.at("cluster-health")).to_have_attribute("data-health", "healthy")
    for worker in WORKERS:
        address = cluster.node_url(worker).removeprefix("http://")
        expect(dashboard.at(f"worker-card-{worker}")).to_contain_text(address)
    expect(dashboard.page.get_by_role("img", name="256 partitions led, 0 without a leader")).to_be_visible()


def test_a_killed_worker_is_shown_offline_and_comes_back(dashboard: Dashboard, cluster: LocalCluster) -> None:
    """A worker that ends by kill -9 is shown offline within three seconds, and online when it is back."""
    expect_all_online(dashboard)
    cluster.kill("worker-3")
    card = dashboard.at("worker-card-3")
    expect(card).to_have_attribute("data-online", "false", timeout=OFFLINE_MS)
    expect(dashboard.at("worker-state-3")).to_contain_text("Offline")
    expect(dashboard.at("cluster-health")).to_have_attribute("data-health", "degraded")
    expect(card).to_have_attribute("data-online", "true", timeout=BACK_MS)
    expect(dashboard.at("worker-state-3")).to_have_attribute("data-state", "ready", timeout=BACK_MS)
    expect(dashboard.at("cluster-health")).to_have_attribute("data-health", "healthy", timeout=BACK_MS)
    expect(dashboard.at("worker-repair-3")).to_contain_text("nothing differs", timeout=BACK_MS)


def test_the_feed_is_found_again_when_the_controller_returns(
    dashboard: Dashboard, cluster: LocalCluster
) -> None:
    """While the controller is away the page says once that it is old; afterwards it is live by itself."""
    expect_all_online(dashboard)
    cluster.kill("controller")
    expect(dashboard.at("feed-state")).to_have_attribute("data-feed", "lost")
    expect(dashboard.page.get_by_role("banner").get_by_role("alert")).to_contain_text("from before")
    expect(dashboard.page.get_by_role("alert")).to_have_count(1)
    expect(dashboard.at("feed-state")).to_have_attribute("data-feed", "live", timeout=BACK_MS)
    expect_all_online(dashboard)


def test_a_reload_restores_the_page(dashboard: Dashboard, cluster: LocalCluster, key: str) -> None:
    """After a reload the cards, their keys and the log are there again."""
    dashboard.send("PUT", key, "1")
    dashboard.page.reload()
    expect(dashboard.at("feed-state")).to_have_attribute("data-feed", "live")
    expect_all_online(dashboard)
    expect(dashboard.at("log-line").first).to_be_attached()
    dashboard.show_keys(key)
    dashboard.expect_key_on(cluster.owners(key), key)


def test_keys_are_shown_a_page_at_a_time(dashboard: Dashboard, cluster: LocalCluster, key: str) -> None:
    """Of many keys a card lists one page, and turns to the next and back."""
    names = [f"{key}/{number:03}" for number in range(40)]
    for name in names:
        cluster.put(name, {"n": name})
    dashboard.show_keys(key)
    card = dashboard.at("worker-card-1")
    held = [name for name in names if 1 in cluster.owners(name)]
    rows = card.get_by_test_id("key-row")
    expect(rows).to_have_count(8)
    for name in held[:8]:  # a copy may come a moment after the answer
        expect(dashboard.key_on(1, name)).to_have_count(1)
    card.get_by_role("button", name="Next page").click()
    expect(dashboard.key_on(1, held[8])).to_have_count(1)
    expect(dashboard.key_on(1, held[0])).to_have_count(0)
    card.get_by_role("button", name="Previous page").click()
    expect(dashboard.key_on(1, held[0])).to_have_count(1)


def test_a_long_value_opens_in_full(dashboard: Dashboard, cluster: LocalCluster, key: str) -> None:
    """A row shows the head of a long value, and all of it when opened."""
    text = "lorem " * 300 + "end"
    cluster.put(key, text)
    dashboard.show_keys(key)
    row = dashboard.key_on(cluster.owners(key)[0], key)
    expect(row).not_to_contain_text("end")
    row.get_by_role("button").first.click()
    expect(row.get_by_label("Value")).to_contain_text("end")


def test_a_phone_needs_no_sideways_scrolling(
    open_dashboard: OpenDashboard, cluster: LocalCluster, key: str
) -> None:
    """At 390 pixels nothing is wider than the screen, whatever stands on the page."""
    dashboard = open_dashboard(PHONE)
    long_key = key + "/" + "unbroken" * 20
    dashboard.send("PUT", long_key, '"' + "w" * 2000 + '"')
    dashboard.expect_status(200)
    dashboard.show_keys(key)
    row = dashboard.key_on(cluster.owners(long_key)[0], long_key)
    row.get_by_role("button").first.click()
    expect(row.get_by_label("Value")).to_be_visible()
    dashboard.page.get_by_role("button", name="find in log").click()
    expect(dashboard.at("log-line").first).to_be_visible()
    assert dashboard.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
