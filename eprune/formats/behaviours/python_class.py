"""A Python class as a behaviour: ``class="tracker.py:Tracker"``. It may call a slice of a model, named beside it.

What it says of itself is found without running any of its code. Where a file leaves something open (a base class from
elsewhere, a decorator that may write ``__init__``), it is taken as unknown, not as wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Optional

from eprune.formats import library
from eprune.formats.behaviours.model_slice import ModelSlice, file_finding, problem_of
from eprune.formats.python_source import (
    Lineage,
    Parameter,
    PythonSource,
    constructor,
    imported_modules,
    literal,
    members,
)
from eprune.model.behaviour import Behaviour, Cut, Declaration, File, Json, Place, Reader
from eprune.model.finding import EpruneError, Finding
from eprune.model.graph import Actor
from eprune.model.interface import Interface
from eprune.model.platform import Unit
from eprune.model.token import TokenType, parse_token
from eprune.model.touched import Access

#: What a class may say in ``PATHS`` of a parameter: a file or folder that it reads; one that it writes; names with
#: commas between them, or a file of names; a file that is as much a part of the actor as its model is.
ACCESSES = ("read", "write", "list", "part")

#: Those that a bundle takes along.
CARRIED = ("list", "part")


@dataclass(frozen=True)
class PythonBehaviour(Behaviour):
    """A class of a Python file. ``model`` is a slice that the class calls as often as it likes; None: it has none."""

    attribute: ClassVar[str] = "class"
    beside: ClassVar[tuple[str, ...]] = ("model",)
    schema: ClassVar[str] = '<attribute name="class"><ref name="class"/></attribute>'

    file: str
    class_name: str
    path: str = field(default="", compare=False)
    model: Optional[ModelSlice] = None

    @classmethod
    def of_library(cls, label: str, model: Optional[ModelSlice] = None) -> PythonBehaviour:
        """A class of the library of actors: ``merge.py:Merge``."""
        file, _, class_name = label.partition(":")
        return cls(file, class_name, str(Path(library.library_folder(), file)), model)

    @classmethod
    def read(cls, attributes: Mapping[str, str], locate: Callable[[str, bool], str]) -> PythonBehaviour:
        """The class, with its slice if there is one."""
        file, _, class_name = attributes["class"].rpartition(":")
        model = ModelSlice.read(attributes, locate) if ModelSlice.attribute in attributes else None
        return cls(file, class_name, locate(file, True), model)

    def attributes(self) -> dict[str, str]:
        """``class``, and those of the slice."""
        return {"class": f"{self.file}:{self.class_name}", **(self.model.attributes() if self.model else {})}

    @property
    def label(self) -> str:
        """``tracker.py:Tracker``, and the slice."""
        return f"{self.file}:{self.class_name}" + (f", {self.model.label}" if self.model else "")

    @property
    def title(self) -> str:
        """``Tracker``."""
        return self.class_name

    @property
    def owner(self) -> str:
        """``class Tracker``."""
        return f"class {self.class_name}"

    def named(self) -> dict[str, Access]:
        """The Python file, which is run, and the model."""
        return {self.path: Access.RUN, **(self.model.named() if self.model else {})}

    def files(self) -> dict[str, tuple[str, ...]]:
        """The Python file with those of its folder that it imports, and the model."""
        return {self.path: tuple(with_neighbours(self.path)), **(self.model.files() if self.model else {})}

    def identity(self, hashes: Mapping[str, str]) -> Json:
        """The class, by the contents of its file, and the slice."""
        model = None if self.model is None else self.model.identity(hashes)
        return ["class", hashes.get(self.path, self.file), self.class_name, model]

    def renamed(self, name: Callable[[str], str]) -> PythonBehaviour:
        """The class in a file of another name, and so with the slice."""
        return replace(self, file=name(self.file), model=self.model and self.model.renamed(name))

    def interface(self, actor: Actor, reader: Reader) -> Interface:
        """What the class declares: ``INPUTS``, ``OUTPUTS``, ``waits``, ``copies``, its constructor's parameters."""
        path = self.path or self.file
        source, problem = reader(_read, path)
        if source is None:
            hint = "" if Path(path).exists() else _library_hint(self.file)
            raise EpruneError(file_finding(actor, self.file, f"is not usable: {problem}", hint))
        called = Interface() if self.model is None else self.model.called(actor, reader)
        if self.class_name in source.classes:
            lineage = list(source.lineage(self.class_name))
            arguments = constructor(lineage)
            return replace(
                called,
                inputs=_tokens(lineage, "INPUTS"),
                outputs=_tokens(lineage, "OUTPUTS"),
                parameters=None if arguments is None else {each.name: each.required for each in arguments},
                tensors={port.name: port.tensor for port in actor.ports if port.tensor is not None},
                stdin=_stdin(lineage, arguments or ()),
                lacks=_lacks(actor, lineage),
                paths=_paths(lineage),
                waits=_waits(lineage, {**_defaults(arguments or ()), **dict(actor.parameters)}),
                copies=_copies(lineage),
            )
        if self.class_name in source.others or source.star:
            return called
        close = get_close_matches(self.class_name, source.classes, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"classes there: {', '.join(source.classes) or 'none'}"
        raise EpruneError(file_finding(actor, self.file, f"has no class {self.class_name!r}", hint))

    def declare(self, actor: Actor, interface: Interface) -> Declaration:
        """``program.actor(NAME, "FILE:CLASS", ...)``."""
        model = None
        if self.model is not None:
            assert interface.called is not None  # its own interface
            model = Cut(
                actor.name, self.model.path, tuple(self.model.operators), *interface.called, kept=self.model.kept
            )
        options = {**parameters_of(actor, interface), "model": model, **needs_of(actor)}
        source = File(self.path, f":{self.class_name}", tuple(with_neighbours(self.path)[1:]))
        return Declaration("actor", source, tuple(options.items()))

    def misplaced(self, unit: Unit) -> str:
        """The engine reads the slice that it calls, if it has one; a delegate runs no class."""
        return super().misplaced(unit) or (self.model.misplaced(unit) if self.model else "")

    @property
    def takes_parameters(self) -> bool:
        """Its constructor's."""
        return True


def _lacks(actor: Actor, lineage: Lineage) -> dict[str, str]:
    """The methods that are called and the class does not have -> the name that may be meant for it, or ""."""
    known = members(lineage)
    if known is None or "__getattr__" in known:
        return {}
    leads = any(port.control for port in actor.outputs)
    needed = ["control"] * leads
    needed += ["fire"] * (not leads or any(not port.control for port in actor.outputs))
    lacking = {}
    for method in needed:
        if method not in known:
            close = [each for each in known if each.lower().strip("_") == method]
            close += get_close_matches(method, [each for each in known if not each.startswith("__")], 1)
            lacking[method] = next(iter(close), "")
    return lacking


def with_neighbours(*paths: str) -> list[str]:
    """Python files, and those of the same folder that they import, directly or not: each once, as they are found."""
    found = dict.fromkeys(paths)
    queue = list(found)
    for path in queue:
        for name in imported_modules(path):
            neighbour = str(Path(path).with_name(f"{name}.py"))
            if neighbour not in found and Path(neighbour).is_file():
                found[neighbour] = None
                queue.append(neighbour)
    return list(found)


def _read(path: str) -> tuple[Optional[PythonSource], str]:
    """The file, or what is wrong with it."""
    try:
        return PythonSource(path), ""
    except EpruneError as error:
        return None, problem_of(error)


def _tokens(lineage: Lineage, name: str) -> dict[str, TokenType]:
    """``INPUTS`` or ``OUTPUTS``, if it is a literal. Raises EpruneError (G2) for text that is not a token type."""
    found = literal(lineage, name)
    if found is None or found.value is None:
        return {}
    title, example = f"{found.owner}.{name}", f'write for example {name} = {{"in": "float32[1,4]"}}'
    value = found.value
    if not isinstance(value, dict) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise EpruneError(Finding("G2", found.where, f"{title} must map port names to token types", example))
    try:
        return {port: parse_token(text) for port, text in value.items()}
    except ValueError as error:
        raise EpruneError(Finding("G2", found.where, f"{title}: {error}", example)) from None


def parameters_of(actor: Actor, interface: Interface) -> dict[str, Any]:
    """The parameters of an actor as options of its declaration: ``paths`` are those that name files."""
    places = {
        name: Place(str(Path(actor.where.file).parent / value), value, interface.paths[name] in CARRIED)
        for name, value in actor.parameters
        if relative(interface.paths.get(name), value)
    }
    return {"parameters": {name: value for name, value in actor.parameters if name not in places}, "paths": places}


def needs_of(actor: Actor) -> dict[str, Any]:
    """Which inputs an actor can do without, and how many it needs, as options of its declaration."""
    return {"optional": tuple(port.name for port in actor.inputs if not port.required), "quorum": actor.quorum}


def names_file(access: Optional[str], value: str) -> bool:
    """Whether a parameter's value is the name of a file; ``access`` is what the class says of it in ``PATHS``."""
    return access is not None and value not in ("", "-") and not (access == "list" and "," in value)


def relative(access: Optional[str], value: str) -> bool:
    """Whether it is the name of a file as seen from the application's folder."""
    return names_file(access, value) and not Path(value).is_absolute()


def _paths(lineage: Lineage) -> dict[str, str]:
    """``PATHS``, if it is a literal. Raises EpruneError (G2) for what is none of the words."""
    found = literal(lineage, "PATHS")
    if found is None or found.value is None:
        return {}
    value = found.value
    if isinstance(value, dict) and all(isinstance(name, str) and value[name] in ACCESSES for name in value):
        return value
    message = f"{found.owner}.PATHS must map parameters to {', '.join(map(repr, ACCESSES))}"
    raise EpruneError(Finding("G2", found.where, message, 'write for example PATHS = {"path": "read"}'))


def _stdin(lineage: Lineage, parameters: Iterable[Parameter]) -> Optional[tuple[str, str]]:
    """What the class says by ``stdin``, if that is a literal: the parameter, and its default."""
    found = literal(lineage, "stdin")
    if found is None or not found.value:
        return None
    if found.value is True:
        return "", "-"
    return str(found.value), next((each.default for each in parameters if each.name == found.value), "").strip("\"'")


def _copies(lineage: Lineage) -> bool:
    """What the class says by ``copies``."""
    found = literal(lineage, "copies")
    return found is not None and found.value is True


def _waits(lineage: Lineage, parameters: Mapping[str, str]) -> bool:
    """What the class says by ``waits``, or whether it reads standard input; where that is computed, it may."""
    found, stdin = literal(lineage, "waits"), literal(lineage, "stdin")
    if found is not None and found.value is not False:
        return True
    return stdin is not None and (stdin.value is True or parameters.get(str(stdin.value)) == "-")


def _defaults(parameters: Iterable[Parameter]) -> dict[str, str]:
    return {each.name: each.default.strip("\"'") for each in parameters}


def _library_hint(file: str) -> str:
    close = get_close_matches(Path(file).name, library.library_files(), 1)
    return f"did you mean {close[0]!r}, which ships with eprune?" if close else ""
