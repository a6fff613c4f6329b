"""Conditional requests (RFC 9110, section 13): from the headers' text to a condition on versions.

A version's entity tag is its text in quotes. If-Match compares strongly, so a weak tag never
matches it; If-None-Match on a read compares weakly. A tag that is no version of ours is valid and
matches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from kvnode.core.operations import Condition
from kvnode.core.versions import Version, parse_version
from kvnode.errors import RequestError

_ELEMENT = re.compile(r'[ \t]*(?:(W/)?"([^\x00-\x20"\x7f]*)")?[ \t]*(?:,|\Z)')


class Tags(msgspec.Struct, frozen=True):
    """A parsed If-Match or If-None-Match: ``anything`` for ``*``, else the opaque tags by strength."""

    anything: bool = False
    strong: tuple[str, ...] = ()
    weak: tuple[str, ...] = ()


def etag(version: Version) -> str:
    """Return the strong entity tag of a version."""
    return f'"{version}"'


def parse_tags(name: str, lines: Sequence[str]) -> Tags | None:
    """Parse all lines of the header ``name``; None when there is none. Raises RequestError."""
    if not lines:
        return None
    text = ",".join(lines)
    if text.strip(" \t") == "*":
        return Tags(anything=True)
    strong: list[str] = []
    weak: list[str] = []
    position = 0
    while position < len(text):
        element = _ELEMENT.match(text, position)
        if element is None:
            raise _malformed(name)
        if element[2] is not None:
            (weak if element[1] else strong).append(element[2])
        position = element.end()
    if not strong and not weak:
        raise _malformed(name)
    return Tags(strong=tuple(strong), weak=tuple(weak))


def write_condition(if_match: Tags | None, if_none_match: Tags | None) -> Condition | None:
    """Return what must hold for a write; None: nothing. Raises RequestError."""
    if if_none_match is not None and not if_none_match.anything:
        raise RequestError(
            "unsupported_condition", "If-None-Match on a write: expected * (write only if no value exists)"
        )
    if if_match is None:
        return None if if_none_match is None else Condition(absent=True)
    return Condition(
        any_of=None if if_match.anything else _versions(if_match.strong),
        present=if_match.anything,
        absent=if_none_match is not None,
    )


def matches(tags: Tags, version: Version, *, strongly: bool) -> bool:
    """Whether an existing value's version is named by ``tags``."""
    text = str(version)
    return tags.anything or text in tags.strong or (not strongly and text in tags.weak)


def _versions(tags: Sequence[str]) -> tuple[Version, ...]:
    """Return the versions among ``tags``; other scripts' digits make none."""
    return tuple(version for tag in tags if tag.isascii() and (version := parse_version(tag)) is not None)


def _malformed(name: str) -> RequestError:
    return RequestError(
        "invalid_etag",
        f'{name}: expected * or entity tags in double quotes, separated by commas, like "3.1.42"',
    )
