"""What storage costs: ``python -m tests.bench.storage [--keys N] [--folder DIR]``.

Times are processor time of the calling thread unless said otherwise; the folder should be on the
disk that is meant, since a sync costs what that disk takes.
"""

from __future__ import annotations

import argparse
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Condition
from time import perf_counter, thread_time

from kvnode.core.hash_tree import key_hash
from kvnode.core.records import Entry, Record
from kvnode.core.versions import Ballot, Version
from kvnode.storage.disk import PosixDisk
from kvnode.storage.keydir import Keydir, pack
from kvnode.storage.store import Store

PARTITIONS = 256
SEGMENT_BYTES = 8 << 20
VALUE = b'"' + b"x" * 98 + b'"'


def report(what: str, figure: float, unit: str) -> None:
    """Print one line."""
    sys.stdout.write(f"{what:<52} {figure:>10.2f} {unit}\n")


@contextmanager
def timed(what: str, count: int, clock: Callable[[], float] = thread_time) -> Iterator[None]:
    """Report the time of the block per each of ``count``."""
    began = clock()
    yield
    report(what, (clock() - began) / count * 1e6, "us")


def records(count: int, term: int) -> list[Record]:
    """Return one record for each of ``count`` keys."""
    previous = Version(term - 1, 1, 1) if term > 1 else None
    keys = (f"user:{number:08}" for number in range(count))
    return [
        Record(key_hash(key) >> 56, key, Ballot(term, 1), Version(term, 1, seq + 1), previous, VALUE)
        for seq, key in enumerate(keys)
    ]


class Waker:
    """Waits for the log to become durable, and counts the batches."""

    def __init__(self) -> None:
        self.batches = 0
        self._changed = Condition()
        self._durable = 0

    def __call__(self, lsn: int) -> None:
        """Take note of a batch."""
        with self._changed:
            self.batches += 1
            self._durable = lsn
            self._changed.notify()

    def wait(self, lsn: int) -> None:
        """Return when the log is durable up to ``lsn``."""
        with self._changed:
            self._changed.wait_for(lambda: self._durable >= lsn)


def open_store(folder: Path, waker: Waker) -> Store:
    """Open the store that is measured."""
    return Store.open(
        PosixDisk(folder),
        worker=1,
        partitions=PARTITIONS,
        segment_bytes=SEGMENT_BYTES,
        on_durable=waker,
        on_failure=lambda error: sys.exit(str(error)),
    )


def measure_writes(folder: Path, count: int) -> None:
    """Measure appends alone, then with the writer's thread at work."""
    waker = Waker()
    store = open_store(folder, waker)
    batch = records(count, 1)
    with timed("append a new key, nothing else running", count):
        for record in batch:
            store.append(record)
    with timed("write and sync, per line of one batch (wall)", count, perf_counter):
        store.committer.step()
    batch = records(count, 2)
    store.committer.start()
    before = waker.batches
    began = perf_counter()
    with timed("replace a key, writer running", count):
        for record in batch:
            store.append(record)
            store.committer.wake()
    waker.wait(store.appended_lsn)
    report("appends made durable (wall)", count / (perf_counter() - began) / 1000, "thousand/s")
    report("lines per batch", count / (waker.batches - before), "lines")
    last = batch[-1]
    rounds = 100
    with timed("one append made durable, nobody else writing (wall)", rounds, perf_counter):
        for _ in range(rounds):
            lsn = store.append(last)
            store.committer.wake()
            waker.wait(lsn)
    store.close()


def measure_reads(folder: Path, count: int) -> None:
    """Measure reading values, listing, tidying and opening."""
    began = perf_counter()
    store = open_store(folder, Waker())
    report("open from lines (wall)", (perf_counter() - began) / (2 * count) * 1e6, "us/line")
    wanted = records(min(count, 20_000), 2)
    entries: list[Entry] = []
    with timed("look up an entry", len(wanted)):
        for record in wanted:
            entry = store.entry(record.partition, record.key)
            entries += [] if entry is None else [entry]
    with timed("read a value", len(wanted)):
        for record, entry in zip(wanted, entries, strict=True):
            store.value(record.partition, record.key, entry)
    store.scan("user:", "", 200)
    with timed("list 200 keys of all partitions", 1):
        store.scan("user:", "", 200)
    store.append(wanted[0])
    store.committer.step()
    size = store.disk_bytes
    began = perf_counter()
    while store.tidier.step() is not None:
        pass
    report("tidy everything (wall, unthrottled)", perf_counter() - began, "s")
    report("log before and after, ratio", size / store.disk_bytes, "")
    store.close()
    began = perf_counter()
    store = open_store(folder, Waker())
    report("open from hints (wall)", (perf_counter() - began) / count * 1e6, "us/line")
    store.close()


def measure_memory(count: int) -> None:
    """Measure what the index takes for a key, beside the text of the key itself."""
    keys = [f"user:{number:08}" for number in range(count)]
    entry = Entry(Ballot(3, 1), Version(3, 1, 42), None, tombstone=False, copied=False)
    keydirs = [Keydir() for _ in range(PARTITIONS)]
    tracemalloc.start()
    for number, key in enumerate(keys):
        keydirs[key_hash(key) >> 56].put(key, pack(entry, 1, number, 200, key_hash(key), tombstone=False))
    for keydir in keydirs:
        keydir.keys_after("", 1)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    report("index", taken / count, "bytes/key beyond the key's str")
    report("a str's own overhead", sys.getsizeof(keys[0]) - len(keys[0]), "bytes/key")


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, default=None, help="where to put a temporary data folder")
    arguments = parser.parse_args()
    with TemporaryDirectory(dir=arguments.folder) as folder:
        measure_writes(Path(folder) / "data", arguments.keys)
        measure_reads(Path(folder) / "data", arguments.keys)
    measure_memory(arguments.keys)


if __name__ == "__main__":
    main()
