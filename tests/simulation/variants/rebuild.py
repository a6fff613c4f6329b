"""Broken on purpose: disks that have a say too early, or have none and are heard."""

from __future__ import annotations

import pytest

from kvnode.core import inquiry
from kvnode.core.comparison import Comparison
from kvnode.core.formation import Formation
from kvnode.core.hash_tree import entry_hash
from kvnode.core.messages import Held, Hello
from kvnode.core.rebuild import Copying, Rebuild
from kvnode.core.records import Entry, Record
from kvnode.core.versions import Version
from kvnode.storage import placed, store
from kvnode.storage.store import Store


def let_a_wiped_disk_vote(patch: pytest.MonkeyPatch) -> None:
    """Give every disk a vote, whatever it holds."""
    patch.setattr(Store, "voting", lambda *_: True)
    patch.setattr(Rebuild, "remaining", property(lambda _: 0))


def vote_after_one_copy(patch: pytest.MonkeyPatch) -> None:
    """Give a rebuilt disk its vote when it has copied from one other replica."""
    go_on = Rebuild._next

    def step(rebuild: Rebuild, partition: int, copying: Copying) -> None:
        if copying.complete:
            rebuild._finish(partition, copying)
        else:
            go_on(rebuild, partition, copying)

    patch.setattr(Rebuild, "_next", step)


def let_copied_records_stand(patch: pytest.MonkeyPatch) -> None:
    """Take a copied record for one that was voted for."""

    def stands(best: Record, record: Record | None, floor: Version) -> bool:
        if record is None:
            return best.value is None and floor >= best.version
        return (record.accepted, record.version) == (best.accepted, best.version)

    def differs(comparison: Comparison, held: Held) -> bool:
        entry = comparison._ctx.journal.entry(comparison._partition, held.key)
        return entry is None or entry.rank != (held.accepted, held.version)

    def alike(key: str, entry: Entry, holder: int) -> int:
        del holder
        return entry_hash(key, entry, 0)

    patch.setattr(inquiry, "_stands", stands)
    patch.setattr(Comparison, "_differs", differs)
    for module in (placed, store):
        patch.setattr(module, "entry_hash", alike)


def greet_any_disk(patch: pytest.MonkeyPatch) -> None:
    """Refuse no disk: neither another cluster's nor a worker's earlier one."""

    def check(_: Formation, theirs: Hello) -> None:
        del theirs

    patch.setattr(Formation, "check", check)
    patch.setattr(Formation, "replaced", lambda *_: False)
