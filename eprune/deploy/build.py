"""Programs onto the disk: the files that a program needs are found, models cut, and everything is written whole."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Set
from functools import lru_cache
from pathlib import Path
from typing import Optional

import eprune
from eprune.codegen.bundle import bundle, inside, share
from eprune.codegen.digest import digest
from eprune.codegen.lower import lower
from eprune.codegen.program import PlatformProgram
from eprune.codegen.targets import python, service, tunnels
from eprune.codegen.targets.python import Layout
from eprune.formats.atomic import link_file, write_file
from eprune.formats.model_files import format_of, read_model
from eprune.formats.models.parts import Model
from eprune.formats.models.slices import slice_model
from eprune.formats.touching import parts_of
from eprune.model.behaviour import Cut, Kept
from eprune.model.finding import EpruneError, Finding, Location, WrongUsage
from eprune.model.system import System
from eprune.passes import fork, fuse

#: A file's identity: inode, size and time of its last change.
Stamp = tuple[int, int, int]


def programs_of(system: System, together: bool = True, only: Optional[Set[str]] = None) -> tuple[PlatformProgram, ...]:
    """The program of each mapping of a sound system, in their order; of the platforms ``only`` where it is given.

    A tensor that several actors of another platform read is sent once (``passes.fork``), and ``together`` consecutive
    slices of a model run as one segment, but not where each end of a FIFO has a rate of its own. Raises EpruneError
    (FILE) if a mapping's platform file was not given.
    """
    for mapping in system.mappings:
        if system.platform(mapping.platform) is None:
            message = f"the mapping is for platform {mapping.platform!r}, whose platform file is not given"
            raise EpruneError(Finding("FILE", mapping.where, message, "add it with -p"))
    forked = system if system.graph.is_sdf else fork.apply(system).system
    fused = fuse.apply(forked, fuse.Options(together)).system
    return lower(fused, digest(system, hashes_of(system)), only)


def program_text(program: PlatformProgram, output: str) -> bytes:
    """The text of a program that will lie at the path ``output`` ("-": in the current folder)."""
    return python.render(program, _layout_beside(program, output)).encode()


class Writer:
    """Writes programs; what several of them hold is on the disk once, where the file system has hard links."""

    def __init__(self) -> None:
        self._written: dict[bytes, str] = {}

    def program(self, program: PlatformProgram, output: str) -> None:
        """Write a program and, into the folder ``NAME.models`` beside it, its model segments.

        The program comes last, so that it never names a segment that is not there; segments of the program that it
        takes the place of are removed. Raises WrongUsage for a file that Python would import in place of eprune.
        """
        if Path(output).name == "eprune.py":
            raise WrongUsage(
                "a program must not be named eprune.py, because Python would import it in place of eprune: give the "
                "platform another name, or the program (--pyz, -o FILE)"
            )
        layout = _layout_beside(program, output)
        folder = Path(output).parent
        stale = _segments_of(output, layout.models)
        models = {each.file_name: cut(each) for each in program.cuts}
        for name, data in python.emit(program, layout, Path(output).name, models).items():
            if name.startswith(f"{layout.models}/"):
                self._model(str(folder / name), data)
            else:
                write_file(str(folder / name), data)
        make_executable(output)
        for name in stale - set(models):
            (folder / layout.models / name).unlink(missing_ok=True)

    def _model(self, path: str, data: bytes) -> None:
        known = self._written.setdefault(hashlib.sha256(data).digest(), path)
        if known == path or not link_file(known, path):
            write_file(path, data)


def write_program(program: PlatformProgram, output: str) -> None:
    """Write one program, as ``Writer.program`` does."""
    Writer().program(program, output)


def write_programs(system: System, folder: str) -> dict[str, str]:
    """The programs of a system's platforms, in a folder: platform -> path. Raises what ``programs_of`` does."""
    writer, paths = Writer(), {}
    for program in programs_of(system):
        paths[program.platform] = str(Path(folder, f"{program.platform}.py"))
        writer.program(program, paths[program.platform])
    return paths


def write_bundle(program: PlatformProgram, output: str) -> None:
    """Write a program with all that it needs as one executable file; "-" for stdout."""
    write_file(output, bundle_of(program, output))
    make_executable(output)


def bundle_of(program: PlatformProgram, output: str) -> bytes:
    """A program with all that it needs, as the file that is to lie at the path ``output``."""
    names = {
        **inside("actors", program.bundled),
        **inside("initial", program.initial_files),
    }
    carried = inside("parts", (path for path in program.carried if Path(path).is_file()))
    layout = Layout({**_relative(program.sources, _folder(output)), **names}, "models", carried)
    files = {name: Path(path).read_bytes() for path, name in (*names.items(), *carried.items()) if Path(path).is_file()}
    models = {f"{layout.models}/{each.file_name}": cut(each) for each in program.cuts}
    files.update(share(models, {name: format_of(name).constant_spans(data) for name, data in models.items()}))
    return bundle(python.render(program, layout), {**files, **_runtime()})


@lru_cache(maxsize=1)
def _runtime() -> Mapping[str, bytes]:
    """What a program imports of eprune, by its place in a bundle."""
    package = Path(eprune.__file__).parent
    runtime = sorted(path for path in (package / "runtime").rglob("*") if path.suffix in (".py", ".h"))
    sources = (package / "__init__.py", *runtime)
    return {f"eprune/{source.relative_to(package).as_posix()}": source.read_bytes() for source in sources}


def write_service(program: PlatformProgram, output: str) -> str:
    """Write a systemd unit for a program written whole to the path ``output``, beside it; the unit's path."""
    return _write_beside(output, service.emit(program, Path(output).name))


def write_tunnels(program: PlatformProgram, output: str) -> str:
    """Write the script that opens the SSH tunnels of the program at ``output``, beside it; the script's path."""
    name = Path(output).with_suffix(".ssh.sh").name
    path = _write_beside(output, tunnels.emit(program, name, Path(output).name))
    make_executable(path)
    return path


def _write_beside(output: str, files: Mapping[str, bytes]) -> str:
    ((name, data),) = files.items()
    path = str(Path(output).with_name(name))
    write_file(path, data)
    return path


def _layout_beside(program: PlatformProgram, output: str) -> Layout:
    name = program.platform if output == "-" else Path(output).stem
    paths = (*program.sources, *program.files, *program.initial_files)
    folder = _folder(output)
    # What parameters name may have to be written yet; of a library for several machines the name is a pattern.
    open_ = (*program.places, *(path for path in program.files if "{" in Path(path).name))
    places = {path: _seen_from(folder, os.path.realpath(path)) for path in open_}
    return Layout({**_relative(paths, folder), **places}, f"{name}.models")


def _folder(output: str) -> str:
    return os.path.realpath("." if output == "-" else Path(output).parent)


def _relative(paths: Iterable[str], folder: str) -> dict[str, str]:
    """Each path of a file that is there, as seen from the folder. Symbolic links are followed: ``..`` means that."""
    return {path: _seen_from(folder, os.path.realpath(path)) for path in paths if Path(path).exists()}


def _seen_from(folder: str, path: str) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive, on Windows
        return Path(path).as_posix()


def _segments_of(output: str, folder: str) -> set[str]:
    """The names of the segments that the program now at ``output`` uses; none if it is not one of ours."""
    try:
        text = Path(output).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return set()
    before = r'(?:^ *(?:program\.segment\("[^"]+", )?|\bmodel=)'
    return set(re.findall(rf'{before}"{re.escape(folder)}/([^"/]+\.(?:tflite|onnx))"', text, re.M))


def make_executable(path: str) -> None:
    """Let whoever may read the file also run it."""
    if path != "-" and Path(path).is_file():
        mode = Path(path).stat().st_mode
        Path(path).chmod(mode | (mode & 0o444) >> 2)


def cut(part: Cut) -> bytes:
    """A part of a model, as a model of the same format."""
    return _cut(part.path, _stamp(part.path), part.operators, part.input_tensors, part.output_tensors, part.kept)


@lru_cache(maxsize=16)
def _cut(
    path: str,
    stamp: Stamp,
    operators: tuple[int, ...],
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    kept: tuple[Kept, ...],
) -> bytes:
    return slice_model(_model(path, stamp), operators, inputs, outputs, kept)


@lru_cache(maxsize=4)
def _model(path: str, stamp: Stamp) -> Model:
    return read_model(path)


def _stamp(path: str) -> Stamp:
    """What changes when the file does, or when the path means another one."""
    try:
        found = Path(path).stat()
    except OSError:
        return (0, 0, 0)  # reading it says what is wrong
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def hashes_of(system: System) -> dict[str, str]:
    """Path -> hash of the contents of every file that the application's meaning depends on."""
    hashes: dict[str, str] = {}
    for behaviour in dict.fromkeys(actor.behaviour for actor in system.graph.actors if actor.behaviour):
        for path, contents in behaviour.files().items():
            if path not in hashes:
                hashes[path] = _hash(contents)
    for actor, path in parts_of(system):
        if path not in hashes:
            hashes[path] = _hash([path], actor.where)
    for fifo in system.graph.fifos:
        initial = fifo.initial_path
        if initial is not None and initial not in hashes:
            hashes[initial] = _hash([initial], fifo.where)
    return hashes


def _hash(paths: Iterable[str], where: Optional[Location] = None) -> str:
    contents = hashlib.sha256()
    for path in paths:
        try:
            contents.update(hashlib.sha256(Path(path).read_bytes()).digest())
        except OSError as error:
            raise EpruneError(
                Finding("FILE", where or Location(path), f"{path!r} cannot be read: {error.strerror}")
            ) from None
    return contents.hexdigest()
