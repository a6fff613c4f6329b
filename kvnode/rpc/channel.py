"""How connections are made: limits, times and gRPC's options, for both ends."""

from __future__ import annotations

import random
from dataclasses import dataclass

import grpc

MESSAGE_BYTES = 16 * 1024 * 1024
"""The largest message either end takes. Senders build batches below 4 MiB; one value may be larger."""

_LIMITS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
)

_CLIENT_OPTIONS = (
    *_LIMITS,
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # Each channel has connections of its own, and nobody else's back-off.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
)

SERVER_OPTIONS = (
    *_LIMITS,
    ("grpc.so_reuseport", 0),  # else a second bind to a taken port succeeds
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.http2.ping_timeout_ms", 5000),
    ("grpc.max_allowed_incoming_connections", 1024),
    ("grpc.max_concurrent_streams", 4096),
    ("grpc.server_handshake_timeout_ms", 5000),  # a connection that never says a word
    ("grpc.max_connection_idle_ms", 300_000),  # one without a call; links have streams
    ("grpc.http2.max_ping_strikes", 0),  # clients probe as often as they like
)


@dataclass(frozen=True)
class Times:
    """How long a client waits, in seconds.

    ``open_s``: for a connection with its greeting and streams. ``call_s``: for the answer to a single
    call. ``low_s`` to ``high_s``: between attempts to connect. ``probe_s``: before a silent connection
    is probed, and ``probe_answer_s``: before one that does not answer is given up.
    """

    open_s: float = 2.0
    call_s: float = 10.0
    low_s: float = 0.05
    high_s: float = 1.0
    probe_s: float = 5.0
    probe_answer_s: float = 5.0


def open_channel(address: str, times: Times | None = None) -> grpc.aio.Channel:
    """Return a channel to ``host:port``; it connects on its first call."""
    times = times or Times()
    probes = (
        ("grpc.keepalive_time_ms", int(times.probe_s * 1000)),
        # gRPC gives a probe the longer of these two; the second one's default is a minute.
        ("grpc.keepalive_timeout_ms", int(times.probe_answer_s * 1000)),
        ("grpc.http2.ping_timeout_ms", int(times.probe_answer_s * 1000)),
    )
    return grpc.aio.insecure_channel(address, options=(*_CLIENT_OPTIONS, *probes))


def unary_call(channel: grpc.aio.Channel, path: str) -> grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]:
    """Return a single call of bytes to bytes."""
    return channel.unary_unary(path)


def stream_call(channel: grpc.aio.Channel, path: str) -> grpc.aio.StreamStreamMultiCallable[bytes, bytes]:
    """Return a call of two streams of bytes."""
    return channel.stream_stream(path)


class Backoff:
    """Delays that double from ``low_s`` to ``high_s``, each with up to half of it taken off by chance."""

    def __init__(self, times: Times) -> None:
        self._times = times
        self._failures = 0

    def next_s(self) -> float:
        """Return how long to wait before the next attempt."""
        delay = min(self._times.high_s, self._times.low_s * 2 ** min(self._failures, 16))
        self._failures += 1
        return random.uniform(delay / 2, delay)

    def reset(self) -> None:
        """Begin anew at ``low_s``."""
        self._failures = 0
