"""From a record's line, and where it stands, to the packed entry that stands for it in the index."""

from __future__ import annotations

from kvnode.core.hash_tree import entry_hash
from kvnode.core.records import Entry
from kvnode.storage.keydir import pack
from kvnode.storage.line_kinds import KeyLine, TombstoneLine


def pack_line(line: KeyLine, segment: int, offset: int, length: int, worker: int) -> bytes:
    """Pack a line that worker ``worker`` holds."""
    entry = Entry(line.a, line.ver, line.prev, isinstance(line, TombstoneLine), bool(line.c))
    digest = entry_hash(line.k, entry, worker)
    return pack(entry, segment, offset, length, digest, tombstone=entry.tombstone)
