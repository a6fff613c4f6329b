"""A client that writes down what it saw, and counts as unknown whatever it cannot be sure of."""

from __future__ import annotations

import time
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from kvnode.verify.history import Asked, Op, Told

JSON_HEADERS = {"content-type": "application/json"}


class Condition(msgspec.Struct, frozen=True):
    """When a write is to happen."""

    if_match: tuple[str, ...] | None = None
    if_present: bool = False
    if_absent: bool = False

    def headers(self) -> dict[str, str]:
        """Return it as HTTP."""
        if self.if_match is not None:
            return {"if-match": ", ".join(f'"{version}"' for version in self.if_match)}
        if self.if_present:
            return {"if-match": "*"}
        return {"if-none-match": "*"} if self.if_absent else {}


ALWAYS = Condition()


class _Body(msgspec.Struct):
    """What of an answer matters here."""

    value: msgspec.Raw = msgspec.Raw()
    version: str | None = None
    outcome: str | None = None


def open_session(timeout_s: float) -> aiohttp.ClientSession:
    """Return a session that sends each request once, whatever becomes of it."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        connector=aiohttp.TCPConnector(limit=0),
        middlewares=(_once,),
    )


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a PUT or DELETE again by itself when its connection breaks."""
    try:
        return await handler(request)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientError(str(error)) from error


class RecordingClient:
    """One client. It has one operation under way at a time, and says what became of each."""

    def __init__(self, number: int, session: aiohttp.ClientSession, began_ns: int) -> None:
        self._number = number
        self._session = session
        self._began_ns = began_ns
        self.complaint = ""

    def _now_us(self) -> int:
        return (time.monotonic_ns() - self._began_ns) // 1000

    async def get(self, url: str, key: str) -> Op:
        """Read a key."""
        return await self._do(url, Asked.GET, key, None, ALWAYS)

    async def put(self, url: str, key: str, value: str, condition: Condition = ALWAYS) -> Op:
        """Write a value, which is JSON text."""
        return await self._do(url, Asked.PUT, key, value, condition)

    async def delete(self, url: str, key: str, condition: Condition = ALWAYS) -> Op:
        """Delete a key."""
        return await self._do(url, Asked.DELETE, key, None, condition)

    async def _do(self, url: str, asked: Asked, key: str, value: str | None, condition: Condition) -> Op:
        start_us = self._now_us()
        told, body = await self._ask(url, asked, key, value, condition)
        read = asked is Asked.GET and told is Told.OK
        return Op(
            client=self._number,
            op=asked,
            key=key,
            value=bytes(body.value).decode() if read else value,
            if_match=condition.if_match,
            if_present=condition.if_present,
            if_absent=condition.if_absent,
            told=told,
            version=None if told in {Told.UNKNOWN, Told.NOT_DONE} else body.version,
            start_us=start_us,
            end_us=None if told is Told.UNKNOWN else self._now_us(),
        )

    async def _ask(
        self, url: str, asked: Asked, key: str, value: str | None, condition: Condition
    ) -> tuple[Told, _Body]:
        target = URL(f"{url}/kv/{quote(key, safe='')}", encoded=True)
        headers = condition.headers() | (JSON_HEADERS if value is not None else {})
        data = None if value is None else b'{"value":%b}' % value.encode()
        lost = Told.NOT_DONE if asked is Asked.GET else Told.UNKNOWN
        try:
            async with self._session.request(asked.upper(), target, data=data, headers=headers) as response:
                return self._told(asked, response.status, await response.read())
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            self.complaint = str(error)
            return Told.NOT_DONE, _Body()
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
            self.complaint = f"{url}: {error!r}"
            return lost, _Body()

    def _told(self, asked: Asked, status: int, text: bytes) -> tuple[Told, _Body]:
        body = msgspec.json.decode(text, type=_Body)
        if status == 200:  # noqa: PLR2004
            return Told.OK, body
        if status == 404:  # noqa: PLR2004
            return Told.ABSENT, body
        if status == 412:  # noqa: PLR2004
            return Told.CONDITION_FAILED, body
        self.complaint = text.decode(errors="replace")
        certain = asked is Asked.GET or body.outcome == "not_stored"
        return (Told.NOT_DONE if certain else Told.UNKNOWN), body
