"""The messages of ``coordination.proto``: operations and their outcomes."""

from __future__ import annotations

from kvnode.core.messages import Attempt, ExecuteBatch, ExecuteReply
from kvnode.core.operations import Condition, Kind, Operation, Outcome, Status
from kvnode.errors import MessageError
from kvnode.rpc.codec.wire import (
    EPOCH,
    check_count,
    checked_key,
    checked_name,
    checked_value,
    parse_current,
    version,
)
from kvnode.rpc.pb import coordination_pb2 as pb

LONGEST_MS = 86_400_000
"""The longest deadline that a request can have: the bound of ``limits.request_timeout_ms``."""

# Dictionaries are several times faster than calling an enumeration, and tell what is unknown.
_KINDS: dict[int, Kind] = {int(kind): kind for kind in Kind}
_STATUSES: dict[int, Status] = {int(status): status for status in Status}
_KIND_MESSAGES = {kind: getattr(pb, f"KIND_{kind.name}") for kind in Kind}
_STATUS_MESSAGES = {status: getattr(pb, f"STATUS_{status.name}") for status in Status}


def _put_condition(message: pb.ConditionMsg, condition: Condition) -> None:
    message.SetInParent()
    if condition.any_of is not None:
        message.match_versions = True
        for term, worker, seq in condition.any_of:
            message.any_of.add(term=term, worker=worker, seq=seq)
    message.present = condition.present
    message.absent = condition.absent


def _get_condition(message: pb.ConditionMsg) -> Condition:
    versions = tuple(version(one.term, one.worker, one.seq) for one in message.any_of)
    any_of = versions if message.match_versions else None
    return Condition(any_of, message.present, message.absent)


def _put_attempt(message: pb.AttemptMsg, attempt: Attempt) -> None:
    operation = attempt.operation
    message.number = attempt.number
    message.kind = _KIND_MESSAGES[operation.kind]
    message.key = operation.key
    message.deadline_ms = attempt.deadline_ms
    if operation.value is not None:
        message.value = operation.value
    if operation.condition is not None:
        _put_condition(message.condition, operation.condition)
    if operation.local:
        message.local = True
    if operation.request_id is not None:
        message.request_id = operation.request_id
    if attempt.relay:
        message.relay = True


def _checked_deadline(deadline_ms: int) -> int:
    if deadline_ms > LONGEST_MS:
        raise MessageError(f"a deadline in {deadline_ms} ms, expected at most {LONGEST_MS}")
    return deadline_ms


def _get_operation(message: pb.AttemptMsg) -> Operation:
    kind = _KINDS.get(message.kind)
    value = checked_value(message.value) if message.HasField("value") else None
    if kind is None:
        raise MessageError(f"an operation of kind {message.kind}")
    if (kind is Kind.PUT) == (value is None):
        raise MessageError(f"a {kind.name} {'without' if value is None else 'with'} a value")
    if message.local and kind is not Kind.GET:
        raise MessageError(f"a local {kind.name}")
    return Operation(
        kind,
        checked_key(message.key),
        value,
        _get_condition(message.condition) if message.HasField("condition") else None,
        message.local,
        checked_name(message.request_id) if message.HasField("request_id") else None,
    )


def encode_execute_batch(batch: ExecuteBatch) -> bytes:
    """Write operations for a leader."""
    message = pb.ExecuteBatchMsg(epoch=EPOCH, number=batch.number)
    add = message.attempts.add
    for attempt in batch.attempts:
        _put_attempt(add(), attempt)
    return message.SerializeToString()


def decode_execute_batch(data: bytes) -> ExecuteBatch:
    """Read operations for a leader."""
    message = parse_current(pb.ExecuteBatchMsg, data)
    check_count("attempts", message.attempts)
    attempts = [
        Attempt(one.number, _get_operation(one), _checked_deadline(one.deadline_ms), one.relay)
        for one in message.attempts
    ]
    return ExecuteBatch(message.number, attempts)


def _put_outcome(message: pb.OutcomeMsg, number: int, outcome: Outcome) -> None:
    message.number = number
    message.status = _STATUS_MESSAGES[outcome.status]
    if outcome.version is not None:
        message.version_term, message.version_worker, message.version_seq = outcome.version
    if outcome.value is not None:
        message.value = outcome.value
    message.replicas = outcome.replicas
    message.pending = outcome.pending
    message.node = outcome.node
    message.leader = outcome.leader
    if outcome.reason:
        message.reason = outcome.reason


def _get_outcome(message: pb.OutcomeMsg) -> Outcome:
    status = _STATUSES.get(message.status)
    if status is None:
        raise MessageError(f"an outcome of status {message.status}")
    term, seq = message.version_term, message.version_seq
    return Outcome(
        status,
        version(term, message.version_worker, seq) if term or seq else None,
        checked_value(message.value) if message.HasField("value") else None,
        message.replicas,
        message.pending,
        message.node,
        message.leader,
        message.reason,
    )


def encode_execute_reply(reply: ExecuteReply) -> bytes:
    """Write outcomes by attempt."""
    message = pb.ExecuteReplyMsg(epoch=EPOCH, number=reply.number)
    add = message.outcomes.add
    for number, outcome in reply.outcomes:
        _put_outcome(add(), number, outcome)
    return message.SerializeToString()


def decode_execute_reply(data: bytes) -> ExecuteReply:
    """Read outcomes by attempt."""
    message = parse_current(pb.ExecuteReplyMsg, data)
    return ExecuteReply(message.number, [(one.number, _get_outcome(one)) for one in message.outcomes])
