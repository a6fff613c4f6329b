"""Running many seeds, and telling what happened in one."""

from __future__ import annotations

import pytest

from kvnode.core.operations import Kind, Operation, Outcome, Status
from kvnode.core.versions import Version
from tests.simulation.cluster import Call
from tests.simulation.runner import replay_command, simulate
from tests.simulation.simulation import Simulation
from tests.simulation.trace import trace


def test_figures_count_operations_and_faults() -> None:
    """Seeds that keep every promise are counted with all that was done and broken in them."""
    figures = simulate([1, 2])
    assert (figures.seeds, figures.failures) == (2, [])
    assert figures.operations["ok"] > 50
    assert sum(figures.faults.values()) > 10
    assert figures.simulated_s > 2


def test_a_failing_seed_is_named_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is raised within a seed is its failure, and the next seed is lived through all the same."""
    run = Simulation.run

    def fail_in_one(simulation: Simulation) -> None:
        run(simulation)
        assert simulation.plan.seed != 1, "broken on purpose"

    monkeypatch.setattr(Simulation, "run", fail_in_one)
    figures = simulate([1, 2])
    assert figures.seeds == 2
    assert [failure.seed for failure in figures.failures] == [1]
    assert "broken on purpose" in figures.failures[0].error
    assert replay_command(1).endswith("replay 1")


def test_a_trace_shows_what_cannot_be_explained() -> None:
    """The operations of a key with no explanation are told, and what befell the cluster meanwhile."""
    simulation = Simulation(2)
    simulation.run()
    after_us = simulation.cluster.events.now_us
    stale = Call(1, Operation(Kind.GET, "a"), after_us)
    stale.end(after_us + 1, Outcome(Status.OK, Version(1, 1, 1), b'"never put"'))
    simulation.calls.append(stale)
    lines = trace(simulation)
    assert any("never put" in line for line in lines)
    assert not any(f" GET {key} " in line for line in lines for key in "bcd")
    assert any("leadership_won" in line for line in trace(simulation, whole=True))
