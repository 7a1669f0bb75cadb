"""What actors' behaviours say of themselves, found without running any of their code.

Python files are parsed (``ast``), never imported; models are read from their flatbuffer. Where a file leaves something
open (a base class from elsewhere, a decorator that may write ``__init__``), it is taken as unknown, not as wrong.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import eprune
from eprune.formats.xml.safe import read_bytes
from eprune.model.finding import EpruneError, Finding, Location
from eprune.model.graph import Actor, Graph, ModelSlice, Port, PythonBehaviour
from eprune.model.interface import Interface
from eprune.model.token import TokenType, parse_token

if TYPE_CHECKING:
    from eprune.formats.tflite.model import Model, Tensor

MAX_PYTHON_BYTES = 2**20


def library_folder() -> str:
    """The folder of the actors that ship with eprune: the package eprune.actors, in a checkout the folder actors."""
    package = Path(eprune.__file__).parent
    installed = package / "actors"
    return str(installed if installed.is_dir() else package.parent / "actors")


def find(folder: str, file: str, library: bool) -> str:
    """The path of a file that a graph names: in ``folder``, else, if it is there, in the library of actors.

    A file that is nowhere gets the path that it would have in ``folder``.
    """
    near = Path(folder, file)
    far = Path(library_folder(), file)
    return str(far if library and not near.exists() and far.exists() else near)


def inspect(graph: Graph) -> tuple[dict[str, Interface], list[Finding]]:
    """The facts of each actor's behaviour, by the actor's name, and what is wrong with behaviours.

    Actors without a behaviour, or whose behaviour has an error, have no entry. Findings are FILE for what cannot be
    read or has no such class, and G2 where ports cannot be matched with a model's tensors. Token types that differ from
    the graph's are not judged here but by the analyzer's G2.
    """
    interfaces: dict[str, Interface] = {}
    findings: list[Finding] = []
    inspector = _Inspector()
    for actor in graph.actors:
        try:
            if isinstance(actor.behaviour, PythonBehaviour):
                interfaces[actor.name] = inspector.python(actor, actor.behaviour)
            elif isinstance(actor.behaviour, ModelSlice):
                interfaces[actor.name] = inspector.slice(actor, actor.behaviour)
        except EpruneError as error:
            findings += error.findings
    return interfaces, findings


class _Inspector:
    """Reads each file once, however many actors use it."""

    def __init__(self) -> None:
        self.module = lru_cache(maxsize=None)(_read_python)
        self.model = lru_cache(maxsize=None)(_read_model)

    def python(self, actor: Actor, behaviour: PythonBehaviour) -> Interface:
        path = behaviour.path or behaviour.file
        module = self.module(path)
        if module.problem:
            hint = "" if Path(path).exists() else _library_hint(behaviour.file)
            raise EpruneError(_file_finding(actor, behaviour.file, module.problem, hint))
        called = Interface() if behaviour.model is None else self._called(actor, behaviour.model)
        definition = module.classes.get(behaviour.class_name)
        if definition is not None:
            tensors = {port.name: port.tensor for port in actor.ports if port.tensor is not None}
            return replace(
                _class_interface(module, definition),
                tensors=tensors,
                weight_bytes=called.weight_bytes,
                called=called.called,
            )
        if behaviour.class_name in module.others or module.star:
            return called
        close = get_close_matches(behaviour.class_name, module.classes, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"classes there: {', '.join(module.classes) or 'none'}"
        raise EpruneError(_file_finding(actor, behaviour.file, f"has no class {behaviour.class_name!r}", hint))

    def slice(self, actor: Actor, behaviour: ModelSlice) -> Interface:
        return _slice_interface(actor, behaviour, self._read(actor, behaviour))

    def _called(self, actor: Actor, behaviour: ModelSlice) -> Interface:
        """The facts of the slice that a class calls; the actor's ports are the class's affair."""
        from eprune.formats.tflite.model import boundary, weight_bytes

        model = self._read(actor, behaviour)
        _check_range(actor, behaviour, model)
        operators = behaviour.operators
        return Interface(weight_bytes=weight_bytes(model, operators), called=boundary(model, operators))

    def _read(self, actor: Actor, behaviour: ModelSlice) -> Model:
        model, problem = self.model(behaviour.path or behaviour.file)
        if model is None:
            raise EpruneError(_file_finding(actor, behaviour.file, problem))
        return model


def _file_finding(actor: Actor, file: str, problem: str, hint: str = "") -> Finding:
    return Finding("FILE", actor.where, f"actor {actor.name!r}: {file!r} {problem}", hint)


def _problem(error: EpruneError) -> str:
    finding = error.findings[0]
    return f"{finding.message} ({finding.where})"


# Python classes.


@dataclass
class _Module:
    """What a Python file defines: classes, other names (imported or assigned), whether it imports ``*``."""

    path: str = ""
    problem: str = ""
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    star: bool = False


def _read_python(path: str) -> _Module:
    try:
        source = read_bytes(path, MAX_PYTHON_BYTES)
    except EpruneError as error:
        return _Module(path, problem=f"is not usable: {_problem(error)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the actor's style, such as unknown escapes
            tree = ast.parse(source, path)
    except SyntaxError as error:
        return _Module(path, problem=f"is no valid Python: {error.msg} ({Location(path, error.lineno or 0)})")
    except (ValueError, RecursionError, MemoryError) as error:
        return _Module(path, problem=f"is no valid Python: {error or type(error).__name__} ({path})")
    module = _Module(path)
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


def _class_interface(module: _Module, definition: ast.ClassDef) -> Interface:
    lineage = list(dict.fromkeys(_lineage(module, definition, set())))
    return Interface(
        inputs=_declared_tokens(module, lineage, "INPUTS"),
        outputs=_declared_tokens(module, lineage, "OUTPUTS"),
        parameters=_parameters(module, lineage),
    )


def _lineage(module: _Module, definition: ast.ClassDef, seen: set[str]) -> Iterator[ast.ClassDef]:
    """The class and those of its bases that are in the same file, nearest first."""
    if definition.name not in seen:
        seen.add(definition.name)
        yield definition
        for base in definition.bases:
            if isinstance(base, ast.Name) and base.id in module.classes:
                yield from _lineage(module, module.classes[base.id], seen)


def _declared_tokens(module: _Module, lineage: list[ast.ClassDef], name: str) -> dict[str, TokenType]:
    """``INPUTS`` or ``OUTPUTS``, if it is a literal. Raises EpruneError (G2) for text that is no token type."""
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


def _parameters(module: _Module, lineage: list[ast.ClassDef]) -> Optional[dict[str, bool]]:
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
    names = sorted(path.name for path in Path(library_folder()).glob("*.py") if not path.name.startswith("_"))
    close = get_close_matches(Path(file).name, names, 1)
    return f"did you mean {close[0]!r}, which ships with eprune?" if close else ""


# Slices of models.


def _read_model(path: str) -> tuple[Optional[Model], str]:
    from eprune.formats.tflite.model import read_model

    try:
        return read_model(path), ""
    except EpruneError as error:
        return None, f"is not usable: {_problem(error)}"


def _refusal(actor: Actor, message: str, hint: str = "") -> EpruneError:
    return EpruneError(Finding("G2", actor.where, f"actor {actor.name!r}: {message}", hint))


def _check_range(actor: Actor, behaviour: ModelSlice, model: Model) -> None:
    """Raises EpruneError (G2) unless the operators are a range of the model's, and none shares state with another."""
    from eprune.formats.tflite.model import bonds

    count = len(model.operators)
    if not behaviour.first <= behaviour.last < count:
        message = f"operators {behaviour.first}-{behaviour.last} are no range of operators of {behaviour.file!r}"
        hint = f"the model has operators 0 to {count - 1}" if count else "the model has no operators"
        raise _refusal(actor, message, hint)
    for bond in bonds(model):
        inside = [index for index in bond if index in behaviour.operators]
        if inside and len(inside) < len(bond):
            message = f"operators {', '.join(map(str, bond))} share state and cannot be in different slices"
            raise _refusal(actor, message, "put them into one")


def _slice_interface(actor: Actor, behaviour: ModelSlice, model: Model) -> Interface:
    from eprune.formats.tflite.model import boundary, weight_bytes

    _check_range(actor, behaviour, model)
    for port in actor.ports:
        if port.url > 1:
            message = (
                f"port {port.name!r} has a rate of up to {port.url}, but a model takes and gives one token a firing"
            )
            raise _refusal(actor, message, 'write rate="1", or rate="0..1"')
    inputs, outputs = boundary(model, behaviour.operators)
    tensors: dict[str, int] = {}
    sides = (("input", actor.inputs, inputs), ("output", actor.outputs, outputs))
    for side, ports, edge in sides:
        expected = "; ".join(f"tensor {i}: {model.tensors[i].token or model.tensors[i].type}" for i in edge) or "none"
        problem, hint = _match(side, tuple(port for port in ports if not port.control), edge, tensors)
        if problem:
            raise _refusal(actor, problem, f"the slice's {side}s are {expected}{hint}")
    types: dict[str, TokenType] = {}
    for port in actor.ports:
        if port.name in tensors:
            types[port.name] = _token(actor, port, model.tensors[tensors[port.name]])
    return Interface(
        inputs={port.name: token for port in actor.inputs if (token := types.get(port.name))},
        outputs={port.name: token for port in actor.outputs if (token := types.get(port.name))},
        tensors=tensors,
        weight_bytes=weight_bytes(model, behaviour.operators),
    )


def _token(actor: Actor, port: Port, tensor: Tensor) -> TokenType:
    """A port's type: the model's, or the graph's where the model leaves the shape to the interpreter."""
    name = f"port {port.name!r}: tensor {tensor.index} ({tensor.type}, {tensor.name!r})"
    if tensor.dtype is None:
        raise _refusal(actor, f"{name} has no fixed size in bytes")
    if tensor.token is None and tensor.dtype != port.token.dtype:
        raise _refusal(actor, f"{name} is no {port.token.dtype}")
    return tensor.token or port.token


def _match(side: str, ports: tuple[Port, ...], edge: tuple[int, ...], tensors: dict[str, int]) -> tuple[str, str]:
    """Give each port its tensor of the slice's edge, into ``tensors``; else say why not, and how to go on.

    Ports that name a tensor get that one, the others the remaining tensors in order, one each. Every input must be
    given, once. An output may go to several ports, as a FIFO has one reader, or be left out, if all ports name theirs.
    """
    named = {port.name: port.tensor for port in ports if port.tensor is not None}
    for name, tensor in named.items():
        if tensor not in edge:
            return f"port {name!r} names tensor {tensor}, which is no {side} of its operators", ""
    rest = [tensor for tensor in edge if tensor not in named.values()]
    others = [port for port in ports if port.tensor is None]
    twice = side == "input" and len(set(named.values())) < len(named)
    unused = len(rest) != len(others) and (side == "input" or others or not ports)
    if twice or unused:
        shared = side == "output" and len(ports) > len(edge)
        hint = '; ports that carry the same one name it: tensor="N"' if shared else ""
        return f"it has {_count(ports, side + ' port')}, its operators {_count(edge, side)}", hint
    tensors.update(named)
    tensors.update((port.name, tensor) for port, tensor in zip(others, rest))
    return "", ""


def _count(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'s' * (len(things) != 1)}"
