"""The messages of ``control.proto``: reports to the controller, and pages of stored keys."""

from __future__ import annotations

import msgspec

from kvnode.core.messages import Hello
from kvnode.core.status import KeyPage, PeerStatus, Report, StoredKey, WorkerStatus
from kvnode.errors import MessageError
from kvnode.rpc.codec.packed import pack, unpack_events
from kvnode.rpc.codec.replication import hello_from_message, hello_to_message
from kvnode.rpc.codec.wire import (
    EPOCH,
    check_count,
    checked_key,
    checked_name,
    checked_value,
    parse_current,
    version,
)
from kvnode.rpc.pb import control_pb2 as pb


class Listing(msgspec.Struct, frozen=True):
    """Which of a worker's keys to list: those that start with ``prefix``, after ``after``."""

    prefix: str
    after: str
    limit: int


def _put_status(message: pb.WorkerStatusMsg, status: WorkerStatus) -> None:
    message.SetInParent()
    message.worker = status.worker
    message.state = status.state
    message.reasons.extend(status.reasons)
    message.release = status.release
    message.cluster_id = status.cluster_id
    message.incarnation = status.incarnation
    message.process = status.process
    message.uptime_s = status.uptime_s
    message.keys = status.keys
    message.tombstones = status.tombstones
    message.disk_bytes = status.disk_bytes
    message.held = status.held
    message.led.extend(status.led)
    message.behind = status.behind
    message.rebuilding = status.rebuilding
    message.tombstones_forgotten = status.tombstones_forgotten
    for peer in status.peers:
        message.peers.add(
            worker=peer.worker,
            live=peer.live,
            latent_copies=peer.latent_copies,
            latent_bytes=peer.latent_bytes,
            latent_oldest_ms=peer.latent_oldest_ms,
            comparing=peer.comparing,
            behind=peer.behind,
            repaired=peer.repaired,
            behind_in=peer.behind_in,
            differing=peer.differing,
        )


def _get_status(message: pb.WorkerStatusMsg) -> WorkerStatus:
    for what, items in (("reasons", message.reasons), ("peers", message.peers)):
        check_count(what, items)
    return WorkerStatus(
        worker=message.worker,
        state=checked_name(message.state),
        reasons=list(message.reasons),
        release=message.release,
        cluster_id=message.cluster_id,
        incarnation=message.incarnation,
        process=message.process,
        uptime_s=message.uptime_s,
        keys=message.keys,
        tombstones=message.tombstones,
        disk_bytes=message.disk_bytes,
        held=message.held,
        led=list(message.led),
        behind=message.behind,
        peers=[_get_peer(peer) for peer in message.peers],
        rebuilding=message.rebuilding,
        tombstones_forgotten=message.tombstones_forgotten,
    )


def _get_peer(message: pb.PeerStatusMsg) -> PeerStatus:
    check_count("partitions", message.behind_in)
    return PeerStatus(
        message.worker,
        message.live,
        message.latent_copies,
        message.latent_bytes,
        message.latent_oldest_ms,
        message.comparing,
        message.behind,
        message.repaired,
        list(message.behind_in),
        message.differing,
    )


def encode_report(greeted: tuple[Hello | None, Report]) -> bytes:
    """Write a report, with a greeting when it opens a stream or changed."""
    hello, report = greeted
    message = pb.ReportMsg(epoch=EPOCH, number=report.number)
    if hello is not None:
        message.hello.CopyFrom(hello_to_message(hello))
    _put_status(message.status, report.status)
    message.log_lines.extend(report.log_lines)
    message.logs_dropped = report.logs_dropped
    message.key_events = pack(report.key_events) if report.key_events else b""
    message.events_dropped = report.events_dropped
    return message.SerializeToString()


def decode_report(data: bytes) -> tuple[Hello | None, Report]:
    """Read a report, and the greeting that came with it."""
    message = parse_current(pb.ReportMsg, data)
    if not message.HasField("status"):
        raise MessageError("a report without a status")
    check_count("log lines", message.log_lines)
    report = Report(
        number=message.number,
        status=_get_status(message.status),
        log_lines=list(message.log_lines),
        logs_dropped=message.logs_dropped,
        key_events=unpack_events(message.key_events),
        events_dropped=message.events_dropped,
    )
    return hello_from_message(message.hello) if message.HasField("hello") else None, report


def encode_report_ack(number: int) -> bytes:
    """Write that a report was taken in."""
    return pb.ReportAckMsg(epoch=EPOCH, number=number).SerializeToString()


def decode_report_ack(data: bytes) -> int:
    """Read which report was taken in."""
    return parse_current(pb.ReportAckMsg, data).number


def encode_listing(listing: Listing) -> bytes:
    """Write a question for stored keys."""
    return pb.ListKeysMsg(
        epoch=EPOCH, prefix=listing.prefix, after=listing.after, limit=listing.limit
    ).SerializeToString()


def decode_listing(data: bytes) -> Listing:
    """Read a question for stored keys; it asks for at least one."""
    message = parse_current(pb.ListKeysMsg, data)
    if message.limit < 1:
        raise MessageError("a listing of 0 keys, expected a limit of at least 1")
    return Listing(message.prefix, message.after, message.limit)


def encode_key_page(page: KeyPage) -> bytes:
    """Write a page of stored keys."""
    message = pb.KeyPageMsg(epoch=EPOCH, next_after=page.next_after)
    for key in page.keys:
        one = message.keys.add(key=key.key, partition=key.partition, size_bytes=key.size_bytes)
        one.version_term, one.version_worker, one.version_seq = key.version
        if key.value is not None:
            one.value = key.value
    return message.SerializeToString()


def decode_key_page(data: bytes) -> KeyPage:
    """Read a page of stored keys."""
    message = parse_current(pb.KeyPageMsg, data)
    keys = [
        StoredKey(
            checked_key(one.key),
            one.partition,
            version(one.version_term, one.version_worker, one.version_seq),
            one.size_bytes,
            checked_value(one.value) if one.HasField("value") else None,
        )
        for one in message.keys
    ]
    return KeyPage(keys, message.next_after)
