"""The messages of ``replication.proto`` that travel on streams, and the greeting."""

from __future__ import annotations

from kvnode.core.messages import (
    AcceptBatch,
    AcceptReply,
    ConfirmBatch,
    ConfirmReply,
    Hello,
)
from kvnode.errors import MessageError
from kvnode.rpc.codec.packed import pack, unpack_ballots, unpack_items
from kvnode.rpc.codec.refusals import get_refusal, get_refusals, put_refusal
from kvnode.rpc.codec.wire import EPOCH, checked_name, parse, parse_current
from kvnode.rpc.pb import replication_pb2 as pb


def hello_to_message(hello: Hello) -> pb.HelloMsg:
    """Return a greeting as a message, which may stand in another."""
    oldest, newest = hello.protocol
    return pb.HelloMsg(
        epoch=hello.epoch,
        worker=hello.worker,
        process=hello.process,
        incarnation=hello.incarnation,
        cluster_id=hello.cluster_id,
        layout=hello.layout,
        voting=hello.voting,
        release=hello.release,
        protocol_oldest=oldest,
        protocol_newest=newest,
        votes_in=hello.votes_in,
    )


def hello_from_message(message: pb.HelloMsg) -> Hello:
    """Read a greeting. Whether it fits is not judged here, and so the epoch may be any."""
    if not (message.worker and message.process and message.incarnation):
        raise MessageError("a greeting that names no worker, process or incarnation")
    return Hello(
        worker=message.worker,
        process=checked_name(message.process),
        incarnation=checked_name(message.incarnation),
        cluster_id=checked_name(message.cluster_id),
        layout=checked_name(message.layout),
        epoch=message.epoch,
        voting=message.voting,
        release=checked_name(message.release),
        protocol=(message.protocol_oldest, message.protocol_newest),
        votes_in=tuple(message.votes_in),
    )


def encode_hello(hello: Hello) -> bytes:
    """Write a greeting."""
    return hello_to_message(hello).SerializeToString()


def decode_hello(data: bytes) -> Hello:
    """Read a greeting. Whether it fits is not judged here, and so the epoch may be any."""
    return hello_from_message(parse(pb.HelloMsg, data))


def encode_accept_batch(batch: AcceptBatch) -> bytes:
    """Write records to be accepted."""
    return pb.AcceptBatchMsg(epoch=EPOCH, number=batch.number, items=pack(batch.items)).SerializeToString()


def decode_accept_batch(data: bytes) -> AcceptBatch:
    """Read records to be accepted."""
    message = parse_current(pb.AcceptBatchMsg, data)
    return AcceptBatch(message.number, unpack_items(message.items))


def encode_accept_reply(reply: AcceptReply) -> bytes:
    """Write what became of a batch."""
    message = pb.AcceptReplyMsg(epoch=EPOCH, number=reply.number)
    for index, refusal in reply.refused:
        message.refused_at.append(index)
        put_refusal(message.refused.add(), refusal)
    return message.SerializeToString()


def decode_accept_reply(data: bytes) -> AcceptReply:
    """Read what became of a batch."""
    message = parse_current(pb.AcceptReplyMsg, data)
    if len(message.refused_at) != len(message.refused):
        raise MessageError(f"{len(message.refused)} refusals at {len(message.refused_at)} places")
    refused = [
        (index, get_refusal(refusal))
        for index, refusal in zip(message.refused_at, message.refused, strict=True)
    ]
    return AcceptReply(message.number, refused)


def encode_confirm_batch(batch: ConfirmBatch) -> bytes:
    """Write ballots to be confirmed."""
    return pb.ConfirmBatchMsg(
        epoch=EPOCH,
        number=batch.number,
        draining=batch.draining,
        ready=batch.ready,
        agreed=batch.agreed,
        rebuilding=batch.rebuilding,
        full=batch.full,
        sees=batch.sees,
        ballots=pack(batch.ballots) if batch.ballots else b"",
    ).SerializeToString()


def decode_confirm_batch(data: bytes) -> ConfirmBatch:
    """Read ballots to be confirmed."""
    message = parse_current(pb.ConfirmBatchMsg, data)
    return ConfirmBatch(
        message.number,
        unpack_ballots(message.ballots),
        message.draining,
        message.ready,
        list(message.agreed),
        message.rebuilding,
        message.full,
        tuple(message.sees),
    )


def encode_confirm_reply(reply: ConfirmReply) -> bytes:
    """Write which ballots no longer stand."""
    message = pb.ConfirmReplyMsg(
        epoch=EPOCH,
        number=reply.number,
        draining=reply.draining,
        ready=reply.ready,
        quiet=reply.quiet,
        rebuilding=reply.rebuilding,
        full=reply.full,
        sees=reply.sees,
    )
    for refusal in reply.refused:
        put_refusal(message.refused.add(), refusal)
    return message.SerializeToString()


def decode_confirm_reply(data: bytes) -> ConfirmReply:
    """Read which ballots no longer stand."""
    message = parse_current(pb.ConfirmReplyMsg, data)
    return ConfirmReply(
        message.number,
        get_refusals(message.refused),
        message.draining,
        message.ready,
        message.quiet,
        message.rebuilding,
        message.full,
        tuple(message.sees),
    )
