"""The newest log lines of all nodes, in the order in which they reached the controller.

Lines are parsed once, when they come in. The window is bounded in lines and bytes; a line that is
longer than the limit keeps its head and loses its fields, and one that is no JSON object is kept
as text, so that nothing a node said is lost in silence.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from kvnode.controller.tail import Batch, Tail

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
MAX_LINES: Final = 20_000
MAX_BYTES: Final = 16 << 20
MAX_LINE_BYTES: Final = 16 << 10
_OVERHEAD_BYTES: Final = 400
"""What a parsed line takes in memory beside its text, about."""


class LogLine(msgspec.Struct, frozen=True, gc=False):
    """One line. ``seq`` orders lines of all nodes; ``fields`` is the JSON object of all other keys."""

    seq: int
    node: str
    timestamp: str
    level: str
    event: str
    request_id: str | None
    fields: msgspec.Raw


class LogQuery(msgspec.Struct, frozen=True):
    """Which lines are wanted; an empty filter lets all through.

    ``level`` is the lowest that passes, ``text`` is looked for anywhere in a line whatever its
    case, ``before`` is a ``seq`` (0: from the newest on), ``limit`` the most lines to return.
    """

    node: str = ""
    level: str = ""
    text: str = ""
    request_id: str = ""
    before: int = 0
    limit: int = 300


class LogPage(msgspec.Struct, frozen=True):
    """Lines, newest last. ``next_before`` leads to older ones; None when there are none."""

    lines: list[LogLine]
    next_before: int | None


class LogWindow:
    """The window: append lines, page through them, or follow them from a position."""

    def __init__(self, max_lines: int = MAX_LINES, max_bytes: int = MAX_BYTES) -> None:
        self._tail: Tail[LogLine] = Tail(max_lines, max_bytes)

    def __len__(self) -> int:
        """How many lines are held."""
        return len(self._tail)

    @property
    def last(self) -> int:
        """The ``seq`` of the newest line."""
        return self._tail.last

    @property
    def size_bytes(self) -> int:
        """How much memory the lines take, about."""
        return self._tail.size_bytes

    def append(self, node: str, raw: bytes) -> LogLine:
        """Take in one line of ``node`` (which overrides what the line says of its node)."""
        line = parse_line(self._tail.last + 1, node, raw)
        self._tail.append(line, min(len(raw), MAX_LINE_BYTES) + _OVERHEAD_BYTES)
        return line

    def read(self, position: int, *, limit: int, max_bytes: int, max_lag: int) -> Batch[LogLine]:
        """Return what follows a position: see ``Tail.read``."""
        return self._tail.read(position, limit=limit, max_bytes=max_bytes, max_lag=max_lag)

    def select(self, query: LogQuery) -> LogPage:
        """Return the newest lines that match."""
        lowest = LEVELS.index(query.level) if query.level else 0
        text = query.text.casefold()
        found: list[LogLine] = []
        for line in self._tail.newest_first():
            if query.before and line.seq >= query.before:
                continue
            if not _matches(line, query, lowest, text):
                continue
            if len(found) == query.limit:
                return LogPage(found[::-1], found[-1].seq)
            found.append(line)
        return LogPage(found[::-1], None)


def parse_line(seq: int, node: str, raw: bytes) -> LogLine:
    """Split a JSON log line into what every line has and the rest. Never fails."""
    try:
        record = msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = raw[:MAX_LINE_BYTES].decode(errors="replace")
        return LogLine(seq, node, "", "warning", "line_unreadable", None, _raw({"text": text}))
    record.pop("node", None)
    level = _text(record.pop("level", ""))
    request_id = record.pop("request_id", None)
    return LogLine(
        seq=seq,
        node=node,
        timestamp=_text(record.pop("timestamp", "")),
        level=level if level in LEVELS else "info",
        event=_text(record.pop("event", "")),
        request_id=None if request_id is None else _text(request_id),
        fields=_raw(record if len(raw) <= MAX_LINE_BYTES else {"line_truncated_bytes": len(raw)}),
    )


def _matches(line: LogLine, query: LogQuery, lowest: int, text: str) -> bool:
    if query.node and line.node != query.node:
        return False
    if query.request_id and line.request_id != query.request_id:
        return False
    if LEVELS.index(line.level) < lowest:
        return False
    return not text or text in _searchable(line)


def _searchable(line: LogLine) -> str:
    """Return all of a line as text, in one case."""
    fields = bytes(line.fields).decode()
    return f"{line.timestamp} {line.node} {line.event} {line.request_id or ''} {fields}".casefold()


def _text(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text[:256]


def _raw(fields: dict[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(fields))
