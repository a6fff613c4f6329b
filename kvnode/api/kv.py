"""PUT, GET and DELETE on a key: from a request to an operation, from its outcome to the answer."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

from kvnode.api import problems
from kvnode.api.answers import Answer, spliced
from kvnode.api.body import read_body, require_json
from kvnode.api.etags import etag, matches, parse_tags, write_condition
from kvnode.api.gate import Gate
from kvnode.api.json_door import check_put_body, value_size
from kvnode.api.keys import parse_key
from kvnode.api.requests import ApiRequest
from kvnode.api.results import result_of
from kvnode.api.service import KeyService
from kvnode.config import Limits
from kvnode.core.operations import Condition, Kind, Operation, Outcome
from kvnode.errors import RequestError

PREFIX = "/kv/"
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
        operation = Operation(Kind.GET, key, local=local, request_id=request.trace_id)
        outcome = await self._execute(operation)
        result = result_of(operation, outcome, self._worker, 0)
        if result is None:
            return problems.failed(outcome, write=False)
        if result.version is None:
            return spliced(result.body, result.status)
        if if_match is not None and not matches(if_match, result.version, strongly=True):
            return problems.condition_failed(str(result.version))
        headers = {"etag": etag(result.version), "cache-control": "no-cache"}
        if if_none_match is not None and matches(if_none_match, result.version, strongly=False):
            return Answer(None, 304, headers)
        return spliced(result.body, result.status, headers)

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
        partition = self._service.partition(operation.key)
        result = result_of(operation, outcome, self._worker, partition)
        if result is None:
            return problems.failed(outcome, write=True)
        headers = {} if result.version is None else {"etag": etag(result.version)}
        return spliced(result.body, result.status, headers)

    async def _execute(self, operation: Operation) -> Outcome:
        """Carry out an operation; a client that hangs up stops the waiting, not the operation."""
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if not answered.done():
                answered.set_result(outcome)

        with self._gate.admitted():
            self._service.begin(operation, self._timeout_s, done)
            return await answered


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
