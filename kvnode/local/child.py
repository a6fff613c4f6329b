"""One child process: started, watched, started again when it dies, stopped in good order.

A child leads a session of its own, so that Ctrl-C in the terminal reaches only the parent. The
kernel kills it when the parent dies, however that comes about.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec

from kvnode.local.plan import Node

MAX_LOG_BYTES: Final = 64 << 20
STOP_S: Final = 30.0
"""How long a child may take to stop in good order before it is killed."""

_IN_ORDER: Final = (0, -signal.SIGTERM)
"""How a child ends that was asked to stop; by the signal itself when it had only begun."""

_PR_SET_PDEATHSIG: Final = 1
_ENDING_BYTES: Final = 16384

State = Literal["starting", "ready", "not ready", "not answering", "stopped", "stopping"]


class Child:
    """A node's process. ``state`` and ``detail`` say how it is; ``changed`` is called when they change."""

    def __init__(
        self,
        node: Node,
        command: tuple[str, ...],
        restart_after_s: float | None,
        changed: Callable[[Child], None],
    ) -> None:
        self.node = node
        self.state: State = "starting"
        self.detail = ""
        self.pid: int | None = None
        self.restarts_at: float | None = None
        self._command = (*command, node.role, "--config", str(node.config))
        self._restart_after_s = restart_after_s
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._run_from = {"jsonl": 0, "stderr": 0}
        self._stop = asyncio.Event()
        self._task: asyncio.Task[int] | None = None

    def start(self) -> None:
        """Run it, and run it again whenever it dies, until ``stop``."""
        self._task = asyncio.create_task(self._keep(), name=self.node.name)

    @property
    def alive(self) -> bool:
        """Whether there is a process now."""
        return self.pid is not None

    def becomes(self, state: State, detail: str = "") -> None:
        """Note how it is."""
        if (state, detail) != (self.state, self.detail):
            self.state, self.detail = state, detail
            self._changed(self)

    async def stop(self) -> bool:
        """Ask it to stop, and kill it when it does not; return whether it stopped in good order."""
        if self._task is None:
            return True
        self._stop.set()
        if self._process is not None and self.alive:
            self.becomes("stopping")
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                return await asyncio.shield(self._task) in _IN_ORDER
        except TimeoutError:
            self.kill()
            await self._task
            return False

    def kill(self) -> None:
        """End it at once, and for good."""
        self._stop.set()
        if self._process is not None and self.alive:
            self._process.kill()

    async def _keep(self) -> int:
        """Return the exit status of the last run (0 when it was stopped between two)."""
        while True:
            code = await self._run()
            if self._stop.is_set():
                self.becomes("stopped", "" if code in _IN_ORDER else _ending(code))
                return code
            detail = "; ".join(filter(None, (_ending(code), self._last_words())))
            if self._restart_after_s is None:
                self.becomes("stopped", detail)
                return 0
            self.restarts_at = time.monotonic() + self._restart_after_s
            self.becomes("stopped", f"{detail}; starts again after {self._restart_after_s:g} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._restart_after_s):
                    await self._stop.wait()
            self.restarts_at = None
            if self._stop.is_set():
                return 0

    async def _run(self) -> int:
        """Start the process, wait for its end, and return its exit status."""
        self.becomes("starting")
        with self._log("jsonl").open("ab") as output, self._log("stderr").open("ab") as errors:
            self._run_from = {"jsonl": output.tell(), "stderr": errors.tell()}
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    start_new_session=True,
                    preexec_fn=_die_with(os.getpid()),
                )
            except OSError as error:
                errors.write(f"cannot be started: {error}\n".encode())
                return 1
        self.pid = self._process.pid
        be_patient(self.pid)
        if self._stop.is_set():
            self._process.terminate()
        try:
            return await self._process.wait()
        finally:
            self.pid = None

    def _log(self, kind: str) -> Path:
        """Return the file for a kind of output; one that has grown too large is put aside first."""
        path = self.node.directory / "logs" / f"{self.node.name}.{kind}"
        if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
        return path

    def _last_words(self) -> str:
        """Return why this run ended, in its own words: the last error that it printed or logged."""
        if printed := self._last_lines("stderr"):
            return printed[-1]
        for line in reversed(self._last_lines("jsonl")):
            with contextlib.suppress(msgspec.DecodeError):
                logged = msgspec.json.decode(line, type=_LogLine)
                if logged.level == "error":
                    return logged.reason or logged.event
        return ""

    def _last_lines(self, kind: str) -> list[str]:
        """Return the last lines of this run's output, the first perhaps cut."""
        with self._log(kind).open("rb") as output:
            output.seek(max(self._run_from[kind], output.seek(0, os.SEEK_END) - _ENDING_BYTES))
            text = output.read().decode(errors="replace")
        return [line.strip() for line in text.split("\n") if line.strip()]


class _LogLine(msgspec.Struct):
    """What is read of a node's own log line."""

    level: str = ""
    event: str = ""
    reason: str = ""


def _ending(code: int) -> str:
    """Say how a process ended."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"exit status {code}"


def be_patient(pid: int) -> None:
    """Have a process that has just begun, and all threads that it will start, interrupt nobody at work.

    Under systemd the unit says so.
    """
    with contextlib.suppress(ProcessLookupError):
        os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))


def _die_with(parent: int) -> Callable[[], None]:
    """Return what a child does first: it has the kernel kill it when ``parent`` dies."""
    libc = ctypes.CDLL(None)

    def bind() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call
            os._exit(1)

    return bind
