"""The live feed to dashboards over Socket.IO: a snapshot at first, then what changed, in batches.

Memory does not depend on how fast clients read. A client costs three positions in sequences that
are bounded themselves, and at most ``MAX_QUEUED`` packets of bounded size in its send queue: while
that is full, nothing more is put there, and what leaves the sequences meanwhile is skipped for it
(and counted in ``skipped``). A client that stops answering pings is closed by Engine.IO.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

import msgspec
import socketio
from sanic import Sanic

from kvnode.controller.log_window import LogQuery, LogWindow
from kvnode.controller.status import ClusterStatus
from kvnode.controller.tail import Tail
from kvnode.core.status import KeyEvent
from kvnode.logs import get_logger

TICK_S: Final = 0.25
STATUS_TICKS: Final = 2
SNAPSHOT_LINES: Final = 300
MAX_BATCH: Final = 200
MAX_BATCH_BYTES: Final = 256 << 10
MAX_LAG: Final = 1000
"""A client further behind than this sees the newest lines again instead of old ones."""
MAX_QUEUED: Final = 8
MAX_CLIENTS: Final = 200
KEY_EVENTS: Final = 5000

log = get_logger()


class FeedKeyEvent(msgspec.Struct, frozen=True, gc=False):
    """A copy of a key came to a worker, or a tombstone did."""

    key: str
    partition: int
    version: str
    deleted: bool


class _Client(msgspec.Struct):
    """How far one client has been served. ``log`` is None until it has had its snapshot."""

    log: int | None = None
    keys: int = 0
    revision: int = -1


class _Json:
    """Lets Socket.IO encode msgspec structs as they are."""

    @staticmethod
    def dumps(value: object, **_: object) -> str:
        return msgspec.json.encode(value).decode()

    @staticmethod
    def loads(text: str | bytes, **_: object) -> Any:  # noqa: ANN401
        return msgspec.json.decode(text)


class Feed:
    """Serves ``snapshot``, ``status``, ``logs`` and ``keys`` to every client.

    ``status(ring)`` returns the view, with or without its ring; ``revision()`` tells whether it changed.
    """

    def __init__(
        self, status: Callable[[bool], ClusterStatus], revision: Callable[[], int], logs: LogWindow
    ) -> None:
        self._status = status
        self._revision = revision
        self._logs = logs
        self._keys: Tail[tuple[int, FeedKeyEvent]] = Tail(KEY_EVENTS, KEY_EVENTS * 1024)
        self._clients: dict[str, _Client] = {}
        self._joined = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._sio = socketio.AsyncServer(
            async_mode="sanic", json=_Json, max_http_buffer_size=16 << 10, logger=False, engineio_logger=False
        )
        self._sio.on("connect", self._connected)
        self._sio.on("disconnect", self._disconnected)

    @property
    def clients(self) -> int:
        """How many dashboards are connected."""
        return len(self._clients)

    def attach(self, app: Sanic[Any, Any]) -> None:
        """Add ``/socket.io`` to an app that has not started."""
        self._sio.attach(app)

    def start(self) -> None:
        """Begin to serve clients."""
        self._task = asyncio.create_task(self._run(), name="feed")

    async def stop(self) -> None:
        """Stop serving and close all clients."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._sio.shutdown()

    def key_event(self, worker: int, event: KeyEvent) -> None:
        """Tell clients of a key that reached a worker."""
        item = FeedKeyEvent(event.key, event.partition, str(event.version), event.deleted)
        self._keys.append((worker, item), len(event.key) + 100)

    async def _connected(self, sid: str, _environ: object, _auth: object = None) -> bool:
        if len(self._clients) >= MAX_CLIENTS:
            log.warning("feed_client_refused", clients=len(self._clients))
            return False
        self._clients[sid] = _Client()
        self._joined.set()
        return True

    async def _disconnected(self, sid: str, _reason: str = "") -> None:
        self._clients.pop(sid, None)

    async def _run(self) -> None:
        """Serve all clients four times a second, and a new one at once."""
        loop = asyncio.get_running_loop()
        tick = 0
        due = loop.time()
        while True:
            due = max(due + TICK_S, loop.time())
            while loop.time() < due:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(due):
                        await self._joined.wait()
                        self._joined.clear()
                        await self._greet()
            tick += 1
            await self._serve(with_status=tick % STATUS_TICKS == 0)

    async def _greet(self) -> None:
        """Send the snapshot to those who have not had it."""
        waiting = [(sid, client) for sid, client in self._clients.items() if client.log is None]
        if not waiting:
            return
        lines = self._logs.select(LogQuery(limit=SNAPSHOT_LINES)).lines
        snapshot = {"status": self._status(True), "logs": lines}  # noqa: FBT003
        for sid, client in waiting:
            client.log, client.keys, client.revision = self._logs.last, self._keys.last, self._revision()
            await self._sio.emit("snapshot", snapshot, to=sid)

    async def _serve(self, *, with_status: bool) -> None:
        ready = [(sid, c) for sid, c in self._clients.items() if c.log is not None and self._has_room(sid)]
        revision = self._revision()
        status = None
        if with_status and any(client.revision != revision for _, client in ready):
            status = self._status(False)  # noqa: FBT003
        for sid, client in ready:
            if status is not None and client.revision != revision:
                client.revision = revision
                await self._sio.emit("status", status, to=sid)
            await self._send_logs(sid, client)
            await self._send_keys(sid, client)

    async def _send_logs(self, sid: str, client: _Client) -> None:
        batch = self._logs.read(client.log or 0, limit=MAX_BATCH, max_bytes=MAX_BATCH_BYTES, max_lag=MAX_LAG)
        client.log = batch.position
        if batch.items:
            await self._sio.emit("logs", {"lines": batch.items, "skipped": batch.skipped}, to=sid)

    async def _send_keys(self, sid: str, client: _Client) -> None:
        batch = self._keys.read(client.keys, limit=MAX_BATCH, max_bytes=MAX_BATCH_BYTES, max_lag=MAX_LAG)
        client.keys = batch.position
        by_worker: dict[int, list[FeedKeyEvent]] = {}
        for worker, event in batch.items:
            by_worker.setdefault(worker, []).append(event)
        for worker, events in by_worker.items():
            message = {"worker": worker, "events": events, "skipped": batch.skipped}
            await self._sio.emit("keys", message, to=sid)

    def _has_room(self, sid: str) -> bool:
        """Whether a client has taken what was sent to it before."""
        socket = self._sio.eio.sockets.get(self._sio.manager.eio_sid_from_sid(sid, "/"))
        return socket is not None and socket.queue.qsize() < MAX_QUEUED
