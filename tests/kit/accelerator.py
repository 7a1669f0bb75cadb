"""The accelerator of the tests: accelerator.c, a delegate for TFLite, built where a C compiler is."""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_suffix(".c")
#: What each C file of ours compiles without a word from.
WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
NEEDS_CC = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)")


@functools.cache
def accelerator() -> str:
    """The path of the delegate's shared library, built once for all tests of this machine."""
    name = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    path = Path(tempfile.gettempdir(), f"eprune-accelerator-{name}.so")
    if not path.exists():
        # The name is written last: other workers must not find half of it.
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".so", delete=False) as file:
            command = ["cc", *WARNINGS, "-D_POSIX_C_SOURCE=200809L", "-O2", "-shared", "-fPIC", str(SOURCE)]
            subprocess.run([*command, "-o", file.name], check=True)
        Path(file.name).replace(path)
    return str(path)
