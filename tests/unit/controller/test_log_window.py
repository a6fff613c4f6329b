"""The controller's log window."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvnode.controller.log_window import MAX_LINE_BYTES, LogQuery, LogWindow
from tests.unit.controller.building import log_line


def filled(count: int = 10) -> LogWindow:
    """Return a window with lines of two nodes in turn."""
    window = LogWindow()
    for number in range(1, count + 1):
        level = "warning" if number % 5 == 0 else "info"
        window.append(f"worker-{number % 2 + 1}", log_line(number, level, request_id=f"r{number}"))
    return window


def test_a_line_is_split_into_head_and_fields() -> None:
    """What every line has becomes attributes, the rest stays together as JSON."""
    line = LogWindow().append("worker-1", log_line(7, node="liar", request_id="abc", key="ü"))
    assert (line.seq, line.node, line.level, line.event, line.request_id) == (
        1,
        "worker-1",
        "info",
        "thing_done",
        "abc",
    )
    assert bytes(line.fields) == '{"n":7,"key":"ü"}'.encode()


@pytest.mark.parametrize("raw", [b"no JSON", b"[1]", b'"text"', b"\xff\xfe", b"", b"[" * 5000])
def test_what_is_no_json_object_is_kept_as_text(raw: bytes) -> None:
    """A line that cannot be parsed is shown, marked, and never an error."""
    line = LogWindow().append("worker-1", raw)
    assert line.event == "line_unreadable"
    assert line.level == "warning"


HEADS = st.sampled_from(["event", "level", "node", "timestamp", "request_id", "other"])
VALUES: st.SearchStrategy[object] = st.one_of(
    st.none(), st.integers(), st.floats(), st.text(max_size=3), st.just([{}])
)


@given(
    st.binary(max_size=40)
    | st.dictionaries(HEADS, VALUES, max_size=6).map(lambda line: json.dumps(line).encode())
)
def test_no_line_breaks_the_window(raw: bytes) -> None:
    """Whatever bytes a node ships, they become a line that can be sent on."""
    window = LogWindow()
    window.append("worker-1", raw)
    assert msgspec.json.decode(msgspec.json.encode(window.select(LogQuery())))["lines"][0]["seq"] == 1


def test_odd_types_in_the_head_become_text() -> None:
    """A level, event or id of another type than text does no harm."""
    line = LogWindow().append("worker-1", b'{"event":3,"level":null,"request_id":[1],"timestamp":{}}')
    assert (line.event, line.level, line.request_id, line.timestamp) == ("3", "info", "[1]", "{}")


def test_a_very_long_line_loses_its_fields_only() -> None:
    """A line beyond the limit keeps its head and says how long it was."""
    raw = log_line(1, text="x" * MAX_LINE_BYTES)
    line = LogWindow().append("worker-1", raw)
    assert line.event == "thing_done"
    assert bytes(line.fields) == b'{"line_truncated_bytes":%d}' % len(raw)


def test_the_window_is_bounded_in_lines_and_bytes() -> None:
    """Old lines leave when there are too many, or when they take too much memory."""
    window = LogWindow(max_lines=5, max_bytes=1 << 20)
    for number in range(20):
        window.append("worker-1", log_line(number))
    assert len(window) == 5
    window = LogWindow(max_lines=1000, max_bytes=5000)
    for number in range(1000):
        window.append("worker-1", log_line(number))
    assert window.size_bytes <= 5000
    assert 0 < len(window) < 20


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (LogQuery(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (LogQuery(node="worker-2"), [1, 3, 5, 7, 9]),
        (LogQuery(level="warning"), [5, 10]),
        (LogQuery(level="debug", node="worker-1"), [2, 4, 6, 8, 10]),
        (LogQuery(request_id="r3"), [3]),
        (LogQuery(text='"N":4'), [4]),
        (LogQuery(text="THING_DONE", limit=2), [9, 10]),
        (LogQuery(before=4), [1, 2, 3]),
        (LogQuery(text="nowhere"), []),
    ],
)
def test_filters(query: LogQuery, expected: list[int]) -> None:
    """Node, level, text and request id narrow what is returned; newest last."""
    assert [line.seq for line in filled().select(query).lines] == expected


def test_pages_lead_to_the_oldest_line() -> None:
    """Following next_before returns every line once."""
    window = filled(25)
    seen: list[int] = []
    before: int | None = 0
    while before is not None:
        page = window.select(LogQuery(before=before, limit=10))
        seen = [line.seq for line in page.lines] + seen
        before = page.next_before
    assert seen == list(range(1, 26))


def test_there_is_no_next_page_after_the_last_match() -> None:
    """A page that happens to be full is still the last one."""
    assert filled(10).select(LogQuery(limit=10)).next_before is None
