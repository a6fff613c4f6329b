"""What clients of a simulated cluster saw, as a history that the product's own checker judges."""

from __future__ import annotations

from collections.abc import Iterable

from kvnode.core.operations import Kind, Status
from kvnode.verify.checker import check
from kvnode.verify.history import Asked, Op, Told
from tests.simulation.cluster import Call

ASKED = {Kind.GET: Asked.GET, Kind.PUT: Asked.PUT, Kind.DELETE: Asked.DELETE}
TOLD = {
    Status.OK: Told.OK,
    Status.ABSENT: Told.ABSENT,
    Status.CONDITION_FAILED: Told.CONDITION_FAILED,
    Status.NOT_STORED: Told.NOT_DONE,
    Status.UNKNOWN: Told.UNKNOWN,
    Status.UNAVAILABLE: Told.NOT_DONE,
    Status.OVERLOADED: Told.NOT_DONE,
    Status.NO_SPACE: Told.NOT_DONE,
}


def history(calls: Iterable[Call]) -> list[Op]:
    """Return the calls as a history; a call that was never answered has an unknown outcome."""
    return [_op(number, call) for number, call in enumerate(calls)]


def _op(number: int, call: Call) -> Op:
    operation, outcome = call.operation, call.outcome
    told = Told.UNKNOWN if outcome is None else TOLD[outcome.status]
    condition = operation.condition
    any_of = condition.any_of if condition else None
    value = operation.value if operation.kind is Kind.PUT or outcome is None else outcome.value
    return Op(
        client=number,
        op=ASKED[operation.kind],
        key=operation.key,
        value=None if value is None else value.decode(),
        if_match=None if any_of is None else tuple(map(str, any_of)),
        if_present=condition is not None and condition.present,
        if_absent=condition is not None and condition.absent,
        told=told,
        version=None if outcome is None or outcome.version is None else str(outcome.version),
        start_us=call.began_us,
        end_us=None if told is Told.UNKNOWN else call.ended_us,
    )


def check_linearizable(calls: Iterable[Call]) -> None:
    """Fail, with the operations that cannot be explained, if what clients saw has no explanation."""
    verdict = check(history(calls))
    assert verdict.linearizable, "\n".join(map(str, verdict.findings))
