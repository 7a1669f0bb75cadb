"""Boards that are not here: a Debian for another processor, whose Python qemu runs, with the wheels of boards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import pytest

#: What a kernel on a Raspberry Pi says of its processor: libraries choose their kernels by it.
_CPU64 = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
_CPU32 = """\
processor\t: 0
model name\t: ARMv7 Processor rev 4 (v7l)
BogoMIPS\t: 38.40
Features\t: half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm crc32
CPU implementer\t: 0x41
CPU architecture: 7
CPU variant\t: 0x0
CPU part\t: 0xd03
CPU revision\t: 4

"""


@dataclass(frozen=True)
class Kind:
    """A kind of board: Debian's name of its architecture, its emulator, packages of Debian, and wheels."""

    debian: str
    emulator: str
    cpu: str
    information: str
    packages: tuple[str, ...]
    wheels: tuple[str, ...]
    platforms: tuple[str, ...]
    interpreter: str


KINDS = {
    "aarch64": Kind(
        "arm64",
        "qemu-aarch64-static",
        "cortex-a72",
        _CPU64,
        ("python3", "libstdc++6"),
        ("ai-edge-litert", "numpy", "pillow"),
        ("manylinux_2_17_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64", "manylinux2014_aarch64"),
        "ai-edge-litert",
    ),
    # There is no wheel of numpy for it: that is Debian's.
    "armv7l": Kind(
        "armhf",
        "qemu-arm-static",
        "cortex-a15",
        _CPU32,
        ("python3", "python3-numpy", "python3-pil", "libstdc++6"),
        ("tflite-runtime",),
        ("manylinux_2_34_armv7l", "manylinux2014_armv7l"),
        "tflite-runtime",
    ),
}
RELEASE, PYTHON = "bookworm", "3.11"


@dataclass(frozen=True)
class Board:
    """A board that can be used: what starts its Python, and where its packages are."""

    command: tuple[str, ...]
    site: Path
    interpreter: str

    def start(self, *arguments: str, cwd: Path) -> subprocess.Popen[str]:
        """Run its Python with these arguments."""
        return subprocess.Popen(
            [*self.command, *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(self.site)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def board(machine: str) -> Board:
    """A board of this kind, made once. Skips the test, saying why, where it cannot be had."""
    kind = KINDS[machine]
    emulator = shutil.which(kind.emulator)
    if emulator is None:
        pytest.skip(f"{kind.emulator} is not installed here (Debian's package qemu-user-static)")
    place = Path(os.environ["XDG_CACHE_HOME"], "boards", f"{RELEASE}-{machine}")
    if not (place / "complete").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        _make_root(kind, place / "root")
        _install(kind, place / "site")
        (place / "complete").touch()
    root = place / "root"
    command = (emulator, "-cpu", kind.cpu, "-L", str(root), str(root / f"usr/bin/python{PYTHON}"))
    return Board(command, place / "site", kind.interpreter)


def _make_root(kind: Kind, root: Path) -> None:
    """A Debian whose packages are unpacked, and not configured: nothing of it can run here without the emulator."""
    if shutil.which("mmdebstrap") is None:
        pytest.skip("mmdebstrap is not installed here")
    mirror = _mirror()
    if mirror is None:
        pytest.skip(f"this machine's apt knows no mirror of Debian {RELEASE}")
    include = f"--include={','.join(kind.packages)}"
    architecture = f"--architectures={kind.debian}"
    _get(["mmdebstrap", "--quiet", "--variant=extract", architecture, include, RELEASE, str(root), mirror])
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc" / "cpuinfo").write_text(kind.information)
    for path in root.glob("usr/lib/*/*/lib*.so.3"):  # what Debian chooses among, as update-alternatives would
        if path.parent.name in ("blas", "lapack"):
            (path.parent.parent / path.name).symlink_to(Path(path.parent.name, path.name))


def _mirror() -> Optional[str]:
    """Where this machine's own packages come from."""
    try:
        done = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    rows = [line.split() for line in done.stdout.splitlines()]
    return next((row[2] for row in rows if row[:2] == [RELEASE, "main"] and len(row) == 3), None)


def _install(kind: Kind, site: Path) -> None:
    """The wheels that pip would take on such a board."""
    platforms = [f"--platform={name}" for name in kind.platforms]
    alone = ["--no-deps"] * ("numpy" not in kind.wheels)
    options = [f"--target={site}", f"--python-version={PYTHON}", "--implementation=cp", "--only-binary=:all:"]
    _get([sys.executable, "-m", "pip", "install", "--quiet", *options, *platforms, *alone, *kind.wheels])


def _get(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{command[0]} cannot get what a board has: {done.stderr.strip()[-300:]}")
