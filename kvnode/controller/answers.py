"""What the controller's own answers look like: JSON, and RFC 9457 problems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec
from sanic.response import HTTPResponse

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
RETRY_AFTER_S: Final = 1

Outcome = Literal["not_stored", "unknown"]

_TITLES: Final = {
    400: "Bad request",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    413: "Content too large",
    500: "Internal error",
    503: "Service unavailable",
}


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457, with ``outcome`` where a write was involved: not_stored (never will be) or unknown."""

    type: str
    title: str
    status: int
    detail: str
    outcome: Outcome | None = None


def json(value: object, status: int = 200) -> HTTPResponse:
    """Answer with any msgspec-encodable value. Never cached: all of it is live."""
    return HTTPResponse(msgspec.json.encode(value), status, {"cache-control": "no-store"}, content_type=JSON)


def problem(
    status: int,
    detail: str,
    *,
    kind: str = "",
    outcome: Outcome | None = None,
    headers: Mapping[str, str] | None = None,
) -> HTTPResponse:
    """Answer with a problem of a kind (the status's own by default); a 503 says when to try again."""
    head = {"cache-control": "no-store", **(headers or {})}
    if status == 503:  # noqa: PLR2004
        head["retry-after"] = str(RETRY_AFTER_S)
    words = detail.encode(errors="backslashreplace").decode()
    title = _TITLES.get(status, "Error")
    urn = f"urn:kvnode:problem:{kind or title.lower().replace(' ', '_')}"
    body = Problem(urn, title, status, words, outcome=outcome)
    return HTTPResponse(msgspec.json.encode(body), status, head, content_type=PROBLEM)
