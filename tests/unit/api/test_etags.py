"""Entity tags: parsing per RFC 9110, and what they make of a condition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvnode.api.etags import Tags, etag, matches, parse_tags, write_condition
from kvnode.core.operations import Condition
from kvnode.core.versions import Version
from kvnode.errors import RequestError

ANYTHING = Tags(anything=True)
V1 = Version(3, 1, 42)


@pytest.mark.parametrize(
    ("lines", "tags"),
    [
        (["*"], ANYTHING),
        ([" * "], ANYTHING),
        (['"3.1.42"'], Tags(strong=("3.1.42",))),
        (['W/"3.1.42"'], Tags(weak=("3.1.42",))),
        (['"a" , W/"b","c"'], Tags(strong=("a", "c"), weak=("b",))),
        ([',, "a",,'], Tags(strong=("a",))),
        (['"a"', 'W/"b"'], Tags(strong=("a",), weak=("b",))),
        (['""'], Tags(strong=("",))),
        (['"a,b"'], Tags(strong=("a,b",))),
        (['"*"'], Tags(strong=("*",))),
        (['"é"'], Tags(strong=("é",))),
    ],
)
def test_lists_are_parsed(lines: list[str], tags: Tags) -> None:
    """Commas within quotes, empty elements and several lines are as the RFC says."""
    assert parse_tags("If-Match", lines) == tags


@pytest.mark.parametrize(
    "line",
    ["", " ", ",", "3.1.42", '"a', 'a"', '"a" "b"', '"a"b', '*, "a"', 'w/"a"', 'W/ "a"', "'a'", '"a b"'],
)
def test_malformed_lists_are_refused(line: str) -> None:
    """What is no list of tags is refused, with an example of one."""
    with pytest.raises(RequestError, match=r'If-Match: .*"3\.1\.42"') as caught:
        parse_tags("If-Match", [line])
    assert caught.value.kind == "invalid_etag"


def test_no_header_is_no_condition() -> None:
    """Without headers nothing must hold."""
    assert parse_tags("If-Match", []) is None
    assert write_condition(None, None) is None


@given(tags=st.lists(st.tuples(st.booleans(), st.text("!#abc.019,*é", max_size=5)), min_size=1))
def test_what_is_printed_is_parsed(tags: list[tuple[bool, str]]) -> None:
    """Any list of tags survives the way through a header."""
    line = ", ".join(f'{"W/" if weak else ""}"{tag}"' for weak, tag in tags)
    strong = tuple(tag for weak, tag in tags if not weak)
    assert parse_tags("If-Match", [line]) == Tags(strong=strong, weak=tuple(t for weak, t in tags if weak))


def test_the_tag_of_a_version_is_its_text() -> None:
    """ETags are strong."""
    assert etag(V1) == '"3.1.42"'


@pytest.mark.parametrize(
    ("if_match", "if_none_match", "condition"),
    [
        (ANYTHING, None, Condition(present=True)),
        (None, ANYTHING, Condition(absent=True)),
        (ANYTHING, ANYTHING, Condition(present=True, absent=True)),
        (Tags(strong=("3.1.42", "3.1.43")), None, Condition(any_of=(V1, Version(3, 1, 43)))),
        (Tags(strong=("3.1.42",), weak=("3.1.43",)), None, Condition(any_of=(V1,))),
        (Tags(weak=("3.1.42",)), None, Condition(any_of=())),
        (Tags(strong=("not-ours", "0.0.0", "3.1", "3.1.4٢")), None, Condition(any_of=())),
        (Tags(strong=("3.1.42",)), ANYTHING, Condition(any_of=(V1,), absent=True)),
    ],
)
def test_headers_become_a_condition(
    if_match: Tags | None, if_none_match: Tags | None, condition: Condition
) -> None:
    """A weak tag never matches If-Match, nor does one that is no version of ours."""
    assert write_condition(if_match, if_none_match) == condition


def test_if_none_match_of_a_write_is_for_any_value() -> None:
    """A list in a write's If-None-Match is refused rather than ignored."""
    with pytest.raises(RequestError) as caught:
        write_condition(None, Tags(strong=("3.1.42",)))
    assert caught.value.kind == "unsupported_condition"


@pytest.mark.parametrize(
    ("tags", "strongly", "weakly"),
    [
        (ANYTHING, True, True),
        (Tags(strong=("3.1.42",)), True, True),
        (Tags(weak=("3.1.42",)), False, True),
        (Tags(strong=("3.1.41",), weak=("3.1.43",)), False, False),
    ],
)
def test_comparison_is_strong_or_weak(tags: Tags, *, strongly: bool, weakly: bool) -> None:
    """A weak tag matches only in a weak comparison."""
    assert matches(tags, V1, strongly=True) is strongly
    assert matches(tags, V1, strongly=False) is weakly
