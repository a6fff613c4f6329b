"""sd_notify(3): tell systemd what the process is doing. Without systemd, every call does nothing."""

from __future__ import annotations

import contextlib
import os
import socket


def ready(status: str) -> None:
    """Say that the service is up: the unit becomes active."""
    _notify(f"READY=1\nSTATUS={status}")


def status(text: str) -> None:
    """Set the line that ``systemctl status`` shows."""
    _notify(f"STATUS={text}")


def stopping(status: str) -> None:
    """Say that the service has begun to stop."""
    _notify(f"STOPPING=1\nSTATUS={status}")


def watchdog() -> None:
    """Say that the process is alive; to be called more often than ``watchdog_interval_s``."""
    _notify("WATCHDOG=1")


def watchdog_interval_s() -> float | None:
    """Return within how many seconds systemd wants a sign of life; None when it wants none."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    wanted_from = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not microseconds.isdecimal() or int(microseconds) == 0 or wanted_from != str(os.getpid()):
        return None
    return int(microseconds) / 1_000_000


def _notify(message: str) -> None:
    """Send a datagram to NOTIFY_SOCKET. A leading @ names an abstract socket."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        target = address.replace("@", "\0", 1) if address[0] == "@" else address
        sock.sendto(message.encode(), socket.MSG_DONTWAIT, target)
