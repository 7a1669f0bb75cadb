"""What the classes in a Python file are, read from their source (``ast``): nothing of the file is run or imported.

A base class is followed into the file that it is imported from where that file lies beside this one, because there the
runtime finds it. What cannot be known without running the file (a constructor that a decorator writes, a base class of
another package) is None, not a guess. Only the standard library is loaded.
"""

from __future__ import annotations

import ast
import inspect
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

#: No file of actors is larger; reading more would only keep a person waiting.
MAX_BYTES = 2**20
#: The base class of behaviours, in the runtime.
ACTOR = "Actor"

_Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]


class Unreadable(ValueError):
    """The file is missing, too large, or not Python. The message says which, and ``line`` where, 0 for the whole."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Parameter:
    """A parameter of a constructor. ``default`` and ``annotation`` are source text, "" where there is none.

    ``doc`` is what the class's docstring says of it, under "Parameters:".
    """

    name: str
    required: bool
    default: str = ""
    annotation: str = ""
    doc: str = ""


@dataclass(frozen=True)
class ClassDescription:
    """A class. ``summary`` is the first line of its docstring, ``doc`` the whole docstring, without indentation.

    ``inputs`` and ``outputs`` map port names to token types where the class declares them (``INPUTS``, ``OUTPUTS``) as
    literals; None: it does not, and takes what the application states. ``reads`` and ``writes`` are the ports that its
    methods name. ``parameters`` is None where any parameter may be taken. ``methods`` has those of its own that the
    runtime calls. ``is_actor``: it is derived from the runtime's Actor; None: a base class is not known.
    """

    name: str
    file: str
    line: int
    bases: tuple[str, ...]
    is_actor: Optional[bool]
    doc: str
    parameters: Optional[tuple[Parameter, ...]]
    inputs: Optional[dict[str, str]]
    outputs: Optional[dict[str, str]]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    methods: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The first paragraph of the docstring, in one line."""
        return " ".join(self.doc.partition("\n\n")[0].split())

    @property
    def declares_types(self) -> bool:
        """Whether the class declares the token types of any of its ports."""
        return self.inputs is not None or self.outputs is not None


def describe_classes(path: str) -> tuple[ClassDescription, ...]:
    """The public classes of a Python file, in order. Raises Unreadable."""
    source = _Source(path)
    return tuple(_describe(source, name) for name in source.classes if not name.startswith("_"))


class _Source:
    """A parsed file: its classes by name, and the files of the classes that it imports from beside itself."""

    def __init__(self, path: str) -> None:
        self.path = path
        tree = _parse(path)
        self.classes: dict[str, ast.ClassDef] = {}
        self.imported: dict[str, tuple[str, str]] = {}
        for statement in _top_level(tree.body):
            if isinstance(statement, ast.ClassDef):
                self.classes[statement.name] = statement
            elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
                for alias in statement.names:
                    self.imported[alias.asname or alias.name] = (statement.module, alias.name)

    def lineage(self, name: str, seen: frozenset[tuple[str, str]] = frozenset()) -> Iterator[Optional[_Definition]]:
        """The class and its base classes, nearest first; None stands for one that is not known."""
        if (self.path, name) in seen:
            return
        seen = seen | {(self.path, name)}
        definition = self.classes[name]
        yield _Definition(self, definition)
        for base in definition.bases:
            origin = _dotted(base)
            module, imported = self.imported.get(origin, ("", origin))
            beside = Path(self.path).with_name(f"{module}.py")
            if origin in self.classes:
                yield from self.lineage(origin, seen)
            elif imported.rpartition(".")[2] in (ACTOR, "object"):
                continue
            elif module and "." not in module and beside.is_file():
                yield from _beside(str(beside), imported, seen)
            else:
                yield None


@dataclass(frozen=True)
class _Definition:
    source: _Source
    node: ast.ClassDef


def _beside(path: str, name: str, seen: frozenset[tuple[str, str]]) -> Iterator[Optional[_Definition]]:
    try:
        source = _Source(path)
    except Unreadable:
        yield None
        return
    if name in source.classes:
        yield from source.lineage(name, seen)
    else:
        yield None


def _parse(path: str) -> ast.Module:
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    except ValueError as error:  # a path with a NUL character
        raise Unreadable(f"cannot be read: {error}") from None
    if len(data) > MAX_BYTES:
        raise Unreadable(f"cannot be read: it has more than {MAX_BYTES} bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the style of the file, such as unknown escapes
            return ast.parse(data, path)
    except SyntaxError as error:
        raise Unreadable(f"is not valid Python: {error.msg}", error.lineno or 0) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(f"is not valid Python: {error or type(error).__name__}") from None


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when the file is imported, also those inside ``if``, ``try`` and ``with``."""
    for statement in body:
        yield statement
        if isinstance(statement, (ast.If, ast.Try, ast.With)):
            for part in ("body", "handlers", "orelse", "finalbody"):
                for child in getattr(statement, part, []):
                    yield from _top_level(child.body if isinstance(child, ast.ExceptHandler) else [child])


def _dotted(expression: ast.expr) -> str:
    """``module.Class`` as text; "?" for anything else."""
    if isinstance(expression, ast.Name):
        return expression.id
    if isinstance(expression, ast.Attribute):
        return f"{_dotted(expression.value)}.{expression.attr}"
    return "?"


def _describe(source: _Source, name: str) -> ClassDescription:
    lineage = list(source.lineage(name))
    known = [each for each in lineage if each is not None]
    own = known[0].node
    doc = inspect.cleandoc(ast.get_docstring(own, clean=False) or "")
    functions = [node for each in known for node in each.node.body if isinstance(node, _FUNCTIONS)]
    return ClassDescription(
        name,
        source.path,
        own.lineno,
        tuple(map(_dotted, own.bases)),
        _is_actor(known, None in lineage),
        doc,
        _parameters(lineage, _documented(doc)),
        _declared(known, "INPUTS"),
        _declared(known, "OUTPUTS"),
        _ports_named(functions, "inputs"),
        _ports_named(functions, "outputs"),
        tuple(node.name for node in own.body if isinstance(node, _FUNCTIONS) and node.name in _CALLED),
    )


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
#: The methods of a behaviour that the runtime calls.
_CALLED = ("initialize", "control", "fire", "finalize")


def _is_actor(known: list[_Definition], open_ended: bool) -> Optional[bool]:
    for each in known:
        for base in each.node.bases:
            origin = _dotted(base)
            if each.source.imported.get(origin, ("", origin))[1].rpartition(".")[2] == ACTOR:
                return True
    return None if open_ended else False


def _parameters(lineage: list[Optional[_Definition]], documented: dict[str, str]) -> Optional[tuple[Parameter, ...]]:
    """What the nearest constructor takes; None: anything, or not known."""
    for each in lineage:
        if each is None:
            return None
        for node in each.node.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                return None if node.args.kwarg else tuple(_signature(node.args, documented))
        if each.node.decorator_list or each.node.keywords:
            return None  # a dataclass, or another way to write __init__
    return ()


def _signature(arguments: ast.arguments, documented: dict[str, str]) -> Iterator[Parameter]:
    positional = arguments.posonlyargs + arguments.args
    defaults: list[Optional[ast.expr]] = [None] * (len(positional) - len(arguments.defaults))
    defaults += arguments.defaults
    pairs = list(zip(positional, defaults))[1:]  # without self
    for argument, default in [*pairs, *zip(arguments.kwonlyargs, arguments.kw_defaults)]:
        annotation = ast.unparse(argument.annotation) if argument.annotation else ""
        text = "" if default is None else ast.unparse(default)
        yield Parameter(argument.arg, default is None, text, annotation, documented.get(argument.arg, ""))


def _documented(doc: str) -> dict[str, str]:
    """Parameter -> its text under "Parameters:" in a docstring, where lines begin with ``name:`` or ``one, other:``."""
    _, found, section = doc.partition("Parameters:\n")
    texts: dict[str, str] = {}
    names: list[str] = []
    indent = ""
    for line in section.splitlines() if found else ():
        stripped = line.strip()
        head, colon, rest = stripped.partition(":")
        here = line[: len(line) - len(line.lstrip())]
        if not stripped or not here:
            break
        indent = indent or here
        if here == indent and colon and all(each.strip().isidentifier() for each in head.split(",")):
            names = [each.strip() for each in head.split(",")]
            texts.update(dict.fromkeys(names, rest.strip()))
        else:
            texts.update((name, f"{texts[name]} {stripped}") for name in names)
    return texts


def _declared(known: list[_Definition], name: str) -> Optional[dict[str, str]]:
    """``INPUTS`` or ``OUTPUTS`` where it is a literal of port names and token types."""
    for each in known:
        for node in each.node.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                try:
                    value = ast.literal_eval(getattr(node, "value", None) or ast.Constant(None))
                except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
                    return None  # computed: known at run time only
                return {str(port): str(token) for port, token in value.items()} if isinstance(value, dict) else None
    return None


def _ports_named(functions: list[_Function], mapping: str) -> tuple[str, ...]:
    """The ports of ``inputs["name"]`` and ``outputs["name"]`` in these methods, in order."""
    return tuple(
        dict.fromkeys(
            node.slice.value
            for function in functions
            for node in ast.walk(function)
            if isinstance(node, ast.Subscript)
            and _dotted(node.value) in (mapping, f"self.{mapping}")
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, str)
        )
    )
