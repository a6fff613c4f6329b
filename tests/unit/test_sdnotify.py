"""sd_notify: what systemd is told."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from kvnode import sdnotify


def listen(address: str) -> socket.socket:
    """Bind a datagram socket as systemd does."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(address)
    listener.settimeout(5)
    return listener


@pytest.mark.parametrize("abstract", [False, True])
def test_states_reach_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, abstract: bool) -> None:
    """Each state is one datagram, on a path or in the abstract namespace."""
    name = f"@kvnode-{tmp_path.name}-{os.getpid()}" if abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with listen(name.replace("@", "\0")) as listener:
        sdnotify.ready("log recovered")
        sdnotify.status("catching up")
        sdnotify.watchdog()
        sdnotify.stopping("draining")
        received = [listener.recv(200) for _ in range(4)]
    assert received == [
        b"READY=1\nSTATUS=log recovered",
        b"STATUS=catching up",
        b"WATCHDOG=1",
        b"STOPPING=1\nSTATUS=draining",
    ]


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all"])
def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """A missing or useless socket is no error."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    sdnotify.ready("up")


@pytest.mark.parametrize(
    ("microseconds", "pid", "interval_s"),
    [
        ("20000000", None, 20.0),
        ("20000000", "1", None),
        ("0", None, None),
        ("x", None, None),
        ("", None, None),
    ],
)
def test_the_watchdog_interval_is_read(
    monkeypatch: pytest.MonkeyPatch, microseconds: str, pid: str | None, interval_s: float | None
) -> None:
    """It comes in microseconds, and only counts for the process it is meant for."""
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", pid or str(os.getpid()))
    assert sdnotify.watchdog_interval_s() == interval_s
