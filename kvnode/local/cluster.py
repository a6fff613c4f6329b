"""Starts the whole local cluster, watches it, and stops it in order: workers first, then the controller."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
from rich.console import Console

from kvnode.errors import LockedError, PeerError
from kvnode.local.child import Child
from kvnode.local.plan import HOST, UpOptions, plan, taken_ports, write_configs
from kvnode.local.screen import Screen

POLL_S: Final = 0.5
ANSWER_S: Final = 2.0


class _Readiness(msgspec.Struct):
    """What ``/readyz`` answers."""

    ready: bool = False
    state: str = ""
    reasons: list[str] = []


async def run_up(options: UpOptions, console: Console) -> int:
    """Run a local cluster until SIGINT or SIGTERM; a second one kills what is left.

    Return 0 when all stopped in good order, else 1. Raises ConfigError, LockedError (another
    ``kvnode up`` runs in that directory) and PeerError (a port is taken: it says which).
    """
    nodes = plan(options)
    (options.directory / "logs").mkdir(parents=True, exist_ok=True)
    with _locked(options.directory):
        if taken := taken_ports(nodes):
            raise PeerError("; ".join(taken))
        write_configs(nodes)
        with Screen(console) as screen:
            children = [
                Child(node, options.command, options.restart_after_s, screen.changed) for node in nodes
            ]
            screen.show(children)
            return await _run(children, screen)


async def _run(children: Sequence[Child], screen: Screen) -> int:
    stop = _stop_on_signals(children)
    for child in children:
        child.start()
    watch = asyncio.create_task(_watch(children, screen))
    try:
        await stop.wait()
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
        screen.say("stopping: workers first, then the controller")
        controller, *workers = children
        stopped = await asyncio.gather(*(worker.stop() for worker in workers))
        stopped.append(await controller.stop())
    names = [child.node.name for child, good in zip([*workers, controller], stopped, strict=True) if not good]
    screen.say(f"not in good order: {', '.join(names)}" if names else "stopped")
    return 1 if names else 0


def _stop_on_signals(children: Sequence[Child]) -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()

    def signalled() -> None:
        if stop.is_set():
            for child in children:
                child.kill()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signalled)
    return stop


async def _watch(children: Sequence[Child], screen: Screen) -> None:
    """Ask all nodes for their health, over and over; say when the cluster is first there."""
    controller = children[0]
    announced = complete = False
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as session:
        while True:
            await asyncio.gather(*(_ask(session, child) for child in children))
            if not announced and controller.state in ("ready", "not ready"):
                announced = True
                screen.say(f"dashboard http://{HOST}:{controller.node.rest_port}/")
            if not complete and all(child.state == "ready" for child in children):
                complete = True
                screen.say("all nodes are ready; Ctrl-C stops them")
            await asyncio.sleep(POLL_S)


async def _ask(session: aiohttp.ClientSession, child: Child) -> None:
    """Learn a living child's state from its own words."""
    if not child.alive:
        return
    pid = child.pid
    try:
        async with session.get(f"http://{HOST}:{child.node.rest_port}/readyz") as answer:
            readiness = msgspec.json.decode(await answer.read(), type=_Readiness)
    except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError):
        if child.pid == pid and child.state != "starting":
            child.becomes("not answering")
        return
    if child.pid == pid:
        detail = "; ".join(readiness.reasons) or readiness.state
        child.becomes("ready") if readiness.ready else child.becomes("not ready", detail)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the directory's lock. Raises LockedError."""
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LockedError(f"another kvnode up runs in {directory}") from None
        yield
