"""``python -m tests.support.verify_units``: ``systemd-analyze verify`` on the units of systemd/.

It wants every program of ExecStart to exist, so it is run on a small image of a host: systemd's own
units, ours, and an empty program at each path that ours name.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

UNITS = Path(__file__).resolve().parents[2] / "systemd"
SYSTEM_UNITS = Path("/lib/systemd/system")


def make_image(root: Path, units: list[Path]) -> list[str]:
    """Lay out the image below ``root``; return the units' paths in it, templates as an instance."""
    shutil.copytree(SYSTEM_UNITS, root / "usr/lib/systemd/system", symlinks=True)
    (root / "lib").symlink_to("usr/lib")
    installed = root / "etc/systemd/system"
    installed.mkdir(parents=True)
    names = []
    for unit in units:
        shutil.copy(unit, installed)
        for program in re.findall(r"^Exec\w+=[-@:+!]*(/\S+)", unit.read_text(encoding="utf-8"), re.MULTILINE):
            path = root / program.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o755)
        names.append(f"/etc/systemd/system/{unit.name.replace('@.', '@1.')}")
    return names


def main() -> int:
    """Verify all units; return systemd-analyze's exit code."""
    if shutil.which("systemd-analyze") is None:
        sys.exit("systemd-analyze is missing: the units cannot be checked without systemd")
    units = sorted(path for path in UNITS.iterdir() if path.suffix in {".service", ".target", ".socket"})
    with tempfile.TemporaryDirectory(prefix="kvnode-units-") as folder:
        names = make_image(Path(folder), units)
        command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=one", f"--root={folder}"]
        return subprocess.run([*command, *names], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
