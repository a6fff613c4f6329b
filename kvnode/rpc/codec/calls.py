"""The messages of ``replication.proto`` that are single calls."""

from __future__ import annotations

from collections.abc import Iterable

from kvnode.core.hash_tree import BUCKETS
from kvnode.core.messages import (
    FloorReply,
    Form,
    FormReply,
    HandOver,
    HandOverReply,
    Prepare,
    PrepareReply,
    Promise,
    ReadStates,
    SetFloor,
    StatesReply,
    Sync,
    SyncReply,
)
from kvnode.core.versions import NO_BALLOT
from kvnode.errors import MessageError
from kvnode.rpc.codec.packed import pack, unpack_ballots, unpack_held, unpack_records, unpack_states
from kvnode.rpc.codec.refusals import get_refusal, get_refusals, put_refusal
from kvnode.rpc.codec.wire import (
    EPOCH,
    ballot,
    ballot_or_none,
    check_count,
    checked_key,
    checked_name,
    parse_current,
    version_or_none,
)
from kvnode.rpc.pb import replication_pb2 as pb


def _buckets(numbers: Iterable[int]) -> list[int]:
    buckets = list(numbers)
    if buckets and max(buckets) >= BUCKETS:
        raise MessageError(f"bucket {max(buckets)} of {BUCKETS}")
    return buckets


def encode_prepare(prepare: Prepare) -> bytes:
    """Write ballots to be promised."""
    return pb.PrepareMsg(
        epoch=EPOCH, number=prepare.number, ballots=pack(prepare.ballots)
    ).SerializeToString()


def decode_prepare(data: bytes) -> Prepare:
    """Read ballots to be promised."""
    message = parse_current(pb.PrepareMsg, data)
    return Prepare(message.number, unpack_ballots(message.ballots))


def encode_prepare_reply(reply: PrepareReply) -> bytes:
    """Write promises and refusals."""
    message = pb.PrepareReplyMsg(epoch=EPOCH, number=reply.number)
    for promise in reply.promises:
        one = message.promises.add(partition=promise.partition, digest=promise.digest)
        one.floor_term, one.floor_worker, one.floor_seq = promise.floor
    for refusal in reply.refused:
        put_refusal(message.refused.add(), refusal)
    return message.SerializeToString()


def decode_prepare_reply(data: bytes) -> PrepareReply:
    """Read promises and refusals."""
    message = parse_current(pb.PrepareReplyMsg, data)
    promises = [
        Promise(
            one.partition,
            one.digest,
            version_or_none(one.floor_term, one.floor_worker, one.floor_seq),
        )
        for one in message.promises
    ]
    return PrepareReply(message.number, promises, get_refusals(message.refused))


def encode_read_states(request: ReadStates) -> bytes:
    """Write a question for the records of keys."""
    term, worker = request.ballot
    return pb.ReadStatesMsg(
        epoch=EPOCH,
        number=request.number,
        partition=request.partition,
        ballot_term=term,
        ballot_worker=worker,
        keys=request.keys,
    ).SerializeToString()


def decode_read_states(data: bytes) -> ReadStates:
    """Read a question for the records of keys."""
    message = parse_current(pb.ReadStatesMsg, data)
    check_count("keys", message.keys)
    return ReadStates(
        message.number,
        message.partition,
        ballot(message.ballot_term, message.ballot_worker),
        [checked_key(key) for key in message.keys],
    )


def encode_states_reply(reply: StatesReply) -> bytes:
    """Write the records of keys."""
    message = pb.StatesReplyMsg(epoch=EPOCH, number=reply.number, partition=reply.partition)
    message.records = pack(reply.records)
    message.floor_term, message.floor_worker, message.floor_seq = reply.floor
    if reply.refused is not None:
        message.refused.SetInParent()
        put_refusal(message.refused, reply.refused)
    return message.SerializeToString()


def decode_states_reply(data: bytes) -> StatesReply:
    """Read the records of keys."""
    message = parse_current(pb.StatesReplyMsg, data)
    return StatesReply(
        message.number,
        message.partition,
        unpack_states(message.records),
        version_or_none(message.floor_term, message.floor_worker, message.floor_seq),
        get_refusal(message.refused) if message.HasField("refused") else None,
    )


def encode_sync(sync: Sync) -> bytes:
    """Write a wish to compare or to copy a partition."""
    term, worker = sync.ballot
    return pb.SyncMsg(
        epoch=EPOCH,
        number=sync.number,
        partition=sync.partition,
        ballot_term=term,
        ballot_worker=worker,
        buckets=sync.buckets,
        after=sync.after,
        incarnation=sync.incarnation,
    ).SerializeToString()


def decode_sync(data: bytes) -> Sync:
    """Read a wish to compare (a ballot and all buckets) or to copy (neither, but an incarnation)."""
    message = parse_current(pb.SyncMsg, data)
    leader = ballot_or_none(message.ballot_term, message.ballot_worker)
    buckets = list(message.buckets)
    if leader == NO_BALLOT and (buckets or not message.incarnation):
        raise MessageError(f"a copy with {len(buckets)} buckets for {message.incarnation!r}")
    if leader != NO_BALLOT and len(buckets) != BUCKETS:
        raise MessageError(f"a comparison of {len(buckets)} buckets, expected {BUCKETS}")
    after = message.after and checked_key(message.after)
    incarnation = checked_name(message.incarnation)
    return Sync(message.number, message.partition, leader, buckets, after, incarnation)


def encode_sync_reply(reply: SyncReply) -> bytes:
    """Write a page of what a replica holds."""
    message = pb.SyncReplyMsg(epoch=EPOCH, number=reply.number, partition=reply.partition, more=reply.more)
    message.promised_term, message.promised_worker = reply.promised
    message.floor_term, message.floor_worker, message.floor_seq = reply.floor
    message.forgotten_term, message.forgotten_worker, message.forgotten_seq = reply.forgotten
    message.differing.extend(reply.differing)
    message.held = pack(reply.held)
    message.records = pack(reply.records)
    if reply.refused is not None:
        message.refused.SetInParent()
        put_refusal(message.refused, reply.refused)
    return message.SerializeToString()


def decode_sync_reply(data: bytes) -> SyncReply:
    """Read a page of what a replica holds."""
    message = parse_current(pb.SyncReplyMsg, data)
    return SyncReply(
        message.number,
        message.partition,
        ballot_or_none(message.promised_term, message.promised_worker),
        version_or_none(message.floor_term, message.floor_worker, message.floor_seq),
        _buckets(message.differing),
        unpack_held(message.held),
        unpack_records(message.records),
        message.more,
        get_refusal(message.refused) if message.HasField("refused") else None,
        version_or_none(message.forgotten_term, message.forgotten_worker, message.forgotten_seq),
    )


def encode_set_floor(request: SetFloor) -> bytes:
    """Write a floor to be set."""
    message = pb.SetFloorMsg(epoch=EPOCH, number=request.number, partition=request.partition)
    message.ballot_term, message.ballot_worker = request.ballot
    message.floor_term, message.floor_worker, message.floor_seq = request.floor
    message.forgotten_term, message.forgotten_worker, message.forgotten_seq = request.forgotten
    return message.SerializeToString()


def decode_set_floor(data: bytes) -> SetFloor:
    """Read a floor to be set: what is forgotten is never above it."""
    message = parse_current(pb.SetFloorMsg, data)
    floor = version_or_none(message.floor_term, message.floor_worker, message.floor_seq)
    forgotten = version_or_none(message.forgotten_term, message.forgotten_worker, message.forgotten_seq)
    if forgotten > floor:
        raise MessageError(f"to be forgotten up to {forgotten} under a floor of {floor}")
    return SetFloor(
        message.number,
        message.partition,
        ballot(message.ballot_term, message.ballot_worker),
        floor,
        forgotten,
    )


def encode_floor_reply(reply: FloorReply) -> bytes:
    """Write what the floor is."""
    message = pb.FloorReplyMsg(epoch=EPOCH, number=reply.number, partition=reply.partition)
    message.floor_term, message.floor_worker, message.floor_seq = reply.floor
    message.forgotten_term, message.forgotten_worker, message.forgotten_seq = reply.forgotten
    if reply.refused is not None:
        message.refused.SetInParent()
        put_refusal(message.refused, reply.refused)
    return message.SerializeToString()


def decode_floor_reply(data: bytes) -> FloorReply:
    """Read what the floor is."""
    message = parse_current(pb.FloorReplyMsg, data)
    return FloorReply(
        message.number,
        message.partition,
        version_or_none(message.floor_term, message.floor_worker, message.floor_seq),
        version_or_none(message.forgotten_term, message.forgotten_worker, message.forgotten_seq),
        get_refusal(message.refused) if message.HasField("refused") else None,
    )


def encode_hand_over(request: HandOver) -> bytes:
    """Write the partitions that want a leader."""
    return pb.HandOverMsg(
        epoch=EPOCH, number=request.number, partitions=request.partitions
    ).SerializeToString()


def decode_hand_over(data: bytes) -> HandOver:
    """Read the partitions that want a leader."""
    message = parse_current(pb.HandOverMsg, data)
    return HandOver(message.number, list(message.partitions))


def encode_hand_over_reply(reply: HandOverReply) -> bytes:
    """Write that the request was heard."""
    return pb.HandOverReplyMsg(epoch=EPOCH, number=reply.number).SerializeToString()


def decode_hand_over_reply(data: bytes) -> HandOverReply:
    """Read that the request was heard."""
    return HandOverReply(parse_current(pb.HandOverReplyMsg, data).number)


def encode_form(form: Form) -> bytes:
    """Write a fresh cluster's identity."""
    return pb.FormMsg(
        epoch=EPOCH, number=form.number, cluster_id=form.cluster_id, roster=form.roster
    ).SerializeToString()


def decode_form(data: bytes) -> Form:
    """Read a fresh cluster's identity, which cannot be empty."""
    message = parse_current(pb.FormMsg, data)
    check_count("workers", message.roster)
    roster = {worker: checked_name(incarnation) for worker, incarnation in message.roster.items()}
    if not message.cluster_id or not roster or not all(roster.values()) or 0 in roster:
        raise MessageError(f"cluster {message.cluster_id!r} of {roster}, expected an id and every disk's")
    return Form(message.number, checked_name(message.cluster_id), roster)


def encode_form_reply(reply: FormReply) -> bytes:
    """Write whether the disk joined."""
    return pb.FormReplyMsg(epoch=EPOCH, number=reply.number, joined=reply.joined).SerializeToString()


def decode_form_reply(data: bytes) -> FormReply:
    """Read whether the disk joined."""
    message = parse_current(pb.FormReplyMsg, data)
    return FormReply(message.number, message.joined)
