"""Reading this worker's own copy of a key, committed or not: what ``?consistency=local`` returns."""

from __future__ import annotations

from kvnode.core.context import Context
from kvnode.core.operations import Outcome, Status


def read_here(ctx: Context, partition: int, key: str) -> Outcome:
    """Return the newest record that this worker holds of a key."""
    if partition not in ctx.held or not ctx.journal.voting(partition):
        return Outcome(Status.UNAVAILABLE, reason="this worker holds no copy of the key")
    entry = ctx.journal.entry(partition, key)
    if entry is None or entry.tombstone:
        version = None if entry is None else entry.version
        return Outcome(Status.ABSENT, version=version, node=ctx.worker)
    value = ctx.journal.value(partition, key, entry)
    return Outcome(Status.OK, version=entry.version, value=value, node=ctx.worker)
