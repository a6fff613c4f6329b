"""``kvnode up`` with small programs in the place of nodes: real processes, real signals."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kvnode.config import load_controller_config, load_worker_config
from kvnode.errors import ConfigError, LockedError, PeerError
from kvnode.local.cluster import run_up
from kvnode.local.plan import GRPC_OFFSET, UpOptions, own_command, plan, taken_ports, write_configs
from tests.conftest import find_free_ports
from tests.support.waiting import eventually, eventually_sync

STAND_IN = """
import http.server, json, os, signal, sys, threading, time, tomllib

role, _, file = sys.argv[1:]
config = tomllib.load(open(file, "rb"))
cluster = config["cluster"]
number = config["worker"]["id"] if role == "worker" else 0
entry = cluster["workers"][number - 1] if number else cluster["controller"]
port = int(entry["rest"].rpartition(":")[2])
folder = os.path.dirname(file)

def tell(event):
    print(json.dumps({"event": event, "at": time.monotonic(), "pid": os.getpid()}), flush=True)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        late = os.path.exists(f"{folder}/late")
        answer = {"ready": not late, "state": "forming", "reasons": ["late"] if late else []}
        body = json.dumps(answer).encode()
        self.send_response(503 if late else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

def stop(*_):
    tell("stopping")
    if os.path.exists(f"{folder}/stubborn"):
        return
    tell("stopped")
    os._exit(0)

tell("started")
if os.path.exists(f"{folder}/broken-{number}"):
    sys.exit("the disk is on fire")
if os.path.exists(f"{folder}/failing-{number}"):
    print(json.dumps({"level": "error", "event": "node_failed", "reason": "the lock is held"}), flush=True)
    sys.exit(74)
signal.signal(signal.SIGTERM, stop)
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def free_base(count: int) -> int:
    """Return a port with so many free ones from it on, and beside each its gRPC port."""
    while True:
        [base] = find_free_ports(1)
        if base + GRPC_OFFSET + count < 65536 and not _any_taken(base, count):
            return base


def _any_taken(base: int, count: int) -> bool:
    return bool(taken_ports(plan(UpOptions(Path(), workers=count, port=base))))


@pytest.fixture
def options(tmp_path: Path) -> UpOptions:
    """Return a cluster of two workers that are stand-ins, restarted after 0.3 s."""
    program = tmp_path / "stand_in.py"
    program.write_text(STAND_IN)
    directory = tmp_path / "cluster"
    directory.mkdir()
    return UpOptions(directory, 2, 0.3, free_base(2), (sys.executable, str(program)))


class Up:
    """A running ``kvnode up`` in this process, with what it prints."""

    def __init__(self, options: UpOptions) -> None:
        self.options = options
        self.output = io.StringIO()
        self.task = asyncio.create_task(run_up(options, Console(file=self.output, width=200)))

    def said(self, text: str) -> bool:
        """Whether something was printed; a failure of the command shows at once."""
        if self.task.done():
            self.task.result()
        return text in self.output.getvalue()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return what a stand-in told in its log."""
        path = self.options.directory / "logs" / f"{name}.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def pid(self, name: str) -> int:
        """Return the process of the last start of a node."""
        return int(self.events(name)[-1]["pid"])


@pytest.fixture
async def up(options: UpOptions) -> AsyncIterator[Up]:
    """Return a cluster whose nodes are all ready."""
    running = Up(options)
    await eventually(lambda: running.said("all nodes are ready"), 30)
    yield running
    if not running.task.done():
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(running.task, 30)


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_nodes_run_the_kvnode_that_runs_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sources in the current folder are run only by themselves, not by an installed kvnode."""
    monkeypatch.chdir(Path(__file__).parents[2])
    assert own_command() == (sys.executable, "-m", "kvnode")
    monkeypatch.chdir(tmp_path)
    assert own_command() == (sys.executable, "-P", "-m", "kvnode")


def test_a_current_folder_that_is_gone_stops_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds no sources; whatever reads the plan's defaults goes on."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert own_command() == (sys.executable, "-P", "-m", "kvnode")


async def test_all_nodes_start_and_the_dashboard_is_named(up: Up) -> None:
    """Each node has its file, its data folder and its log; the address is printed."""
    directory, port = up.options.directory, up.options.port
    assert up.said(f"dashboard http://127.0.0.1:{port}/")
    assert load_controller_config(directory / "controller.toml").cluster.replicas == 2
    worker = load_worker_config(directory / "worker-2.toml")
    assert worker.worker.data_dir == str(directory / "worker-2")
    assert worker.cluster.entry(2).rest == f"127.0.0.1:{port + 2}"
    assert (directory / "worker-2").is_dir()
    assert [event["event"] for event in up.events("worker-1")] == ["started"]


async def test_nodes_interrupt_nobody(up: Up) -> None:
    """Their threads run under the batch policy."""
    for name in ("controller", "worker-1", "worker-2"):
        assert os.sched_getscheduler(up.pid(name)) == os.SCHED_BATCH


async def test_ctrl_c_stops_workers_before_the_controller(up: Up) -> None:
    """All end in good order, the controller last, and the exit status says so."""
    pids = [up.pid(name) for name in ("controller", "worker-1", "worker-2")]
    os.kill(os.getpid(), signal.SIGINT)
    assert await asyncio.wait_for(up.task, 30) == 0
    assert not any(alive(pid) for pid in pids)
    stopped = {name: up.events(name)[-1]["at"] for name in ("controller", "worker-1", "worker-2")}
    assert max(stopped, key=lambda name: stopped[name]) == "controller"
    assert all(up.events(name)[-1]["event"] == "stopped" for name in stopped)


async def test_a_child_that_dies_is_shown_and_started_again(up: Up) -> None:
    """Its end is told with its cause, and after the set time it is ready again."""
    pid = up.pid("worker-1")
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: up.said("worker-1: stopped (ended by SIGKILL; starts again after 0.3 s)"))
    await eventually(lambda: up.output.getvalue().count("worker-1: ready") == 2)
    assert up.pid("worker-1") != pid
    starts = [event["at"] for event in up.events("worker-1") if event["event"] == "started"]
    assert starts[1] - starts[0] >= 0.3


async def test_a_dead_child_stays_dead_if_told_so(options: UpOptions) -> None:
    """With --restart-after never the rest goes on without it, and stops in good order."""
    (options.directory / "broken-2").touch()
    up = Up(options._replace(restart_after_s=None))
    await eventually(lambda: up.said("worker-2: stopped (exit status 1; the disk is on fire)"))
    await eventually(lambda: up.said("worker-1: ready") and up.said("controller: ready"))
    assert len(up.events("worker-2")) == 1
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(up.task, 30) == 0


async def test_a_child_that_is_waiting_to_start_again_does_not_hold_up_the_stop(options: UpOptions) -> None:
    """Ctrl-C between two starts ends it all."""
    (options.directory / "broken-2").touch()
    up = Up(options._replace(restart_after_s=3600.0))
    await eventually(lambda: up.said("worker-2: stopped (exit status 1; the disk is on fire"))
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(up.task, 30) == 0


async def test_the_log_tells_why_a_child_died(options: UpOptions) -> None:
    """A node that ends without a word on stderr is quoted from its own log."""
    (options.directory / "failing-1").touch()
    up = Up(options._replace(restart_after_s=None))
    await eventually(lambda: up.said("worker-1: stopped (exit status 74; the lock is held)"))
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(up.task, 30) == 0


async def test_a_command_that_does_not_exist_is_told(options: UpOptions) -> None:
    """A child that cannot even be started is treated as one that died."""
    up = Up(options._replace(command=("/nowhere/kvnode",)))
    await eventually(lambda: up.said("controller: stopped (exit status 1; cannot be started: "))
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(up.task, 30) == 0


async def test_what_a_node_is_waiting_for_is_shown(options: UpOptions) -> None:
    """A node that answers but is not ready gives its reasons."""
    (options.directory / "late").touch()
    up = Up(options)
    await eventually(lambda: up.said("worker-1: not ready (late)") and up.said("dashboard http://"))
    assert not up.said("all nodes are ready")
    (options.directory / "late").unlink()
    await eventually(lambda: up.said("all nodes are ready"))
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(up.task, 30) == 0


async def test_a_second_ctrl_c_kills_what_does_not_stop(options: UpOptions) -> None:
    """A child that ignores SIGTERM can be ended, and the exit status tells of it."""
    up = Up(options)
    await eventually(lambda: up.said("all nodes are ready"), 30)
    (options.directory / "stubborn").touch()
    os.kill(os.getpid(), signal.SIGINT)
    await eventually(lambda: [e["event"] for e in up.events("worker-2")].count("stopping") == 1)
    os.kill(os.getpid(), signal.SIGINT)
    assert await asyncio.wait_for(up.task, 30) == 1
    assert up.said("not in good order: worker-1, worker-2, controller")


async def test_a_taken_port_is_named_before_anything_starts(options: UpOptions) -> None:
    """The port, the node and the purpose are told; no process is made."""
    port = options.port + GRPC_OFFSET + 2
    named = f"port {port} on 127.0.0.1, which worker-2 needs for gRPC, is taken"
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PeerError, match=named):
        await run_up(options, Console(file=io.StringIO()))
    assert list((options.directory / "logs").iterdir()) == []


async def test_one_cluster_per_directory(up: Up) -> None:
    """A second kvnode up on the same data is refused, whatever its ports."""
    with pytest.raises(LockedError, match="another kvnode up"):
        await run_up(up.options._replace(port=free_base(2)), Console(file=io.StringIO()))


def test_data_of_another_layout_is_not_touched(options: UpOptions) -> None:
    """Starting with another number of workers says which number the data is of."""
    write_configs(plan(options))
    before = (options.directory / "controller.toml").read_text()
    with pytest.raises(ConfigError, match="use --workers 2, or another --directory"):
        write_configs(plan(options._replace(workers=3)))
    assert (options.directory / "controller.toml").read_text() == before
    write_configs(plan(options._replace(port=options.port + 10)))
    assert (options.directory / "controller.toml").read_text() != before


@pytest.fixture
def parent(options: UpOptions, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that runs a cluster."""
    program = (
        "import asyncio, pathlib, sys\n"
        "from rich.console import Console\n"
        "from kvnode.local.cluster import run_up\n"
        "from kvnode.local.plan import UpOptions\n"
        "directory, port, *command = sys.argv[1:]\n"
        "options = UpOptions(pathlib.Path(directory), 2, None, int(port), tuple(command))\n"
        "sys.exit(asyncio.run(run_up(options, Console())))\n"
    )
    arguments = [str(options.directory), str(options.port), *options.command]
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=output)
    yield process
    process.kill()
    process.wait()


def test_no_orphan_is_left_when_the_parent_is_killed(
    parent: subprocess.Popen[bytes], options: UpOptions, tmp_path: Path
) -> None:
    """Kill -9 of kvnode up ends its children, and their ports are free again."""
    eventually_sync(lambda: b"all nodes are ready" in (tmp_path / "output").read_bytes(), 30)
    logs = (options.directory / "logs").glob("*.jsonl")
    pids = [int(json.loads(log.read_text().splitlines()[0])["pid"]) for log in logs]
    assert len(pids) == 3
    assert all(alive(pid) for pid in pids)
    parent.kill()
    eventually_sync(lambda: not any(alive(pid) for pid in pids))
    assert taken_ports(plan(options)) == []
