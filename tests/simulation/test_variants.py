"""Deliberately broken variants of the real code: each must be caught by what clients see alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.simulation import test_schedules_durability as durability
from tests.simulation import test_schedules_outcomes as outcomes
from tests.simulation import test_schedules_reads as reads
from tests.simulation import test_schedules_rebuild as rebuild
from tests.simulation import test_schedules_settling as settling
from tests.simulation import test_schedules_tombstones as tombstones
from tests.simulation.invariants import Invariants
from tests.simulation.simulation import Simulation
from tests.simulation.stage import Stage, ViolationError
from tests.simulation.test_seeds import SEEDS
from tests.simulation.variants import durability as forgetful
from tests.simulation.variants import outcomes as repetitive
from tests.simulation.variants import reads as rash
from tests.simulation.variants import rebuild as amnesiac
from tests.simulation.variants import settling as gullible
from tests.simulation.variants import tombstones as oblivious

Break = Callable[[pytest.MonkeyPatch], None]
Schedule = Callable[[Stage], None]

CAUGHT_BY: list[tuple[Break, Schedule]] = [
    (forgetful.acknowledge_before_the_sync, durability.test_power_fails_before_the_sync),
    (
        forgetful.settle_by_an_unsynced_copy,
        durability.test_a_write_in_doubt_at_a_leader_with_a_slow_disk,
    ),
    (
        forgetful.count_acknowledgements_twice,
        durability.test_an_acknowledgement_comes_twice_while_the_leaders_disk_is_slow,
    ),
    (forgetful.forget_promises, durability.test_a_promise_outlives_a_restart),
    (forgetful.reuse_ballots, durability.test_a_ballot_is_not_used_again_after_a_restart),
    (rash.skip_confirmation, reads.test_a_leader_that_is_cut_off_is_read),
    (rash.skip_confirmation, reads.test_a_deposed_leader_judges_a_condition),
    (rash.refuse_conditions_unconfirmed, reads.test_a_deposed_leader_judges_a_condition),
    (
        rash.join_the_round_under_way,
        reads.test_a_confirmation_was_asked_for_before_the_read_came,
    ),
    (rash.vouch_without_looking, reads.test_a_coordinator_has_promised_another_leader),
    (rash.vouch_without_looking, reads.test_a_witness_has_promised_another_leader),
    (rash.take_an_earlier_word, reads.test_a_promise_was_asked_for_before_the_read_came),
    (repetitive.resend_unknown_writes, outcomes.test_the_answer_to_a_write_is_lost),
    (repetitive.resend_unknown_writes, outcomes.test_the_answer_to_a_relayed_write_is_lost),
    (repetitive.execute_copies, outcomes.test_a_request_is_copied),
    (repetitive.execute_copies, outcomes.test_a_request_to_be_relayed_is_copied),
    (repetitive.listen_to_earlier_links, outcomes.test_a_request_is_copied_across_a_restart),
    (gullible.lead_without_settling, settling.test_a_leader_takes_over_without_the_newest_copy),
    (gullible.adopt_without_accepting_again, settling.test_a_minority_write_surfaces_after_a_takeover),
    (gullible.compare_blind_to_ballots, settling.test_one_version_is_accepted_under_two_ballots),
    (gullible.accept_below_the_promise, settling.test_an_accept_below_the_promise_arrives),
    (gullible.accept_whatever_comes, settling.test_an_older_accept_arrives_again),
    (
        oblivious.forget_without_a_floor,
        tombstones.test_a_copy_is_held_past_its_deletion_and_the_forgetting,
    ),
    (oblivious.forget_before_all_hold, tombstones.test_a_copy_is_late_while_a_deletion_grows_old),
    (amnesiac.let_a_wiped_disk_vote, rebuild.test_a_wiped_disk_meets_a_replica_that_missed_the_write),
    (amnesiac.vote_after_one_copy, rebuild.test_a_wiped_disk_has_copied_from_one_replica_alone),
    (amnesiac.let_copied_records_stand, rebuild.test_a_rebuilt_copy_is_no_vote),
    (amnesiac.greet_any_disk, rebuild.test_an_earlier_disk_comes_back),
    (amnesiac.greet_any_disk, rebuild.test_a_disk_of_another_cluster_is_inserted),
]

CAUGHT_BY_SEEDS: list[Break] = [
    forgetful.acknowledge_before_the_sync,
    forgetful.forget_promises,
    forgetful.reuse_ballots,
    rash.skip_confirmation,
    repetitive.resend_unknown_writes,
    repetitive.execute_copies,
    gullible.lead_without_settling,
    amnesiac.let_a_wiped_disk_vote,
    amnesiac.vote_after_one_copy,
    amnesiac.let_copied_records_stand,
]


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the invariants that look inside: clients' answers and the copies must do."""
    for name in ("asked", "told", "opened"):
        monkeypatch.setattr(Invariants, name, lambda *_: None)
    monkeypatch.setattr(Invariants, "leading", lambda *_: [])


@pytest.mark.usefixtures("blind")
@pytest.mark.parametrize(("broken", "schedule"), CAUGHT_BY)
def test_a_broken_variant_is_caught(
    broken: Break, schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the real code passes, the broken one fails, by contradictory answers or copies that never meet."""
    broken(monkeypatch)
    with pytest.raises(ViolationError):
        schedule(Stage())


@pytest.mark.usefixtures("blind")
@pytest.mark.parametrize("broken", CAUGHT_BY_SEEDS)
def test_random_seeds_catch_a_broken_variant(broken: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the seeds that the real code passes is failed by the broken one."""
    broken(monkeypatch)
    assert any(fails(seed) for seed in SEEDS)


def fails(seed: int) -> bool:
    """Whether an oracle objects to the history of a seed."""
    try:
        Simulation(seed).run()
    except AssertionError:
        return True
    return False
