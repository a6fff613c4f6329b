"""The network namespace of the test hosts: a bridge that nothing leaves, and ways to act inside it.

A network namespace belongs to a thread: ``executor`` gives threads that have entered it, so that a test
process outside can open sockets inside.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

from tests.hosts.plan import BRIDGE, BRIDGE_ADDRESS, NAMESPACE, NAMESPACE_FILE

CLONE_NEWNET = 0x40000000
ENTER = ("nsenter", f"--net={NAMESPACE_FILE}")


def create() -> None:
    """Make the namespace with its loopback and its bridge."""
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    for step in (
        "ip link set lo up",
        f"ip link add {BRIDGE} type bridge",
        f"ip address add {BRIDGE_ADDRESS} dev {BRIDGE}",
        f"ip link set {BRIDGE} up",
    ):
        run(*step.split())


def delete() -> None:
    """Remove the namespace if it is there."""
    if exists():
        subprocess.run(["ip", "netns", "delete", NAMESPACE], check=True)


def exists() -> bool:
    """Whether the namespace is there, booted by whomever."""
    return NAMESPACE_FILE.exists()


def run(*command: str, stdin: str | None = None) -> str:
    """Run a command inside the namespace; its standard output. Raises RuntimeError with its complaint."""
    done = subprocess.run([*ENTER, *command], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def executor(threads: int) -> ThreadPoolExecutor:
    """A pool whose threads live in the namespace: every socket they open is inside."""
    return ThreadPoolExecutor(threads, thread_name_prefix=NAMESPACE, initializer=_enter)


def _enter() -> None:
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(NAMESPACE_FILE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if library.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {NAMESPACE}")
    finally:
        os.close(descriptor)
