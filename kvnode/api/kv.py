"""PUT, GET and DELETE on a key: from a request to an operation, from its outcome to the answer.

The value is spliced into the answer as the bytes that the client once sent.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

import msgspec

from kvnode.api import problems
from kvnode.api.answers import Answer, spliced
from kvnode.api.body import read_body, require_json
from kvnode.api.etags import etag, matches, parse_tags, write_condition
from kvnode.api.gate import Gate
from kvnode.api.json_door import check_put_body, value_size
from kvnode.api.keys import parse_key
from kvnode.api.requests import ApiRequest
from kvnode.api.service import KeyService
from kvnode.config import Limits
from kvnode.core.operations import Condition, Kind, Operation, Outcome, Status
from kvnode.errors import RequestError

PREFIX = "/kv/"
NOTE = b',"note":"background_write_active"'
CONSISTENCIES = {"linearizable": False, "local": True}


class KeyResource:
    """The handlers of ``/kv/{key}`` of one worker."""

    def __init__(self, service: KeyService, worker: int, limits: Limits, gate: Gate) -> None:
        self._service = service
        self._gate = gate
        self._worker = worker
        self._value_bytes = limits.value_bytes
        self._timeout_s = limits.request_timeout_ms / 1000

    async def get(self, request: ApiRequest) -> Answer:
        """Read a key: 200, 304, 404 or a problem."""
        key = parse_key(request.key_text(PREFIX))
        local = _parse_consistency(request.query_string)
        if_match = parse_tags("If-Match", request.headers.getall("if-match", ()))
        if_none_match = parse_tags("If-None-Match", request.headers.getall("if-none-match", ()))
        outcome = await self._execute(Operation(Kind.GET, key, local=local, request_id=request.trace_id))
        if outcome.status is Status.ABSENT:
            return self._absent(key, outcome)
        if outcome.status is not Status.OK or outcome.version is None or outcome.value is None:
            return problems.failed(outcome, write=False)
        if if_match is not None and not matches(if_match, outcome.version, strongly=True):
            return problems.condition_failed(str(outcome.version))
        headers = {"etag": etag(outcome.version), "cache-control": "no-cache"}
        if if_none_match is not None and matches(if_none_match, outcome.version, strongly=False):
            return Answer(None, 304, headers)
        body = b'{"found":true,"value":%b,"node_id":%d,"version":"%b","key":%b,"leader_id":%b%b}' % (
            outcome.value,
            outcome.node or self._worker,
            str(outcome.version).encode(),
            msgspec.json.encode(key),
            _leader(outcome),
            b',"consistency":"local"' if local else b"",
        )
        return spliced(body, 200, headers)

    async def put(self, request: ApiRequest) -> Answer:
        """Write a key: 200 or a problem."""
        key = parse_key(request.key_text(PREFIX))
        _refuse_parameters(request.query_string)
        condition = _parse_condition(request)
        require_json(request)
        with self._gate.body() as held:
            value = check_put_body(await read_body(request, self._value_bytes, held))
            size = value_size(value)
            if size > self._value_bytes:
                raise RequestError(
                    "value_too_large", f"the value has {size} bytes: expected at most {self._value_bytes}"
                )
            return await self._write(Operation(Kind.PUT, key, value, condition, request_id=request.trace_id))

    async def delete(self, request: ApiRequest) -> Answer:
        """Delete a key: 200, 404 when there is none, or a problem."""
        key = parse_key(request.key_text(PREFIX))
        _refuse_parameters(request.query_string)
        condition = _parse_condition(request)
        return await self._write(
            Operation(Kind.DELETE, key, condition=condition, request_id=request.trace_id)
        )

    async def _write(self, operation: Operation) -> Answer:
        outcome = await self._execute(operation)
        if outcome.status is Status.ABSENT:
            return self._absent(operation.key, outcome)
        if outcome.status is not Status.OK or outcome.version is None:
            return problems.failed(outcome, write=True)
        body = (
            b'{"status":"success","replicas":%d%b,"key":%b,"version":"%b","partition":%d,"leader_id":%b}'
            % (
                outcome.replicas,
                NOTE if outcome.pending else b"",
                msgspec.json.encode(operation.key),
                str(outcome.version).encode(),
                self._service.place(operation.key).partition,
                _leader(outcome),
            )
        )
        return spliced(body, 200, {"etag": etag(outcome.version)})

    async def _execute(self, operation: Operation) -> Outcome:
        with self._gate.admitted():
            return await self._service.execute(operation, self._timeout_s)

    def _absent(self, key: str, outcome: Outcome) -> Answer:
        """Answer that a key has no value: a normal answer, so no problem."""
        body = b'{"found":false,"key":%b,"node_id":%d}' % (
            msgspec.json.encode(key),
            outcome.node or self._worker,
        )
        return spliced(body, 404)


def _leader(outcome: Outcome) -> bytes:
    return b"%d" % outcome.leader if outcome.leader else b"null"


def _parse_condition(request: ApiRequest) -> Condition | None:
    return write_condition(
        parse_tags("If-Match", request.headers.getall("if-match", ())),
        parse_tags("If-None-Match", request.headers.getall("if-none-match", ())),
    )


def _parse_consistency(query: str) -> bool:
    """Return whether any replica's copy will do. Raises RequestError."""
    local = False
    for name, value in parse_qsl(query, keep_blank_values=True) if query else ():
        if name != "consistency" or value not in CONSISTENCIES:
            raise RequestError(
                "invalid_parameter",
                f"{name!r:.60}={value!r:.60}: expected consistency=linearizable or =local",
            )
        local = CONSISTENCIES[value]
    return local


def _refuse_parameters(query: str) -> None:
    """Refuse what would else be ignored in silence. Raises RequestError."""
    if query:
        raise RequestError("invalid_parameter", f"{query!r:.60}: expected no query parameters on a write")
