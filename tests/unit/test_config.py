"""Configuration files: what is read, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvnode import config
from kvnode.errors import ConfigError

CLUSTER = """
[cluster]
name = "kvnode"
{cluster}
[cluster.controller]
rest = "127.0.0.1:5000"
grpc = "127.0.0.1:6000"
"""
WORKER = """
[[cluster.workers]]
id = {id}
host = "host-{id}"
rest = "127.0.0.1:500{id}"
grpc = "127.0.0.1:600{id}"
{more}
"""


def cluster_text(cluster: str = "", more: str = "", workers: int = 4) -> str:
    """Return a cluster section; ``cluster`` and ``more`` are lines for it and for its last worker."""
    entries = [WORKER.format(id=i, more=more if i == workers else "") for i in range(1, workers + 1)]
    return CLUSTER.format(cluster=cluster) + "".join(entries)


def load(folder: Path, text: str) -> config.WorkerConfig:
    """Load ``text`` as a worker's file."""
    path = folder / "worker.toml"
    path.write_text(text, encoding="utf-8")
    return config.load_worker_config(path)


SELF = '[worker]\nid = 2\ndata_dir = "/data"\n'


def test_a_worker_file_is_read_with_its_defaults(tmp_path: Path) -> None:
    """What is not said takes the documented default."""
    read = load(tmp_path, cluster_text() + SELF)
    assert read.worker == config.WorkerSection(id=2, data_dir="/data", bind="127.0.0.1")
    assert (read.cluster.partitions, read.cluster.vnodes, read.cluster.replicas) == (256, 64, 3)
    assert read.cluster.entry(2).rest == "127.0.0.1:5002"
    assert read.limits == config.Limits()
    assert read.detector.suspect_ms == 1000
    assert read.logging.level == "info"
    assert not read.insecure
    assert config.warnings(read) == []


def test_a_controller_file_is_read(tmp_path: Path) -> None:
    """A controller needs nothing but the cluster section."""
    path = tmp_path / "controller.toml"
    path.write_text(cluster_text(), encoding="utf-8")
    assert config.load_controller_config(path).controller.bind == "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("nonsense", "", "is not valid TOML"),
        (SELF, "cluster", "required, but missing"),
        (cluster_text() + SELF + "speed = 9\n", "worker.speed", "expected one of id, data_dir, bind"),
        ("colour = 1\n" + cluster_text() + SELF, "colour", "unknown key: expected one of cluster, "),
        (cluster_text(more="size = 1") + SELF, "cluster.workers[3].size", "one of id, host, rest, grpc,"),
        (cluster_text() + '[worker]\nid = "x"\ndata_dir = "/d"\n', "worker.id", "Expected `int`"),
        (cluster_text() + '[worker]\nid = 9\ndata_dir = "/d"\n', "worker.id", "no worker 9"),
        (cluster_text() + SELF + 'bind = "0.0.0.0"\n', "worker.bind", "insecure = true"),
        (cluster_text() + SELF + 'bind = "127.0.0.1:5002"\n', "worker.bind", "without a port"),
        (cluster_text() + SELF + 'bind = ""\n', "worker.bind", "an IP address or a host name"),
        (cluster_text() + SELF + 'bind = "::"\n', "worker.bind", "insecure = true"),
        (cluster_text("partitions = 100") + SELF, "cluster.partitions", "a power of two"),
        (cluster_text("partitions = 0") + SELF, "cluster.partitions", ">= 1"),
        (cluster_text("replicas = 5") + SELF, "cluster.replicas", "at most the number of workers (4)"),
        (cluster_text(more="weight = nan") + SELF, "cluster.workers[3].weight", "above 0"),
        (cluster_text(more="weight = 0") + SELF, "cluster.workers[3].weight", "above 0"),
        (cluster_text(more='zone = "a b"') + SELF, "cluster.workers[3].zone", "matching"),
        (cluster_text().replace(":5003", ":5002") + SELF, "cluster.workers[2].rest", "already"),
        (cluster_text().replace(":5003", ":0") + SELF, "cluster.workers[2].rest", "host:port"),
        (cluster_text().replace("id = 3", "id = 2") + SELF, "cluster.workers[2].id", "2 is already"),
        (cluster_text() + SELF + "[detector]\nsuspect_ms = 200\n", "detector.suspect_ms", "more than"),
        (cluster_text() + SELF + '[logging]\nlevel = "loud"\n', "logging.level", "one of debug,"),
        (cluster_text() + SELF + "[limits]\nvalue_bytes = 1e9\n", "limits.value_bytes", "Expected"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, key: str, expected: str) -> None:
    """A refusal names the file, the dotted key and what was expected."""
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, text)
    assert refusal.value.source == str(tmp_path / "worker.toml")
    assert refusal.value.key == key
    assert expected in refusal.value.expected


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A file that cannot be read is named with the reason."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read: No such file"):
        config.load_worker_config(tmp_path / "nowhere.toml")


def test_any_address_may_be_bound_when_the_file_says_insecure(tmp_path: Path) -> None:
    """A bind beyond loopback needs insecure = true in so many words, and is then taken."""
    read = load(tmp_path, "insecure = true\n" + cluster_text() + SELF + 'bind = "0.0.0.0"\n')
    assert read.insecure
    assert read.worker.bind == "0.0.0.0"


def test_few_hosts_are_warned_of(tmp_path: Path) -> None:
    """More replicas than distinct hosts are allowed, and warned of."""
    text = cluster_text()
    for worker in (2, 3, 4):
        text = text.replace(f'"host-{worker}"', '"host-1"')
    assert config.warnings(load(tmp_path, text + SELF)) == [
        "3 replicas on 1 distinct hosts: losing one host may lose a quorum"
    ]


def test_the_layout_digest_covers_what_places_data_and_nothing_else(tmp_path: Path) -> None:
    """Addresses and the order of workers do not count; hosts, zones, weights, Q, vnodes and n do."""
    digest = load(tmp_path, cluster_text() + SELF).cluster.layout_digest()
    moved = cluster_text().replace("127.0.0.1:500", "10.0.0.7:500").replace('name = "kvnode"', 'name = "x"')
    assert load(tmp_path, moved + SELF).cluster.layout_digest() == digest
    assert load(tmp_path, cluster_text(more="weight = 1") + SELF).cluster.layout_digest() == digest
    changed = [
        cluster_text(more="weight = 2"),
        cluster_text(more='zone = "z"'),
        cluster_text("partitions = 128"),
        cluster_text("vnodes = 32"),
        cluster_text("replicas = 1"),
        cluster_text(workers=5),
        cluster_text().replace('"host-4"', '"host-3"'),
    ]
    digests = {load(tmp_path, text + SELF).cluster.layout_digest() for text in changed}
    assert len(digests - {digest}) == len(changed)


def test_the_ring_is_built_of_the_section(tmp_path: Path) -> None:
    """The configured partitions and replicas shape the ring."""
    ring = load(tmp_path, cluster_text("partitions = 64\nreplicas = 2") + SELF).cluster.ring()
    assert (ring.partitions, ring.workers) == (64, (1, 2, 3, 4))
    assert len(ring.preference_list(0)) == 2


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:5000", ("127.0.0.1", 5000)),
        ("kv-1.lan:1", ("kv-1.lan", 1)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_an_address_is_split(address: str, parts: tuple[str, int]) -> None:
    """Names, IPv4 and bracketed IPv6 hosts are understood."""
    assert config.split_address(address) == parts
    assert config.join_address(*parts) == address


@pytest.mark.parametrize(
    "address", ["", "x", ":1", "x:", "x:0", "x:65536", "::1:5", "a b:1", "[x]:1", "x:1x"]
)
def test_a_wrong_address_is_refused(address: str) -> None:
    """Anything that is not host:port raises ValueError."""
    with pytest.raises(ValueError, match="host:port"):
        config.split_address(address)
