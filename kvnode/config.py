"""Configuration: TOML files read once into frozen structs, and refused at start when anything is wrong.

Every node of a cluster carries the same ``[cluster]`` section; ``layout_digest`` is what two nodes
compare to be sure that they place data alike. All sizes are in bytes, all times in milliseconds.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
import tomllib
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, inspect

from kvnode.core.ring import Member, Ring
from kvnode.errors import ConfigError

PositiveInt = Annotated[int, Meta(ge=1, le=2**40)]
Milliseconds = Annotated[int, Meta(ge=1, le=86_400_000)]
WorkerId = Annotated[int, Meta(ge=1, le=999_999_999)]
Label = Annotated[str, Meta(pattern=r"^[\w.-]{1,64}$")]
ZoneLabel = Annotated[str, Meta(pattern=r"^[\w.-]{0,64}$")]
MAX_WEIGHT = 1000.0
MAX_PORT = 65535


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file: unknown keys are refused."""


class ControllerEntry(Section, frozen=True):
    """How others reach the controller, as ``host:port``."""

    rest: str
    grpc: str


class WorkerEntry(Section, frozen=True):
    """A worker as all nodes know it: its number, placement labels, weight and ``host:port`` addresses."""

    id: WorkerId
    host: Label
    rest: str
    grpc: str
    zone: ZoneLabel = ""
    weight: float = 1.0


class ClusterConfig(Section, frozen=True):
    """The part of the configuration that is the same on every node."""

    name: Label
    controller: ControllerEntry
    workers: Annotated[tuple[WorkerEntry, ...], Meta(min_length=1)]
    partitions: Annotated[int, Meta(ge=1, le=65536)] = 256
    vnodes: Annotated[int, Meta(ge=1, le=4096)] = 64
    replicas: Annotated[int, Meta(ge=1, le=7)] = 3

    def layout_digest(self) -> str:
        """Return a digest (hex) of what places data, and of nothing else: addresses may change."""
        workers = sorted((w.id, w.host, w.zone, w.weight) for w in self.workers)
        layout = ["layout-1", self.partitions, self.vnodes, self.replicas, workers]
        return blake2b(json.dumps(layout, separators=(",", ":")).encode(), digest_size=16).hexdigest()

    def ring(self) -> Ring:
        """Compute the ring that this section describes."""
        members = [Member(w.id, w.host, w.zone, w.weight) for w in self.workers]
        return Ring.build(members, partitions=self.partitions, vnodes=self.vnodes, replicas=self.replicas)

    def entry(self, worker: int) -> WorkerEntry:
        """Return the entry of a worker; KeyError for a stranger."""
        for entry in self.workers:
            if entry.id == worker:
                return entry
        raise KeyError(worker)


class WorkerSection(Section, frozen=True):
    """Which worker this is. ``bind`` is the listen address of both ports."""

    id: WorkerId
    data_dir: Annotated[str, Meta(min_length=1)]
    bind: str = "127.0.0.1"


class ControllerSection(Section, frozen=True):
    """The controller's own: ``bind`` is the listen address of both ports."""

    bind: str = "127.0.0.1"


class Limits(Section, frozen=True):
    """What a worker admits and keeps waiting. ``latent_*`` bound one peer's queue of late copies.

    With less than ``reserve_bytes`` free on its disk a worker accepts nothing more. The scrub looks
    for damage at ``scrub_bytes_per_s``, not at all at 0.
    """

    value_bytes: Annotated[int, Meta(ge=1, le=8 * 2**20)] = 2**20
    request_timeout_ms: Milliseconds = 5000
    slow_request_ms: Milliseconds = 500
    inflight_requests: PositiveInt = 1024
    connections: PositiveInt = 2048
    body_bytes: PositiveInt = 64 * 2**20
    unsent_bytes: PositiveInt = 64 * 2**20
    latent_records: PositiveInt = 100_000
    latent_bytes: PositiveInt = 64 * 2**20
    segment_bytes: Annotated[int, Meta(ge=64 * 2**10, le=2**32)] = 16 * 2**20
    reserve_bytes: Annotated[int, Meta(ge=0, le=2**40)] = 64 * 2**20
    scrub_bytes_per_s: Annotated[int, Meta(ge=0, le=2**30)] = 2**20


class Detector(Section, frozen=True):
    """Failure detection; ``stable_ms`` passes before a primary takes its partitions back."""

    heartbeat_ms: Milliseconds = 200
    suspect_ms: Milliseconds = 1000
    stable_ms: Milliseconds = 5000


class LoggingConfig(Section, frozen=True):
    """What is logged; ``sample`` is the share of ordinary requests, from 0 to 1."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    sample: Annotated[float, Meta(ge=0, le=1)] = 0.0


class NodeConfig(Section, frozen=True, kw_only=True):
    """What a worker's and a controller's file have in common."""

    cluster: ClusterConfig
    limits: Limits = Limits()
    detector: Detector = Detector()
    logging: LoggingConfig = LoggingConfig()
    insecure: bool = False


class WorkerConfig(NodeConfig, frozen=True, kw_only=True):
    """A worker's file."""

    worker: WorkerSection


class ControllerConfig(NodeConfig, frozen=True, kw_only=True):
    """A controller's file."""

    controller: ControllerSection = ControllerSection()


def load_worker_config(path: str | Path) -> WorkerConfig:
    """Read and check a worker's file. Raises ConfigError."""
    config = _load(path, WorkerConfig)
    _check_node(str(path), config, "worker", config.worker.bind)
    if config.worker.id not in {entry.id for entry in config.cluster.workers}:
        raise ConfigError(str(path), "worker.id", f"no worker {config.worker.id} in cluster.workers")
    return config


def load_controller_config(path: str | Path) -> ControllerConfig:
    """Read and check a controller's file. Raises ConfigError."""
    config = _load(path, ControllerConfig)
    _check_node(str(path), config, "controller", config.controller.bind)
    return config


def warnings(config: NodeConfig) -> list[str]:
    """Say what is allowed but unwise."""
    hosts = len({entry.host for entry in config.cluster.workers})
    replicas = config.cluster.replicas
    if replicas <= hosts:
        return []
    return [f"{replicas} replicas on {hosts} distinct hosts: losing one host may lose a quorum"]


def split_address(address: str) -> tuple[str, int]:
    """Split ``host:port`` (an IPv6 host in brackets). Raises ValueError."""
    match = re.fullmatch(r"(?:\[([\da-fA-F:.]+)\]|([\w.-]+)):([1-9]\d{0,4})", address)
    if match is None or int(match[3]) > MAX_PORT:
        msg = f"expected host:port, got {address!r}"
        raise ValueError(msg)
    return match[1] or match[2], int(match[3])


def join_address(host: str, port: int) -> str:
    """Return ``host:port``, an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


T = TypeVar("T")


def _load(path: str | Path, kind: type[T]) -> T:
    """Read TOML and convert it, or say what is wrong with it."""
    source = str(path)
    try:
        return msgspec.convert(tomllib.loads(Path(path).read_text(encoding="utf-8")), kind)
    except OSError as failure:
        raise ConfigError(source, "", f"cannot be read: {failure.strerror}") from failure
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as failure:
        raise ConfigError(source, "", f"is not valid TOML: {failure}") from failure
    except msgspec.ValidationError as failure:
        key, expected = _explain(str(failure), kind)
        raise ConfigError(source, key, expected) from failure


def _explain(complaint: str, kind: type) -> tuple[str, str]:
    """Split msgspec's words into a dotted key and what was expected."""
    words, _, place = complaint.partition(" - at `")
    key = place.removesuffix("`").removeprefix("$").removeprefix(".")
    if named := re.fullmatch(r"Object (contains unknown|missing required) field `(.*)`", words):
        fault, field = named.groups()
        unknown = f"unknown key: expected one of {_allowed(kind, key)}"
        words = unknown if fault == "contains unknown" else "required, but missing"
        key = f"{key}.{field}" if key else field
    elif words.startswith("Invalid enum value"):
        words = f"{words}: expected one of {_allowed(kind, key)}"
    return key, words


def _allowed(kind: type, place: str) -> str:
    """Return the keys of the table, or the values of the choice, at a place like ``cluster.workers[0]``."""
    info = inspect.type_info(kind)
    for name in place.split(".") if place else ():
        if isinstance(info, inspect.StructType):
            info = next(field.type for field in info.fields if field.encode_name == name.partition("[")[0])
        if isinstance(info, inspect.VarTupleType):
            info = info.item_type
    allowed: list[object] = []
    if isinstance(info, inspect.LiteralType):
        allowed += info.values
    elif isinstance(info, inspect.StructType):
        allowed += [field.encode_name for field in info.fields]
    return ", ".join(map(str, allowed))


def _check_node(source: str, config: NodeConfig, section: str, bind: str) -> None:
    """Refuse what the types cannot."""
    _check_cluster(source, config.cluster)
    if config.detector.suspect_ms <= config.detector.heartbeat_ms:
        raise ConfigError(source, "detector.suspect_ms", "expected more than detector.heartbeat_ms")
    if not _is_loopback(source, f"{section}.bind", bind) and not config.insecure:
        expected = (
            f"{bind} is not loopback and there is no TLS: expected a loopback address, or insecure = true"
        )
        raise ConfigError(source, f"{section}.bind", expected)


def _check_cluster(source: str, cluster: ClusterConfig) -> None:
    """Refuse a cluster that cannot be."""
    if cluster.partitions & (cluster.partitions - 1):
        raise ConfigError(source, "cluster.partitions", f"expected a power of two, got {cluster.partitions}")
    if cluster.replicas > len(cluster.workers):
        expected = f"expected at most the number of workers ({len(cluster.workers)}), got {cluster.replicas}"
        raise ConfigError(source, "cluster.replicas", expected)
    addresses = [
        (f"cluster.controller.{kind}", getattr(cluster.controller, kind)) for kind in ("rest", "grpc")
    ]
    for index, entry in enumerate(cluster.workers):
        place = f"cluster.workers[{index}]"
        if not (math.isfinite(entry.weight) and 0 < entry.weight <= MAX_WEIGHT):
            expected = f"expected a number above 0 and at most {MAX_WEIGHT:g}, got {entry.weight}"
            raise ConfigError(source, f"{place}.weight", expected)
        addresses += [(f"{place}.rest", entry.rest), (f"{place}.grpc", entry.grpc)]
    _check_distinct(source, [(f"cluster.workers[{i}].id", w.id) for i, w in enumerate(cluster.workers)])
    for key, address in addresses:
        try:
            split_address(address)
        except ValueError as failure:
            raise ConfigError(source, key, str(failure)) from failure
    _check_distinct(source, addresses)


def _check_distinct(source: str, named: Sequence[tuple[str, object]]) -> None:
    """Refuse a value that stands in two places."""
    seen: dict[object, str] = {}
    for key, value in named:
        if value in seen:
            raise ConfigError(source, key, f"{value} is already {seen[value]}")
        seen[value] = key


def _is_loopback(source: str, key: str, bind: str) -> bool:
    """Whether only this machine can reach a listen address. Raises ConfigError where there is none."""
    try:
        return ipaddress.ip_address(bind).is_loopback
    except ValueError:
        if re.fullmatch(r"[\w.-]+", bind) is None:
            expected = f"expected an IP address or a host name, without a port, got {bind!r}"
            raise ConfigError(source, key, expected) from None
        return bind == "localhost"
