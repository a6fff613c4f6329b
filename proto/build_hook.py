"""The build's own step: gRPC code is made from ``proto/`` here, and is never committed.

Hatchling calls ``GrpcBuildHook`` for every wheel (and editable install); ``python proto/build_hook.py``
does the same by hand. A wheel also carries the built dashboard, and is refused without it.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = Path("kvnode/rpc/pb")
DASHBOARD = Path("kvnode/controller/dashboard")


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


class GrpcBuildHook(BuildHookInterface[Any]):
    """Hatchling's entry: generate the code, and take what git ignores into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Prepare the tree for a build; ``version`` is "editable" for a development install."""
        root = Path(self.root)
        generate(root)
        build_data["artifacts"] += [f"/{PACKAGE}/**", f"/{DASHBOARD}/**"]
        if version != "editable" and not (root / DASHBOARD / "index.html").is_file():
            msg = f"{DASHBOARD}/index.html is missing: run `make dashboard` before building a wheel"
            raise RuntimeError(msg)


if __name__ == "__main__":
    try:
        generate(Path(__file__).resolve().parent.parent)
    except RuntimeError as failure:
        sys.exit(str(failure))
