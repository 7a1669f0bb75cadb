"""A Python class as a behaviour: ``class="tracker.py:Tracker"``. It may call a slice of a model, named beside it.

What it says of itself is found without running any of its code. Where a file leaves something open (a base class from
elsewhere, a decorator that may write ``__init__``), it is taken as unknown, not as wrong.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar, Optional

from eprune.formats import library
from eprune.formats.behaviours.model_slice import ModelSlice, file_finding, problem_of
from eprune.formats.xml.safe import read_bytes
from eprune.model.behaviour import Behaviour, Cut, Declaration, File, Json, Reader
from eprune.model.finding import EpruneError, Finding, Location
from eprune.model.graph import Actor
from eprune.model.interface import Interface
from eprune.model.token import TokenType, parse_token

MAX_PYTHON_BYTES = 2**20


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
        """What the class declares: ``INPUTS``, ``OUTPUTS``, and the parameters of its constructor."""
        path = self.path or self.file
        module = reader(read_python, path)
        if module.problem:
            hint = "" if Path(path).exists() else _library_hint(self.file)
            raise EpruneError(file_finding(actor, self.file, module.problem, hint))
        called = Interface() if self.model is None else self.model.called(actor, reader)
        definition = module.classes.get(self.class_name)
        if definition is not None:
            tensors = {port.name: port.tensor for port in actor.ports if port.tensor is not None}
            return replace(
                class_interface(module, definition),
                tensors=tensors,
                weight_bytes=called.weight_bytes,
                called=called.called,
            )
        if self.class_name in module.others or module.star:
            return called
        close = get_close_matches(self.class_name, module.classes, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"classes there: {', '.join(module.classes) or 'none'}"
        raise EpruneError(file_finding(actor, self.file, f"has no class {self.class_name!r}", hint))

    def declare(self, actor: Actor, interface: Interface) -> Declaration:
        """``program.actor(NAME, "FILE:CLASS", ...)``."""
        model = None
        if self.model is not None:
            assert interface.called is not None  # its own interface
            model = Cut(actor.name, self.model.path, tuple(self.model.operators), *interface.called)
        options = {
            "parameters": dict(actor.parameters),
            "model": model,
            "optional": tuple(port.name for port in actor.inputs if not port.required),
            "quorum": actor.quorum,
        }
        return Declaration("actor", File(self.path, f":{self.class_name}"), tuple(options.items()))

    @property
    def takes_parameters(self) -> bool:
        """Its constructor's."""
        return True


def with_neighbours(*paths: str) -> list[str]:
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
        return []  # what cannot be read is reported where it is used
    names: list[str] = []
    for each in ast.walk(tree):
        if isinstance(each, ast.Import):
            names += [alias.name.partition(".")[0] for alias in each.names]
        elif isinstance(each, ast.ImportFrom) and each.module and each.level == 0:
            names.append(each.module.partition(".")[0])
    return names


@dataclass
class Module:
    """What a Python file defines: classes, other names (imported or assigned), whether it imports ``*``."""

    path: str = ""
    problem: str = ""
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    star: bool = False


def read_python(path: str) -> Module:
    """What a Python file defines, or why it is not usable."""
    try:
        source = read_bytes(path, MAX_PYTHON_BYTES)
    except EpruneError as error:
        return Module(path, problem=f"is not usable: {problem_of(error)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the actor's style, such as unknown escapes
            tree = ast.parse(source, path)
    except SyntaxError as error:
        return Module(path, problem=f"is not valid Python: {error.msg} ({Location(path, error.lineno or 0)})")
    except (ValueError, RecursionError, MemoryError) as error:
        return Module(path, problem=f"is not valid Python: {error or type(error).__name__} ({path})")
    module = Module(path)
    for statement in _top_level(tree.body):
        if isinstance(statement, ast.ClassDef):
            module.classes[statement.name] = statement
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            module.star = module.star or any(alias.name == "*" for alias in statement.names)
            module.others.update((alias.asname or alias.name).split(".")[0] for alias in statement.names)
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            module.others.update(part.id for part in ast.walk(statement) if isinstance(part, ast.Name))
    return module


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when the file is imported, also those inside ``if``, ``try`` and ``with``."""
    for statement in body:
        yield statement
        if isinstance(statement, (ast.If, ast.Try, ast.With)):
            for part in ("body", "handlers", "orelse", "finalbody"):
                for child in getattr(statement, part, []):
                    yield from _top_level(child.body if isinstance(child, ast.ExceptHandler) else [child])


def class_interface(module: Module, definition: ast.ClassDef) -> Interface:
    """What a class declares of its ports and parameters. Raises EpruneError (G2)."""
    lineage = list(dict.fromkeys(_lineage(module, definition, set())))
    return Interface(
        inputs=_declared_tokens(module, lineage, "INPUTS"),
        outputs=_declared_tokens(module, lineage, "OUTPUTS"),
        parameters=_parameters(module, lineage),
    )


def _lineage(module: Module, definition: ast.ClassDef, seen: set[str]) -> Iterator[ast.ClassDef]:
    """The class and those of its bases that are in the same file, nearest first."""
    if definition.name not in seen:
        seen.add(definition.name)
        yield definition
        for base in definition.bases:
            if isinstance(base, ast.Name) and base.id in module.classes:
                yield from _lineage(module, module.classes[base.id], seen)


def _declared_tokens(module: Module, lineage: list[ast.ClassDef], name: str) -> dict[str, TokenType]:
    """``INPUTS`` or ``OUTPUTS``, if it is a literal. Raises EpruneError (G2) for text that is not a token type."""
    for definition in lineage:
        for statement in definition.body:
            targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                where = Location(module.path, statement.lineno)
                return _tokens(getattr(statement, "value", None), where, f"{definition.name}.{name}")
    return {}


def _tokens(value: Optional[ast.expr], where: Location, name: str) -> dict[str, TokenType]:
    try:
        literal = ast.literal_eval(value) if value is not None else {}
    except (ValueError, TypeError, RecursionError, MemoryError):
        return {}  # computed: known at run time only
    example = f'write for example {name.rpartition(".")[2]} = {{"in": "float32[1,4]"}}'
    if not isinstance(literal, dict) or not all(isinstance(text, str) for pair in literal.items() for text in pair):
        raise EpruneError(Finding("G2", where, f"{name} must map port names to token types", example))
    try:
        return {port: parse_token(text) for port, text in literal.items()}
    except ValueError as error:
        raise EpruneError(Finding("G2", where, f"{name}: {error}", example)) from None


def _parameters(module: Module, lineage: list[ast.ClassDef]) -> Optional[dict[str, bool]]:
    """What the constructor takes: parameter name -> whether it is required; None: anything, or not known."""
    for definition in lineage:
        for statement in definition.body:
            if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                return None if statement.args.kwarg else _signature(statement.args)
        if definition.decorator_list or definition.keywords:
            return None  # a dataclass, or another way to write __init__
    bases = [base for definition in lineage for base in definition.bases]
    names = {base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "?") for base in bases}
    return {} if names <= {"Actor", "object", *module.classes} else None


def _signature(arguments: ast.arguments) -> dict[str, bool]:
    positional = arguments.posonlyargs + arguments.args
    required = len(positional) - len(arguments.defaults)
    parameters = {argument.arg: place < required for place, argument in enumerate(positional)}
    parameters.pop(positional[0].arg if positional else "", None)  # self
    parameters.update(
        (argument.arg, default is None) for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults)
    )
    return parameters


def _library_hint(file: str) -> str:
    close = get_close_matches(Path(file).name, library.library_files(), 1)
    return f"did you mean {close[0]!r}, which ships with eprune?" if close else ""
