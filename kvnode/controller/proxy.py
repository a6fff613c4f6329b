"""``/kv/…`` through any live worker: one address for a person with curl. Not on the cluster's own data path.

A request is sent again only when it certainly was not sent: the connection was refused or never
came about (or when it only reads). What happened to a write whose connection broke later is
unknown, and the answer says so.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Final

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from multidict import CIMultiDict
from sanic import Request
from sanic.compat import Header
from sanic.response import HTTPResponse
from yarl import URL

from kvnode.config import Limits
from kvnode.controller.answers import problem
from kvnode.controller.target import forward
from kvnode.controller.view import ClusterView
from kvnode.errors import PeerError, RequestError
from kvnode.logs import get_logger

CONNECT_TIMEOUT_S: Final = 1.0
MARGIN_S: Final = 2.0
"""How much longer than a worker's own deadline its answer is waited for."""

UNDER_WAY: Final = 64
"""Requests that are sent on at a time: each may take up a value on its way in and one on its way out."""

REQUEST_ID: Final = "x-request-id"
FAILED: Final = 500
READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HOP_BY_HOP: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
        "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_NOT_SENT_ON: Final = _HOP_BY_HOP | {"host", "content-length", "expect"}
_ADDED_BY_AIOHTTP: Final = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")

log = get_logger()


class BrokenError(PeerError):
    """The connection broke, or time ran out, after the request may have been sent."""


class Proxy:
    """Sends requests on. ``start`` before the first, ``stop`` after the last."""

    def __init__(self, view: ClusterView, limits: Limits) -> None:
        self._view = view
        self._timeout_s = limits.request_timeout_ms / 1000 + MARGIN_S
        self._slow_s = limits.slow_request_ms / 1000
        self._turn = 0
        self._under_way = 0
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Make the client. Connections are not kept: a fresh one that fails has sent nothing."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=CONNECT_TIMEOUT_S),
            middlewares=(_never_again,),
        )

    async def stop(self) -> None:
        """Close the client."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def handle(self, request: Request) -> HTTPResponse:
        """Answer one request with what a worker answers, or with a problem. Raises RequestError.

        Requests that bring an id, that fail or that are slow are logged, under the id that the
        worker logs them under.
        """
        if self._under_way >= UNDER_WAY:
            raise RequestError("overloaded", f"{self._under_way} requests are being sent on: try again")
        self._under_way += 1
        try:
            return await self._forward(request)
        finally:
            self._under_way -= 1

    async def _forward(self, request: Request) -> HTTPResponse:
        wanted = forward(request.raw_url, self._view.workers)
        began = time.monotonic()
        worker, answer = await self._ask(request, wanted.target, wanted.node)
        request_id = request.headers.get(REQUEST_ID)
        if request_id is not None:
            answer.headers[REQUEST_ID] = request_id
        took_s = time.monotonic() - began
        if request_id is not None or answer.status >= FAILED or took_s >= self._slow_s:
            log.info(
                "request_forwarded",
                request_id=answer.headers.get(REQUEST_ID),
                method=request.method,
                worker=worker,
                status=answer.status,
                took_ms=round(took_s * 1000, 1),
            )
        return answer

    async def _ask(self, request: Request, target: str, node: int) -> tuple[int, HTTPResponse]:
        """Try workers until one has the request; return who answered (0: nobody) and what."""
        reads = request.method in READS
        failures = []
        for worker in self._candidates(node):
            try:
                return worker, await self._send(request, worker, target)
            except aiohttp.ClientConnectionError as error:
                failures.append(f"worker {worker} cannot be reached: {error}")
            except BrokenError as error:
                failures.append(f"worker {worker} broke off: {error}")
                if not reads:
                    return worker, problem(503, failures[-1], outcome="unknown")
        return 0, problem(503, "; ".join(failures), outcome=None if reads else "not_stored")

    def _candidates(self, node: int) -> Iterator[int]:
        """Yield whom to try: ready workers in turn, then others online, then those last seen offline."""
        if node:
            yield node
            return
        self._turn += 1
        for group in self._view.by_usefulness():
            start = self._turn % len(group) if group else 0
            yield from group[start:] + group[:start]

    async def _send(self, request: Request, worker: int, target: str) -> HTTPResponse:
        """Send the request to one worker. ClientConnectionError: certainly not sent. BrokenError: perhaps."""
        if self._session is None:
            raise RuntimeError("the proxy is not started")
        try:
            async with self._session.request(
                request.method,
                URL(self._view.rest_address(worker) + target, encoded=True),
                data=BytesIO(request.body) if request.body else None,
                headers=_request_headers(request),
                skip_auto_headers=_ADDED_BY_AIOHTTP,
                allow_redirects=False,
            ) as response:
                return _answer(response, await response.read(), worker)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise BrokenError(str(error) or f"no answer within {self._timeout_s:g} s") from error
        except ValueError as error:
            raise RequestError("invalid_request", f"the request cannot be sent on: {error}") from error


async def _never_again(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Keep aiohttp from sending a PUT or DELETE again by itself when its connection breaks."""
    try:
        return await handler(request)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise BrokenError(str(error)) from error


def _request_headers(request: Request) -> CIMultiDict[str]:
    named = _named_by_connection(request.headers.getall("connection", []))
    kept = CIMultiDict[str]()
    for name, value in request.headers.items():
        if name.lower() not in _NOT_SENT_ON and name.lower() not in named:
            kept.add(name, value)
    return kept


def _answer(response: ClientResponse, body: bytes, worker: int) -> HTTPResponse:
    """Turn a worker's answer into ours; ``Kvnode-Worker`` says whose it is."""
    dropped = _HOP_BY_HOP | _named_by_connection(response.headers.getall("connection", []))
    if response.method != "HEAD":
        dropped |= {"content-length"}
    head = [(name, value) for name, value in response.headers.items() if name.lower() not in dropped]
    return HTTPResponse(body, response.status, Header([*head, ("kvnode-worker", str(worker))]))


def _named_by_connection(values: Iterable[str]) -> frozenset[str]:
    """Return the headers that a Connection header declares to be of this hop only."""
    return frozenset(name.strip().lower() for value in values for name in value.split(","))
