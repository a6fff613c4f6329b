"""Makes the picture that the README shows: ``python -m tests.dashboard.screenshot``.

It runs a cluster of its own, stores a few keys, and photographs the dashboard with them. Arguments:
the file to write (default dashboard/screenshot.png), and ``light`` or ``dark`` (default light).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, ViewportSize, expect

from tests.dashboard.browser import WORKERS, Dashboard, chromium
from tests.dashboard.local_cluster import LocalCluster
from tests.support.waiting import eventually_sync

PICTURE = Path(__file__).parents[2] / "dashboard" / "screenshot.png"
MAX_BYTES = 400 << 10
SIZE = ViewportSize(width=1440, height=1340)
SETTLED_S = 60.0
KEYS: dict[str, object] = {
    "config/rate-limits": {"requests_per_s": 250, "burst": 40},
    "config/theme": "dusk",
    "feature/new-checkout": True,
    "order/2041": {"items": 3, "total": 59.90, "paid": True},
    "order/2042": {"items": 1, "total": 12.50, "paid": False},
    "order/2043": {"items": 8, "total": 141.00, "paid": True},
    "session/3f9c": {"user": "user:1", "seen": "2030-04-01T09:30:00Z"},
    "stock/teapot": 17,
    "user:1": {"name": "Ada Lovelace", "born": 1815},
    "user:2": {"name": "Grace Hopper", "born": 1906},
    "user:3": {"name": "Katherine Johnson", "born": 1918},
}


def photograph(browser: Browser, cluster: LocalCluster, scheme: Literal["light", "dark"]) -> bytes:
    """Return a PNG of the dashboard after a PUT, with that request in the log."""
    context = browser.new_context(viewport=SIZE, color_scheme=scheme)
    dashboard = Dashboard(context.new_page(), cluster.url)
    dashboard.open()
    key = "user:4"
    dashboard.send("PUT", key, '{"name": "Radia Perlman", "born": 1951}')
    dashboard.expect_status(200)
    dashboard.page.get_by_role("button", name="find in log").click()
    for worker in cluster.owners(key):
        lines = dashboard.at("log-line").and_(dashboard.page.locator(f"[data-node=worker-{worker}]"))
        expect(lines.first).to_be_attached()
    for worker in WORKERS:
        expect(dashboard.at(f"worker-keys-{worker}").get_by_test_id("key-row").first).to_be_visible()
    dashboard.page.evaluate("window.scrollTo(0, 0)")
    picture = dashboard.page.screenshot(animations="disabled")
    context.close()
    return picture


def settled(cluster: LocalCluster) -> bool:
    """Whether every worker leads the partitions whose primary it is."""
    workers = cluster.status().get("workers", [])
    return bool(workers) and all(
        worker["partitions_led"] == worker["partitions_primary"] for worker in workers
    )


def main(arguments: list[str]) -> None:
    """Write the picture."""
    path = Path(arguments[0]) if arguments else PICTURE
    scheme: Literal["light", "dark"] = "dark" if arguments[1:] == ["dark"] else "light"
    with tempfile.TemporaryDirectory() as folder, LocalCluster(Path(folder) / "kvnode") as cluster:
        for key, value in KEYS.items():
            cluster.put(key, value)
        eventually_sync(lambda: settled(cluster), SETTLED_S)
        with chromium() as browser:
            picture = photograph(browser, cluster, scheme)
    if len(picture) > MAX_BYTES:
        sys.exit(f"the picture has {len(picture)} bytes, more than {MAX_BYTES}")
    path.write_bytes(picture)
    sys.stdout.write(f"{path}: {len(picture)} bytes\n")


if __name__ == "__main__":
    main(sys.argv[1:])
