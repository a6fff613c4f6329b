"""The raw request target: its bytes decide which key is meant, so they are never normalised."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final, NamedTuple

from kvnode.errors import RequestError

MAX_KEY_BYTES: Final = 1024
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})?")
_FIT: Final = re.compile(rb"[\x21\x22\x24-\x7e]+")
_NODE: Final = b"node="
_NUMBER: Final = re.compile(rb"\d{1,9}")


class Forward(NamedTuple):
    """A target to send on, and the worker that the client asked for (0: any)."""

    target: str
    node: int


def key_of(raw_target: bytes, prefix: bytes) -> str:
    """Return the key that follows ``prefix``, percent-decoded once and strictly. Raises RequestError.

    ``%2F`` equals ``/``, ``+`` is itself, dot segments and empty segments are part of the key.
    """
    _check(raw_target, prefix)
    path = raw_target.partition(b"?")[0]
    raw = _ESCAPE.sub(_unescape, path[len(prefix) :])
    if not 1 <= len(raw) <= MAX_KEY_BYTES:
        detail = f"a key has 1 to {MAX_KEY_BYTES} bytes as UTF-8, this one has {len(raw)}"
        raise RequestError("invalid_key", detail)
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        detail = f"the key is not UTF-8: byte {error.start} ({error.reason})"
        raise RequestError("invalid_key", detail) from None


def forward(raw_target: bytes, workers: Collection[int]) -> Forward:
    """Take ``node=N`` out of the query and leave all else as it came. Raises RequestError."""
    _check(raw_target, b"/kv")
    path, mark, query = raw_target.partition(b"?")
    fields = query.split(b"&") if mark else []
    chosen = [field[len(_NODE) :] for field in fields if field.startswith(_NODE)]
    kept = b"&".join(field for field in fields if not field.startswith(_NODE))
    target = path + b"?" + kept if kept or (mark and not chosen) else path
    return Forward(target.decode(), _node(chosen, workers) if chosen else 0)


def _check(raw_target: bytes, prefix: bytes) -> None:
    """Refuse a target that another server might read differently."""
    if not raw_target.startswith(prefix) or not _FIT.fullmatch(raw_target):
        detail = (
            f"the target must begin with {prefix.decode()} and be printable ASCII without # (which is %23)"
        )
        raise RequestError("invalid_target", detail)


def _node(chosen: list[bytes], workers: Collection[int]) -> int:
    text = chosen[0].decode(errors="replace")
    if len(chosen) == 1 and _NUMBER.fullmatch(chosen[0]) and int(text) in workers:
        return int(text)
    known = ", ".join(str(worker) for worker in sorted(workers))
    raise RequestError("invalid_node", f"node must be given once and be one of {known}; it is {text!r}")


def _unescape(match: re.Match[bytes]) -> bytes:
    digits = match[1]
    if digits is None:
        raise RequestError("invalid_key", "a % must be followed by two hexadecimal digits (%25 is a %)")
    return bytes.fromhex(digits.decode())
