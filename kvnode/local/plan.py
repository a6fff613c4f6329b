"""What ``kvnode up`` runs: nodes, ports, and the configuration files that it writes for them."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from kvnode.config import load_controller_config
from kvnode.errors import ConfigError

HOST: Final = "127.0.0.1"
GRPC_OFFSET: Final = 1000
MAX_WORKERS: Final = 64
HIGHEST_PORT: Final = 65535


def own_command() -> tuple[str, ...]:
    """Return what runs a kvnode such as this one: the sources in the current folder only if they run here."""
    try:
        own = Path(__file__).parents[2] == Path.cwd()
    except OSError:  # the current folder has been removed
        own = False
    return (sys.executable, *(() if own else ("-P",)), "-m", "kvnode")


class UpOptions(NamedTuple):
    """``restart_after_s``: None leaves a dead child dead. ``command`` is what runs one node."""

    directory: Path
    workers: int = 4
    restart_after_s: float | None = 5.0
    port: int = 5000
    command: tuple[str, ...] = own_command()


class Node(NamedTuple):
    """One process to run: worker ``number``, or the controller (0)."""

    number: int
    rest_port: int
    directory: Path

    @property
    def name(self) -> str:
        """``controller`` or ``worker-N``."""
        return f"worker-{self.number}" if self.number else "controller"

    @property
    def role(self) -> str:
        """The subcommand that runs it."""
        return "worker" if self.number else "controller"

    @property
    def grpc_port(self) -> int:
        """The port for the other nodes."""
        return self.rest_port + GRPC_OFFSET

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self.directory / f"{self.name}.toml"

    @property
    def data(self) -> Path:
        """A worker's data folder."""
        return self.directory / self.name


def plan(options: UpOptions) -> list[Node]:
    """Return the nodes, the controller first. Raises ConfigError."""
    if not 1 <= options.workers <= MAX_WORKERS:
        raise ConfigError("kvnode up", "--workers", f"expected 1 to {MAX_WORKERS}, got {options.workers}")
    highest = HIGHEST_PORT - GRPC_OFFSET - options.workers
    if not 1 <= options.port <= highest:
        raise ConfigError("kvnode up", "--port", f"expected 1 to {highest}, got {options.port}")
    directory = options.directory.absolute()
    return [Node(number, options.port + number, directory) for number in range(options.workers + 1)]


def write_configs(nodes: Sequence[Node]) -> None:
    """Write every node's file. Raises ConfigError when data is there that another layout placed."""
    cluster = _cluster_text(nodes)
    for node in nodes:
        _fresh(node).write_text(f"{cluster}\n{_own_text(node)}", encoding="utf-8")
    _refuse_other_layout(nodes[0])
    for node in nodes:
        _fresh(node).replace(node.config)
        if node.number:
            node.data.mkdir(exist_ok=True)


def taken_ports(nodes: Sequence[Node]) -> list[str]:
    """Name every port that something else listens on, and who needs it."""
    wanted = [(node, "REST", node.rest_port) for node in nodes]
    wanted += [(node, "gRPC", node.grpc_port) for node in nodes]
    return [
        f"port {port} on {HOST}, which {node.name} needs for {purpose}, is taken"
        for node, purpose, port in wanted
        if _taken(port)
    ]


def _refuse_other_layout(controller: Node) -> None:
    if not controller.config.exists() or not any(controller.directory.glob("worker-*/")):
        return
    known = load_controller_config(controller.config).cluster
    asked = load_controller_config(_fresh(controller)).cluster
    if known.layout_digest() != asked.layout_digest():
        expected = (
            f"holds the data of a cluster of {len(known.workers)} workers:"
            f" use --workers {len(known.workers)}, or another --directory"
        )
        raise ConfigError(str(controller.directory), "", expected)


def _fresh(node: Node) -> Path:
    return node.config.with_suffix(".toml.new")


def _cluster_text(nodes: Sequence[Node]) -> str:
    controller, *workers = nodes
    lines = [
        "# Written by kvnode up, anew at each start.",
        "[cluster]",
        'name = "local"',
        f"replicas = {min(3, len(workers))}",
        "",
        "[cluster.controller]",
        *_addresses(controller),
    ]
    for worker in workers:
        lines += ["", "[[cluster.workers]]", f"id = {worker.number}", f'host = "local-{worker.number}"']
        lines += _addresses(worker)
    return "\n".join([*lines, ""])


def _addresses(node: Node) -> list[str]:
    return [f'rest = "{HOST}:{node.rest_port}"', f'grpc = "{HOST}:{node.grpc_port}"']


def _own_text(node: Node) -> str:
    if not node.number:
        return f'[controller]\nbind = "{HOST}"\n'
    data = json.dumps(str(node.data), ensure_ascii=False)  # a JSON string is a TOML one
    return f'[worker]\nid = {node.number}\nbind = "{HOST}"\ndata_dir = {data}\n'


def _taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
        return False
