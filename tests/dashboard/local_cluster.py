"""A cluster as ``kvnode up`` runs it, on ports and in a directory of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from random import SystemRandom
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from kvnode.local.plan import UpOptions, plan, taken_ports
from tests.support.cluster import INSTALLED
from tests.support.waiting import eventually_sync

WORKERS = 4
RESTART_AFTER_S = 4
START_S = 120.0
STOP_S = 60.0
ANSWER_S = 10.0
PORTS = range(23_000, 26_000, 10)
PAGE = Path(__file__).parents[2] / "kvnode" / "controller" / "dashboard" / "index.html"


class LocalCluster:
    """A running ``kvnode up``: a controller and four workers that are started again when they die."""

    def __init__(self, directory: Path) -> None:
        assert PAGE.is_file(), "the dashboard is not built: run `make dashboard`"
        self._directory = directory
        self._port = _free_base(directory)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [*INSTALLED, "up", "--directory", str(self._directory)]
        command += ["--port", str(self._port), "--restart-after", str(RESTART_AFTER_S)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            self.wait_healthy()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def url(self) -> str:
        """Where the dashboard is served."""
        return self.node_url(0)

    def node_url(self, number: int) -> str:
        """Return the REST address of worker ``number``, or of the controller (0)."""
        return f"http://127.0.0.1:{self._port + number}"

    def pid(self, name: str) -> int:
        """Return the process id of ``controller`` or ``worker-N``."""
        assert self._process is not None
        parent = self._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
        marker = f"{name}.toml".encode()
        found = [pid for pid in children if marker in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(found) == 1, f"{len(found)} processes are {name}"
        return int(found[0])

    def kill(self, name: str) -> None:
        """End a node as a power cut would: at once. It is started again after RESTART_AFTER_S."""
        os.kill(self.pid(name), signal.SIGKILL)

    def wait_healthy(self) -> None:
        """Wait until every worker is caught up and every partition led."""
        eventually_sync(lambda: self.status().get("health") == "healthy", START_S)

    def status(self) -> dict[str, Any]:
        """Return the controller's /status; empty while it does not answer."""
        try:
            _, text = self._request("GET", 0, "/status")
        except OSError:
            return {}
        found: dict[str, Any] = json.loads(text)
        return found

    def owners(self, key: str) -> list[int]:
        """Return the workers that should hold a key, the primary first."""
        _, text = self._request("GET", 0, f"/partition/{quote(key, safe='')}")
        found: list[int] = json.loads(text)["replica_node_ids"]
        return found

    def put(self, key: str, value: object) -> None:
        """Store a value through any worker."""
        status, text = self._request("PUT", 0, f"/kv/{quote(key, safe='')}", {"value": value})
        assert status == 200, text

    def get(self, worker: int, key: str) -> str:
        """Return the text of the answer to a GET of a key through one worker."""
        status, text = self._request("GET", worker, f"/kv/{quote(key, safe='')}")
        assert status == 200, text
        return text

    def _request(self, method: str, node: int, path: str, body: object = None) -> tuple[int, str]:
        """Send a request to worker ``node``, or to the controller (0)."""
        data = None if body is None else json.dumps(body)
        with closing(HTTPConnection("127.0.0.1", self._port + node, timeout=ANSWER_S)) as connection:
            connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _free_base(directory: Path) -> int:
    """Return a port that, with those that go with it, nobody listens on."""
    for port in SystemRandom().sample(PORTS, len(PORTS)):
        if not taken_ports(plan(UpOptions(directory, workers=WORKERS, port=port))):
            return port
    raise AssertionError(f"no free ports from {PORTS.start} to {PORTS.stop}")
