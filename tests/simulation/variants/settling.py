"""Broken on purpose: leading, accepting and comparing without what makes a record the committed one."""

from __future__ import annotations

import msgspec
import pytest

from kvnode.core.hash_tree import entry_hash
from kvnode.core.inquiry import Inquiry
from kvnode.core.leadership import Leadership
from kvnode.core.messages import Refusal
from kvnode.core.records import Entry, Record
from kvnode.core.replica import Replica
from kvnode.core.versions import NO_BALLOT, Ballot
from kvnode.storage import placed, store


def lead_without_settling(patch: pytest.MonkeyPatch) -> None:
    """Take what the new leader holds for what was committed."""
    patch.setattr(Leadership, "_is_settled", lambda *_: True)


def adopt_without_accepting_again(patch: pytest.MonkeyPatch) -> None:
    """Take the newest record of a majority over, and show it, without having it accepted again."""

    def found(leadership: Leadership, key: str, inquiry: Inquiry, again: Record | None) -> None:
        slot = leadership._slots.get(key)
        if slot is None or slot.inquiry is not inquiry or leadership.ended:
            return
        slot.inquiry = None
        if again is not None:
            leadership._ctx.append(again)
        leadership._note_settled(key)
        leadership._advance(key, slot)

    patch.setattr(Leadership, "_found", found)


def accept_below_the_promise(patch: pytest.MonkeyPatch) -> None:
    """Admit every ballot."""
    admit = Replica.admit

    def admit_all(replica: Replica, partition: int, ballot: Ballot, *, leads: bool = True) -> Refusal | None:
        refusal = admit(replica, partition, ballot, leads=leads)
        return None if refusal is not None and refusal.voting else refusal

    patch.setattr(Replica, "admit", admit_all)


def accept_whatever_comes(patch: pytest.MonkeyPatch) -> None:
    """Append a record though a newer one stands."""

    def accept(replica: Replica, record: Record) -> Refusal | None:
        refusal = replica.admit(record.partition, record.accepted)
        if refusal is None:
            replica._ctx.append(record)
        return refusal

    patch.setattr(Replica, "_accept", accept)


def compare_blind_to_ballots(patch: pytest.MonkeyPatch) -> None:
    """Leave the accepted ballot out of the hash trees."""

    def blind(key: str, entry: Entry, holder: int) -> int:
        return entry_hash(key, msgspec.structs.replace(entry, accepted=NO_BALLOT), holder)

    for module in (placed, store):
        patch.setattr(module, "entry_hash", blind)
