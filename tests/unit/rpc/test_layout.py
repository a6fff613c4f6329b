"""What no worker of the cluster would say is refused before the core sees it."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from kvnode.core.messages import (
    AcceptReply,
    Attempt,
    ConfirmBatch,
    ConfirmReply,
    ExecuteBatch,
    ExecuteReply,
    FloorReply,
    Form,
    HandOver,
    Held,
    Message,
    Prepare,
    PrepareReply,
    Promise,
    ReadStates,
    Refusal,
    Reply,
    Request,
    SetFloor,
    StatesReply,
    Sync,
    SyncReply,
)
from kvnode.core.operations import Kind, Operation, Outcome, Status
from kvnode.core.versions import NO_BALLOT, NO_VERSION, Ballot, Version
from kvnode.errors import MessageError
from kvnode.rpc.codec import calls, coordination, replication
from kvnode.rpc.layout import Layout
from kvnode.rpc.pb import replication_pb2 as pb
from tests.unit.rpc.fakes import batch, record

LAYOUT = Layout((1, 2, 3), 8, lambda _: 7)
OWN = Ballot(3, 1)
STRANGER = Ballot(3, 9)


def page(**fields: object) -> SyncReply:
    """Return a page of partition 7, but for some fields."""
    plain = SyncReply(1, 7, NO_BALLOT, NO_VERSION, [], [], [], more=False)
    return SyncReply(**{**{name: getattr(plain, name) for name in plain.__struct_fields__}, **fields})


POSSIBLE: list[Message] = [
    batch(1),
    ConfirmBatch(1, [(7, OWN)], agreed=[0, 7]),
    Prepare(1, [(0, OWN)]),
    ReadStates(1, 7, OWN, ["a"]),
    Sync(1, 7, NO_BALLOT, [], "", "disk"),
    SetFloor(1, 7, OWN, Version(1, 2, 3), NO_VERSION),
    FloorReply(1, 7, Version(1, 2, 3), NO_VERSION),
    HandOver(1, [0, 7]),
    Form(1, "c", {1: "a", 3: "b"}),
    AcceptReply(1, [(0, Refusal(7, NO_BALLOT))]),
    ConfirmReply(1, [Refusal(7, Ballot(9, 3))]),
    StatesReply(1, 7, [None, record()], NO_VERSION),
    page(held=[Held("a", OWN, Version(1, 2, 3), copied=False)]),
    ExecuteReply(1, [(1, Outcome(Status.OK, node=2, leader=0))]),
]

IMPOSSIBLE: list[Message] = [
    batch(1, record(leader=2)),
    ConfirmBatch(1, [(8, OWN)]),
    ConfirmBatch(1, [(7, STRANGER)]),
    ConfirmBatch(1, [], agreed=[4_000_000_000]),
    Prepare(1, [(0, Ballot(3, 2))]),
    ReadStates(1, 6, OWN, ["a"]),
    ReadStates(1, 8, OWN, []),
    Sync(1, 7, STRANGER, [0] * 64, ""),
    Sync(1, 8, NO_BALLOT, [], "", "disk"),
    SetFloor(1, 8, OWN, NO_VERSION, NO_VERSION),
    SetFloor(1, 7, STRANGER, NO_VERSION, NO_VERSION),
    SetFloor(1, 7, OWN, Version(1, 9, 3), NO_VERSION),
    FloorReply(1, 8, NO_VERSION, NO_VERSION),
    FloorReply(1, 7, NO_VERSION, NO_VERSION, Refusal(8, NO_BALLOT)),
    HandOver(1, [0, 8]),
    HandOver(1, [0] * 9),
    Form(1, "c", {9: "a"}),
    AcceptReply(1, [(0, Refusal(8, NO_BALLOT))]),
    AcceptReply(1, [(0, Refusal(7, STRANGER))]),
    ConfirmReply(1, [Refusal(7, STRANGER)]),
    PrepareReply(1, [Promise(8, 0, NO_VERSION)], []),
    PrepareReply(1, [], [Refusal(7, STRANGER)]),
    StatesReply(1, 6, [record()], NO_VERSION),
    StatesReply(1, 7, [], NO_VERSION, Refusal(9, NO_BALLOT)),
    page(promised=STRANGER),
    page(partition=6, held=[Held("a", OWN, Version(1, 2, 3), copied=False)]),
    page(held=[Held("a", OWN, Version(1, 9, 3), copied=False)]),
    ExecuteBatch(1, [Attempt(1, Operation(Kind.GET, "a"), 1000, promised=Ballot(3, 9))]),
    ExecuteBatch(1, [], [8]),
    ExecuteBatch(1, [], [0] * 9),
    ExecuteReply(1, [], [(8, OWN)]),
    ExecuteReply(1, [], [(7, STRANGER)]),
    ExecuteReply(1, [(1, Outcome(Status.OK, ballot=STRANGER))]),
    ExecuteReply(1, [(1, Outcome(Status.OK, leader=9))]),
    ExecuteReply(1, [(1, Outcome(Status.OK, node=9))]),
]


@pytest.mark.parametrize("message", POSSIBLE, ids=lambda message: type(message).__name__)
def test_what_can_be_passes(message: Message) -> None:
    """Messages that name what there is are let through."""
    LAYOUT.check(1, message)


@pytest.mark.parametrize("message", IMPOSSIBLE, ids=lambda message: type(message).__name__)
def test_what_cannot_be_is_refused(message: Message) -> None:
    """Strangers, partitions beyond the last, keys elsewhere and others' ballots are refused."""
    with pytest.raises(MessageError):
        LAYOUT.check(1, message)


@pytest.mark.parametrize("value", [b"", b"{", b"1 2", b'{"a":1}\n', b"[1,\r2]", b"nul"])
def test_a_value_that_a_line_cannot_hold_is_refused(value: bytes) -> None:
    """Values are JSON without line breaks, or they would damage the log."""
    with pytest.raises(MessageError):
        replication.decode_accept_batch(replication.encode_accept_batch(batch(1, record(value=value))))


@pytest.mark.parametrize("value", [b"1e400", b"-0", b"1" * 5000, b'"\\u00e9"', b"[" * 128 + b"]" * 128])
def test_a_value_that_a_client_may_store_travels(value: bytes) -> None:
    """The check lets through whatever the REST interface takes."""
    sent = batch(1, record(value=value))
    assert replication.decode_accept_batch(replication.encode_accept_batch(sent)) == sent


def test_absurd_numbers_are_refused() -> None:
    """Terms that could not be counted on from, deadlines beyond a day and endless lists are refused."""
    absurd = pb.PrepareMsg(epoch=1, number=1, ballots=msgspec.msgpack.encode([(1, (2**64 - 1, 1))]))
    with pytest.raises(MessageError, match="expected a term"):
        calls.decode_prepare(absurd.SerializeToString())
    late = ExecuteBatch(1, [Attempt(1, Operation(Kind.GET, "a"), 2**31)])
    with pytest.raises(MessageError, match="deadline"):
        coordination.decode_execute_batch(coordination.encode_execute_batch(late))
    vouching = ExecuteBatch(1, [Attempt(1, Operation(Kind.GET, "a"), 1000, promised=Ballot(2**64 - 1, 1))])
    with pytest.raises(MessageError, match="expected a term"):
        coordination.decode_execute_batch(coordination.encode_execute_batch(vouching))
    many = batch(1, *[record()] * 10_001)
    with pytest.raises(MessageError, match="10001 records"):
        replication.decode_accept_batch(replication.encode_accept_batch(many))


def test_every_kind_of_message_is_judged() -> None:
    """Whatever names a partition, a ballot or a worker has an example that is refused here."""
    harmless = {"HandOverReply", "FormReply"}
    kinds = {kind.__name__ for kind in get_args(Request) + get_args(Reply)}
    assert {type(message).__name__ for message in IMPOSSIBLE} == kinds - harmless
