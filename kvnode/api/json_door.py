r"""The one place where a client's JSON is checked. Behind it a value is bytes that nobody parses again.

Accepted is RFC 8259 in UTF-8 with three limits: no object has the same field twice (at any depth,
compared after unescaping), brackets nest at most 128 deep within the value, and no escape stands
for half a surrogate pair (``"\ud800"`` alone is no text, and parsers disagree about it). Kept are
the client's own bytes, numbers as they were written included; only line breaks between tokens are
taken out, since a record is one line of the log.
"""

from __future__ import annotations

import json
import re
from array import array
from itertools import accumulate
from typing import Any, NoReturn

import msgspec

from kvnode.errors import RequestError

MAX_NESTING = 128

EXPECTED = 'expected a JSON object with one field: {"value": any JSON}'


class _Envelope(msgspec.Struct):
    """The request object. The raw text is a slice of the body."""

    value: msgspec.Raw


def check_put_body(body: bytes) -> bytes:
    """Check the body of a PUT and return its value's JSON text, without line breaks.

    Raises RequestError: invalid_utf8, invalid_json, nesting_too_deep, duplicate_field,
    lone_surrogate, not_an_object, unknown_field or missing_value.
    """
    if plain := _PLAIN.fullmatch(body):
        return plain[1]
    if not body:
        raise RequestError("invalid_json", f"the body is empty: {EXPECTED}")
    if body.count(b"[") + body.count(b"{") > MAX_NESTING and _depth(body) > MAX_NESTING + 1:
        raise RequestError(
            "nesting_too_deep", f"the value nests too deep: expected at most {MAX_NESTING} levels of brackets"
        )
    fields = _parse(body)
    if not isinstance(fields, dict):
        raise RequestError("not_an_object", EXPECTED)
    if unknown := fields.keys() - {"value"}:
        raise RequestError("unknown_field", f"unknown field {min(unknown)!r:.100}: {EXPECTED}")
    if not fields:
        raise RequestError("missing_value", f'the field "value" is missing: {EXPECTED}')
    value = bytes(_ENVELOPE.decode(body).value)
    return value.translate(None, b"\r\n") if b"\n" in value or b"\r" in value else value


def value_size(value: bytes) -> int:
    """Return how many bytes of a limit a value takes: its JSON text, without the quotes around a string."""
    return len(value) - 2 if value.startswith(b'"') else len(value)


def _parse(body: bytes) -> object:
    """Parse for the sake of checking alone: numbers stay text, so that none is too large."""
    try:
        parsed: object = _CHECKER.decode(body.decode())
    except UnicodeDecodeError as error:
        raise RequestError(
            "invalid_utf8", f"the body is not UTF-8: {error.reason} at byte {error.start}"
        ) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise RequestError("invalid_json", f"the body is not JSON: {error.msg} ({place})") from None
    if _SURROGATE.search(body) and any(escape["lone"] for escape in _ESCAPE.finditer(body)):
        raise RequestError(
            "lone_surrogate", "an escape \\uD800 to \\uDFFF stands for no character without its pair"
        )
    return parsed


def _depth(body: bytes) -> int:
    """Return how deep brackets nest outside strings. Exact for valid JSON, harmless for the rest."""
    marks = _STRING.sub(b"", body).translate(_MARKS, _NO_BRACKETS)
    return max(accumulate(array("b", marks)), default=0)


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its fields, if each has a name of its own."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RequestError("duplicate_field", f"the field {twice!r:.100} is given twice in one object")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    """Refuse what Python's parser knows and JSON does not."""
    raise RequestError("invalid_json", f"{name} is not JSON: expected a finite number or null")


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_CHECKER = json.JSONDecoder(
    object_pairs_hook=_refuse_duplicates, parse_int=str, parse_float=str, parse_constant=_refuse_constant
)

_PLAIN = re.compile(
    rb'[ \t\r\n]*+\{[ \t\r\n]*+"value"[ \t\r\n]*+:[ \t\r\n]*+'
    rb'("[ !#-\[\]-~]*+"|-?(?:0|[1-9]\d*+)(?:\.\d++)?(?:[eE][+-]?\d++)?|true|false|null)'
    rb"[ \t\r\n]*+\}[ \t\r\n]*+"
)
"""A value that can only be right: a string of ASCII without escapes, a number, or a literal."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_MARKS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F])|.)"
)
