"""A key-value server in memory, honest or not, that speaks as much REST as ``kvnode verify`` does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import msgspec
from aiohttp import web

Record = tuple[int, msgspec.Raw | None]


class Server:
    """Keys with versions. Subclasses lie."""

    def __init__(self) -> None:
        self.random = Random(1)
        self.records: dict[str, Record] = {}
        self.puts = 0
        self._version = 0

    def read(self, key: str) -> Record:
        """Return what a GET shows."""
        return self.records.get(key, (0, None))

    def holds(self, request: web.Request, record: Record) -> bool:
        """Whether a write's condition holds."""
        match, none_match = request.headers.get("if-match"), request.headers.get("if-none-match")
        exists = record[1] is not None
        if none_match == "*":
            return not exists
        return match is None or (exists and match in {"*", f'"1.1.{record[0]}"'})

    def write(self, key: str, value: msgspec.Raw | None) -> int:
        """Store a value or, without one, delete the key."""
        self._version += 1
        self.records[key] = (self._version, value)
        return self._version

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one request."""
        key = request.match_info["key"]
        number, value = self.read(key)
        if request.method == "GET":
            if value is None:
                return _json(404, b'{"found":false}')
            return _json(200, b'{"found":true,"value":%b,"version":"1.1.%d"}' % (bytes(value), number))
        body = await request.read()
        record = self.records.get(key, (0, None))
        if not self.holds(request, record):
            return _json(412, b'{"outcome":"not_stored"}')
        if request.method == "DELETE" and record[1] is None:
            return _json(404, b'{"found":false}')
        self.puts += request.method == "PUT"
        new = msgspec.json.decode(body, type=dict[str, msgspec.Raw])["value"] if body else None
        return _json(200, b'{"status":"success","version":"1.1.%d"}' % self.write(key, new))


class StaleServer(Server):
    """Now and then a read shows the value before the last."""

    def __init__(self) -> None:
        super().__init__()
        self._before: dict[str, Record] = {}

    def write(self, key: str, value: msgspec.Raw | None) -> int:
        """Remember what was replaced."""
        self._before[key] = self.records.get(key, (0, None))
        return super().write(key, value)

    def read(self, key: str) -> Record:
        """Return what stood there, or what had stood there."""
        return self._before.get(key, (0, None)) if self.random.random() < 0.1 else super().read(key)


class ForgetfulServer(Server):
    """Now and then an acknowledged write is not done."""

    def write(self, key: str, value: msgspec.Raw | None) -> int:
        """Store it, or say so only."""
        before = self.records.get(key, (0, None))
        number = super().write(key, value)
        if self.random.random() < 0.1:
            self.records[key] = before
        return number


class UnlockedServer(Server):
    """Conditions are now and then taken to hold."""

    def holds(self, request: web.Request, record: Record) -> bool:
        """Look, or do not look."""
        return self.random.random() < 0.2 or super().holds(request, record)


class BreakingServer(Server):
    """Now and then the connection breaks after the write was done."""

    async def answer(self, request: web.Request) -> web.Response:
        """Answer, or hang up."""
        response = await super().answer(request)
        if self.random.random() < 0.2 and request.transport is not None:
            request.transport.abort()
        return response


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[str]:
    """Run a server and yield its address."""
    app = web.Application()
    app.router.add_route("*", "/kv/{key:.+}", server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def _json(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json")
