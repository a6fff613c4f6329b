"""Acknowledged writes that are gone: told by versions alone, without a search for an order."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from kvnode.core.versions import NO_VERSION, Version, parse_version
from kvnode.verify.history import Asked, Op, Told

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def lost(ops: Iterable[Op], last_reads: Iterable[Op]) -> list[str]:
    """Name the keys whose newest acknowledged write the last reads do not show.

    What is read must have the version of the newest acknowledged write of its key, or a newer one. A key
    that is absent must have been deleted by that write, or by one of which nobody knows the end.
    """
    reads: dict[str, list[Op]] = defaultdict(list)
    for read in last_reads:
        if read.told in {Told.OK, Told.ABSENT}:
            reads[read.key].append(read)
    writes: dict[str, list[Op]] = defaultdict(list)
    for op in ops:
        if op.op is not Asked.GET and op.told in {Told.OK, Told.UNKNOWN}:
            writes[op.key].append(op)
    return [said for key, written in writes.items() if (said := _lost(written, reads[key]))]


def _lost(writes: Sequence[Op], reads: Sequence[Op]) -> str:
    newest = _newest(writes)
    if newest is None:
        return ""
    acknowledged = f"{newest.key}: {newest.op} {newest.version} was acknowledged"
    if not reads:
        return f"{acknowledged}, and nobody could read the key"
    missed = next((read for read in reads if not _kept(newest, read, writes)), None)
    return f"{acknowledged}, read: {missed.told} {missed.version or ''}" if missed else ""


def _newest(writes: Sequence[Op]) -> Op | None:
    acknowledged = [op for op in writes if op.told is Told.OK]
    return max(acknowledged, key=_version, default=None)


def _kept(newest: Op, read: Op, writes: Sequence[Op]) -> bool:
    if read.told is Told.OK:
        return _version(read) >= _version(newest)
    deleted = newest.op is Asked.DELETE
    perhaps = any(op.op is Asked.DELETE and op.told is Told.UNKNOWN for op in writes)
    return read.told is Told.ABSENT and (deleted or perhaps)


def _version(op: Op) -> Version:
    return parse_version(op.version or "") or NO_VERSION
