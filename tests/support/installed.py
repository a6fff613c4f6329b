"""Whether the installed kvnode, which tests and benchmarks run as processes, is made of the sources here."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
GENERATED = CHECKOUT / "kvnode" / "rpc" / "pb"
WITH_TESTS = f"import sys; sys.path.append({str(CHECKOUT)!r})"
"""What Python, begun with ``-P``, runs first to find ``tests`` here and yet the installed kvnode."""


def require_current() -> None:
    """Refuse to test what is not there any more. AssertionError names the first file that differs."""
    installed = Path(str(distribution("kvnode").locate_file("kvnode")))
    if not installed.is_dir():
        return  # an editable install: the sources themselves
    differing = _differing(CHECKOUT / "kvnode", installed)
    assert not differing, f"the installed kvnode has another {differing}: run `make .venv/.kvnode`"


def can_compile() -> bool:
    """Whether a wheel that is built on this machine is compiled."""
    check = [sys.executable, str(CHECKOUT / "proto" / "compile.py"), "--check"]
    return subprocess.run(check, capture_output=True, check=False).returncode == 0


def require_compiler() -> None:
    """Skip a test of compiled code where none can be made; with CI=true it runs, and fails."""
    if os.environ.get("CI") != "true" and not can_compile():
        pytest.skip("needs a C compiler and Python's headers")


def _differing(sources: Path, installed: Path) -> str:
    for source in sorted(sources.rglob("*.py")):
        twin = installed / source.relative_to(sources)
        if GENERATED not in source.parents and (
            not twin.is_file() or twin.read_bytes() != source.read_bytes()
        ):
            return str(source.relative_to(CHECKOUT))
    return ""
