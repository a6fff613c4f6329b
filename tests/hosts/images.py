"""Debian images for the test hosts: built once by mmdebstrap, cached, never written to afterwards."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

from tests.hosts.plan import CACHE_DIRECTORY

PACKAGES = (
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "iputils-ping",
    "openssh-server",
    "procps",
    "python3",
    "python3-venv",
    "systemd",
    "systemd-sysv",
)
UNWANTED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "systemd-networkd-wait-online.service",
)
FINISH = (
    'systemctl --root="$1" enable systemd-networkd.service',
    f'systemctl --root="$1" mask {" ".join(UNWANTED)}',
    'mkdir -p "$1/var/log/journal"',
)


def image(release: str) -> Path:
    """The root folder of ``release``'s image, built now if the cache has none.

    Raises RuntimeError when the machine's apt sources name no Debian mirror or mmdebstrap fails.
    """
    recipe = hashlib.sha256("\n".join((release, *PACKAGES, *FINISH)).encode()).hexdigest()[:12]
    images = CACHE_DIRECTORY / "images"
    images.mkdir(parents=True, exist_ok=True)
    target = images / f"{release}-{recipe}"
    with (images / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _build(release, target)
    return target


def _build(release: str, target: Path) -> None:
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    print(f"building the image of Debian {release} (about half a minute, once)", flush=True)
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    command += [f"--customize-hook={hook}" for hook in FINISH]
    built = subprocess.run(
        [*command, release, str(partial), _mirror()], capture_output=True, text=True, check=False
    )
    if built.returncode != 0:
        raise RuntimeError(f"mmdebstrap {release} failed:\n{built.stderr[-4000:]}")
    partial.rename(target)


def _mirror() -> str:
    """The Debian mirror that this machine's own apt uses."""
    release = _os_release()
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT) $(CREATED_BY)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for line in listing.splitlines():
        address, suite, component, kind = line.rsplit(" ", 3)
        if (component, kind) == ("main", "Packages") and suite in {release, "stable", "testing"}:
            return address
    raise RuntimeError(f"apt's sources name no Debian mirror for {release!r}")


def _os_release() -> str:
    for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME":
            return value.strip('"')
    return ""
