"""Broken on purpose: answering without being sure to lead still."""

from __future__ import annotations

import pytest

from kvnode.core.confirmations import Confirmations, Lead, Waiting
from kvnode.core.operations import Outcome, Status
from kvnode.core.pending import Pending
from kvnode.core.versions import NO_BALLOT
from kvnode.core.witnesses import Witnesses


def skip_confirmation(patch: pytest.MonkeyPatch) -> None:
    """Answer reads and refused conditions at once, whoever should see to it that the leader leads."""

    def join(
        _: Confirmations, pending: Pending, outcome: Outcome, lead: Lead, others: tuple[int, ...]
    ) -> None:
        del lead, others
        pending.answer(outcome)

    patch.setattr(Confirmations, "join", join)
    vouch_without_looking(patch)


def refuse_conditions_unconfirmed(patch: pytest.MonkeyPatch) -> None:
    """Answer refused conditions at once, and confirm reads."""
    confirm = Confirmations.join

    def join(
        confirmations: Confirmations, pending: Pending, outcome: Outcome, lead: Lead, others: tuple[int, ...]
    ) -> None:
        if outcome.status is Status.CONDITION_FAILED:
            pending.answer(outcome)
        else:
            confirm(confirmations, pending, outcome, lead, others)

    patch.setattr(Confirmations, "join", join)


def join_the_round_under_way(patch: pytest.MonkeyPatch) -> None:
    """Let a read ride on a confirmation that was asked for before it came."""
    ask = Confirmations._ask

    def ask_late(confirmations: Confirmations, waiting: Waiting, others: tuple[int, ...]) -> None:
        for worker in others:
            round_ = confirmations._rounds[worker]
            if round_.flying is not None and waiting.lead in round_.flying:
                round_.flying[waiting.lead].append(waiting)
                waiting.asked.add(worker)
                return
        ask(confirmations, waiting, others)

    patch.setattr(Confirmations, "_ask", ask_late)


def vouch_without_looking(patch: pytest.MonkeyPatch) -> None:
    """Take any leader for confirmed, as if no witness had promised a ballot."""
    patch.setattr(Witnesses, "word", lambda *_: NO_BALLOT)


def take_an_earlier_word(patch: pytest.MonkeyPatch) -> None:
    """Let a read wait for a witness's answer to a question that was on its way before it came."""
    patch.setattr(Witnesses, "left", lambda *_: None)
