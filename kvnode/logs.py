"""Logging: one JSON object a line on stdout, whoever speaks, and a bounded copy for the controller.

Our own events are ``noun_verbed`` with key-value pairs. What libraries say through the standard
``logging`` or ``warnings`` becomes the event ``library_logged``; an exception that nobody caught is
an event too. Writing a line never raises. Words for a person go to stderr, if that is another stream.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Protocol, cast

import msgspec
import structlog
from structlog.typing import FilteringBoundLogger

from kvnode.metrics import LOG_LINES_DROPPED

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
MAX_DRAIN_BYTES = 1 << 20

_encoder = msgspec.json.Encoder(enc_hook=repr)


class ByteStream(Protocol):
    """Where lines go: the binary side of stdout."""

    def write(self, data: bytes, /) -> object:
        """Take a whole line."""

    def flush(self) -> object:
        """Pass it on at once."""


class LogBuffer:
    """The newest log lines, waiting to be shipped. Full, it drops the oldest and counts them.

    Safe to feed from any thread. ``wake`` is called, in the thread that feeds, when a line
    enters an empty buffer.
    """

    def __init__(self, max_lines: int, max_bytes: int, wake: Callable[[], None] | None = None) -> None:
        self.wake = wake
        self.dropped = 0
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._lines)

    def append(self, line: bytes) -> None:
        """Add a line (without its line break)."""
        with self._lock:
            was_empty = not self._lines
            self._lines.append(line)
            self._bytes += len(line)
            while len(self._lines) > self._max_lines or self._bytes > self._max_bytes:
                self._bytes -= len(self._lines.popleft())
                self.dropped += 1
                LOG_LINES_DROPPED.inc()
            wake = self.wake if was_empty and self._lines else None
        if wake is not None:
            wake()

    def drain(self, limit: int) -> list[bytes]:
        """Take out the oldest lines: at most ``limit``, and no more than 1 MiB beyond the first."""
        taken: list[bytes] = []
        size = 0
        with self._lock:
            while self._lines and len(taken) < limit and size + len(self._lines[0]) <= MAX_DRAIN_BYTES:
                taken.append(self._lines.popleft())
                size += len(taken[-1])
            if not taken and self._lines and limit > 0:
                taken.append(self._lines.popleft())
                size += len(taken[0])
            self._bytes -= size
        return taken


class LineSink:
    """Writes rendered lines to a stream and a buffer; structlog calls it by the level's name."""

    def __init__(self, stream: ByteStream, buffer: LogBuffer | None) -> None:
        self._stream = stream
        self._buffer = buffer
        self._lock = threading.Lock()

    def write(self, line: bytes) -> None:
        """Write one line. A stream that is gone or full is no reason to fail."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._stream.write(line + b"\n")
            self._stream.flush()
        if self._buffer is not None:
            self._buffer.append(line)

    debug = info = warning = error = critical = exception = write


class JsonRenderer:
    """Turns an event into a JSON line: timestamp, level, event, node, request_id, then the rest."""

    def __init__(self, node: str) -> None:
        self._node = node

    def __call__(self, _logger: object, method: str, event: MutableMapping[str, Any]) -> bytes:
        """Render; structlog's processor signature."""
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        line: dict[str, Any] = {
            "timestamp": now.removesuffix("+00:00") + "Z",
            "level": method,
            "event": event.pop("event", ""),
            "node": self._node,
        }
        if (request_id := event.pop("request_id", None)) is not None:
            line["request_id"] = request_id
        if exc_info := event.pop("exc_info", None):
            line["exception"] = _exception_text(exc_info)
        line.update(event)
        try:
            return _encoder.encode(line)
        except (ValueError, TypeError, RecursionError):  # lone surrogates, odd keys, cycles
            return _encoder.encode({_plain(key): _plain(value) for key, value in line.items()})


class LibraryHandler(logging.Handler):
    """Routes the standard library's log records to the same renderer and sink."""

    def __init__(self, renderer: JsonRenderer, sink: LineSink) -> None:
        super().__init__()
        self._renderer = renderer
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as the event ``library_logged``."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = f"{record.msg} {record.args!r}"
        event = {"event": "library_logged", "logger": record.name, "message": message}
        level = record.levelname.lower()
        self._sink.write(self._renderer(None, level, {**event, "exc_info": record.exc_info}))


def configure(
    *, node: str, level: str = "info", buffer: LogBuffer | None = None, stream: ByteStream | None = None
) -> None:
    """Set up logging for this process: ``node`` is what its lines are signed with.

    ``level`` is one of debug, info, warning, error. Lines go to stdout (or ``stream``) and to ``buffer``.
    """
    sink = LineSink(stream or sys.stdout.buffer, buffer)
    renderer = JsonRenderer(node)
    structlog.configure(
        processors=[renderer],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=True,
    )
    _route_libraries(LibraryHandler(renderer, sink), LEVELS[level])
    _catch_uncaught()


def complain(text: str) -> None:
    """Tell a person on stderr, in words, what has been logged.

    Not where stderr leads to the log itself (the journal, ``2>&1``): each line there is a JSON object.
    """
    if not _stderr_is_the_log():
        sys.stderr.write(f"kvnode: {text}\n")


def _stderr_is_the_log() -> bool:
    """Whether stdout and stderr are one stream, and no terminal."""
    try:
        output, errors = sys.stdout.fileno(), sys.stderr.fileno()
        return os.path.sameopenfile(output, errors) and not os.isatty(errors)
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Log nothing meanwhile: for commands that answer a person in words."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def get_logger(**bound: object) -> FilteringBoundLogger:
    """Return a logger whose every line carries ``bound``. May be called before ``configure``."""
    return cast("FilteringBoundLogger", structlog.get_logger(**bound))


def _route_libraries(handler: LibraryHandler, level: int) -> None:
    """Let every standard logger end in ``handler`` and nowhere else."""
    logging.captureWarnings(capture=True)
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level)
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.propagate = True
    logging.getLogger("sanic.access").disabled = True


def _catch_uncaught() -> None:
    """Log what would otherwise be printed as a bare traceback."""
    log = get_logger()

    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            log.error("process_failed", exc_info=(kind, error, trace))

    def uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread else ""
        log.error("thread_failed", thread=name, exc_info=args.exc_value)

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        log.error("exception_ignored", where=repr(args.object), exc_info=args.exc_value)

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread
    sys.unraisablehook = unraisable


def _plain(value: object) -> str:
    """Return a text that JSON can carry, whatever the value."""
    text = value if isinstance(value, str) else repr(value)
    return text.encode("utf-8", "backslashreplace").decode()


def _exception_text(exc_info: object) -> str:
    """Format whatever Python and structlog pass as ``exc_info``."""
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if not isinstance(error, BaseException):
        error = sys.exc_info()[1]
    return "".join(traceback.format_exception(error)).rstrip() if error else ""
