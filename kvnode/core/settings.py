"""What the machines of a worker are set to."""

from __future__ import annotations

import msgspec


class Timing(msgspec.Struct, frozen=True):
    """Every delay of the protocol, in milliseconds, and who leads under load: correctness needs none of it.

    ``tombstone_ms``: for how long a deletion is remembered after all replicas hold it. ``follow_ms``: how
    long operations come by one worker before leadership follows them, if there are as many as
    ``follow_operations`` in a quarter of it; to the first worker, if ``gather_operations`` come by several
    (0: never).
    """

    heartbeat_ms: int = 200
    suspect_ms: int = 1000
    stable_ms: int = 5000
    prepare_retry_ms: int = 300
    backoff_ms: int = 50
    hedge_ms: int = 100
    ask_again_ms: int = 500
    compare_ms: int = 5000
    tombstone_ms: int = 600_000
    follow_ms: int = 2000
    follow_operations: int = 10
    gather_operations: int = 0


class Bounds(msgspec.Struct, frozen=True):
    """How much may wait."""

    latent_records: int = 100_000
    latent_bytes: int = 64 * 1024 * 1024
    operations: int = 4096
    batch_items: int = 1000
    batch_bytes: int = 2 * 1024 * 1024
