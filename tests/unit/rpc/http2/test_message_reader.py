"""Messages within DATA frames: cut anywhere, they come out the same, and no more is kept than need be."""

from __future__ import annotations

import collections
import itertools
import struct
import tracemalloc

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvnode.rpc.http2.errors import CallError
from kvnode.rpc.http2.frames import MessageReader, message_head

LIMIT = 1000

MESSAGES = st.lists(st.binary(max_size=40), max_size=8)
CUTS = st.lists(st.integers(min_value=0, max_value=400), max_size=20)


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut ``data`` at some places, which may be the same ones, or lie beyond its end."""
    places = [0, *sorted(cuts), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(places)]


def framed(*messages: bytes) -> bytes:
    """Return what carries some messages."""
    return b"".join(message_head(len(message)) + message for message in messages)


@given(MESSAGES, CUTS)
def test_messages_come_out_as_they_went_in(messages: list[bytes], cuts: list[int]) -> None:
    """However a stream is cut into frames, the same messages come out, in order, each as early as it can."""
    reader = MessageReader(LIMIT)
    taken: list[bytes] = []
    fed = 0
    for chunk in chunks(framed(*messages), cuts):
        taken += reader.feed(chunk)
        fed += len(chunk)
        whole = 0
        while whole < len(messages) and len(framed(*messages[: whole + 1])) <= fed:
            whole += 1
        assert taken == messages[:whole]
        assert reader.held == fed - len(framed(*messages[:whole]))
    assert taken == messages


@given(MESSAGES, st.binary(max_size=40), st.integers(min_value=1, max_value=45), CUTS)
def test_what_is_held_counts_as_such(
    messages: list[bytes], last: bytes, missing: int, cuts: list[int]
) -> None:
    """What has come of a message that is not whole is held, its head included, and nothing else is."""
    part = framed(last)[:-missing]
    reader = MessageReader(LIMIT)
    taken = [one for chunk in chunks(framed(*messages) + part, cuts) for one in reader.feed(chunk)]
    assert taken == messages
    assert reader.held == len(part)


def test_the_largest_message_is_taken_and_a_larger_one_refused_by_its_head() -> None:
    """One byte decides; nothing is collected of a message that will be refused."""
    assert MessageReader(LIMIT).feed(framed(b"x" * LIMIT)) == [b"x" * LIMIT]
    with pytest.raises(CallError, match="1001 bytes, of which 1000 are taken") as refusal:
        MessageReader(LIMIT).feed(message_head(LIMIT + 1))
    assert refusal.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("flag", [1, 2, 255])
@pytest.mark.parametrize("at_once", [True, False], ids=("whole", "byte by byte"))
def test_compressed_messages_are_refused(flag: int, *, at_once: bool) -> None:
    """Whatever says that it is not plain is refused, as what we do not do."""
    reader = MessageReader(LIMIT)
    data = struct.pack(">BI", flag, 3) + b"abc"
    pieces = [data] if at_once else chunks(data, list(range(len(data))))
    with pytest.raises(CallError, match="compressed") as refusal:
        collections.deque(map(reader.feed, pieces))
    assert refusal.value.code is grpc.StatusCode.UNIMPLEMENTED


def test_frames_of_nothing_leave_nothing_behind() -> None:
    """Empty frames in the middle of a message, which no window counts, take up no memory."""
    reader = MessageReader(LIMIT)
    reader.feed(framed(b"message")[:-1])
    tracemalloc.start()
    try:
        for _ in range(50_000):
            reader.feed(b"")
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 10_000
    assert reader.feed(b"e") == [b"message"]


def test_a_message_in_tiny_frames_takes_up_little_more_than_its_size() -> None:
    """What the windows count is about what is held in memory, however small the frames are."""
    size = 100_000
    message = bytes(range(250)) * (size // 250)
    data = framed(message)
    reader = MessageReader(size)
    tracemalloc.start()
    try:
        for at in range(0, len(data) - 2, 2):
            reader.feed(data[at : at + 2])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 4 * size
    assert reader.feed(data[reader.held :]) == [message]
