"""Hypothesis strategies for every struct that travels, made from its fields.

A field that is added to a struct is therefore filled here, and must come through the codec.
"""

from __future__ import annotations

import enum
import json
import types
import typing
from typing import Any, TypeVar

import msgspec
from hypothesis import strategies as st

from kvnode.core.hash_tree import BUCKETS
from kvnode.core.messages import Form, ReadStates, SyncReply
from kvnode.core.operations import Condition, Kind, Operation
from kvnode.core.versions import NO_BALLOT, NO_VERSION, Ballot, Version

T = TypeVar("T", bound=msgspec.Struct)

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
POSITIVE_U32 = st.integers(1, 2**32 - 1)
WORKER = st.integers(1, 10**9 - 1)
ORDINAL = st.integers(1, 10**18 - 1)
"""A term, or the number of a version."""
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_LETTERS = st.characters(categories=["Ll", "Nd", "Po"], max_codepoint=0xFF)
PRINTABLE = st.text(_LETTERS, max_size=30)
NAME = st.text(_LETTERS, min_size=1, max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
).map(lambda value: json.dumps(value).encode())
KEY = TEXT.filter(bool) | st.sampled_from(["k" * 1024, "é" * 512, "/", "\0", "🙂" * 256])
BALLOT = st.builds(Ballot, ORDINAL, WORKER)
VERSION = st.builds(Version, ORDINAL, WORKER, ORDINAL)

_BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "number": U64,
    "digest": U64,
    "worker": POSITIVE_U32,
    "key": KEY,
    "process": NAME,
    "incarnation": NAME,
    "cluster_id": PRINTABLE,
    "layout": PRINTABLE,
    "release": PRINTABLE,
    "state": PRINTABLE,
    "request_id": st.none() | PRINTABLE,
    "deadline_ms": st.integers(0, 86_400_000),
    "after": st.just("") | KEY,
    "log_lines": st.lists(st.binary(max_size=50), max_size=5),
    "promised": BALLOT | st.just(NO_BALLOT),
    "floor": VERSION | st.just(NO_VERSION),
    "forgotten": VERSION | st.just(NO_VERSION),
}
_BY_FIELD: dict[tuple[type, str], st.SearchStrategy[Any]] = {
    (Form, "roster"): st.dictionaries(POSITIVE_U32, NAME, min_size=1, max_size=5),
    (Form, "cluster_id"): NAME,
    (ReadStates, "keys"): st.lists(KEY, max_size=5),
    (SyncReply, "differing"): st.lists(st.integers(0, BUCKETS - 1), max_size=5),
}
_BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    int: U32,
    float: st.floats(allow_nan=False),
    str: TEXT,
    bytes: JSON,
    bool: st.booleans(),
    type(None): st.none(),
    Ballot: BALLOT,
    Version: VERSION,
}


def any_of_type(kind: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 - a type may be any annotation
    """Return a strategy for an annotation."""
    if kind in _BY_TYPE:
        return _BY_TYPE[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return any_of_type(arguments[0])
    if origin in (types.UnionType, typing.Union):
        return st.one_of([any_of_type(one) for one in arguments])
    if origin is list:
        return st.lists(any_of_type(arguments[0]), max_size=5)
    if origin is tuple:
        return _tuples(arguments)
    return st.sampled_from(list(kind)) if isinstance(kind, enum.EnumMeta) else structs(kind)


def _tuples(arguments: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if arguments[-1] is Ellipsis:
        return st.lists(any_of_type(arguments[0]), max_size=5).map(tuple)
    return st.tuples(*(any_of_type(one) for one in arguments))


def structs(kind: type[T]) -> st.SearchStrategy[T]:
    """Return a strategy for a struct, all fields filled."""
    if issubclass(kind, Operation):
        return operations()  # type: ignore[return-value]
    return st.builds(kind, **{field.name: _field(kind, field) for field in msgspec.structs.fields(kind)})


def _field(kind: type, field: msgspec.structs.FieldInfo) -> st.SearchStrategy[Any]:
    if (kind, field.name) in _BY_FIELD:
        return _BY_FIELD[kind, field.name]
    return _BY_NAME[field.name] if field.name in _BY_NAME else any_of_type(field.type)


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    """An operation that may be asked for: a value with a PUT only, a local copy with a GET only."""
    kind = draw(st.sampled_from(list(Kind)))
    return Operation(
        kind,
        draw(KEY),
        draw(JSON) if kind is Kind.PUT else None,
        draw(st.none() | structs(Condition)),
        kind is Kind.GET and draw(st.booleans()),
        draw(st.none() | PRINTABLE),
    )
