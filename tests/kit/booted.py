"""A systemd that runs as process 1 of namespaces of its own: nothing of this machine's is touched."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

SYSTEMD = Path("/lib/systemd/systemd")
CGROUPS = Path("/sys/fs/cgroup/systemd")
#: Folders that this systemd and what is deployed write to; empty ones lie over them, so that the real ones stay.
COVERED = ("/run", "/var/lib", "/var/log", "/etc/systemd/system", "/opt")
#: What ordinary units want to be there; it wants nothing itself: no cleaning of /tmp, no kernel variables.
TARGETS = ("sysinit", "basic", "network-online", "multi-user", "sockets", "timers", "paths", "slices")
BOOT = f"""\
set -e
mount --make-rprivate / && mount --make-rshared /
mount -t proc proc /proc
for folder in {" ".join(COVERED)}; do mount -t tmpfs -o mode=755 tmpfs $folder; done
mkdir /run/kept
mount --bind "$1" /run/kept
mount -t tmpfs tmpfs /tmp
mkdir -p "$1"
mount --bind /run/kept "$1"
for wanted in /lib/systemd/system/*.wants; do mount -t tmpfs tmpfs $wanted; done
for target in {" ".join(TARGETS)}; do
    printf '[Unit]\\nDefaultDependencies=no\\n' > /etc/systemd/system/$target.target
done
printf '[Unit]\\nDefaultDependencies=no\\nRequires=systemd-journald.service\\nAfter=systemd-journald.service\\n' \\
    > /etc/systemd/system/test.target
umount -R /sys/fs/cgroup
mount -t tmpfs tmpfs /sys/fs/cgroup
mkdir /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
export container=test
exec {SYSTEMD} --system --unit=test.target --log-target=null
"""
NAMESPACES = ("--pid", "--fork", "--mount", "--ipc", "--uts", "--cgroup", "--kill-child")


class Machine:
    """A machine with systemd."""

    def __init__(self, pid: int) -> None:
        self._enter = ["nsenter", f"--target={pid}", "--mount", "--pid", "--ipc", "--uts", "--cgroup"]

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command there."""
        return subprocess.run(
            [*self._enter, *command],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, **more},
        )


@contextlib.contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """Boot; of what is in /tmp it sees this folder only. Skips the test where that cannot be done."""
    missing = [name for name in ("unshare", "nsenter", "systemctl") if shutil.which(name) is None]
    if os.geteuid() != 0 or missing or not SYSTEMD.exists() or not CGROUPS.is_dir():
        pytest.skip("a systemd of one's own needs root, systemd, unshare, nsenter and cgroups of version 1 here")
    group = CGROUPS / f"eprune-test-{os.getpid()}"
    group.mkdir()
    script = folder / "boot.sh"
    script.write_text(BOOT)
    command = [
        "sh",
        "-c",
        f'echo $$ > {group}/cgroup.procs; exec unshare {" ".join(NAMESPACES)} sh "$0" "$1"',
        str(script),
        str(folder),
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    first: Sequence[str] = ()
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until and process.poll() is None:
            first = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            if first and Path(f"/proc/{first[0]}/comm").read_text().strip() == "systemd":
                booted = Machine(int(first[0]))
                if booted.run("systemctl", "is-system-running").stdout.strip() == "running":
                    break
            time.sleep(0.1)
        else:
            process.kill()
            pytest.skip(f"no systemd of one's own boots here: {process.communicate()[0].decode()[-200:]}")
        yield booted
    finally:
        for pid in first:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        process.kill()
        process.communicate()
        _remove(group)


def _remove(group: Path) -> None:
    until = time.monotonic() + 10
    while group.exists():
        for folder in sorted((path for path in (group, *group.rglob("*")) if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        assert time.monotonic() < until, "processes are left"
        time.sleep(0.05)
