"""One cluster for all browser tests, a browser for each module, a page for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, ViewportSize, expect

from tests.dashboard.browser import Dashboard, chromium
from tests.dashboard.local_cluster import LocalCluster
from tests.support.installed import require_current

DESKTOP = ViewportSize(width=1440, height=900)
PATIENCE_MS = 10_000

OpenDashboard = Callable[[ViewportSize], Dashboard]

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """What ``kvnode up`` runs."""
    require_current()
    with LocalCluster(tmp_path_factory.mktemp("dashboard") / "kvnode") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser. It is closed with its module: while it runs, no other event loop can."""
    with chromium() as running:
        yield running


@pytest.fixture
def open_dashboard(browser: Browser, cluster: LocalCluster) -> Iterator[OpenDashboard]:
    """Return a function that opens the dashboard of a healthy cluster in a window of a given size."""
    cluster.wait_healthy()
    contexts = []

    def opened(viewport: ViewportSize) -> Dashboard:
        context = browser.new_context(viewport=viewport)
        contexts.append(context)
        dashboard = Dashboard(context.new_page(), cluster.url)
        dashboard.open()
        return dashboard

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def dashboard(open_dashboard: OpenDashboard) -> Dashboard:
    """The dashboard on a desktop screen."""
    return open_dashboard(DESKTOP)


@pytest.fixture
def key() -> str:
    """A key that no other test uses."""
    return f"test/{uuid4().hex[:12]}"
