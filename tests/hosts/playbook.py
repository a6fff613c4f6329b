"""Runs the playbook against the hosts, as an operator would, and reads its recap."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.hosts.plan import CHECKOUT

if TYPE_CHECKING:
    from tests.hosts.plan import Traces

RECAP = re.compile(r"^(?P<host>\S+)\s+: ok=\d+\s+changed=(?P<changed>\d+)\s", re.MULTILINE)


@dataclass(frozen=True)
class Play:
    """A finished run. ``changed``: tasks that changed something, by host."""

    exit_code: int
    output: str
    changed: dict[str, int]

    @property
    def failed(self) -> bool:
        """Whether any task failed or any host was not reached."""
        return self.exit_code != 0


def play(traces: Traces, *options: str, quiet: bool = True, deadline_s: float = 600) -> Play:
    """Run ``ansible-playbook site.yml`` with the hosts' inventory and ``options``."""
    program = Path(sys.executable).with_name("ansible-playbook")
    command = [str(program), "-i", str(traces.inventory), "site.yml", *options]
    environment = os.environ | {
        "ANSIBLE_NOCOLOR": "1",
        "KVNODE_COMPILE_CACHE": str(CHECKOUT / ".cache" / "compile"),  # `make` has compiled the same code
        "PATH": f"{program.parent}:{os.environ['PATH']}",
    }
    with subprocess.Popen(
        command,
        cwd=CHECKOUT / "ansible",
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            output = _read(process, quiet=quiet, deadline_s=deadline_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    changed = {match["host"]: int(match["changed"]) for match in RECAP.finditer(output)}
    return Play(process.returncode, output, changed)


def _read(process: subprocess.Popen[str], *, quiet: bool, deadline_s: float) -> str:
    if quiet:
        return process.communicate(timeout=deadline_s)[0]
    lines = []
    for line in process.stdout or ():
        print(line, end="", flush=True)
        lines.append(line)
    process.wait()
    return "".join(lines)
