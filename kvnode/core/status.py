"""What a worker tells the controller about itself: values only, never a part of a decision."""

from __future__ import annotations

import msgspec

from kvnode.core.versions import Version

PARTITIONS_NAMED = 16
"""So many partitions are named where many may be concerned."""


class PeerStatus(msgspec.Struct, frozen=True):
    """How one worker sees another. ``latent_*``: copies not yet durable there.

    Of the partitions that this worker leads and the other one follows: how many it is ``comparing``
    now, in how many the other one is not known to hold all (``behind``) and in which (``behind_in``,
    the first few), how many keys differed when they were last compared (``differing``: what was on
    its way too), and how many keys it has ``repaired`` there since it started.
    """

    worker: int
    live: bool
    latent_copies: int
    latent_bytes: int
    latent_oldest_ms: int
    comparing: int = 0
    behind: int = 0
    repaired: int = 0
    behind_in: list[int] = []
    differing: int = 0


class WorkerStatus(msgspec.Struct, frozen=True):
    """One worker's state: forming, rebuilding, catching_up, ready, full or draining.

    ``led``: the partitions it leads now. ``keys`` and ``tombstones`` count what its disk holds as
    replica. ``behind``: partitions that it holds and is not yet known to agree on with their leader.
    ``rebuilding``: partitions in which it has no vote. ``tombstones_forgotten``: since it started.
    """

    worker: int
    state: str
    reasons: list[str]
    release: str
    cluster_id: str
    incarnation: str
    process: str
    uptime_s: float
    keys: int
    tombstones: int
    disk_bytes: int
    held: int
    led: list[int]
    behind: int
    peers: list[PeerStatus]
    rebuilding: int = 0
    tombstones_forgotten: int = 0


class KeyEvent(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A copy of a record became part of this worker's index. ``deleted``: it is a tombstone."""

    key: str
    partition: int
    version: Version
    deleted: bool


class Report(msgspec.Struct, frozen=True):
    """What a worker ships to the controller at a time: its status, log lines and key events.

    ``log_lines`` are the JSON lines that went to stdout, oldest first; ``logs_dropped`` and
    ``events_dropped`` count, since start, what did not fit the bounded buffers.
    """

    number: int
    status: WorkerStatus
    log_lines: list[bytes]
    logs_dropped: int
    key_events: list[KeyEvent]
    events_dropped: int


class StoredKey(msgspec.Struct, frozen=True):
    """One key as one worker holds it. ``value`` is its JSON text, None for a value over the preview limit."""

    key: str
    partition: int
    version: Version
    size_bytes: int
    value: bytes | None


class KeyPage(msgspec.Struct, frozen=True):
    """Keys of one worker in order, tombstones left out. ``next_after`` is empty on the last page."""

    keys: list[StoredKey]
    next_after: str
