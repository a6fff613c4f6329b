"""What all tests share: markers by folder, cheap tests first, and nothing left out in silence."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase

TESTS = Path(__file__).parent
KINDS = ("unit", "simulation", "integration", "dashboard", "hosts")
PORTS = range(15_000, 32_000)
LEFT_OUT = pytest.StashKey[set[str]]()

# A busy machine is no reason to fail an example, so there is no time limit for one.
settings.register_profile(
    "kvnode", deadline=None, database=DirectoryBasedExampleDatabase(TESTS.parent / ".cache" / "hypothesis")
)
settings.load_profile("kvnode")


def missing_for(kind: str) -> str:
    """Return what this machine lacks for a kind of test; empty when nothing."""
    if kind == "dashboard" and shutil.which("chromium") is None:
        return "Chromium (apt-get install chromium)"
    if kind == "hosts":
        if os.geteuid() != 0:
            return "root, to boot systemd hosts"
        tools = [tool for tool in ("mmdebstrap", "systemd-nspawn", "nft", "ip") if shutil.which(tool) is None]
        return f"tools to boot systemd hosts: {', '.join(tools)}" if tools else ""
    return ""


@pytest.fixture(autouse=True)
def _loggers_as_new() -> None:
    """Let no logger keep what an earlier test's configuration made of it."""
    for name, module in tuple(sys.modules.items()):
        if name.startswith("kvnode."):
            getattr(getattr(module, "_log", None), "__dict__", {}).pop("bind", None)


def kind_of(item: pytest.Item) -> str:
    """Return the kind of a test: the folder below tests/ that it stands in."""
    return item.path.relative_to(TESTS).parts[0]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test by its folder, early enough for ``-m`` to choose by it."""
    item.add_marker(kind_of(item))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the cheap kinds first; within a kind the order stays random.

    With CI=true nothing is skipped: what this machine lacks then fails.
    """
    lacking = {} if os.environ.get("CI") == "true" else {kind: missing_for(kind) for kind in KINDS}
    for item in items:
        if reason := lacking.get(kind_of(item)):
            item.add_marker(pytest.mark.skip(reason=f"needs {reason}"))
    items.sort(key=lambda item: KINDS.index(kind_of(item)))
    config.stash[LEFT_OUT] = {kind_of(item) for item in items if lacking.get(kind_of(item))}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say loudly which kinds of test were left out, and why."""
    left_out = config.stash[LEFT_OUT]
    for kind in sorted(left_out):
        words = f"LEFT OUT: tests/{kind} needs {missing_for(kind)}"
        terminalreporter.write_sep("!", words, red=True, bold=True)


@pytest.fixture
def free_ports() -> Callable[[int], list[int]]:
    """Return a function that finds so many distinct loopback ports that nobody listens on now."""
    return find_free_ports


def find_free_ports(count: int) -> list[int]:
    """Find ``count`` distinct TCP ports on 127.0.0.1 that nobody listens on.

    They lie below the range from which the kernel takes ports for outgoing connections, so that
    none is gone before the test has bound it.
    """
    with ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            port = PORTS[secrets.randbelow(len(PORTS))]
            try:
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            ports.append(port)
        return ports
