"""From the outcome of an operation to the JSON of its answer; failures are ``problems``.

The value is spliced in as the bytes that the client once sent.
"""

from __future__ import annotations

import msgspec

from kvnode.core.operations import Kind, Operation, Outcome, Status
from kvnode.core.versions import Version

_NOTE = b',"note":"background_write_active"'
_LOCAL = b',"consistency":"local"'
_text = msgspec.json.Encoder().encode


class Result:
    """An answer that is no problem; ``version``: of the record that it is about."""

    __slots__ = ("body", "status", "version")

    def __init__(self, status: int, body: bytes, version: Version | None = None) -> None:
        self.status = status
        self.body = body
        self.version = version


def result_of(operation: Operation, outcome: Outcome, worker: int, partition: int) -> Result | None:
    """Return the answer of worker ``worker`` to an operation on a key of ``partition``; None: it failed."""
    if outcome.status is Status.ABSENT:
        node = outcome.node or worker
        return Result(404, b'{"found":false,"key":%b,"node_id":%d}' % (_text(operation.key), node))
    version = outcome.version
    if outcome.status is not Status.OK or version is None:
        return None
    leader = b"%d" % outcome.leader if outcome.leader else b"null"
    if operation.kind is not Kind.GET:
        body = (
            b'{"status":"success","replicas":%d%b,"key":%b,"version":"%d.%d.%d","partition":%d,"leader_id":%b}'
            % (
                outcome.replicas,
                _NOTE if outcome.pending else b"",
                _text(operation.key),
                *version,
                partition,
                leader,
            )
        )
        return Result(200, body, version)
    if outcome.value is None:
        return None
    body = b'{"found":true,"value":%b,"node_id":%d,"version":"%d.%d.%d","key":%b,"leader_id":%b%b}' % (
        outcome.value,
        outcome.node or worker,
        *version,
        _text(operation.key),
        leader,
        _LOCAL if operation.local else b"",
    )
    return Result(200, body, version)
