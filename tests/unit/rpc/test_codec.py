"""What goes through the codec comes out unchanged; what is no message is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvnode.core.hash_tree import BUCKETS
from kvnode.core.messages import (
    AcceptBatch,
    AcceptReply,
    ConfirmBatch,
    ConfirmReply,
    ExecuteBatch,
    ExecuteReply,
    FloorReply,
    Form,
    FormReply,
    HandOver,
    HandOverReply,
    Hello,
    Prepare,
    PrepareReply,
    ReadStates,
    SetFloor,
    StatesReply,
    Sync,
    SyncReply,
)
from kvnode.core.status import KeyPage, Report
from kvnode.core.versions import NO_BALLOT
from kvnode.errors import MessageError
from kvnode.rpc.codec import calls, control, coordination, replication
from kvnode.rpc.codec.control import Listing
from kvnode.rpc.pb import control_pb2, coordination_pb2, replication_pb2
from tests.unit.rpc.strategies import BALLOT, NAME, POSITIVE_U32, TEXT, U32, U64, structs

Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Any]

SYNCS = st.builds(
    Sync, U64, U32, BALLOT, st.lists(U64, min_size=BUCKETS, max_size=BUCKETS), TEXT
) | st.builds(Sync, U64, U32, st.just(NO_BALLOT), st.just([]), TEXT, NAME)

MESSAGES: dict[str, tuple[st.SearchStrategy[Any], Encode, Decode]] = {
    "hello": (structs(Hello), replication.encode_hello, replication.decode_hello),
    "accept_batch": (
        structs(AcceptBatch),
        replication.encode_accept_batch,
        replication.decode_accept_batch,
    ),
    "accept_reply": (
        structs(AcceptReply),
        replication.encode_accept_reply,
        replication.decode_accept_reply,
    ),
    "confirm_batch": (
        structs(ConfirmBatch),
        replication.encode_confirm_batch,
        replication.decode_confirm_batch,
    ),
    "confirm_reply": (
        structs(ConfirmReply),
        replication.encode_confirm_reply,
        replication.decode_confirm_reply,
    ),
    "execute_batch": (
        structs(ExecuteBatch),
        coordination.encode_execute_batch,
        coordination.decode_execute_batch,
    ),
    "execute_reply": (
        structs(ExecuteReply),
        coordination.encode_execute_reply,
        coordination.decode_execute_reply,
    ),
    "prepare": (structs(Prepare), calls.encode_prepare, calls.decode_prepare),
    "prepare_reply": (
        structs(PrepareReply),
        calls.encode_prepare_reply,
        calls.decode_prepare_reply,
    ),
    "read_states": (structs(ReadStates), calls.encode_read_states, calls.decode_read_states),
    "states_reply": (structs(StatesReply), calls.encode_states_reply, calls.decode_states_reply),
    "sync": (SYNCS, calls.encode_sync, calls.decode_sync),
    "sync_reply": (structs(SyncReply), calls.encode_sync_reply, calls.decode_sync_reply),
    "set_floor": (
        structs(SetFloor).filter(lambda one: one.forgotten <= one.floor),
        calls.encode_set_floor,
        calls.decode_set_floor,
    ),
    "floor_reply": (structs(FloorReply), calls.encode_floor_reply, calls.decode_floor_reply),
    "hand_over": (structs(HandOver), calls.encode_hand_over, calls.decode_hand_over),
    "hand_over_reply": (
        structs(HandOverReply),
        calls.encode_hand_over_reply,
        calls.decode_hand_over_reply,
    ),
    "form": (structs(Form), calls.encode_form, calls.decode_form),
    "form_reply": (structs(FormReply), calls.encode_form_reply, calls.decode_form_reply),
    "report": (
        st.tuples(st.none() | structs(Hello), structs(Report)),
        control.encode_report,
        control.decode_report,
    ),
    "report_ack": (U64, control.encode_report_ack, control.decode_report_ack),
    "listing": (
        st.builds(Listing, TEXT, TEXT, POSITIVE_U32),
        control.encode_listing,
        control.decode_listing,
    ),
    "key_page": (structs(KeyPage), control.encode_key_page, control.decode_key_page),
}

RECORD = [1, "a", [1, 1], [1, 1, 1], None, b"1", False]


def record(**changes: object) -> bytes:
    """Return the records of a batch: one, with some of its places changed."""
    places = {"partition": 0, "key": 1, "accepted": 2, "version": 3, "previous": 4, "value": 5}
    changed = list(RECORD)
    for name, value in changes.items():
        changed[places[name]] = value
    return msgspec.msgpack.encode([[changed, None]])


def attempt(*operation: object) -> bytes:
    """Return the attempts of a batch: one, at an operation of these fields."""
    return msgspec.msgpack.encode([[1, operation, 1000]])


def batch_of(items: bytes) -> replication_pb2.AcceptBatchMsg:
    """Return a batch with these bytes for its records."""
    return replication_pb2.AcceptBatchMsg(epoch=1, items=items)


MALFORMED = {
    "another epoch": (
        replication.decode_accept_batch,
        replication_pb2.AcceptBatchMsg(epoch=2, items=record()),
    ),
    "records that are no array": (replication.decode_accept_batch, batch_of(b"\x01")),
    "records cut short": (replication.decode_accept_batch, batch_of(record()[:-3])),
    "records with something behind": (replication.decode_accept_batch, batch_of(record() + b"\x01")),
    "a record without a ballot": (replication.decode_accept_batch, batch_of(record(accepted=[0, 1]))),
    "a record without a version": (replication.decode_accept_batch, batch_of(record(version=[1, 1, 0]))),
    "half a previous version": (replication.decode_accept_batch, batch_of(record(previous=[0, 0, 1]))),
    "a version of two numbers": (replication.decode_accept_batch, batch_of(record(version=[1, 1]))),
    "a negative partition": (replication.decode_accept_batch, batch_of(record(partition=-1))),
    "a negative term": (replication.decode_accept_batch, batch_of(record(accepted=[-1, 1]))),
    "a key that is no text": (replication.decode_accept_batch, batch_of(record(key=b"a"))),
    "a key that is no UTF-8": (
        replication.decode_accept_batch,
        batch_of(record().replace(b"\xa1a", b"\xa1\xff")),
    ),
    "an empty key": (replication.decode_accept_batch, batch_of(record(key=""))),
    "a key of 1,025 bytes": (replication.decode_accept_batch, batch_of(record(key="é" * 512 + "a"))),
    "a value that is text": (replication.decode_accept_batch, batch_of(record(value="1"))),
    "more refusals than places": (
        replication.decode_accept_reply,
        replication_pb2.AcceptReplyMsg(epoch=1, refused=[{}]),
    ),
    "a ballot of one number": (
        replication.decode_confirm_batch,
        replication_pb2.ConfirmBatchMsg(epoch=1, ballots=msgspec.msgpack.encode([[1, [1]]])),
    ),
    "a page with a record that is none": (
        calls.decode_sync_reply,
        replication_pb2.SyncReplyMsg(epoch=1, records=msgspec.msgpack.encode([None])),
    ),
    "a greeting of nobody": (
        replication.decode_hello,
        replication_pb2.HelloMsg(epoch=1, process="p", incarnation="i"),
    ),
    "states read under no ballot": (
        calls.decode_read_states,
        replication_pb2.ReadStatesMsg(epoch=1, keys=["a"]),
    ),
    "a comparison of too few buckets": (
        calls.decode_sync,
        replication_pb2.SyncMsg(epoch=1, ballot_term=1, ballot_worker=1, buckets=[1]),
    ),
    "a copy for no disk": (calls.decode_sync, replication_pb2.SyncMsg(epoch=1)),
    "a bucket that there is not": (
        calls.decode_sync_reply,
        replication_pb2.SyncReplyMsg(epoch=1, differing=[BUCKETS]),
    ),
    "a cluster without an id": (calls.decode_form, replication_pb2.FormMsg(epoch=1, roster={1: "disk"})),
    "an unknown kind": (
        coordination.decode_execute_batch,
        coordination_pb2.ExecuteBatchMsg(epoch=1, attempts=attempt(9, "a")),
    ),
    "a PUT without a value": (
        coordination.decode_execute_batch,
        coordination_pb2.ExecuteBatchMsg(epoch=1, attempts=attempt(2, "a")),
    ),
    "a GET with a value": (
        coordination.decode_execute_batch,
        coordination_pb2.ExecuteBatchMsg(epoch=1, attempts=attempt(1, "a", b"1")),
    ),
    "a local DELETE": (
        coordination.decode_execute_batch,
        coordination_pb2.ExecuteBatchMsg(epoch=1, attempts=attempt(*(3, "a", None, None, True))),
    ),
    "a condition on no version": (
        coordination.decode_execute_batch,
        coordination_pb2.ExecuteBatchMsg(epoch=1, attempts=attempt(1, "a", None, [[[0, 0, 0]]])),
    ),
    "an unknown status": (
        coordination.decode_execute_reply,
        coordination_pb2.ExecuteReplyMsg(epoch=1, outcomes=msgspec.msgpack.encode([[1, [99]]])),
    ),
    "a negative number of copies": (
        coordination.decode_execute_reply,
        coordination_pb2.ExecuteReplyMsg(
            epoch=1, outcomes=msgspec.msgpack.encode([[1, [1, None, None, -1]]])
        ),
    ),
    "a report of nothing": (control.decode_report, control_pb2.ReportMsg(epoch=1)),
    "a listing of no keys": (control.decode_listing, control_pb2.ListKeysMsg(epoch=1)),
}


@pytest.mark.parametrize("name", MESSAGES)
@settings(max_examples=25)
@given(data=st.data())
def test_every_message_comes_out_as_it_went_in(name: str, data: st.DataObject) -> None:
    """A message read back equals what was written, whatever its fields hold."""
    strategy, encode, decode = MESSAGES[name]
    message = data.draw(strategy)
    assert decode(encode(message)) == message


@pytest.mark.parametrize("name", MESSAGES)
@settings(max_examples=25)
@given(noise=st.binary(max_size=200))
def test_noise_is_read_or_refused_and_never_crashes(name: str, noise: bytes) -> None:
    """Arbitrary bytes are refused with MessageError, unless they happen to be a message."""
    _, encode, decode = MESSAGES[name]
    try:
        message = decode(noise)
    except MessageError:
        return
    assert decode(encode(message)) == message


@pytest.mark.parametrize("name", MESSAGES)
@settings(max_examples=25)
@given(data=st.data())
def test_a_torn_message_is_read_or_refused_and_never_crashes(name: str, data: st.DataObject) -> None:
    """A message cut short anywhere is refused with MessageError, or is a shorter message."""
    strategy, encode, decode = MESSAGES[name]
    whole = encode(data.draw(strategy))
    torn = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        decode(torn)
    except MessageError:
        return


@pytest.mark.parametrize("name", MALFORMED)
def test_a_message_that_says_what_none_may_say_is_refused(name: str) -> None:
    """Well-formed protobuf with impossible content is refused."""
    decode, message = MALFORMED[name]
    with pytest.raises(MessageError):
        decode(message.SerializeToString())


def test_fields_of_a_later_release_are_ignored() -> None:
    """An unknown field does not stop two releases from talking."""
    later = b"\xfa\x07\x05later"  # field 127
    data = calls.encode_form_reply(FormReply(5, joined=True)) + later
    assert calls.decode_form_reply(data) == FormReply(5, joined=True)


def test_places_of_a_later_release_are_ignored() -> None:
    """An array that goes on where this release knows no more is read as far as it is known."""
    now = replication.decode_accept_batch(batch_of(record()).SerializeToString())
    later = batch_of(msgspec.msgpack.encode([[[*RECORD, "later"], None, "later"]]))
    assert replication.decode_accept_batch(later.SerializeToString()) == now
