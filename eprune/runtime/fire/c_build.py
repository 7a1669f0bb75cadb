"""Libraries of actors in C: a file is built once by the C compiler, and kept by the hash of what it was made from."""

from __future__ import annotations

import hashlib
import os
import pkgutil
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from eprune.runtime.kernel.errors import UsageError

HEADER = "eprune_actor.h"
#: What a C file is compiled with, before CFLAGS.
FLAGS = ("-std=c11", "-O2", "-fPIC", "-shared", "-Wall")
#: In the name of a ready library, this is the processor type: relu.{machine}.so is relu.x86_64.so.
MACHINE = "{machine}"


class NoCompiler(UsageError):
    """This machine has no C compiler."""


class CompileError(UsageError):
    """The compiler refuses a file for a ``reason``. ``line`` is the first that it complains of, 0 if it names none."""

    def __init__(self, file: str, reason: str, line: int = 0) -> None:
        super().__init__(f"{file}:{line}: {reason}" if line else f"{file}: {reason}")
        self.file, self.reason, self.line = file, reason, line


def here(file: str) -> str:
    """The name of a file, with this machine's processor type in the place of ``{machine}``."""
    return file.replace(MACHINE, platform.machine())


def build(name: str, sources: Mapping[str, bytes]) -> str:
    """The path of the library made of the C file ``name``; ``sources`` are it and the files that it includes.

    A library that was made of the same sources by the same command is not made again. Raises CompileError, or
    NoCompiler.
    """
    compiler = shlex.split(os.environ.get("CC", "cc"))
    command = [*compiler, *FLAGS, *shlex.split(os.environ.get("CFLAGS", ""))]
    given = {**sources, HEADER: header()}
    digest = hashlib.sha256("\0".join([*command, platform.machine(), name]).encode())
    for file, data in sorted(given.items()):
        digest.update(f"\0{file}\0{len(data)}\0".encode() + data)
    folder = _cache()
    made = folder / f"{Path(name).stem}-{digest.hexdigest()}.so"
    if made.exists():
        return str(made)
    if shutil.which(compiler[0]) is None:
        hint = f"install a C compiler, or name a ready library: {Path(name).stem}.{MACHINE}.so"
        raise NoCompiler(f"{name}: there is no C compiler {compiler[0]!r} on this machine: {hint}")
    with tempfile.TemporaryDirectory(prefix="eprune-") as place:
        for file, data in given.items():
            Path(place, file).write_bytes(data)
        done = subprocess.run(
            [*command, name, "-o", "made.so", "-lm"],
            cwd=place,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C"},
        )
        if done.returncode:
            raise _refused(name, done.stderr)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, whole = tempfile.mkstemp(dir=folder, suffix=".tmp")
        with os.fdopen(descriptor, "wb") as target:
            target.write(Path(place, "made.so").read_bytes())
        Path(whole).replace(made)
    return str(made)


def header() -> bytes:
    """The header for actors in C, also from inside a .pyz."""
    data = pkgutil.get_data(__package__ or "", HEADER)
    assert data is not None
    return data


def _cache() -> Path:
    """Where built libraries are kept."""
    own = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own, "eprune", "c")


def _refused(name: str, text: str) -> CompileError:
    """What the compiler says first, and the line that it is about."""
    found = re.search(r"^([^:\n]+):(\d+):(?:\d+:)? (?:fatal )?error: (.*)$", text, re.M)
    if found and found[1] == name:
        return CompileError(name, found[3], int(found[2]))
    lines = [line for line in text.strip().splitlines() if "error" in line] or text.strip().splitlines()
    return CompileError(name, lines[0] if lines else "the compiler fails")
