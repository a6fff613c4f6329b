"""Debian's Chromium, and the dashboard as a person finds it on the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WORKERS = (1, 2, 3, 4)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Dashboard:
    """One page with the dashboard on it. ``errors`` and ``requests`` collect what happened there."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("websocket", lambda socket: self.requests.append(socket.url))
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self) -> None:
        """Load the page and wait until the feed is live."""
        self.page.goto(self.url)
        expect(self.at("feed-state")).to_have_attribute("data-feed", "live")

    def at(self, test_id: str) -> Locator:
        """Find what carries a test id."""
        return self.page.get_by_test_id(test_id)

    # --- cards --------------------------------------------------------------------------------------

    def show_keys(self, prefix: str) -> None:
        """Have every card list the keys that begin with ``prefix``."""
        for worker in WORKERS:
            self.at(f"worker-card-{worker}").get_by_role("searchbox").fill(prefix)

    def key_on(self, worker: int, key: str) -> Locator:
        """Find the row of a key on a worker's card."""
        rows = self.at(f"worker-keys-{worker}").get_by_test_id("key-row")
        return rows.and_(self.page.locator(f"[data-key={json.dumps(key, ensure_ascii=False)}]"))

    def expect_key_on(self, workers: list[int], key: str) -> None:
        """Wait until a key stands on the cards of ``workers`` and on no other."""
        for worker in WORKERS:
            expect(self.key_on(worker, key)).to_have_count(1 if worker in workers else 0)

    # --- client -------------------------------------------------------------------------------------

    def send(self, method: str, key: str, value: str | None = None) -> None:
        """Fill in the client, send, and wait for the answer."""
        self.at("client-key").fill(key)
        if value is not None:
            self.at("client-value").fill(value)
        with self.page.expect_response(lambda answer: "/kv/" in answer.url):
            self.at(f"client-{method.lower()}").click()
        expect(self.at("client-answer")).to_have_attribute("aria-busy", "false")

    def expect_status(self, status: int) -> None:
        """Wait until the answer shown has an HTTP status."""
        expect(self.at("client-answer")).to_have_attribute("data-status", str(status))

    def body(self) -> dict[str, Any]:
        """Return the body of the answer shown."""
        shown: dict[str, Any] = json.loads(self.at("client-answer").get_by_label("Body").inner_text())
        return shown
