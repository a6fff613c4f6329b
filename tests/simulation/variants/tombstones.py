"""Broken on purpose: forgetting that something was deleted."""

from __future__ import annotations

import pytest

from kvnode.core.forgetting import Round
from kvnode.core.leadership import Leadership
from kvnode.core.versions import NO_VERSION, Version
from kvnode.storage.store import Store


def forget_without_a_floor(patch: pytest.MonkeyPatch) -> None:
    """Forget tombstones, and remember nothing that keeps late copies out."""
    patch.setattr(Store, "floor", lambda *_: NO_VERSION)


def forget_before_all_hold(patch: pytest.MonkeyPatch) -> None:
    """Forget a tombstone early: when it is old enough, whoever else holds it and has raised its floor."""
    begin = Round.__init__

    def init(round_: Round, leadership: Leadership, floor: Version) -> None:
        begin(round_, leadership, floor)
        round_.whole.update(leadership.others)
        round_.floored.update(leadership.others)

    patch.setattr(Round, "__init__", init)
