"""The build's own steps: gRPC code is made from ``proto/`` here, and is never committed.

Hatchling calls ``KvnodeBuildHook`` for every wheel (and editable install); ``python proto/build_hook.py``
generates by hand. A wheel also carries the built dashboard, and is refused without it. With
``KVNODE_COMPILED=1`` in the environment it carries compiled modules beside their sources, see ``compile.py``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = Path("kvnode/rpc/pb")
DASHBOARD = Path("kvnode/controller/dashboard")
COMPILERS = ("mypy>=1.18", "setuptools>=75")


def generate(root: Path) -> None:
    """Write ``kvnode/rpc/pb`` below ``root`` anew from the files in ``proto/``. Raises RuntimeError."""
    from grpc_tools import protoc  # noqa: PLC0415 - a build dependency, not there when the hook is imported

    sources = sorted((root / "proto" / PACKAGE).glob("*.proto"))
    target = root / PACKAGE
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    (target / "__init__.py").write_text('"""Generated from proto/; do not edit."""\n', encoding="utf-8")
    outputs = [f"--{kind}_out={root}" for kind in ("python", "pyi", "grpc_python")]
    well_known = Path(protoc.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{root / 'proto'}", f"-I{well_known}", *outputs, *map(str, sources)]
    if protoc.main(arguments) != 0:
        msg = f"protoc refused {', '.join(source.name for source in sources)}"
        raise RuntimeError(msg)


def wants_compiled() -> bool:
    """Whether the wheel is to carry compiled modules."""
    return os.environ.get("KVNODE_COMPILED") == "1"


def compiled(root: Path, folder: Path) -> dict[str, Path]:
    """Compile into ``folder``; return what was made, by its place in the wheel. Raises RuntimeError."""
    command = [sys.executable, str(root / "proto" / "compile.py"), str(root), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*.so"))}


class KvnodeBuildHook(BuildHookInterface[Any]):
    """Hatchling's entry: generate and compile, and take what git ignores into the wheel."""

    _made: tempfile.TemporaryDirectory[str] | None = None

    def dependencies(self) -> list[str]:
        """Return what a build takes beside [build-system]: to compile, mypyc and what kvnode imports."""
        return [*COMPILERS, *self.metadata.core.dependencies] if wants_compiled() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Prepare the tree for a build; ``version`` is "editable" for a development install."""
        root = Path(self.root)
        generate(root)
        build_data["artifacts"] += [f"/{PACKAGE}/**", f"/{DASHBOARD}/**"]
        if version == "editable":
            return
        if not (root / DASHBOARD / "index.html").is_file():
            msg = f"{DASHBOARD}/index.html is missing: run `make dashboard` before building a wheel"
            raise RuntimeError(msg)
        if wants_compiled():
            self._made = tempfile.TemporaryDirectory(prefix="kvnode-compiled-")
            libraries = compiled(root, Path(self._made.name))
            build_data["force_include"] |= {str(path): name for name, path in libraries.items()}
            build_data["pure_python"] = False
            build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what the wheel has taken."""
        del version, build_data, artifact_path
        if self._made is not None:
            self._made.cleanup()


if __name__ == "__main__":
    try:
        generate(Path(__file__).resolve().parent.parent)
    except RuntimeError as failure:
        sys.exit(str(failure))
