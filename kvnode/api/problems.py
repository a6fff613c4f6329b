"""Everything that can go wrong, as HTTP: the only place of this package that knows status codes of errors.

Errors are RFC 9457 ``application/problem+json``. Where a write was involved, ``outcome`` says
``not_stored`` (certainly not, and never will be) or ``unknown`` (may be stored, now or later).
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal

import msgspec
from sanic.exceptions import BadRequest, MethodNotAllowed, NotFound, PayloadTooLarge, SanicException

from kvnode.api.answers import Answer
from kvnode.core.operations import Outcome, Status
from kvnode.errors import RequestError

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
HEAD_BYTES = 16384
RESOURCES = "/kv/{key}, /partition/{key}, /healthz, /readyz, /status, /metrics"

Stored = Literal["not_stored", "unknown"]


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457, with ``outcome`` of a write and, for a refused condition, the ``version`` in the way."""

    type: str
    title: str
    status: int
    detail: str
    outcome: Stored | None = None
    version: str | None = None


_REFUSALS: dict[str, tuple[int, str]] = {
    "invalid_target": (400, "Invalid request target"),
    "invalid_key": (400, "Invalid key"),
    "empty_key": (400, "Empty key"),
    "key_too_long": (400, "Key too long"),
    "invalid_parameter": (400, "Invalid query parameter"),
    "invalid_request_id": (400, "Invalid X-Request-ID"),
    "invalid_etag": (400, "Invalid entity tag"),
    "unsupported_condition": (400, "Unsupported condition"),
    "invalid_utf8": (400, "Invalid UTF-8"),
    "invalid_json": (400, "Invalid JSON"),
    "not_an_object": (400, "Not a JSON object"),
    "duplicate_field": (400, "Duplicate field"),
    "unknown_field": (400, "Unknown field"),
    "missing_value": (400, "Missing value"),
    "nesting_too_deep": (400, "Nesting too deep"),
    "lone_surrogate": (400, "Lone surrogate"),
    "body_timeout": (408, "Request body too slow"),
    "value_too_large": (413, "Value too large"),
    "body_too_large": (413, "Request body too large"),
    "overloaded": (503, "Overloaded"),
    "unsupported_media_type": (415, "Unsupported media type"),
}

_FAILURES: dict[Status, tuple[int, str, str, Stored]] = {
    Status.CONDITION_FAILED: (412, "condition_failed", "Condition failed", "not_stored"),
    Status.NOT_STORED: (503, "not_stored", "Not stored", "not_stored"),
    Status.NOT_LEADER: (503, "not_stored", "Not stored", "not_stored"),
    Status.UNKNOWN: (503, "outcome_unknown", "Outcome unknown", "unknown"),
    Status.UNAVAILABLE: (503, "unavailable", "Unavailable", "unknown"),
    Status.NO_SPACE: (507, "no_space", "No space", "not_stored"),
    Status.OVERLOADED: (503, "overloaded", "Overloaded", "not_stored"),
}


def refused(error: RequestError, *, write: bool) -> Answer:
    """Answer a request that is wrong in itself."""
    status, title = _REFUSALS[error.kind]
    return _answer(error.kind, title, status, error.detail, outcome="not_stored" if write else None)


def failed(outcome: Outcome, *, write: bool) -> Answer:
    """Answer with an operation's failure (any status but OK and ABSENT)."""
    status, kind, title, stored = _FAILURES[outcome.status]
    version, detail = None, outcome.reason or title
    if outcome.status is Status.CONDITION_FAILED:
        version = None if outcome.version is None else str(outcome.version)
        found = f"the key's current version is {version}" if version else "the key has no value"
        detail = outcome.reason or f"the condition does not hold: {found}"
    return _answer(kind, title, status, detail, outcome=stored if write else None, version=version)


def condition_failed(version: str) -> Answer:
    """Answer a read whose If-Match names other versions than the current one."""
    detail = "the current version is none of those that If-Match names"
    return _answer("condition_failed", "Condition failed", 412, detail, version=version)


def broken(error: Exception, *, write: bool, reached: bool) -> Answer:
    """Answer whatever else was raised: by Sanic, or by a defect of ours (500).

    ``reached``: the request's head was read. A write whose answer is 500 or more may have been
    carried out: its outcome is unknown.
    """
    status, detail = _describe(error, reached=reached)
    headers = {"allow": ", ".join(error.allowed_methods or ())} if isinstance(error, MethodNotAllowed) else {}
    outcome: Stored = "unknown" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "not_stored"
    title = HTTPStatus(status).phrase
    kind = title.lower().replace(" ", "_").replace("-", "_")
    return _answer(kind, title, status, detail, outcome=outcome if write else None, headers=headers)


def _describe(error: Exception, *, reached: bool) -> tuple[int, str]:
    """Return the status of an error, and what is wrong in words that a client can use."""
    match error:
        case NotFound():
            return 404, f"no such resource: expected one of {RESOURCES}"
        case MethodNotAllowed():
            expected = ", ".join(error.allowed_methods or ())
            return 405, f"{error.method!r:.20} is not allowed here: expected one of {expected}"
        case PayloadTooLarge() if not reached:
            return 431, f"the request's head is too large: expected at most {HEAD_BYTES} bytes"
        case BadRequest() if not reached:
            return 400, "the request's head cannot be read: expected HTTP/1.1 with an ASCII target"
        case SanicException():
            return error.status_code, str(error)
    return 500, "internal error: the worker's log says more"


def _answer(
    kind: str,
    title: str,
    status: int,
    detail: str,
    *,
    outcome: Stored | None = None,
    version: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Render a problem; a 503 says when to try again."""
    head = dict(headers or {})
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        head["retry-after"] = str(RETRY_AFTER_S)
    words = detail.encode(errors="backslashreplace").decode()
    problem = Problem(f"urn:kvnode:problem:{kind}", title, status, words, outcome, version)
    return Answer(msgspec.json.encode(problem), status, head, CONTENT_TYPE)
