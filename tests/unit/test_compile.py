"""Which modules are compiled, and whether this machine can."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.by_path import load

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def compiler() -> ModuleType:
    """Load ``proto/compile.py``, which is in no package."""
    return load(ROOT / "proto" / "compile.py")


def test_the_hot_path_is_compiled_and_no_struct_is(compiler: ModuleType) -> None:
    """By the module beside the first one ``kvnode version`` tells; mypyc knows no msgspec.Struct."""
    chosen = compiler.modules(ROOT)
    assert "kvnode/core/worker.py" in chosen
    assert not [path for path in chosen if "(msgspec.Struct" in (ROOT / path).read_text(encoding="utf-8")]
    assert not [path for path in chosen if path.endswith("__init__.py")]


def test_no_name_is_bound_to_errors_of_two_kinds(compiler: ModuleType) -> None:
    """A compiled function's variable has one type: a second ``except … as`` of another raises TypeError."""
    twice = [
        f"{path}: {node.name}: {name}"
        for path, node in nodes(compiler)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for name, kinds in caught(node).items()
        if len(kinds) > 1
    ]
    assert not twice


def test_nothing_waits_while_an_error_is_handled(compiler: ModuleType) -> None:
    """A compiled coroutine has no error state of its own: what it handles while it waits, others see.

    They then raise it again: mypyc ends a ``finally`` that awaits with a look at that state. What ends an
    ``async with`` is awaited in such a place: only ``asyncio.timeout``, which never waits there, will do.
    """
    waits = [
        f"{path}:{inner.lineno}"
        for path, node in nodes(compiler)
        for part in handling(node)
        for inner in ast.walk(part)
        if isinstance(inner, ast.Await | ast.AsyncWith | ast.AsyncFor | ast.Yield | ast.YieldFrom)
    ]
    entered = [
        f"{path}:{node.lineno}"
        for path, node in nodes(compiler)
        if isinstance(node, ast.AsyncWith)
        for item in node.items
        if not ast.unparse(item.context_expr).startswith("asyncio.timeout(")
    ]
    assert not waits
    assert not entered


def nodes(compiler: ModuleType) -> Iterator[tuple[str, ast.AST]]:
    """Yield (path, node) of all that the compiled modules say."""
    for path in compiler.modules(ROOT):
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            yield path, node


def handling(node: ast.AST) -> list[ast.stmt]:
    """Return what a ``try`` does once an error may have happened: in its handlers, and at its end."""
    if not isinstance(node, ast.Try):
        return []
    return [*(part for handler in node.handlers for part in handler.body), *node.finalbody]


def caught(function: ast.AST) -> dict[str, set[str]]:
    """Return the names that a function's handlers bind errors to, with what they catch."""
    kinds: dict[str, set[str]] = {}
    for handler in ast.walk(function):
        if isinstance(handler, ast.ExceptHandler) and handler.name and handler.type:
            kinds.setdefault(handler.name, set()).add(ast.unparse(handler.type))
    return kinds


def test_a_pattern_without_a_module_is_refused(compiler: ModuleType, tmp_path: Path) -> None:
    """A module that was renamed does not fall out of the compiled ones in silence."""
    table = 'compile = ["kvnode/gone.py"]\ninterpreted = []\n'
    (tmp_path / "pyproject.toml").write_text(f"[tool.hatch.build.hooks.custom]\n{table}", encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"kvnode/gone\.py, and there is no such module"):
        compiler.modules(tmp_path)


def test_what_is_lacking_is_named(
    compiler: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The compiler, the headers, and the Debian packages that bring them."""
    monkeypatch.setenv("CC", "no-such-compiler -O2")
    monkeypatch.setattr(compiler.sysconfig, "get_path", lambda _: str(tmp_path))
    missing = compiler.lacking()
    assert missing.startswith(f"the C compiler no-such-compiler and Python's headers ({tmp_path}/Python.h): ")
    assert "install gcc, libc6-dev and libpython3" in missing


def test_the_target_is_python_machine_and_c_library(compiler: ModuleType) -> None:
    """In the form that the playbook compares with its hosts'."""
    python, libc = compiler.target().split()
    assert python.startswith(f"cp{sys.version_info.major}{sys.version_info.minor}-")
    assert all(part.isdigit() for part in libc.split("."))
