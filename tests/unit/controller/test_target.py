"""Keys and forwarded targets, from the raw bytes of the request line."""

from __future__ import annotations

import pytest

from kvnode.controller.target import forward, key_of
from kvnode.errors import RequestError


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (b"a", "a"),
        (b"a%2Fb", "a/b"),
        (b"a/b", "a/b"),
        (b"../x/./y", "../x/./y"),
        (b"/a//b/", "/a//b/"),
        (b"a+b", "a+b"),
        (b"%C3%BC", "ü"),
        (b"%25zz", "%zz"),
        (b"a%3Fb?x=1", "a?b"),
        (b"%00", "\0"),
        (b"a" * 1024, "a" * 1024),
    ],
)
def test_a_key_is_decoded_once(raw: bytes, key: str) -> None:
    """Percent-escapes become bytes, and nothing else is touched."""
    assert key_of(b"/partition/" + raw, b"/partition/") == key


@pytest.mark.parametrize(
    "raw", [b"", b"?x", b"%", b"%2", b"%zz", b"%ff", b"%C3", b"%ED%A0%80", b"a" * 1025, b"a#b"]
)
def test_what_is_no_key_is_refused(raw: bytes) -> None:
    """Empty, over-long, half an escape, or not UTF-8."""
    with pytest.raises(RequestError):
        key_of(b"/partition/" + raw, b"/partition/")


@pytest.mark.parametrize(
    ("raw", "target", "node"),
    [
        (b"/kv/a", "/kv/a", 0),
        (b"/kv/a%2Fb/../c//d", "/kv/a%2Fb/../c//d", 0),
        (b"/kv/a?node=2", "/kv/a", 2),
        (b"/kv/a?x=1&node=3&y=%20", "/kv/a?x=1&y=%20", 3),
        (b"/kv/a?consistency=local", "/kv/a?consistency=local", 0),
        (b"/kv/a?", "/kv/a?", 0),
        (b"/kv/node=1", "/kv/node=1", 0),
        (b"/kv/a?nodes=1", "/kv/a?nodes=1", 0),
    ],
)
def test_only_the_choice_of_node_is_taken_out(raw: bytes, target: str, node: int) -> None:
    """All other bytes of the target go on as they came."""
    assert forward(raw, (1, 2, 3)) == (target, node)


@pytest.mark.parametrize("query", [b"node=", b"node=4", b"node=x", b"node=-1", b"node=1&node=2", b"node=%31"])
def test_a_node_that_does_not_exist_is_refused(query: bytes) -> None:
    """Never another node than the one asked for."""
    with pytest.raises(RequestError, match="must be given once and be one of 1, 2"):
        forward(b"/kv/a?" + query, (1, 2))


@pytest.mark.parametrize(
    "raw", [b"http://elsewhere/kv/a", b"@elsewhere/kv/a", b":1/kv/a", b"/kv/a\x01", b"/kv/\xff"]
)
def test_a_target_that_might_lead_elsewhere_is_refused(raw: bytes) -> None:
    """What is appended to a worker's address can only be a path there."""
    with pytest.raises(RequestError):
        forward(raw, (1, 2))
