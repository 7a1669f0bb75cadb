"""Functions in C as a behaviour: ``c="relu.c:relu"``, a file that is built where it runs; or a library that was built.

What it says of itself is found without compiling it.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar, TypeVar

from eprune.formats.behaviours.model_slice import file_finding
from eprune.formats.behaviours.python_class import ACCESSES, needs_of, parameters_of
from eprune.formats.c_source import CSource, included
from eprune.model.behaviour import Behaviour, Declaration, File, Json, Reader
from eprune.model.finding import EpruneError, Finding, Location
from eprune.model.graph import Actor
from eprune.model.interface import Interface
from eprune.model.token import TokenType, parse_token
from eprune.model.touched import Access

S = TypeVar("S", bound=CSource)

#: In the name of a library, this is the type of the processor: relu.{machine}.so is relu.x86_64.so, or relu.aarch64.so.
MACHINE = "{machine}"


@dataclass(frozen=True)
class CBehaviour(Behaviour):
    """The functions ``NAME_new``, ``NAME_fire`` and ``NAME_free`` of a C file, or of a shared library."""

    attribute: ClassVar[str] = "c"
    schema: ClassVar[str] = '<attribute name="c"><ref name="c"/></attribute>'
    schema_types: ClassVar[str] = (
        '<define name="c">'
        "<a:documentation>a C file and the name of an actor in it, for example relu.c:relu; or a shared library,"
        " relu.so:relu or relu.{machine}.so:relu</a:documentation>"
        '<data type="string"><param name="pattern">'
        r"[^:\s]([^:]{0,250}[^:\s])?\.(c|so):[A-Za-z_][A-Za-z0-9_]{0,99}"
        "</param></data></define>"
    )

    file: str
    name: str
    path: str = field(default="", compare=False)

    @classmethod
    def read(cls, attributes: Mapping[str, str], locate: Callable[[str, bool], str]) -> CBehaviour:
        """The file, in the graph's folder or in the library of actors, and the name."""
        file, _, name = attributes["c"].rpartition(":")
        return cls(file, name, locate(file, True))

    def attributes(self) -> dict[str, str]:
        """``c``."""
        return {"c": self.label}

    @property
    def label(self) -> str:
        """``relu.c:relu``."""
        return f"{self.file}:{self.name}"

    @property
    def title(self) -> str:
        """``relu``."""
        return self.name

    @property
    def owner(self) -> str:
        """``C actor relu``."""
        return f"C actor {self.name}"

    @property
    def _ready(self) -> bool:
        return self.file.endswith(".so")

    def _libraries(self) -> list[str]:
        """The libraries for all machines that are there."""
        if MACHINE not in self.path:
            return [self.path]
        return sorted(glob.glob(glob.escape(self.path).replace(MACHINE, "*"))) or [self.path]  # noqa: PTH207

    def named(self) -> dict[str, Access]:
        """The C file, or the libraries; they are run."""
        return dict.fromkeys(self._libraries() if self._ready else [self.path], Access.RUN)

    def files(self) -> dict[str, tuple[str, ...]]:
        """The C file with what it includes, or the libraries."""
        if self._ready:
            return {self.path: tuple(self._libraries())}
        return {self.path: (self.path, *included(self.path))}

    def identity(self, hashes: Mapping[str, str]) -> Json:
        """The actor, by the contents of its files."""
        return ["c", hashes.get(self.path, self.file), self.name]

    def renamed(self, name: Callable[[str], str]) -> CBehaviour:
        """The actor in a file of another name."""
        return replace(self, file=name(self.file))

    def interface(self, actor: Actor, reader: Reader) -> Interface:
        """What the C file states. A library states nothing, and must only be there."""
        refuse_ports(actor, "C")
        if self._ready:
            missing = next((each for each in self._libraries() if not Path(each).is_file()), None)
            if missing is not None:
                raise EpruneError(file_finding(actor, self.file, "is not there", "build it, or name the C file"))
            return Interface(tensors=tensors_of(actor))
        source = read_source(actor, self, reader, CSource, "or is a header of the system")
        try:
            stated = source.stated(self.name)
        except ValueError as error:
            raise EpruneError(file_finding(actor, self.file, f"is not usable: {error}")) from None
        if stated.lacks:
            functions = " and ".join(f"{self.name}_{each}" for each in stated.lacks)
            close = get_close_matches(self.name, source.actors, 1)
            known = f"actors there: {', '.join(source.actors)}" if source.actors else ""
            hint = f"did you mean {close[0]!r}?" if close else known or "eprune_actor.h says what an actor is"
            raise EpruneError(file_finding(actor, self.file, f"has no function {functions}", hint))
        wrong = next((name for name, access in stated.paths.items() if access not in ACCESSES), None)
        if wrong is not None:
            words = ", ".join(map(repr, ACCESSES))
            raise EpruneError(file_finding(actor, self.file, f"says neither of {words} of the file {wrong!r}"))
        return Interface(
            inputs=self._tokens(stated.inputs, stated.lines),
            outputs=self._tokens(stated.outputs, stated.lines),
            parameters={name: value is None for name, value in stated.parameters.items()} or None,
            tensors=tensors_of(actor),
            waits=stated.waits,
            paths=stated.paths,
        )

    def _tokens(self, stated: Mapping[str, str], lines: Mapping[str, int]) -> dict[str, TokenType]:
        found = {}
        for port, text in stated.items():
            try:
                found[port] = parse_token(text)
            except ValueError as error:
                raise EpruneError(Finding("G2", Location(self.path, lines[port]), f"port {port!r}: {error}")) from None
        return found

    def declare(self, actor: Actor, interface: Interface) -> Declaration:
        """``program.c_actor(NAME, "FILE:NAME", ...)``."""
        data = [port for port in actor.ports if not port.control]
        beside = tuple(self._libraries() if self._ready and MACHINE in self.path else included(self.path))
        options = {
            "inputs": tuple(port.name for port in data if port in actor.inputs),
            "outputs": tuple(port.name for port in data if port in actor.outputs),
            "rates": {port.name: (port.lrl, port.url) for port in data if (port.lrl, port.url) != (1, 1)},
            "headers": () if self._ready else tuple(Path(each).name for each in beside),
            "waits": interface.waits,
            **parameters_of(actor, interface),
            **needs_of(actor),
        }
        source = File(self.path, f":{self.name}", beside)
        return Declaration("c_actor", source, tuple(options.items()), compiled="" if self._ready else "c")

    @property
    def takes_parameters(self) -> bool:
        """By the context of ``new``."""
        return True


def refuse_ports(actor: Actor, language: str) -> None:
    """Raise EpruneError (G2) for ports that no actor in C or OpenCL can have."""
    for port in actor.ports:
        if port.token.variable:
            message = f"actor {actor.name!r}: port {port.name!r} has tokens of variable size"
            raise EpruneError(Finding("G2", port.where, message, f"an actor in {language} takes tokens of one size"))
        if port.control and port in actor.outputs:
            message = f"actor {actor.name!r}: an actor in {language} cannot choose for others"
            raise EpruneError(Finding("G2", port.where, message, "let a Python class be the control source"))


def read_source(actor: Actor, behaviour: Behaviour, reader: Reader, read: Callable[[str], S], otherwise: str) -> S:
    """The file of a behaviour, as ``read`` gives it, with all that it includes. Raises EpruneError (FILE).

    ``otherwise`` is what it may include besides files beside it.
    """
    file, path = behaviour.file, behaviour.path
    try:
        source = reader(read, path or file)
    except (OSError, ValueError) as error:
        raise EpruneError(file_finding(actor, file, f"is not usable: {_reason(error)}")) from None
    others = included(path)
    missing = next((each for each in others if not Path(each).is_file()), None)
    if missing is not None:
        raise EpruneError(file_finding(actor, file, f"includes {Path(missing).name!r}, which is not there"))
    for each in (path, *others):
        message = ""
        try:
            strange = reader(read, each).strange
            message = f"includes {strange}" if strange else ""
        except (OSError, ValueError) as error:
            message = f"{Path(each).name} is not usable: {_reason(error)}"
        if message:
            hint = ", ".join(filter(None, ["what it includes lies beside it", otherwise]))
            raise EpruneError(file_finding(actor, file, message, hint))
    return source


def tensors_of(actor: Actor) -> dict[str, int]:
    """The tensors that the graph states at an actor's ports."""
    return {port.name: port.tensor for port in actor.ports if port.tensor is not None}


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
