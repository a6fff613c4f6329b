"""Every gRPC method: its path, and how its messages are written and read.

Calls and handlers pass bytes to gRPC and go through the codec themselves, so that bytes that are no
message are refused by us, with a reason, rather than inside gRPC.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.descriptor import FileDescriptor

from kvnode.core.messages import (
    AcceptBatch,
    AcceptReply,
    ConfirmBatch,
    ConfirmReply,
    ExecuteBatch,
    ExecuteReply,
    Form,
    HandOver,
    Hello,
    Prepare,
    ReadStates,
    Request,
    SetFloor,
    Sync,
)
from kvnode.core.status import KeyPage, Report
from kvnode.rpc.codec import calls, control, coordination, replication
from kvnode.rpc.pb import control_pb2, coordination_pb2, replication_pb2

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(frozen=True)
class Method(Generic[Q, A]):
    """One gRPC method: questions of type Q, answers of type A."""

    service: str
    name: str
    encode_request: Callable[[Q], bytes]
    decode_request: Callable[[bytes], Q]
    encode_reply: Callable[[A], bytes]
    decode_reply: Callable[[bytes], A]

    @property
    def path(self) -> str:
        """The method's path on the wire."""
        return f"/{self.service}/{self.name}"


@dataclass(frozen=True)
class Stream(Method[Q, A]):
    """A method of two streams. ``owed`` counts what a request asks for, ``paid`` what a reply answers."""

    owed: Callable[[Q], int]
    paid: Callable[[A], int]


def _service(file: FileDescriptor, name: str) -> str:
    return str(file.services_by_name[name].full_name)


REPLICATION = _service(replication_pb2.DESCRIPTOR, "Replication")
COORDINATION = _service(coordination_pb2.DESCRIPTOR, "Coordination")
CONTROL = _service(control_pb2.DESCRIPTOR, "Control")
INSPECTION = _service(control_pb2.DESCRIPTOR, "Inspection")

HELLO: Method[Hello, Hello] = Method(
    REPLICATION,
    "Hello",
    replication.encode_hello,
    replication.decode_hello,
    replication.encode_hello,
    replication.decode_hello,
)


def _one(_: object) -> int:
    return 1


def _attempts(batch: ExecuteBatch) -> int:
    return len(batch.attempts)


def _outcomes(reply: ExecuteReply) -> int:
    return len(reply.outcomes)


ACCEPT: Stream[AcceptBatch, AcceptReply] = Stream(
    REPLICATION,
    "Accept",
    replication.encode_accept_batch,
    replication.decode_accept_batch,
    replication.encode_accept_reply,
    replication.decode_accept_reply,
    _one,
    _one,
)
CONFIRM: Stream[ConfirmBatch, ConfirmReply] = Stream(
    REPLICATION,
    "Confirm",
    replication.encode_confirm_batch,
    replication.decode_confirm_batch,
    replication.encode_confirm_reply,
    replication.decode_confirm_reply,
    _one,
    _one,
)
EXECUTE: Stream[ExecuteBatch, ExecuteReply] = Stream(
    COORDINATION,
    "Execute",
    coordination.encode_execute_batch,
    coordination.decode_execute_batch,
    coordination.encode_execute_reply,
    coordination.decode_execute_reply,
    _attempts,
    _outcomes,
)

STREAMS: dict[type[Request], Stream[Any, Any]] = {
    AcceptBatch: ACCEPT,
    ConfirmBatch: CONFIRM,
    ExecuteBatch: EXECUTE,
}
"""The methods that a link opens once, by their requests."""


CALLS: dict[type[Request], Method[Any, Any]] = {
    Prepare: Method(
        REPLICATION,
        "Prepare",
        calls.encode_prepare,
        calls.decode_prepare,
        calls.encode_prepare_reply,
        calls.decode_prepare_reply,
    ),
    ReadStates: Method(
        REPLICATION,
        "ReadStates",
        calls.encode_read_states,
        calls.decode_read_states,
        calls.encode_states_reply,
        calls.decode_states_reply,
    ),
    Sync: Method(
        REPLICATION,
        "Sync",
        calls.encode_sync,
        calls.decode_sync,
        calls.encode_sync_reply,
        calls.decode_sync_reply,
    ),
    SetFloor: Method(
        REPLICATION,
        "SetFloor",
        calls.encode_set_floor,
        calls.decode_set_floor,
        calls.encode_floor_reply,
        calls.decode_floor_reply,
    ),
    HandOver: Method(
        REPLICATION,
        "HandOver",
        calls.encode_hand_over,
        calls.decode_hand_over,
        calls.encode_hand_over_reply,
        calls.decode_hand_over_reply,
    ),
    Form: Method(
        REPLICATION,
        "Form",
        calls.encode_form,
        calls.decode_form,
        calls.encode_form_reply,
        calls.decode_form_reply,
    ),
}
"""The methods that are called once per request, by their requests."""

REPORT: Method[tuple[Hello | None, Report], int] = Method(
    CONTROL,
    "Report",
    control.encode_report,
    control.decode_report,
    control.encode_report_ack,
    control.decode_report_ack,
)
LIST_KEYS: Method[control.Listing, KeyPage] = Method(
    INSPECTION,
    "ListKeys",
    control.encode_listing,
    control.decode_listing,
    control.encode_key_page,
    control.decode_key_page,
)
