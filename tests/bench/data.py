"""The data folders of a cluster that has been filled: what writing every key once, and a good stop, leave."""

from __future__ import annotations

import sys
from pathlib import Path

from kvnode.config import WorkerConfig
from kvnode.core.records import Record
from kvnode.core.versions import Ballot, Version
from kvnode.storage.disk import PosixDisk
from kvnode.storage.store import Store

VALUE = b'"' + b"x" * 98 + b'"'
_BATCH = 10_000


def open_store(config: WorkerConfig) -> Store:
    """Open a worker's store as the worker would, but without threads."""
    return Store.open(
        PosixDisk(Path(config.worker.data_dir)),
        worker=config.worker.id,
        partitions=config.cluster.partitions,
        segment_bytes=config.limits.segment_bytes,
        on_durable=lambda _: None,
        on_failure=lambda error: sys.exit(str(error)),
    )


def fill_stopped(configs: list[WorkerConfig], keys: int, *, tidy: bool) -> None:
    """Give stopped workers of a formed cluster ``keys`` keys, each on its replicas alike.

    The records are what each partition's latest ballot would have written. ``tidy``: with hint files for all.
    """
    ring = configs[0].cluster.ring()
    stores = {config.worker.id: open_store(config) for config in configs}
    ballots = [
        max(stores[worker].promised(partition) for worker in ring.preference_list(partition))
        for partition in range(ring.partitions)
    ]
    numbers = [0] * ring.partitions
    for number in range(keys):
        key = f"bench.{number:09d}"
        partition = ring.partition(key)
        numbers[partition] += 1
        ballot: Ballot = ballots[partition]
        version = Version(*ballot, numbers[partition])
        record = Record(partition, key, ballot, version, None, VALUE)
        for worker in ring.preference_list(partition):
            stores[worker].append(record)
        if number % _BATCH == _BATCH - 1:
            _step(stores)
    _step(stores)
    for store in stores.values():
        if tidy:
            while store.tidier.step() is not None:
                store.committer.step()
        store.close()


def _step(stores: dict[int, Store]) -> None:
    for store in stores.values():
        while store.committer.step():
            pass
