"""The express lane: a plain request on a key that arrives whole is answered without Sanic's request cycle.

That cycle (a task's wake-up, headers in a multidict, a route, middleware, a response object) costs
more than everything else that a worker does for a request. So what is taken here is only what is
sure to be right: HTTP/1.1, PUT, GET or DELETE of ``/kv/{key}`` without parameters, a few well-known
headers, all of it in the bytes at hand. Whatever is unusual or wrong is left to Sanic, byte for
byte, and answered there: nothing is refused here. Answers are the same either way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial
from http import HTTPStatus
from random import random
from time import perf_counter
from typing import Final

from kvnode.api import problems
from kvnode.api.answers import Answer
from kvnode.api.audit import Audit
from kvnode.api.gate import Gate
from kvnode.api.json_door import check_put_body
from kvnode.api.keys import parse_key
from kvnode.api.requests import new_id
from kvnode.api.results import result_of
from kvnode.api.service import KeyService
from kvnode.config import Limits
from kvnode.core.operations import Kind, Operation, Outcome
from kvnode.errors import RequestError
from kvnode.logs import get_logger

Reply = Callable[[bytes, bool], None]

HEAD_BYTES: Final = 4096
_LINE: Final = re.compile(rb"(GET|PUT|DELETE) /kv/([!\$-;=@-\[\]_a-z~]+) HTTP/1\.1\r\n")
"""A request line without ``?`` and ``#``: what else a path may not hold is not judged here."""
_HEADER: Final = re.compile(rb"([A-Za-z-]+):[ \t]*([ -~]*?)[ \t]*\r\n")
_HARMLESS: Final = frozenset({b"host", b"user-agent", b"accept", b"accept-encoding", b"accept-language"})
_KINDS: Final = {b"GET": Kind.GET, b"PUT": Kind.PUT, b"DELETE": Kind.DELETE}

_FOUND: Final = (
    b'HTTP/1.1 200 OK\r\n%betag: "%d.%d.%d"\r\n%bcontent-type: application/json\r\n'
    b"content-length: %d\r\nx-request-id: %b\r\n\r\n%b"
)
_ABSENT: Final = (
    b"HTTP/1.1 404 Not Found\r\n%bcontent-type: application/json\r\n"
    b"content-length: %d\r\nx-request-id: %b\r\n\r\n%b"
)
_FAILED: Final = b"HTTP/1.1 %d %b\r\n%b%bcontent-length: %d\r\nx-request-id: %b\r\n\r\n%b"
_KEEP: Final = b"connection: keep-alive\r\n"
_CLOSE: Final = b"connection: close\r\n"
_NO_CACHE: Final = b"cache-control: no-cache\r\n"

_log = get_logger()


class _Asked:
    """A request under way."""

    __slots__ = ("operation", "reply", "request_id", "size", "started_s")

    def __init__(
        self, operation: Operation, size: int, started_s: float, request_id: str, reply: Reply
    ) -> None:
        self.operation = operation
        self.size = size
        self.started_s = started_s
        self.request_id = request_id
        self.reply = reply


class Express:
    """The lane of one worker. ``share`` of the requests is left to Sanic, to be traced."""

    def __init__(
        self, service: KeyService, worker: int, limits: Limits, gate: Gate, audit: Audit, share: float
    ) -> None:
        self._service = service
        self._worker = worker
        self._gate = gate
        self._audit = audit
        self._share = share
        self._value_bytes = limits.value_bytes
        self._timeout_s = limits.request_timeout_ms / 1000

    def take(self, data: bytes, reply: Reply) -> bool:
        """Whether ``data`` is a request that is answered here.

        If so, ``reply`` is called exactly once, now or later, with the answer's bytes and with
        whether the connection is to be closed after it.
        """
        started_s = perf_counter()
        gate = self._gate
        operation = self._operation(data)
        if operation is None or gate.full or gate.draining or (self._share and random() < self._share):
            return False
        size = 0 if operation.value is None else len(data)
        if gate.held_bytes + size > gate.body_bytes:
            return False
        gate.held_bytes += size
        gate.inflight += 1
        asked = _Asked(operation, size, started_s, new_id(), reply)
        try:
            self._service.begin(operation, self._timeout_s, partial(self._answer, asked))
        except Exception as error:  # noqa: BLE001 - a defect of ours, which the client is told of
            self._crash(asked, error)
        return True

    def _operation(self, data: bytes) -> Operation | None:
        """Return what a plain and valid request asks for; None for any other."""
        line = _LINE.match(data)
        end = data.find(b"\r\n\r\n", 0, HEAD_BYTES)
        if line is None or end < 0:
            return None
        kind, length = _KINDS[line[1]], _plain_length(data[line.end() : end + 2])
        bodies = (len(data) - end - 4,) if kind is Kind.PUT else (-1, 0)
        if length not in bodies or (kind is not Kind.PUT and len(data) != end + 4):
            return None
        try:
            key = parse_key(line[2].decode("ascii"))
            value = check_put_body(data[end + 4 :]) if kind is Kind.PUT else None
        except RequestError:
            return None
        return Operation(kind, key, value) if len(value or b"") <= self._value_bytes else None

    def _answer(self, asked: _Asked, outcome: Outcome) -> None:
        operation = asked.operation
        try:
            partition = self._service.partition(operation.key)
            result = result_of(operation, outcome, self._worker, partition)
        except Exception as error:  # noqa: BLE001 - as above
            self._crash(asked, error)
            return
        if result is None:
            self._fail(asked, problems.failed(outcome, write=operation.kind is not Kind.GET))
            return
        connection, name = self._connection, asked.request_id.encode()
        if result.version is None:
            data = _ABSENT % (connection, len(result.body), name, result.body)
        else:
            cache = _NO_CACHE if operation.kind is Kind.GET else b""
            data = _FOUND % (connection, *result.version, cache, len(result.body), name, result.body)
        self._finish(asked, result.status, data)

    def _crash(self, asked: _Asked, error: Exception) -> None:
        _log.error("request_crashed", request_id=asked.request_id, path=_path(asked), exc_info=error)
        write = asked.operation.kind is not Kind.GET
        self._fail(asked, problems.broken(error, write=write, reached=True))

    def _fail(self, asked: _Asked, problem: Answer) -> None:
        body = problem.body or b""
        head = b"".join(b"%b: %b\r\n" % header for header in problem.processed_headers)
        data = _FAILED % (
            problem.status,
            HTTPStatus(problem.status).phrase.encode(),
            self._connection,
            head,
            len(body),
            asked.request_id.encode(),
            body,
        )
        self._finish(asked, problem.status, data)

    @property
    def _connection(self) -> bytes:
        return _CLOSE if self._gate.draining else _KEEP

    def _finish(self, asked: _Asked, status: int, data: bytes) -> None:
        gate = self._gate
        gate.held_bytes -= asked.size
        gate.inflight -= 1
        self._audit.note(
            asked.operation.kind.name,
            _path(asked),
            status,
            started_s=asked.started_s,
            request_id=asked.request_id,
            traced=False,
        )
        asked.reply(data, gate.draining)


def _path(asked: _Asked) -> str:
    return f"/kv/{asked.operation.key}"


@lru_cache(maxsize=1024)
def _plain_length(headers: bytes) -> int | None:
    """Return the Content-Length that plain headers tell (-1: none); None if they are not plain.

    A client's headers are the same from one request to the next, but for that length.
    """
    length, seen, place = -1, set(), 0
    for header in _HEADER.finditer(headers):
        name, value = header[1].lower(), header[2]
        if header.start() != place or name in seen:
            return None
        place = header.end()
        seen.add(name)
        if name == b"content-length":
            if not value.isdigit() or len(value) > 9:  # noqa: PLR2004 - far more than arrives at once
                return None
            length = int(value)
        elif not (
            name in _HARMLESS
            or (name == b"content-type" and value == b"application/json")
            or (name == b"connection" and value.lower() == b"keep-alive")
        ):
            return None
    return length if place == len(headers) else None
