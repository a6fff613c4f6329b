"""A controller and four workers as processes on loopback, to be used, killed, frozen and restarted."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from random import SystemRandom
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from kvnode.local.child import be_patient
from kvnode.local.plan import Node, UpOptions, plan, taken_ports, write_configs
from tests.support.waiting import eventually

CONTROLLER = 0
FIRST_BASE = 20_000
BASES = 300
START_S = 30.0
INSTALLED = (sys.executable, "-P", "-m", "kvnode")
"""What runs the installed kvnode, as a service does, and not the sources in the current folder."""
SOURCES = (sys.executable, "-m", "kvnode")
"""What runs the sources in the current folder, interpreted: a sampler of Python code sees into no other."""
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
"""Nodes do not outlive the tests, however those end."""


def quote_key(key: str) -> str:
    """Return a key as it stands in a path: every byte that is not unreserved is escaped."""
    return quote(key, safe="")


class Reply:
    """An HTTP answer: its status, its JSON body and its headers."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str]) -> None:  # noqa: ANN401
        self.status = status
        self.body = body
        self.headers = headers


class Cluster:
    """The processes of one cluster under ``directory``, each run by ``program``. Node 0 is the controller."""

    def __init__(self, directory: Path, workers: int = 4, program: tuple[str, ...] = INSTALLED) -> None:
        self.directory = directory
        self._program = program
        for base in SystemRandom().sample(range(FIRST_BASE, FIRST_BASE + BASES * 10, 10), BASES):
            self._nodes = plan(UpOptions(directory, workers=workers, port=base))
            if not taken_ports(self._nodes):
                break
        directory.mkdir(parents=True, exist_ok=True)
        write_configs(self._nodes)
        self.workers = [node.number for node in self._nodes if node.number]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20))
        try:
            for node in self._nodes:
                self.start(node.number)
            await self.wait_ready()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop everything, thawing what was frozen."""
        for number, process in self._processes.items():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGTERM if number else signal.SIGKILL)
        for process in self._processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._session is not None:
            await self._session.close()

    # --- processes --------------------------------------------------------------------------------

    def node(self, number: int) -> Node:
        """Return where a node listens and keeps its files."""
        return self._nodes[number]

    def log_path(self, number: int) -> Path:
        """Return the file that a node's stdout goes to."""
        return self.directory / f"{self.node(number).name}.jsonl"

    def start(self, number: int, first: str = "") -> None:
        """Start a node that is not running; its process runs the Python code ``first`` before all else."""
        command = self._command(number)
        if first:
            place = command.index("-m")
            command[place : place + 2] = ["-c", f"{first}\nfrom kvnode.cli import main\nmain()"]
        with self.log_path(number).open("ab") as log:
            process = self._processes[number] = subprocess.Popen(
                [*DIE_WITH_PARENT, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        be_patient(process.pid)

    async def try_again(self, number: int) -> tuple[int, str]:
        """Start a node's command a second time; return its exit code and what it wrote to stderr."""
        again = await asyncio.create_subprocess_exec(
            *self._command(number), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        _, complaint = await asyncio.wait_for(again.communicate(), START_S)
        assert again.returncode is not None
        return again.returncode, complaint.decode()

    def _command(self, number: int) -> list[str]:
        node = self.node(number)
        return [*self._program, node.role, "--config", str(node.config)]

    def signal(self, number: int, what: signal.Signals) -> None:
        """Send a signal to a node's process."""
        self._processes[number].send_signal(what)

    def kill(self, number: int) -> None:
        """End a process as a power cut would: at once."""
        self.signal(number, signal.SIGKILL)
        self._processes[number].wait()

    def stop(self, number: int, timeout_s: float = 30.0) -> int:
        """Stop a node in good order and return its exit code."""
        self.signal(number, signal.SIGTERM)
        return self._processes[number].wait(timeout_s)

    def pid(self, number: int) -> int:
        """Return a node's process id."""
        return self._processes[number].pid

    def exit_code(self, number: int) -> int:
        """Return the exit code of a node's process that has ended."""
        return self._processes[number].wait(0)

    def running(self, number: int) -> bool:
        """Whether a node's process lives."""
        return self._processes[number].poll() is None

    async def agree(self) -> bool:
        """Whether all copies of every key carry one version, on three workers each."""
        copies: dict[str, list[str]] = {}
        for worker in self.workers:
            for key, version in (await self.stored(worker)).items():
                copies.setdefault(key, []).append(version)
        return all(len(versions) == 3 and len(set(versions)) == 1 for versions in copies.values())

    # --- requests ---------------------------------------------------------------------------------

    async def request(
        self,
        method: str,
        node: int,
        path: str,
        *,
        body: object = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Send one request; ``path`` is sent as it is, ``body`` as JSON."""
        assert self._session is not None
        url = URL(f"http://127.0.0.1:{self.node(node).rest_port}{path}", encoded=True)
        data = None if body is None else BytesIO(json.dumps(body).encode())
        named = {**({"Content-Type": "application/json"} if data else {}), **(headers or {})}
        async with self._session.request(method, url, data=data, headers=named) as response:
            text = await response.read()
            return Reply(response.status, json.loads(text) if text else None, response.headers)

    async def put(self, node: int, key: str, value: object, **headers: str) -> Reply:
        """PUT a value through a node."""
        return await self.request(
            "PUT", node, f"/kv/{quote_key(key)}", body={"value": value}, headers=_named(headers)
        )

    async def get(self, node: int, key: str, query: str = "", **headers: str) -> Reply:
        """GET a key through a node."""
        path = f"/kv/{quote_key(key)}{query}"
        return await self.request("GET", node, path, headers=_named(headers))

    async def delete(self, node: int, key: str, **headers: str) -> Reply:
        """DELETE a key through a node."""
        return await self.request("DELETE", node, f"/kv/{quote_key(key)}", headers=_named(headers))

    async def replicas(self, key: str) -> list[int]:
        """Return the workers that should hold a key, the primary first."""
        path = f"/partition/{quote_key(key)}"
        found: list[int] = (await self.request("GET", self.workers[0], path)).body["replica_node_ids"]
        return found

    async def status(self) -> Any:  # noqa: ANN401
        """Return the controller's /status."""
        return (await self.request("GET", CONTROLLER, "/status")).body

    async def stored(self, worker: int) -> dict[str, Any]:
        """Return all keys on one worker's disk and the versions that it holds."""
        found: dict[str, Any] = {}
        after = ""
        while True:
            path = f"/workers/{worker}/keys?limit=200&after={quote_key(after)}"
            page = (await self.request("GET", CONTROLLER, path)).body
            found.update({entry["key"]: entry["version"] for entry in page["keys"]})
            if page["next_after"] is None:
                return found
            after = page["next_after"]

    async def is_ready(self, nodes: Iterable[int] | None = None) -> bool:
        """Whether all nodes (or those named) answer /readyz with 200."""
        for number in nodes if nodes is not None else [node.number for node in self._nodes]:
            try:
                if (await self.request("GET", number, "/readyz")).status != 200:
                    return False
            except aiohttp.ClientError:
                return False
        return True

    async def wait_ready(self, nodes: Iterable[int] | None = None, timeout_s: float = START_S) -> None:
        """Wait until all nodes (or those named) are ready; RuntimeError if one of them has ended."""
        wanted = [node.number for node in self._nodes] if nodes is None else list(nodes)

        async def ready() -> bool:
            if ended := [self.node(number).name for number in wanted if not self.running(number)]:
                raise RuntimeError(f"{', '.join(ended)} ended instead of becoming ready ({self.directory})")
            return await self.is_ready(wanted)

        await eventually(ready, timeout_s)

    def log_lines(self, number: int) -> list[dict[str, Any]]:
        """Return what a node has written to stdout, each line parsed as a JSON object."""
        with self.log_path(number).open("rb") as log:
            return [json.loads(line) for line in log]


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
