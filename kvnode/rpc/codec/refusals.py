"""Refusals: what several replies are made of."""

from __future__ import annotations

from collections.abc import Iterable

from kvnode.core.messages import Refusal
from kvnode.rpc.codec.wire import ballot_or_none
from kvnode.rpc.pb import replication_pb2 as pb


def put_refusal(message: pb.RefusalMsg, refusal: Refusal) -> None:
    """Fill an empty message."""
    message.partition = refusal.partition
    message.promised_term, message.promised_worker = refusal.promised
    message.voting = refusal.voting
    message.full = refusal.full


def get_refusal(message: pb.RefusalMsg) -> Refusal:
    """Read a refusal; a replica may have promised nothing yet."""
    promised = ballot_or_none(message.promised_term, message.promised_worker)
    return Refusal(message.partition, promised, message.voting, message.full)


def get_refusals(messages: Iterable[pb.RefusalMsg]) -> list[Refusal]:
    """Read a list of refusals."""
    return [get_refusal(message) for message in messages]
