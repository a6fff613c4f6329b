"""The JSON door: what passes unchanged, and what is refused with which words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvnode.api.json_door import MAX_NESTING, check_put_body
from kvnode.errors import RequestError

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


def refused(body: bytes) -> RequestError:
    """Return why a body is refused."""
    with pytest.raises(RequestError) as caught:
        check_put_body(body)
    return caught.value


@pytest.mark.parametrize(
    "value",
    [
        "null",
        "true",
        "false",
        '""',
        "[]",
        "{}",
        "0",
        "-0",
        "1.0",
        "1e400",
        "-1E-400",
        "1.000000000000000000000000000000001",
        "123456789012345678901234567890",
        "9" * 5000,
        '"\\u0000\\n\\"\\\\\\/"',
        '"\\ud83d\\ude00"',
        '"\\\\ud800"',
        '"\u2028\U0001f600\x7f"',
        '{"b":1,"a":{"b":2},"":[{"b":3}]}',
        '  "[[[[" ',
        '{"value":{"value":1}}',
    ],
)
def test_a_value_is_kept_as_its_bytes(value: str) -> None:
    """Numbers, escapes and the order of fields stay as the client wrote them."""
    assert check_put_body(b'{"value":' + value.encode() + b"}").strip() == value.strip().encode()


@given(value=values, indent=st.sampled_from([None, 0, 2]), ascii_only=st.booleans())
def test_whatever_json_can_say_passes(value: Any, indent: int | None, ascii_only: bool) -> None:  # noqa: ANN401, FBT001
    """Any JSON value comes through equal, on one line."""
    body = json.dumps({"value": value}, indent=indent, ensure_ascii=ascii_only).encode()
    kept = check_put_body(body)
    assert b"\n" not in kept
    assert json.loads(kept) == value


@given(body=st.binary(max_size=60) | texts.map(lambda text: b'{"value":' + text.encode() + b"}"))
def test_nothing_but_json_passes(body: bytes) -> None:
    """Any bytes are either refused or hold a value that another parser reads as well."""
    try:
        kept = check_put_body(body)
    except RequestError:
        return
    assert json.loads(kept) == json.loads(body)["value"]


@given(depth=st.integers(1, 400), kind=st.sampled_from(["[]", '{"a":}', "[{}]"]))
def test_nesting_is_bounded_exactly(depth: int, kind: str) -> None:
    """128 levels pass, 129 do not, however they are made."""
    opening, closing = {"[]": ("[", "]"), '{"a":}': ('{"a":', "}"), "[{}]": ('[{"a":', "}]")}[kind]
    levels = depth * (2 if kind == "[{}]" else 1)
    body = f'{{"value":{opening * depth}1{closing * depth}}}'.encode()
    if levels <= MAX_NESTING:
        assert check_put_body(body)
    else:
        assert refused(body).kind == "nesting_too_deep"


@pytest.mark.parametrize("text", ["[" * 500, '{"' * 300, '\\"[' * 300, "\\\\" + "[" * 300])
def test_brackets_in_strings_do_not_nest(text: str) -> None:
    """Only brackets outside strings count."""
    value = json.dumps(text)
    assert check_put_body(f'{{"value":[{value}]}}'.encode()) == f"[{value}]".encode()


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b"[{"])
def test_a_flood_of_brackets_is_refused_in_words(opening: bytes) -> None:
    """A megabyte of opening brackets is no RecursionError."""
    assert refused(b'{"value":' + opening * (2**20 // len(opening))).kind == "nesting_too_deep"


def test_many_shallow_brackets_pass() -> None:
    """Breadth is no depth."""
    value = b"[" + b"[],{}," * 1000 + b"1]"
    assert check_put_body(b'{"value":' + value + b"}") == value


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b' \r\n\t{ "value" \n:\r\n 3 \n} \n', b"3"),
        (b'{"value":[1,\r\n  2,\n\n3]}', b"[1,  2,3]"),
        (b'{"value":{"a\\n":\n"b\\r"}}', b'{"a\\n":"b\\r"}'),
        (b'{"v\\u0061lue":1}', b"1"),
    ],
)
def test_line_breaks_between_tokens_go(body: bytes, value: bytes) -> None:
    """A value becomes one line; escapes within strings stay."""
    assert check_put_body(body) == value


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"", "invalid_json", "empty"),
        (b" \n", "invalid_json", "Expecting value"),
        (b"{", "invalid_json", "line 1, column 2"),
        (b'{"value":1}x', "invalid_json", "Extra data"),
        (b'{"value":1}{"value":2}', "invalid_json", "Extra data"),
        (b'{"value":}', "invalid_json", "Expecting value"),
        (b'{"value":01}', "invalid_json", "column"),
        (b'{"value":1.}', "invalid_json", "column"),
        (b'{"value":+1}', "invalid_json", "column"),
        (b'{"value":.5}', "invalid_json", "column"),
        (b'{"value":NaN}', "invalid_json", "NaN"),
        (b'{"value":-Infinity}', "invalid_json", "-Infinity"),
        (b'{"value":[1,]}', "invalid_json", "column"),
        (b'{"value":1,}', "invalid_json", "column"),
        (b"{'value':1}", "invalid_json", "column"),
        (b'{"value":"a\nb"}', "invalid_json", "control character"),
        (b'{"value":"\x00"}', "invalid_json", "control character"),
        (b'{"value":"\\x"}', "invalid_json", "escape"),
        (b'{"value":"\\u12"}', "invalid_json", "escape"),
        (b'{"value":tru}', "invalid_json", "column"),
        (b'\xef\xbb\xbf{"value":1}', "invalid_json", "column"),
        ('{"value":1}'.encode("utf-16"), "invalid_utf8", "byte 0"),
        (b'{"value":"\xff"}', "invalid_utf8", "byte 10"),
        (b'{"value":"\xc0\x80"}', "invalid_utf8", "byte 10"),
        (b'{"value":"\xed\xa0\x80"}', "invalid_utf8", "byte 10"),
        (b'{"value":"\\ud800"}', "lone_surrogate", "pair"),
        (b'{"value":"\\uDC00\\uD800"}', "lone_surrogate", "pair"),
        (b'{"value":"\\ud83d\\ud83d\\ude00"}', "lone_surrogate", "pair"),
        (b'{"value":{"\\udfff":1}}', "lone_surrogate", "pair"),
        (b'{"value":1,"value":1}', "duplicate_field", "'value'"),
        (b'{"value":1,"v\\u0061lue":1}', "duplicate_field", "'value'"),
        (b'{"value":{"a":1,"b":2,"a":3}}', "duplicate_field", "'a'"),
        (b'{"value":[{"b":{"a":1,"a":3}}]}', "duplicate_field", "'a'"),
        (b'{"value":1,"ttl":2}', "unknown_field", "'ttl'"),
        (b'{"Value":1}', "unknown_field", "'Value'"),
        (b"{}", "missing_value", "value"),
        (b"[]", "not_an_object", "value"),
        (b"null", "not_an_object", "value"),
        (b'"value"', "not_an_object", "value"),
        (b"1", "not_an_object", "value"),
    ],
)
def test_what_is_wrong_is_said(body: bytes, kind: str, words: str) -> None:
    """Each fault has a stable kind and words that name the place or the expectation."""
    error = refused(body)
    assert error.kind == kind
    assert words in error.detail
