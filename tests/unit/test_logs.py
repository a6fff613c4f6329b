"""Logging: every line is one JSON object, whoever speaks."""

from __future__ import annotations

import io
import logging
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import structlog

from kvnode import logs


@pytest.fixture
def stream() -> Iterator[io.BytesIO]:
    """Configure logging to a stream, and put the process's own settings back afterwards."""
    handlers, level = logging.root.handlers[:], logging.root.level
    hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook)
    written = io.BytesIO()
    logs.configure(node="worker-1", stream=written)
    yield written
    logging.captureWarnings(capture=False)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    structlog.reset_defaults()


def lines(stream: io.BytesIO) -> list[dict[str, Any]]:
    """Decode what was written, line by line."""
    return [msgspec.json.decode(line) for line in stream.getvalue().splitlines()]


def test_a_line_opens_with_the_agreed_keys(stream: io.BytesIO) -> None:
    """Timestamp, level, event, node and request id come first, the rest follows."""
    logs.get_logger(component="x").info("segment_sealed", segment=3, request_id="r-1")
    (line,) = lines(stream)
    assert list(line) == ["timestamp", "level", "event", "node", "request_id", "component", "segment"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("timestamp"))
    assert line == {
        "level": "info",
        "event": "segment_sealed",
        "node": "worker-1",
        "request_id": "r-1",
        "component": "x",
        "segment": 3,
    }


def test_no_request_id_no_key(stream: io.BytesIO) -> None:
    """An event outside a request has no request_id at all."""
    logs.get_logger().warning("peer_suspected", request_id=None)
    assert "request_id" not in lines(stream)[0]


def test_lower_levels_are_not_written(stream: io.BytesIO) -> None:
    """Below the configured level nothing is written, by us or by libraries."""
    logs.get_logger().debug("frame_sent")
    logging.getLogger("grpc").debug("noise")
    assert lines(stream) == []


def test_an_exception_is_one_line(stream: io.BytesIO) -> None:
    """A traceback goes into the line that it belongs to."""
    try:
        _ = 1 // 0
    except ZeroDivisionError:
        logs.get_logger().exception("merge_failed")
    (line,) = lines(stream)
    assert (line["level"], line["event"]) == ("error", "merge_failed")
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ZeroDivisionError: integer division or modulo by zero")


class Awkward:
    """A value that JSON does not know."""

    def __repr__(self) -> str:
        return "<awkward>"


@pytest.mark.parametrize(
    "value", [Awkward(), "line\nbreak\u2028", "\ud800", {1: Awkward()}, {Awkward(): 1}, {"a"}, 10**400, 1j]
)
def test_any_value_can_be_logged(stream: io.BytesIO, value: object) -> None:
    """Whatever is passed, the result is one line of valid JSON."""
    logs.get_logger().info("value_seen", value=value)
    assert lines(stream)[0]["event"] == "value_seen"


def test_libraries_are_routed(stream: io.BytesIO) -> None:
    """What a library says becomes an event."""
    logging.getLogger("sanic.root").warning("%d bytes", 3)
    (line,) = lines(stream)
    assert (line["event"], line["logger"]) == ("library_logged", "sanic.root")
    assert (line["level"], line["message"]) == ("warning", "3 bytes")


def test_a_library_with_a_wrong_format_is_survived() -> None:
    """A record that cannot be formatted is shown as it is."""
    stream = io.BytesIO()
    handler = logs.LibraryHandler(logs.JsonRenderer("n"), logs.LineSink(stream, None))
    handler.emit(logging.makeLogRecord({"msg": "%d bytes", "args": ("three",), "levelname": "INFO"}))
    (line,) = lines(stream)
    assert (line["level"], line["message"]) == ("info", "%d bytes ('three',)")


@pytest.mark.usefixtures("stream")
def test_handlers_of_libraries_are_removed() -> None:
    """A handler that a library installed before does not print beside us."""
    library = logging.getLogger("kvnode.test.library")
    library.addHandler(logging.StreamHandler())
    library.propagate = False
    logs.configure(node="n", stream=io.BytesIO())
    assert library.handlers == []
    assert library.propagate


def test_warnings_are_events(stream: io.BytesIO) -> None:
    """A Python warning is a line too."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    (line,) = lines(stream)
    assert line["logger"] == "py.warnings"
    assert "DeprecationWarning: old ways" in line["message"]


def raise_in_main() -> None:
    """Call the hook as the interpreter would at the end of a failed program."""
    error = ValueError("boom")
    sys.excepthook(type(error), error, None)


def raise_in_thread() -> None:
    """Let a thread die of an error."""

    def work() -> None:
        raise ValueError("boom")

    thread = threading.Thread(target=work, name="writer")
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    ("fail", "event"), [(raise_in_main, "process_failed"), (raise_in_thread, "thread_failed")]
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_uncaught_errors_are_events(stream: io.BytesIO, fail: Callable[[], None], event: str) -> None:
    """What nobody caught is one JSON line, not a bare traceback."""
    fail()
    (line,) = lines(stream)
    assert (line["event"], line["level"]) == (event, "error")
    assert line["exception"].endswith("ValueError: boom")


class Broken(io.BytesIO):
    """A stream whose reader is gone."""

    def write(self, _data: object) -> int:
        """Fail as a closed pipe does."""
        raise BrokenPipeError


@pytest.mark.usefixtures("stream")
def test_a_broken_stream_fails_nobody_and_the_buffer_still_gets_the_line() -> None:
    """Logging goes on without stdout."""
    buffer = logs.LogBuffer(10, 1000)
    logs.configure(node="n", buffer=buffer, stream=Broken())
    logs.get_logger().info("peer_joined")
    assert len(buffer) == 1


def test_the_buffer_gets_the_same_bytes(stream: io.BytesIO) -> None:
    """What the controller is sent is what stdout got."""
    buffer = logs.LogBuffer(10, 1000)
    logs.configure(node="n", buffer=buffer, stream=stream)
    logs.get_logger().info("a_happened")
    logs.get_logger().info("b_happened")
    assert buffer.drain(10) == stream.getvalue().splitlines()
    assert buffer.drain(10) == []


def test_a_full_buffer_drops_the_oldest_by_lines_and_by_bytes() -> None:
    """Both bounds hold, and what was dropped is counted."""
    buffer = logs.LogBuffer(3, 10)
    for number in range(5):
        buffer.append(b"%d" % number)
    assert (buffer.drain(2), buffer.dropped) == ([b"2", b"3"], 2)
    buffer.append(b"123456789")
    assert (buffer.drain(9), buffer.dropped) == ([b"4", b"123456789"], 2)
    buffer.append(b"12345678901")
    assert (buffer.drain(9), buffer.dropped) == ([], 3)


def test_a_drain_stays_within_a_message() -> None:
    """A drain takes at most 1 MiB, and at least one line."""
    buffer = logs.LogBuffer(10, 10 << 20)
    big = b"x" * (600 << 10)
    huge = b"y" * (2 << 20)
    for line in (big, big, huge):
        buffer.append(line)
    assert [buffer.drain(10) for _ in range(4)] == [[big], [big], [huge], []]


def test_the_buffer_wakes_its_reader_once_until_drained() -> None:
    """Wake is called when a line enters an empty buffer, and only then."""
    woken: list[int] = []
    buffer = logs.LogBuffer(10, 100, wake=lambda: woken.append(1))
    buffer.append(b"a")
    buffer.append(b"b")
    assert len(woken) == 1
    buffer.drain(10)
    buffer.append(b"c")
    assert len(woken) == 2
