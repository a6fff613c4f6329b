"""``python proto/compile.py CHECKOUT FOLDER``: compile kvnode's hot path with mypyc, into ``FOLDER``.

It works on a copy: nothing is written into the checkout, where a compiled module would hide its source.
Which modules it compiles stands in ``pyproject.toml``, beside the build hook. What ``KVNODE_COMPILE_CACHE``
names is a folder to work in that is kept: C code that has not changed is not compiled again. ``--check`` only
says whether this machine can compile, by its exit status, and for which others it would.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GROUP = "kvnode"
"""Names the library that holds all compiled code; a stub beside each source leads to it."""

GROUP_LIBRARY = f"{GROUP}__mypyc"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
LIBRARIES = "libraries"

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

MYPY = ("--config-file=", f"--python-version={PYTHON}", "--follow-imports=silent", "--ignore-missing-imports")
"""Not the settings of ``make check-types``: a wheel is not where style is judged."""

OPT_LEVEL = "2"


def lacking() -> str:
    """Return what this machine lacks to compile; empty when nothing."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    header = Path(sysconfig.get_path("include")) / "Python.h"
    missing = [f"the C compiler {compiler}"] if shutil.which(compiler) is None else []
    missing += [] if header.is_file() else [f"Python's headers ({header})"]
    return f"{' and '.join(missing)}: install gcc, libc6-dev and libpython{PYTHON}-dev" if missing else ""


def target() -> str:
    """Return which machines take the result, as ``cp311-x86_64 2.36``: the last is the least C library."""
    library, version = platform.libc_ver()
    machine = platform.machine() if library == "glibc" else sys.platform
    return f"cp{PYTHON.replace('.', '')}-{machine} {version or '0'}"


def modules(checkout: Path) -> list[str]:
    """Return the paths of the modules to compile. Raises RuntimeError for a pattern that matches nothing."""
    with (checkout / "pyproject.toml").open("rb") as file:
        table = tomllib.load(file)["tool"]["hatch"]["build"]["hooks"]["custom"]
    wanted, unwanted = (_matching(checkout, table[key]) for key in ("compile", "interpreted"))
    return sorted(wanted - unwanted)


def compiled(checkout: Path, folder: Path) -> None:
    """Leave the compiled modules in ``folder``, each where its source stands. Raises RuntimeError."""
    chosen = modules(checkout)
    with _working_folder() as work:
        shutil.rmtree(work / "kvnode", ignore_errors=True)
        unwanted = shutil.ignore_patterns("__pycache__", "*.so", "dashboard")
        shutil.copytree(checkout / "kvnode", work / "kvnode", ignore=unwanted)
        # a process of its own: mypyc ends the one it runs in when it finds an error
        command = [sys.executable, "-P", str(Path(__file__).resolve()), "--here", *chosen]
        done = subprocess.run(
            command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        if not done.returncode:
            for name in [GROUP_LIBRARY, *(module.removesuffix(".py") for module in chosen)]:
                made = Path(name + SUFFIX)
                (folder / made).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(work / LIBRARIES / made, folder / made)
    if done.returncode:
        said = done.stdout.decode(errors="replace")[-4000:]
        raise RuntimeError(f"mypyc could not compile kvnode:\n{said}")


@contextmanager
def _working_folder() -> Iterator[Path]:
    if kept := os.environ.get("KVNODE_COMPILE_CACHE"):
        name = f"{sys.implementation.cache_tag}-{platform.machine()}-O{OPT_LEVEL}"
        path = Path(kept, name).absolute()
        path.mkdir(parents=True, exist_ok=True)
        with (path / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield path
    else:
        with tempfile.TemporaryDirectory(prefix="kvnode-compile-") as scratch:
            yield Path(scratch)


def _matching(checkout: Path, patterns: list[str]) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        paths = {str(path.relative_to(checkout)) for path in checkout.glob(pattern)}
        if not paths:
            raise RuntimeError(f"pyproject.toml names {pattern}, and there is no such module")
        found |= paths
    return found


def _compile_here(chosen: list[str]) -> None:
    """Compile ``chosen``, below the current folder, into LIBRARIES there."""
    from mypyc.build import mypycify  # noqa: PLC0415 - only who compiles needs it
    from setuptools import setup  # noqa: PLC0415 - the same

    # a C file for each module: one for all of them takes gcc much longer
    options = [*MYPY, *chosen]
    extensions = mypycify(options, group_name=GROUP, opt_level=OPT_LEVEL, debug_level="0", multi_file=True)
    build = ["build_ext", f"--build-lib={LIBRARIES}", "--build-temp=objects"]
    setup(name="kvnode", packages=[], py_modules=[], ext_modules=extensions, script_args=build)


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Compile kvnode's hot path.")
    parser.add_argument("--check", action="store_true", help="only say whether this machine can compile")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("paths", nargs="*", metavar="CHECKOUT FOLDER")
    asked = parser.parse_args()
    if asked.here:
        _compile_here(asked.paths)
        return
    if missing := lacking():
        sys.exit(f"kvnode cannot be compiled here, for want of {missing}")
    if asked.check:
        print(target())  # noqa: T201 - that is what was asked
        return
    checkout, folder = map(Path, asked.paths)
    try:
        compiled(checkout.absolute(), folder.absolute())
    except RuntimeError as failure:
        sys.exit(str(failure))


if __name__ == "__main__":
    main()
