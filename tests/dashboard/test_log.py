"""The live tail of all nodes' log lines."""

from __future__ import annotations

from playwright.sync_api import Locator, expect

from tests.dashboard.browser import Dashboard
from tests.dashboard.local_cluster import LocalCluster


def put_and_find(dashboard: Dashboard, key: str) -> str:
    """Store a key, have the log show that request only, and return its id."""
    dashboard.send("PUT", key, "1")
    dashboard.expect_status(200)
    dashboard.page.get_by_role("button", name="find in log").click()
    expect(dashboard.at("log-line").first).to_be_visible()
    return dashboard.at("log-filter-request").input_value()


def lines_with(dashboard: Dashboard, attribute: str) -> Locator:
    """Find the lines shown that a CSS attribute selector matches."""
    return dashboard.at("log-line").and_(dashboard.page.locator(attribute))


def values(lines: Locator, attribute: str) -> set[str]:
    """Return the values of an attribute of all lines shown now."""
    found: list[str] = lines.evaluate_all(f"all => all.map(line => line.getAttribute('{attribute}'))")
    return set(found)


def test_one_request_is_found_on_every_node_it_touched(
    dashboard: Dashboard, cluster: LocalCluster, key: str
) -> None:
    """The id of a PUT finds lines of all three owners, and no line of another request."""
    request_id = put_and_find(dashboard, key)
    for worker in cluster.owners(key):
        expect(lines_with(dashboard, f"[data-node=worker-{worker}]").first).to_be_attached()
    assert values(dashboard.at("log-line"), "data-request") == {request_id}


def test_clicking_a_request_id_filters_by_it(dashboard: Dashboard, key: str) -> None:
    """A request id in a line is a button that shows the lines of that request only."""
    request_id = put_and_find(dashboard, key)
    dashboard.at("log-filter-clear").click()
    expect(dashboard.at("log-filter-request")).to_have_value("")
    dashboard.at("log-line").get_by_role("button", name=request_id).first.click()
    expect(dashboard.at("log-filter-request")).to_have_value(request_id)
    assert values(dashboard.at("log-line"), "data-request") == {request_id}


def test_lines_are_filtered_by_node_and_text(dashboard: Dashboard, key: str) -> None:
    """The filters for node and text let through what they say, and each clears again."""
    put_and_find(dashboard, key)
    dashboard.at("log-filter-clear").click()
    dashboard.at("log-filter-node").select_option("controller")
    expect(dashboard.at("log-line").filter(has_text="controller_started")).to_have_count(1)
    assert values(dashboard.at("log-line"), "data-node") == {"controller"}
    dashboard.at("log-filter-node").select_option("")
    dashboard.at("log-filter-text").fill("CONTROLLER_START")
    expect(dashboard.at("log-line")).to_have_count(1)


def test_lines_are_filtered_by_lowest_level(dashboard: Dashboard, key: str) -> None:
    """The filter for the level hides all lines below it."""
    put_and_find(dashboard, key)
    dashboard.at("log-filter-level").select_option("error")
    expect(dashboard.at("log-line")).to_have_count(0)
    dashboard.at("log-filter-level").select_option("info")
    expect(dashboard.at("log-line").first).to_be_visible()


def test_the_tail_stands_still_while_paused(dashboard: Dashboard, key: str) -> None:
    """While paused no line is added and those held back are counted; after it they are shown."""
    dashboard.at("log-pause").click()
    dashboard.send("PUT", key, "1")
    expect(dashboard.page.get_by_text("held back")).not_to_contain_text("0 new ones")
    request_id = dashboard.at("client-answer").get_by_text("dash-").inner_text()
    lines = lines_with(dashboard, f"[data-request={request_id}]")
    expect(lines).to_have_count(0)
    dashboard.at("log-pause").click()
    expect(lines.first).to_be_visible()


def test_older_lines_come_from_the_controller(dashboard: Dashboard, key: str) -> None:
    """Going back ends where the window does: the controller's first line is among them."""
    older = dashboard.at("log-older")
    put_and_find(dashboard, key)
    dashboard.at("log-filter-clear").click()
    dashboard.at("log-filter-text").fill("controller_started")
    older.click()
    expect(older).to_be_disabled()
    expect(dashboard.at("log-line").first).to_be_visible()
