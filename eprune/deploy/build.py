"""Programs onto the disk: the files that a program needs are found, models cut, and everything is written whole."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Optional

import eprune
from eprune.cli.inputs import Inputs
from eprune.codegen.bundle import bundle, inside, share
from eprune.codegen.digest import initial_path
from eprune.codegen.lower import lower
from eprune.codegen.program import Program, Segment
from eprune.codegen.render import Layout, render, render_tunnels, render_unit
from eprune.formats.atomic import write_file
from eprune.formats.tflite.model import Model, read_model
from eprune.formats.tflite.slicing import constant_spans, slice_model
from eprune.model.finding import EpruneError, Finding, Location
from eprune.model.graph import PythonBehaviour
from eprune.model.mapping import Mapping as PlatformMapping


def program_for(inputs: Inputs, mapping: PlatformMapping, fuse: bool) -> Program:
    """The program of one platform of sound inputs. Raises EpruneError if the platform's file was not given."""
    platform = next((platform for platform in inputs.platforms if platform.name == mapping.platform), None)
    if platform is None:
        message = f"the mapping is for platform {mapping.platform!r}, whose platform file is not given"
        raise EpruneError(Finding("FILE", mapping.where, message, "add it with -p"))
    return lower(inputs.graph, platform, mapping, inputs.interfaces, fuse, _hashes(inputs))


def program_text(program: Program, output: str) -> str:
    """The text of a program that will lie at the path ``output`` ("-": in the current folder)."""
    return render(program, _layout_beside(program, output))


def write_program(program: Program, output: str) -> None:
    """Write a program and, into the folder ``NAME.models`` beside it, its model segments.

    The program comes last, so that it never names a segment that is not there; segments of the program that it takes
    the place of are removed.
    """
    layout = _layout_beside(program, output)
    models = Path(output).parent / layout.models
    stale = _segments_of(output, layout.models)
    for segment in program.cuts:
        write_file(str(models / segment.file_name), cut(segment))
    write_file(output, render(program, layout))
    _make_executable(output)
    for name in stale - {segment.file_name for segment in program.cuts}:
        (models / name).unlink(missing_ok=True)


def write_bundle(program: Program, output: str) -> None:
    """Write a program with all that it needs as one executable file; "-" for stdout."""
    python_files = _with_neighbours(program.python_files)
    names = inside(python_files, program.initial_files)
    layout = Layout({**_relative(program.sources, _folder(output)), **names}, "models")
    files = {name: Path(path).read_bytes() for path, name in names.items()}
    models = {f"{layout.models}/{segment.file_name}": cut(segment) for segment in program.cuts}
    files.update(share(models, {name: constant_spans(data) for name, data in models.items()}))
    package = Path(eprune.__file__).parent
    for source in (package / "__init__.py", *sorted((package / "runtime").rglob("*.py"))):
        files[f"eprune/{source.relative_to(package).as_posix()}"] = source.read_bytes()
    write_file(output, bundle(render(program, layout), files))
    _make_executable(output)


def unit_text(program: Program, output: str) -> str:
    """The text of a systemd unit for a program written whole to the path ``output``."""
    return render_unit(program, Path(output).name)


def write_tunnels(program: Program, output: str) -> str:
    """Write the script that opens the SSH tunnels of the program at ``output``, beside it; the script's path."""
    path = Path(output).with_suffix(".ssh.sh")
    write_file(str(path), render_tunnels(program, path.name, Path(output).name))
    _make_executable(str(path))
    return str(path)


def _layout_beside(program: Program, output: str) -> Layout:
    name = program.platform if output == "-" else Path(output).stem
    paths = (*program.sources, *program.python_files, *program.initial_files)
    return Layout(_relative(paths, _folder(output)), f"{name}.models")


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
    return set(re.findall(rf'{before}"{re.escape(folder)}/([^"/]+\.tflite)"', text, re.M))


def _make_executable(path: str) -> None:
    """Let whoever may read the file also run it."""
    if path != "-" and Path(path).is_file():
        mode = Path(path).stat().st_mode
        Path(path).chmod(mode | (mode & 0o444) >> 2)


def cut(segment: Segment) -> bytes:
    """The .tflite model of a segment."""
    return slice_model(_model(segment.path), segment.operators, segment.input_tensors, segment.output_tensors)


@lru_cache(maxsize=4)
def _model(path: str) -> Model:
    return read_model(path)


def _hashes(inputs: Inputs) -> Mapping[str, str]:
    """Path -> hash of the contents of every file that the application's meaning depends on."""
    hashes: dict[str, str] = {}
    for actor in inputs.graph.actors:
        if isinstance(actor.behaviour, PythonBehaviour):
            hashes.setdefault(actor.behaviour.path, _hash(_with_neighbours([actor.behaviour.path])))
        model = actor.behaviour.model if isinstance(actor.behaviour, PythonBehaviour) else actor.behaviour
        if model is not None and model.path not in hashes:
            hashes[model.path] = _hash([model.path])
    for fifo in inputs.graph.fifos:
        path = initial_path(fifo)
        if path is not None:
            hashes.setdefault(path, _hash([path], fifo.where))
    return hashes


def _hash(paths: Iterable[str], where: Optional[Location] = None) -> str:
    digest = hashlib.sha256()
    for path in paths:
        try:
            digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
        except OSError as error:
            raise EpruneError(
                Finding("FILE", where or Location(path), f"{path!r} cannot be read: {error.strerror}")
            ) from None
    return digest.hexdigest()


def _with_neighbours(paths: Iterable[str]) -> list[str]:
    """Python files, and those of the same folder that they import, directly or not: each once, as they are found."""
    found = dict.fromkeys(paths)
    queue = list(found)
    for path in queue:
        for name in _imported(path):
            neighbour = str(Path(path).with_name(f"{name}.py"))
            if neighbour not in found and Path(neighbour).is_file():
                found[neighbour] = None
                queue.append(neighbour)
    return list(found)


def _imported(path: str) -> list[str]:
    """The modules that a Python file imports by a plain name, anywhere in it, in order."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the file's style
            tree = ast.parse(Path(path).read_bytes(), path)
    except (OSError, SyntaxError, ValueError):
        return []  # what cannot be read is told where it is used
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.append(node.module.partition(".")[0])
    return names
