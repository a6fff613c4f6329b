"""What happened in one seed, for a person: what clients saw, faults and elections in order of time."""

from __future__ import annotations

from collections.abc import Iterator

from kvnode.verify.checker import check
from tests.simulation.cluster import Call
from tests.simulation.history import history
from tests.simulation.simulation import Simulation

AROUND_MS = 400
LAST_MS = 1500
QUIET = frozenset({"peer_live", "partition_repaired"})

Line = tuple[int, str]


def trace(simulation: Simulation, *, whole: bool = False) -> list[str]:
    """Return the lines around what went wrong: the keys that are not linearizable, else the last moments."""
    findings = check(history(simulation.telling())).findings
    keys = {finding.key for finding in findings}
    begin_us, end_us = 0, simulation.cluster.events.now_us
    if findings and not whole:
        shown = [op for finding in findings for op in finding.ops]
        begin_us = min(op.start_us for op in shown)
        end_us = max(op.end_us or op.start_us for op in shown)
    elif not whole:
        begin_us = end_us - LAST_MS * 1000
    lines = sorted([*_faults(simulation), *_notes(simulation), *_calls(simulation, set() if whole else keys)])
    margin_us = AROUND_MS * 1000
    return [text for at_us, text in lines if begin_us - margin_us <= at_us <= end_us + margin_us]


def _faults(simulation: Simulation) -> Iterator[Line]:
    for at_ms, words in simulation.nemesis.story:
        yield at_ms * 1000, f"{at_ms:10} ---- {words}"


def _notes(simulation: Simulation) -> Iterator[Line]:
    for at_ms, number, event, fields in simulation.cluster.notes:
        if event not in QUIET:
            words = " ".join(f"{name}={value}" for name, value in fields.items())
            yield at_ms * 1000, f"{at_ms:10} worker {number}: {event} {words}"


def _calls(simulation: Simulation, keys: set[str]) -> Iterator[Line]:
    for call in simulation.calls:
        if not keys or call.operation.key in keys:
            yield call.began_us, _line(call)


def _line(call: Call) -> str:
    operation, outcome = call.operation, call.outcome
    value = "" if operation.value is None else f" {operation.value.decode()}"
    condition = "" if operation.condition is None else f" if {_condition(call)}"
    ended = "never" if call.ended_us is None else f"{call.ended_us / 1000:.3f}"
    told = "no answer"
    if outcome is not None:
        seen = "" if outcome.value is None else f" {outcome.value.decode()}"
        version = "" if outcome.version is None else f" {outcome.version}"
        told = f"{outcome.status.name}{seen}{version} {outcome.reason}"
    return (
        f"{call.began_us / 1000:10.3f} client {call.client} through worker {call.worker}: "
        f"{operation.kind.name} {operation.key}{value}{condition} -> {told} ({ended})"
    )


def _condition(call: Call) -> str:
    condition = call.operation.condition
    if condition is None:
        return ""
    if condition.any_of is not None:
        return "version " + ", ".join(map(str, condition.any_of))
    return "absent" if condition.absent else "present"
