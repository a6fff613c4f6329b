"""Keys in targets: strict decoding, limits, and no two spellings that collide by accident."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvnode.api.keys import parse_key
from kvnode.errors import RequestError
from tests.unit.api.conftest import Rest

keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)


@given(key=keys, safe=st.sampled_from(["", "/", "/+.~:@!$&'()*,;=-_"]))
def test_any_text_is_a_key(key: str, safe: str) -> None:
    """However a client escapes a key, it is decoded to the same text."""
    assert parse_key(quote(key, safe=safe)) == key


@given(raw=st.text("abc/%0123456789abcdefABCDEF+.", max_size=40))
def test_decoding_is_once_and_strict(raw: str) -> None:
    """What is accepted is exactly the bytes that the escapes spell."""
    try:
        key = parse_key(raw)
    except RequestError:
        return
    assert quote(key, safe="").upper() == "".join(_spell(raw)).upper()


def _spell(raw: str) -> list[str]:
    """Decode in the slowest and plainest way, and quote again."""
    spelled = []
    position = 0
    while position < len(raw):
        if raw[position] == "%":
            byte = bytes.fromhex(raw[position + 1 : position + 3])
            position += 3
        else:
            byte = raw[position].encode()
            position += 1
        spelled.append(quote(byte, safe=""))
    return spelled


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ("", "empty_key"),
        ("%", "invalid_key"),
        ("%4", "invalid_key"),
        ("%zz", "invalid_key"),
        ("%+1", "invalid_key"),
        ("% 1", "invalid_key"),
        ("a%2", "invalid_key"),
        ("%ff", "invalid_key"),
        ("%c0%80", "invalid_key"),
        ("%ed%a0%80", "invalid_key"),
        ("%e4%bd", "invalid_key"),
        ("k" * 1025, "key_too_long"),
        ("%C3%A9" * 513, "key_too_long"),
    ],
)
def test_bad_keys_are_refused(raw: str, kind: str) -> None:
    """Broken escapes, invalid UTF-8, no key and too long a key are refused."""
    with pytest.raises(RequestError) as caught:
        parse_key(raw)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ("a", "a"),
        ("a/b/c", "a/b/c"),
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("a+b", "a+b"),
        ("a%2Bb", "a+b"),
        ("a%20b", "a b"),
        ("a%252Fb", "a%2Fb"),
        ("/", "/"),
        ("//a//", "//a//"),
        ("a/", "a/"),
        (".", "."),
        ("..", ".."),
        ("../../status", "../../status"),
        ("a/./b/../c", "a/./b/../c"),
        ("%2E%2E", ".."),
        ("-", "-"),
        ("%3Fx=1", "?x=1"),
        ("%23", "#"),
        ("%00%0A", "\x00\n"),
        ("%E4%BD%A0%F0%9F%98%80", "你😀"),
        ("e%CC%81", "e\u0301"),
        ("user:1@x;y=z&w,v!$'()*~_", "user:1@x;y=z&w,v!$'()*~_"),
        ("k" * 1024, "k" * 1024),
        ("%C3%A9" * 512, "é" * 512),
        ('"<>\\^`{|}', '"<>\\^`{|}'),
    ],
)
async def test_a_key_reaches_the_service_as_spelled(rest: Rest, target: str, key: str) -> None:
    """PUT, GET and DELETE name the same key, and the answer says which."""
    put = await rest.put(f"/kv/{target}", b"1")
    assert (put.status, put.json["key"]) == (200, key)
    got = await rest.call("GET", f"/kv/{target}")
    assert (got.status, got.json["key"]) == (200, key)
    place = await rest.call("GET", f"/partition/{target}")
    assert (place.status, place.json["key"]) == (200, key)
    assert (await rest.call("DELETE", f"/kv/{target}")).status == 200
    assert {operation.key for operation in rest.service.operations} == {key}


@pytest.mark.parametrize("target", ["", "%ff", "%", "k" * 1025, "%E4%BD%A0" * 342, "?x=1"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_bad_keys_are_400(rest: Rest, method: str, target: str) -> None:
    """A bad key is the client's fault, whatever it asked, and a write of it certainly did not happen."""
    reply = await rest.call(method, f"/kv/{target}", b'{"value":1}' if method == "PUT" else None)
    assert reply.status == 400
    if method != "HEAD":
        assert reply.problem in {"empty_key", "invalid_key", "key_too_long"}
        assert reply.json.get("outcome") == ("not_stored" if method in {"PUT", "DELETE"} else None)
    assert not rest.service.operations
    assert (await rest.call("GET", f"/partition/{target}")).status == 400
