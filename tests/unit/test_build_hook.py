"""The build hook: gRPC code made from proto/, no wheel without its dashboard, compiled where asked for."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.support.by_path import load

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def build_hook() -> ModuleType:
    """Load the hook as hatchling does: by its path."""
    return load(ROOT / "proto" / "build_hook.py")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a source tree with proto files and what an earlier release generated."""
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    stale = tmp_path / "kvnode/rpc/pb/gone_pb2.py"
    stale.parent.mkdir(parents=True)
    stale.touch()
    return tmp_path


def initialize(build_hook: ModuleType, tree: Path, version: str) -> dict[str, Any]:
    """Run the hook on ``tree``; return what it tells the build."""
    build_data: dict[str, Any] = {"artifacts": [], "force_include": {}}
    hook = build_hook.KvnodeBuildHook(str(tree), {}, None, None, str(tree / "dist"), "wheel")
    hook.initialize(version, build_data)
    hook.finalize(version, build_data, "")
    return build_data


@pytest.fixture
def whole(tree: Path) -> Path:
    """Return a source tree with a built dashboard."""
    dashboard = tree / "kvnode/controller/dashboard"
    dashboard.mkdir(parents=True)
    (dashboard / "index.html").touch()
    return tree


def test_code_is_generated_anew(build_hook: ModuleType, tree: Path) -> None:
    """Every proto file becomes a module, a stub and a service; what was there before goes."""
    build_hook.generate(tree)
    names = {path.stem for path in (tree / "proto/kvnode/rpc/pb").glob("*.proto")}
    made = {path.name for path in (tree / "kvnode/rpc/pb").iterdir()}
    suffixes = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")
    assert made == {"__init__.py"} | {name + suffix for name in names for suffix in suffixes}


def test_a_wheel_takes_what_git_ignores(
    build_hook: ModuleType, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Generated code and the built dashboard are part of a wheel; nothing is compiled unasked."""
    monkeypatch.delenv("KVNODE_COMPILED", raising=False)
    assert initialize(build_hook, whole, "standard") == {
        "artifacts": ["/kvnode/rpc/pb/**", "/kvnode/controller/dashboard/**"],
        "force_include": {},
    }
    assert _hook(build_hook).dependencies() == []


def test_a_compiled_wheel_takes_what_was_compiled(
    build_hook: ModuleType, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is for one Python and machine; its build wants mypyc and what kvnode imports."""
    monkeypatch.setenv("KVNODE_COMPILED", "1")
    library = "kvnode__mypyc.so"
    monkeypatch.setattr(build_hook, "compiled", lambda _, folder: {library: folder / library})
    told = initialize(build_hook, whole, "standard")
    assert (told["pure_python"], told["infer_tag"]) == (False, True)
    ((path, name),) = told["force_include"].items()
    assert (Path(path).name, name) == (library, library)
    assert not Path(path).parent.exists()
    assert initialize(build_hook, whole, "editable")["force_include"] == {}
    assert [needed.partition(">")[0] for needed in _hook(build_hook).dependencies()] == [
        "mypy",
        "setuptools",
        "msgspec",
    ]


def test_a_compiler_that_fails_ends_the_build(
    build_hook: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a C compiler the error says so, and what to install."""
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(RuntimeError, match="the C compiler no-such-compiler: install gcc"):
        build_hook.compiled(tree, tree / "made")


def _hook(build_hook: ModuleType) -> Any:  # noqa: ANN401
    metadata = SimpleNamespace(core=SimpleNamespace(dependencies=["msgspec>=0.20"]))
    return build_hook.KvnodeBuildHook("", {}, None, metadata, "", "wheel")


def test_a_wheel_without_the_dashboard_is_refused(build_hook: ModuleType, tree: Path) -> None:
    """The refusal says what to run; an editable install needs no dashboard."""
    initialize(build_hook, tree, "editable")
    with pytest.raises(RuntimeError, match="run `make dashboard`"):
        initialize(build_hook, tree, "standard")


def test_a_wrong_proto_file_is_refused(
    build_hook: ModuleType, tree: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The error names the files; protoc's own words say where."""
    (tree / "proto/kvnode/rpc/pb/wrong.proto").write_text('syntax = "proto3"; mess', encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"protoc refused .*wrong\.proto"):
        build_hook.generate(tree)
    assert "wrong.proto:1" in capfd.readouterr().err
