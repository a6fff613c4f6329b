"""Keys in request targets: percent-decoded once and strictly, so that no two spellings collide by accident.

``%2F`` equals ``/``, ``+`` is itself, dot segments and doubled slashes are part of the key. No
Unicode normalisation takes place: keys are equal when their UTF-8 bytes are.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from kvnode.errors import RequestError

MAX_KEY_BYTES = 1024

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def parse_key(raw: str) -> str:
    """Decode what follows the route's prefix in the target (ASCII). Raises RequestError."""
    key = _decode(raw) if "%" in raw else raw
    if not key:
        raise RequestError("empty_key", "the key is empty: expected 1 to 1024 bytes of UTF-8 in the path")
    size = len(key) if key.isascii() else len(key.encode())
    if size > MAX_KEY_BYTES:
        raise RequestError("key_too_long", f"the key has {size} bytes: expected at most {MAX_KEY_BYTES}")
    return key


def _decode(raw: str) -> str:
    """Replace each percent-escape by its byte, and read the whole as UTF-8."""
    if bad := _BAD_ESCAPE.search(raw):
        found = raw[bad.start() : bad.start() + 3]
        raise RequestError(
            "invalid_key", f"{found!r} in the path: expected % and two hexadecimal digits (a % itself is %25)"
        )
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise RequestError(
            "invalid_key", f"the key is not UTF-8 once percent-decoded: {error.reason} at byte {error.start}"
        ) from None
