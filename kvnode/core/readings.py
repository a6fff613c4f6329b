"""Reading this worker's own copy of a key: for whoever leads it, and for ``?consistency=local``."""

from __future__ import annotations

from kvnode.core.context import Context
from kvnode.core.operations import Outcome, Status
from kvnode.core.records import Entry
from kvnode.errors import DamageError


def read_here(ctx: Context, partition: int, key: str) -> Outcome:
    """Return the newest record that this worker holds of a key, committed or not."""
    if partition not in ctx.held or not ctx.journal.voting(partition):
        return Outcome(Status.UNAVAILABLE, reason="this worker holds no copy of the key")
    found = read_entry(ctx, partition, key, ctx.journal.entry(partition, key))
    return found or Outcome(Status.UNAVAILABLE, reason="this worker's copy of the key is damaged")


def read_entry(
    ctx: Context, partition: int, key: str, entry: Entry | None, *, leader: int = 0
) -> Outcome | None:
    """Return what an entry says of its key; if it cannot be read, note the damage and return None."""
    if entry is None or entry.tombstone:
        version = None if entry is None else entry.version
        return Outcome(Status.ABSENT, version=version, node=ctx.worker, leader=leader)
    try:
        value = ctx.journal.value(partition, key, entry)
    except DamageError:
        ctx.damaged.add(partition)
        return None
    return Outcome(Status.OK, version=entry.version, value=value, node=ctx.worker, leader=leader)
