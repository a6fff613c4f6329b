"""Writing hint files: see ``hints`` for what they hold."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from zlib import crc32

from kvnode.core.hash_tree import BUCKETS, bucket_of
from kvnode.storage.disk import Disk, File
from kvnode.storage.keydir import columns, digest_of
from kvnode.storage.line_kinds import HintBlockLine, HintEndLine, HintLine
from kvnode.storage.lines import encode_struct
from kvnode.storage.segment import TEMPORARY, hint_name

HINT_FORMAT = 3
"""The version of the hint files' own format; one of another is made anew."""

_SYNC_BYTES = 1 << 20
_BLOCK_RECORDS = 128
_MOST_RECORDS = 1 << 16


class HintWriter:
    """Writes the hint file of segment ``number``; nobody sees it before ``finish``."""

    def __init__(self, disk: Disk, number: int) -> None:
        self._disk = disk
        self._name = hint_name(number)
        self._file = create_temporary(disk, self._name)
        self._lines: list[bytes] = [encode_struct(HintLine(format=HINT_FORMAT, segment=number))]
        self._blocks: dict[int, tuple[list[str], list[bytes]]] = {}
        self._records = 0
        self._size = 0
        self._synced = 0
        self._sum = 0

    def add(self, partition: int, key: str, packed: bytes) -> None:
        """Note a record of the segment, with the place where it stands."""
        keys, entries = self._blocks.setdefault(partition, ([], []))
        keys.append(key)
        entries.append(packed)
        self._records += 1
        if len(keys) >= _BLOCK_RECORDS:
            self._end_block(partition)
        elif self._records > _MOST_RECORDS:
            self._end_block(max(self._blocks, key=lambda largest: len(self._blocks[largest][0])))

    def add_state(self, line: bytes) -> None:
        """Note a line that says a partition's state."""
        self._lines.append(line)

    def finish(self, segment_bytes: int) -> Iterator[int]:
        """Make the hint file durable and visible, yielding now and then the bytes written."""
        for partition in list(self._blocks):
            self._end_block(partition)
            yield self._flush()
        yield self._flush()
        self._lines = [encode_struct(HintEndLine(sum=self._sum, bytes=segment_bytes))]
        self._flush()
        self._file.sync()
        self._disk.rename(self._name + TEMPORARY, self._name)
        self._disk.sync_folder()

    def close(self) -> None:
        """Give the file back, finished or not."""
        self._file.close()

    def sweep(self) -> None:
        """Remove what was not finished, for the space that it takes; not to be able to is no harm."""
        temporary = self._name + TEMPORARY
        if temporary in self._disk.names():
            with contextlib.suppress(OSError):
                self._disk.remove(temporary)

    def _end_block(self, partition: int) -> None:
        """Make a line of what has gathered of a partition."""
        keys, packed = self._blocks.pop(partition)
        self._records -= len(keys)
        sums = [0] * BUCKETS
        for key, entry in dict(zip(keys, packed, strict=True)).items():
            sums[bucket_of(key)] ^= digest_of(entry)
        fields = [list(field) for field in columns(packed)]
        block = HintBlockLine(
            p=partition,
            k=keys,
            a=(fields[0], fields[1]),
            ver=(fields[2], fields[3], fields[4]),
            prev=(fields[5], fields[6], fields[7]),
            at=(fields[9], fields[10]),
            f=fields[11],
            d=fields[12],
            x=sums,
        )
        self._lines.append(encode_struct(block))
        self._flush()

    def _flush(self) -> int:
        """Write what has gathered; return how much that was."""
        data = b"".join(self._lines)
        self._file.write(self._size, data)
        self._size += len(data)
        self._sum = crc32(data, self._sum)
        self._lines = []
        if self._size - self._synced >= _SYNC_BYTES:
            self._file.sync()
            self._synced = self._size
        return len(data)


def create_temporary(disk: Disk, name: str) -> File:
    """Create the file that will be ``name`` when it is whole."""
    temporary = name + TEMPORARY
    if temporary in disk.names():
        disk.remove(temporary)
    return disk.create(temporary)
