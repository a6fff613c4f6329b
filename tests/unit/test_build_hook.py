"""The build hook: gRPC code made from proto/, and no wheel without its dashboard."""

from __future__ import annotations

import shutil
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def build_hook() -> ModuleType:
    """Load the hook as hatchling does: by its path."""
    spec = spec_from_file_location("build_hook", ROOT / "proto" / "build_hook.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    build_data: dict[str, Any] = {"artifacts": []}
    hook = build_hook.GrpcBuildHook(str(tree), {}, None, None, str(tree / "dist"), "wheel")
    hook.initialize(version, build_data)
    return build_data


def test_code_is_generated_anew(build_hook: ModuleType, tree: Path) -> None:
    """Every proto file becomes a module, a stub and a service; what was there before goes."""
    build_hook.generate(tree)
    names = {path.stem for path in (tree / "proto/kvnode/rpc/pb").glob("*.proto")}
    made = {path.name for path in (tree / "kvnode/rpc/pb").iterdir()}
    suffixes = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")
    assert made == {"__init__.py"} | {name + suffix for name in names for suffix in suffixes}


def test_a_wheel_takes_what_git_ignores(build_hook: ModuleType, tree: Path) -> None:
    """Generated code and the built dashboard are part of a wheel."""
    dashboard = tree / "kvnode/controller/dashboard"
    dashboard.mkdir(parents=True)
    (dashboard / "index.html").touch()
    assert initialize(build_hook, tree, "standard") == {
        "artifacts": ["/kvnode/rpc/pb/**", "/kvnode/controller/dashboard/**"]
    }


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
