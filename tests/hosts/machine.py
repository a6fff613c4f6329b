"""One test host: an overlay over its image, booted by systemd-nspawn with a real systemd and a real sshd.

A supervising shell starts nspawn again when the host reboots (exit 133), as a hypervisor would. Each host
has a cgroup of its own: nspawn puts its payload below the cgroup that it is started in, and two hosts in one
would end each other's services.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.hosts import namespace
from tests.hosts.disk import SmallDisk
from tests.hosts.plan import BRIDGE, NAMESPACE, RUN_DIRECTORY, Host, Traces
from tests.hosts.wait import until

REBOOT_EXIT = 133


class Machine:
    """One host's life: ``prepare`` once, ``power_on`` and ``power_off`` at will, ``remove`` at the end."""

    def __init__(self, host: Host, traces: Traces) -> None:
        self.host = host
        self._traces = traces
        self._folder = traces.machine(host)
        self._root = self._folder / "root"
        self._disk = SmallDisk(self._folder) if host.small_disk else None
        self._shell: subprocess.Popen[bytes] | None = None
        self._pid_file = RUN_DIRECTORY / f"{host.name}.pid"

    def prepare(self, image: Path) -> None:
        """Lay a writable root over the image: host name, address, SSH key; make the small disk."""
        upper, work = self._folder / "upper", self._folder / "work"
        for folder in (upper, work, self._root):
            folder.mkdir(parents=True)
        _write(upper / "etc/hostname", f"{self.host.name}\n")
        _write(upper / "etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {self.host.name}\n")
        network = f"[Match]\nName=host0\n[Network]\nAddress={self.host.address}/24\nLinkLocalAddressing=no\n"
        _write(upper / "etc/systemd/network/10-host0.network", network)
        keys = upper / "root/.ssh/authorized_keys"
        _write(keys, self._traces.key.with_suffix(".pub").read_text(encoding="utf-8"))
        keys.parent.chmod(0o700)
        keys.parent.parent.chmod(0o700)
        options = f"lowerdir={image},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(self._root)], check=True)
        if self._disk:
            self._disk.make()

    def power_on(self) -> None:
        """Boot; returns at once."""
        console = (self._folder / "console.log").open("ab")
        with console:
            self._shell = subprocess.Popen(
                ["/bin/sh", "-c", self._supervision()],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._pid_file.write_text(f"{self._shell.pid} {_started(self._shell.pid)}", encoding="utf-8")

    def power_off(self, *, deadline_s: float = 30) -> None:
        """Pull the plug: every process of the host is gone at once, its disk stays."""
        pid = self.running()
        if pid:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        if self._shell:
            self._shell.wait()
            self._shell = None
        until(self._killed, deadline_s, f"{self.host.name} to be off")
        until(self._unlinked, deadline_s, f"the network link of {self.host.name} to be gone")
        self._pid_file.unlink(missing_ok=True)

    def running(self) -> int:
        """The supervising shell's process id, 0 when the host is off."""
        try:
            pid, started = self._pid_file.read_text(encoding="utf-8").split()
        except (FileNotFoundError, ValueError):
            return 0
        return int(pid) if _started(int(pid)) == started else 0

    def remove(self) -> None:
        """Power off and remove every trace of the host."""
        self.power_off()
        if os.path.ismount(self._root):
            until(self._unmounted, 30, f"{self._root} to be unmounted")
        if self._disk:
            self._disk.unmount()
        for cgroup in _cgroups(self.host):
            _remove_cgroup(cgroup)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _supervision(self) -> str:
        spawn = [
            *namespace.ENTER,
            *("systemd-nspawn", "-q", "-D", str(self._root), "--boot", "--register=no", "--keep-unit"),
            *("-M", self.host.name, f"--network-bridge={BRIDGE}", "--capability=CAP_NET_ADMIN"),
        ]
        if self._disk:
            spawn.append(f"--bind={self._disk.bind}")
        # Only a kernel command line lets systemd 256 and later boot where the machine has the older cgroups.
        spawn.append("SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1")
        folders = [shlex.quote(str(folder)) for folder in _cgroups(self.host)]
        enter = "; ".join(f"mkdir -p {folder}; echo $$ > {folder}/cgroup.procs" for folder in folders)
        inner = shlex.quote(f"{enter}; exec {shlex.join(spawn)}")
        return f"while :; do sh -c {inner}; [ $? -eq {REBOOT_EXIT} ] || break; done"

    def _killed(self) -> bool:
        """Kill what is left in the host's cgroups; whether nothing was."""
        processes = self._processes()
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not processes

    def _unlinked(self) -> bool:
        """Remove what the kernel has not yet cleared away of the host's link; whether nothing was left."""
        link = f"vb-{self.host.name}"
        if not namespace.exists() or f" {link}@" not in namespace.run("ip", "-oneline", "link"):
            return True
        with suppress(RuntimeError):
            namespace.run("ip", "link", "delete", link)
        return False

    def _processes(self) -> list[int]:
        found: set[int] = set()
        for cgroup in _cgroups(self.host):
            for procs in cgroup.rglob("cgroup.procs"):
                with suppress(OSError):
                    found.update(int(line) for line in procs.read_text(encoding="ascii").split())
        return sorted(found)

    def _unmounted(self) -> bool:
        return subprocess.run(["umount", str(self._root)], capture_output=True, check=False).returncode == 0


def _cgroups(host: Host) -> list[Path]:
    """The host's own cgroup in systemd's hierarchy and in the unified one, wherever the machine has them."""
    roots = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/systemd")]
    return [root / NAMESPACE / host.name for root in roots if (root / "cgroup.procs").exists()]


def _remove_cgroup(cgroup: Path) -> None:
    folders = [folder for folder in cgroup.rglob("*") if folder.is_dir()]
    for folder in [*sorted(folders, reverse=True), cgroup, cgroup.parent]:
        with suppress(OSError):
            folder.rmdir()


def _started(pid: int) -> str:
    """When a process was started, in the kernel's ticks: with the id it names one process for good."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
