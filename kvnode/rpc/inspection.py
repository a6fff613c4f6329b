"""Looking at what one worker's disk holds: asked by the controller, answered by workers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

import grpc

from kvnode.core.status import KeyPage
from kvnode.errors import KvnodeError, MessageError, PeerError
from kvnode.logs import get_logger
from kvnode.rpc.channel import Times, open_channel, unary_call
from kvnode.rpc.codec.control import Listing
from kvnode.rpc.http2.server import Routes, ServerCall, Unary
from kvnode.rpc.methods import LIST_KEYS
from kvnode.rpc.status import error_of, refusal

_log = get_logger()


class KeySource(Protocol):
    """Who knows a worker's keys."""

    def stored_keys(self, prefix: str, after: str, limit: int) -> KeyPage:
        """Return at most ``limit`` keys that start with ``prefix``, after ``after``. Raises KvnodeError."""


def inspection_routes(source: KeySource) -> Routes:
    """Return the methods of the inspection of ``source``; to be given to a worker's transport."""

    async def list_keys(data: bytes, call: ServerCall) -> bytes:
        try:
            listing = LIST_KEYS.decode_request(data)
            page = source.stored_keys(listing.prefix, listing.after, listing.limit)
        except MessageError as error:
            _log.warning("peer_message_refused", peer=call.peer, reason=str(error))
            raise refusal(error) from error
        except KvnodeError as error:
            _log.warning("keys_unreadable", reason=str(error))
            raise refusal(PeerError(str(error))) from error
        return LIST_KEYS.encode_reply(page)

    return {LIST_KEYS.path: Unary(list_keys)}


class InspectionClient:
    """Asks workers by number; ``addresses`` are their ``host:port``. Connections are kept."""

    def __init__(self, addresses: Mapping[int, str], *, times: Times | None = None) -> None:
        self._addresses = addresses
        self._times = times or Times()
        self._channels: dict[int, grpc.aio.Channel] = {}

    async def list_keys(self, worker: int, prefix: str, after: str, limit: int) -> KeyPage:
        """Return a page of a worker's keys. Raises PeerError if it does not answer."""
        question = LIST_KEYS.encode_request(Listing(prefix, after, limit))
        call = unary_call(self._channel(worker), LIST_KEYS.path)
        try:
            return LIST_KEYS.decode_reply(await call(question, timeout=self._times.open_s))
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure) from failure

    async def stop(self) -> None:
        """Close the connections."""
        channels, self._channels = list(self._channels.values()), {}
        await asyncio.gather(*(channel.close() for channel in channels))

    def _channel(self, worker: int) -> grpc.aio.Channel:
        address = self._addresses.get(worker)
        if address is None:
            raise PeerError(f"there is no worker {worker}")
        if worker not in self._channels:
            self._channels[worker] = open_channel(address, self._times)
        return self._channels[worker]
