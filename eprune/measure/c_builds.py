"""Behaviours that are compiled are built here, too, when a program is generated: mistakes are found before it starts.

What is built is kept by its hash, so that programs on this machine find it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from eprune.codegen.program import PlatformProgram
from eprune.model.behaviour import File
from eprune.model.finding import EpruneError, Finding, Location
from eprune.runtime.fire import c_build


def build_all(programs: Iterable[PlatformProgram]) -> str:
    """Build what these programs compile. Raises EpruneError (FILE) with the line that the compiler complains of.

    Returns why nothing could be built, "" otherwise: another machine may have a compiler.
    """
    done: set[str] = set()
    for node in (node for program in programs for node in program.nodes if node.declaration.compiled):
        source = node.declaration.source
        if not isinstance(source, File) or source.path in done:
            continue
        done.add(source.path)
        files = {Path(path).name: Path(path).read_bytes() for path in (source.path, *source.beside)}
        try:
            c_build.build(Path(source.path).name, files)
        except c_build.NoCompiler as error:
            return str(error)
        except c_build.CompileError as error:
            hint = f"actor {node.name!r} cannot be compiled"
            raise EpruneError(Finding("FILE", Location(source.path, error.line or 1), error.reason, hint)) from None
    return ""
