"""The messages of ``coordination.proto``: operations and their outcomes."""

from __future__ import annotations

from kvnode.core.messages import ExecuteBatch, ExecuteReply
from kvnode.rpc.codec.packed import pack, unpack_attempts, unpack_ballots, unpack_outcomes
from kvnode.rpc.codec.wire import EPOCH, parse_current
from kvnode.rpc.pb import coordination_pb2 as pb


def encode_execute_batch(batch: ExecuteBatch) -> bytes:
    """Write operations for a leader."""
    return pb.ExecuteBatchMsg(
        epoch=EPOCH, number=batch.number, attempts=pack(batch.attempts), asks=batch.asks
    ).SerializeToString()


def decode_execute_batch(data: bytes) -> ExecuteBatch:
    """Read operations for a leader."""
    message = parse_current(pb.ExecuteBatchMsg, data)
    return ExecuteBatch(message.number, unpack_attempts(message.attempts), list(message.asks))


def encode_execute_reply(reply: ExecuteReply) -> bytes:
    """Write outcomes by attempt."""
    return pb.ExecuteReplyMsg(
        epoch=EPOCH,
        number=reply.number,
        outcomes=pack(reply.outcomes),
        promises=pack(reply.promises) if reply.promises else b"",
    ).SerializeToString()


def decode_execute_reply(data: bytes) -> ExecuteReply:
    """Read outcomes by attempt."""
    message = parse_current(pb.ExecuteReplyMsg, data)
    return ExecuteReply(message.number, unpack_outcomes(message.outcomes), unpack_ballots(message.promises))
