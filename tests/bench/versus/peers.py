"""The servers that are compared, each started afresh in a folder of its own and stopped by its process id."""

from __future__ import annotations

import asyncio
import os
import subprocess
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path

import msgspec

from tests.support.cluster import Cluster
from tests.support.waiting import eventually_sync

START_S = 30.0
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Server(ABC):
    """One store to be asked over HTTP. ``urls``: its entries, the best one first."""

    name: str
    about: str
    spare = 1
    """How many of its processes it can do without."""
    second_opinion = False
    """Whether it gives another guarantee than kvnode, and is asked in one round only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.urls: list[str] = []
        self.pids: list[int] = []

    @abstractmethod
    def start(self) -> None:
        """Start it and return when it answers."""

    @abstractmethod
    def stop(self) -> None:
        """End its processes."""

    @abstractmethod
    def stop_one(self) -> None:
        """Stop, in good order, a process that is not asked and that it can do without."""

    def cpu_s(self) -> float:
        """Return the processor time that its processes have used."""
        return sum(_cpu_s(pid) for pid in self.pids)


class Kvnode(Server):
    """A controller and four workers, as ``kvnode up`` runs them."""

    name = "kvnode"
    about = "3 of 4 workers a key, fdatasync on two before the answer"

    def start(self) -> None:
        """Start all five processes."""
        self._loop = asyncio.new_event_loop()
        self._cluster = Cluster(self.folder)
        self._loop.run_until_complete(self._cluster.__aenter__())
        self.urls = [f"http://127.0.0.1:{self._cluster.node(n).rest_port}" for n in self._cluster.workers]
        self.pids = [self._cluster.pid(n) for n in (0, *self._cluster.workers)]

    def stop_one(self) -> None:
        """Stop the last worker."""
        gone = self._cluster.workers[-1]
        self.pids.remove(self._cluster.pid(gone))
        self._cluster.stop(gone)

    def stop(self) -> None:
        """Stop all five."""
        self._loop.run_until_complete(self._cluster.close())
        self._loop.close()


class _Processes(Server):
    """Servers that are plain processes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._started: list[subprocess.Popen[bytes]] = []

    def _run(self, *command: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{len(self.pids)}.log").open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder
            )
        self._started.append(process)
        self.pids.append(process.pid)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        process.wait(START_S)

    def stop(self) -> None:
        """End the processes and wait for them."""
        for process in self._started:
            self._end(process)


class Etcd(_Processes):
    """Three members, asked over the HTTP gateway; the first entry is the leader."""

    name = "etcd"
    about = "Debian's, 3 members, fdatasync on two before the answer, HTTP gateway"
    first_port = 23_790

    def start(self) -> None:
        """Start the members and put the leader first."""
        clients = [f"http://127.0.0.1:{self.first_port + 10 * n}" for n in range(3)]
        peers = [f"http://127.0.0.1:{self.first_port + 10 * n + 1}" for n in range(3)]
        cluster = ",".join(f"m{n}={peer}" for n, peer in enumerate(peers))
        for n, (client, peer) in enumerate(zip(clients, peers, strict=True)):
            self._run(
                "etcd",
                "--name",
                f"m{n}",
                "--data-dir",
                str(self.folder / f"m{n}"),
                "--log-level",
                "warn",
                "--listen-client-urls",
                client,
                "--advertise-client-urls",
                client,
                "--listen-peer-urls",
                peer,
                "--initial-advertise-peer-urls",
                peer,
                "--initial-cluster",
                cluster,
                "--quota-backend-bytes",
                str(8 << 30),
            )
        eventually_sync(lambda: all(_answers(f"{url}/health") for url in clients), START_S)
        self.urls = sorted(clients, key=lambda url: not self._leads(url))

    def stop_one(self) -> None:
        """Stop a follower."""
        gone = (int(self.urls.pop().rpartition(":")[2]) - self.first_port) // 10
        self.pids.remove(self._started[gone].pid)
        self._end(self._started[gone])

    @staticmethod
    def _leads(url: str) -> bool:
        return b"etcd_server_is_leader 1\n" in _get(f"{url}/metrics")


class Webdis(_Processes):
    """One redis that syncs each write, behind webdis: no replication, a second opinion only."""

    name = "webdis"
    about = "Debian's redis, 1 process, appendfsync always, no copies, behind webdis"
    spare = 0
    second_opinion = True
    redis_port = 26_379
    port = 27_379

    def start(self) -> None:
        """Start both."""
        self._run(
            "redis-server",
            "--port",
            str(self.redis_port),
            "--bind",
            "127.0.0.1",
            "--dir",
            ".",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--save",
            "",
        )
        config = self.folder / "webdis.json"
        config.write_bytes(msgspec.json.encode(self._settings()))
        self._run("webdis", str(config))
        self.urls = [f"http://127.0.0.1:{self.port}"]
        eventually_sync(lambda: _answers(f"{self.urls[0]}/PING"), START_S)

    def stop_one(self) -> None:
        """Nothing can be spared."""
        raise NotImplementedError

    def _settings(self) -> dict[str, object]:
        return {
            "redis_host": "127.0.0.1",
            "redis_port": self.redis_port,
            "http_host": "127.0.0.1",
            "http_port": self.port,
            "threads": 2,
            "pool_size": 20,
            "daemonize": False,
            "verbosity": 1,
            "logfile": "webdis.log",
            "acl": [{"disabled": []}],
        }


SERVERS: dict[str, type[Server]] = {"kvnode": Kvnode, "etcd": Etcd, "webdis": Webdis}


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - an address of this module's own
        return bytes(answer.read())


def _answers(url: str) -> bool:
    try:
        _get(url)
    except OSError:
        return False
    return True


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND
