"""The target for SSH tunnels: a shell script that opens them and runs a program."""

from __future__ import annotations

import shlex

from eprune.codegen.program import PlatformProgram
from eprune.codegen.targets.text import comment, fill, printable, variable


def emit(program: PlatformProgram, name: str, file: str) -> dict[str, bytes]:
    """The script ``name`` that opens a program's tunnels and runs it: ``file``, in the same folder."""
    filters = {"comment": comment, "shell": shlex.quote, "variable": variable}
    text = fill("tunnels.sh.j2", filters, {}, program=program, name=printable(name), file=printable(file))
    return {name: text.encode()}
