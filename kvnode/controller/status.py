"""The answer of ``GET /status`` and the feed's ``status`` event, as types. Field names are public."""

from __future__ import annotations

from typing import Literal

import msgspec

Health = Literal["healthy", "degraded", "unavailable"]


class ClusterInfo(msgspec.Struct, frozen=True):
    """What stays as it is while the controller runs; but ``id`` is empty until the cluster forms."""

    name: str
    id: str
    partitions: int
    replicas: int
    write_quorum: int
    epoch: int
    layout: str
    release: str


class PartitionCounts(msgspec.Struct, frozen=True):
    """Partitions with a live leader, without one, and with fewer live replicas than a write needs."""

    led: int
    leaderless: int
    without_quorum: int


class PeerView(msgspec.Struct, frozen=True):
    """How a worker sees another one."""

    live: bool
    latent_copies: int


class AntiEntropyView(msgspec.Struct, frozen=True):
    """How far a worker's copies are compared with their leaders', as the live leaders tell it.

    ``comparing``: partitions being compared now. ``behind``: partitions in which the worker is not known
    to hold all; ``behind_in`` names the first. ``differing``: keys that differed when they were last
    compared, those on their way included. ``repaired``: keys written again there, since the leaders started.
    """

    comparing: int
    behind: int
    behind_in: list[int]
    differing: int
    repaired: int


class WorkerView(msgspec.Struct, frozen=True):
    """One worker as last reported.

    While it is not ``online``, ``state`` is ``offline`` and its counts are history.
    ``behind``: partitions not yet known to agree with their leader. ``rebuilding``: partitions in
    which it has no vote before it has copied them from all other replicas.
    ``latent_*`` is its replication lag: what the other live workers still hold for it.
    ``last_seen_ms`` is None before its first report.
    """

    id: int
    online: bool
    state: str
    reasons: list[str]
    rest_address: str
    grpc_address: str
    host: str
    zone: str
    weight: float
    release: str
    incarnation: str
    uptime_s: float
    keys: int
    tombstones: int
    disk_bytes: int
    partitions_led: int
    partitions_held: int
    partitions_primary: int
    behind: int
    rebuilding: int
    anti_entropy: AntiEntropyView
    latent_copies: int
    latent_bytes: int
    latent_oldest_ms: int
    last_seen_ms: int | None
    peers: dict[str, PeerView]


class RingView(msgspec.Struct, frozen=True):
    """By partition: the workers that hold it, its primary first."""

    preference_lists: list[tuple[int, ...]]


class LogCounts(msgspec.Struct, frozen=True):
    """Lines in the controller's window, and lines that nodes could not ship to it."""

    lines: int
    dropped: int


class ClusterStatus(msgspec.Struct, frozen=True):
    """The whole. The feed leaves ``ring`` out: it never changes."""

    cluster: ClusterInfo
    health: Health
    partitions: PartitionCounts
    workers: list[WorkerView]
    logs: LogCounts
    ring: RingView | msgspec.UnsetType = msgspec.UNSET
