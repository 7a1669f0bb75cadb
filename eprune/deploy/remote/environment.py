"""What a device is and has, and a virtual environment for its programs where it lacks something."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Optional

from eprune.deploy.remote.versions import Problem, remove

#: Bytes of pip's output that are kept to explain a failure.
_OUTPUT = 4000


class Gone(Exception):
    """The other side has closed the connection, or is silent."""


def look(modules: Sequence[str], addresses: Sequence[str], base: Path) -> dict[str, Any]:
    """What this machine is; which of the ``modules`` its Python has, and which of the ``addresses`` are its own."""
    place = base
    while not place.exists():
        place = place.parent
    free = os.statvfs(place)
    return {
        "host": platform.node(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "machine": platform.machine(),
        "libc": platform.libc_ver()[0],
        "cores": os.cpu_count(),
        "memory": _memory("MemAvailable"),
        "memory_total": _memory("MemTotal"),
        "free": free.f_bavail * free.f_frsize,
        "time": time.time(),
        "writable": os.access(place, os.W_OK),
        "modules": {module: _version(module) for module in modules},
        "own": [address for address in addresses if _own(address)],
    }


def _memory(kind: str) -> Optional[int]:
    """Bytes of such a kind; None where the system does not say."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith(f"{kind}:")).split()[1])
    return None


def versions_in(python: str, modules: Sequence[str]) -> dict[str, Optional[str]]:
    """The same modules of another Python of this machine."""
    code = (
        "import importlib.util as u, json, sys; "
        "print(json.dumps({m: '?' if u.find_spec(m) else None for m in sys.argv[1:]}))"
    )
    done = subprocess.run([python, "-c", code, *modules], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise Problem(f"{python} does not work: {done.stderr.strip()[-200:]}")
    import json

    found: dict[str, Optional[str]] = json.loads(done.stdout)
    return found


def _version(module: str) -> Optional[str]:
    """Its version, "?" where that is not known; None: it is not there."""
    try:
        if importlib.util.find_spec(module) is None:
            return None
    except (ImportError, ValueError):
        return None
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(module.replace("_", "-"))
    return "?"


def _own(address: str) -> bool:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(where)
    except OSError:
        return False
    return True


def python_of(base: Path, name: str) -> Path:
    """The Python of an environment."""
    return base / "environments" / name / "bin" / "python"


def make(
    base: Path, name: str, requirements: Sequence[str], wheels: Optional[Path], say: Callable[[str], None]
) -> None:
    """Make an environment, which is there whole or not at all. Raises Problem, Gone, OSError.

    Packages come from the ``wheels`` in a folder, or else from the index that pip is configured for.
    """
    folder = base / "environments"
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".new-*"):
        if not Path("/proc", leftover.name.rpartition("-")[2]).exists():
            remove(leftover)
    if python_of(base, name).exists():
        return
    new = folder / f".new-{os.getpid()}"
    try:
        say("making an environment")
        hint = "install it: apt-get install python3-venv"
        _run([sys.executable, "-m", "venv", str(new)], f"{sys.executable} cannot make an environment; {hint}")
        source = ["--no-index", f"--find-links={wheels}"] if wheels is not None else []
        say(f"installing {', '.join(requirements)}")
        pip = [str(new / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        _run([*pip, "--only-binary=:all:", *source, *requirements], f"{' and '.join(requirements)} cannot be installed")
        with contextlib.suppress(OSError):  # another platform's agent on this machine was faster
            new.rename(folder / name)
        if not python_of(base, name).exists():
            raise Problem(f"{folder / name} cannot be made")
    finally:
        remove(new)


def _run(command: Sequence[str], what: str) -> None:
    """Run a command as long as the other side is there. Raises Problem, Gone."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    output = b""
    try:
        for data in _until_end(process):
            output = (output + data)[-_OUTPUT:]
        code = process.wait()
    finally:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if code:
        lines = output.decode("utf-8", "replace").strip().splitlines()
        told = [line for line in lines if "error" in line.lower()] or lines or [f"exit code {code}"]
        raise Problem(f"{what}: {told[-1]}")


def _until_end(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """What it prints. Raises Gone when standard input has ended; signs of life that come there are taken away."""
    assert process.stdout is not None
    with process.stdout:
        output = process.stdout.fileno()
        while True:
            ready = select.select([output, 0], [], [], 30.0)[0]
            if 0 in ready and not os.read(0, 4096):
                raise Gone
            if not ready:
                raise Gone
            if output in ready:
                data = os.read(output, 65536)
                if not data:
                    return
                yield data
