"""Answers as this package gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
from sanic.response import HTTPResponse

JSON = "application/json"


class Answer(HTTPResponse):
    """Sanic's response, without the empty Alt-Svc that Sanic adds to each."""

    @property
    def processed_headers(self) -> Iterator[tuple[bytes, bytes]]:
        """The header lines to send."""
        self.headers.pop("alt-svc", None)
        return super().processed_headers


def encoded(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with anything that msgspec can encode."""
    return Answer(msgspec.json.encode(value), status, dict(headers or {}), JSON)


def spliced(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with JSON text that is put together already."""
    return Answer(body, status, dict(headers or {}), JSON)
