"""Behaviours that are compiled are built here, too, when a program is generated: mistakes are found before it starts.

Libraries of C files are kept by their hash, so that programs on this machine find them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from eprune.codegen.program import Node, PlatformProgram, ProcessingUnit
from eprune.model.behaviour import File
from eprune.model.finding import EpruneError, Finding, Location
from eprune.runtime.fire import c_build, opencl
from eprune.runtime.kernel.errors import UsageError


def build_all(programs: Iterable[PlatformProgram]) -> str:
    """Build what these programs compile. Raises EpruneError (FILE) with the line that the compiler complains of.

    Returns why something could not be built, "" otherwise: another machine may have a compiler, or the device.
    """
    done: set[tuple[str, str]] = set()
    reasons: dict[str, None] = {}
    for program in programs:
        for node in program.nodes:
            source, unit = node.declaration.source, program.unit(node.unit)
            what = (getattr(source, "path", ""), f"{unit.opencl} {unit.told}")
            if not node.declaration.compiled or not isinstance(source, File) or what in done:
                continue
            done.add(what)
            try:
                _build(node, source, unit)
            except UsageError as error:
                reasons[str(error)] = None
    return "; ".join(reasons)


def _build(node: Node, source: File, unit: ProcessingUnit) -> None:
    files = {Path(path).name: Path(path).read_bytes() for path in (source.path, *source.beside)}
    hint = f"actor {node.name!r} cannot be compiled"
    try:
        _BUILDERS[node.declaration.compiled](Path(source.path).name, files, unit)
    except (c_build.CompileError, opencl.BuildError) as error:
        path = Path(source.path).with_name(error.file) if error.file in files else Path(source.path)
        raise EpruneError(Finding("FILE", Location(str(path), error.line or 1), error.reason, hint)) from None


def _c(name: str, files: Mapping[str, bytes], unit: ProcessingUnit) -> None:
    c_build.build(name, files)


def _opencl(name: str, files: Mapping[str, bytes], unit: ProcessingUnit) -> None:
    opencl.Device(unit.opencl or opencl.FIRST, dict(unit.told)).build(name, files)


#: The language of a source -> what builds it.
_BUILDERS: Mapping[str, Callable[[str, Mapping[str, bytes], ProcessingUnit], None]] = {"c": _c, "opencl": _opencl}
