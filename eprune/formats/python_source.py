"""A Python file as its source (``ast``) shows it: nothing of the file is run or imported.

A base class is followed into the file that it is imported from where that file lies beside this one, because there the
runtime finds it. What cannot be known without running the file (a constructor that a decorator writes, a base class of
another package) is unknown, which is not the same as wrong.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Optional, Union

from eprune.formats.xml.safe import read_bytes
from eprune.model.finding import EpruneError, Finding, Location

#: No file of actors is larger; reading more would only keep a person waiting.
MAX_BYTES = 2**20
#: The base class of behaviours, in the runtime.
ACTOR = "Actor"

Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Definition:
    """A class, and the file that it is in."""

    source: PythonSource
    node: ast.ClassDef


#: A class and its base classes, nearest first; None stands for one that is not known.
Lineage = Sequence[Optional[Definition]]


class PythonSource:
    """What a file defines at its top level.

    ``classes`` has the classes by name, ``imported`` the module and name of what it imports, ``others`` all other
    names, and ``star`` is whether it imports ``*``. Raises EpruneError (FILE).
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.classes: dict[str, ast.ClassDef] = {}
        self.imported: dict[str, tuple[str, str]] = {}
        self.others: set[str] = set()
        self.star = False
        self._beside: dict[Path, Optional[PythonSource]] = {}
        for statement in _top_level(parse(path).body):
            if isinstance(statement, ast.ClassDef):
                self.classes[statement.name] = statement
            elif isinstance(statement, (ast.Import, ast.ImportFrom)):
                self._note_import(statement)
            elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
                self.others.update(part.id for part in ast.walk(statement) if isinstance(part, ast.Name))

    def _note_import(self, statement: Union[ast.Import, ast.ImportFrom]) -> None:
        self.star = self.star or any(alias.name == "*" for alias in statement.names)
        self.others.update((alias.asname or alias.name).split(".")[0] for alias in statement.names)
        if isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            for alias in statement.names:
                self.imported[alias.asname or alias.name] = (statement.module, alias.name)

    def origin(self, base: ast.expr) -> tuple[str, str]:
        """The module, "" for none, and the name of a base class."""
        name = dotted(base)
        return self.imported.get(name, ("", name))

    def lineage(self, name: str, seen: frozenset[tuple[str, str]] = frozenset()) -> Iterator[Optional[Definition]]:
        """A class of this file and its base classes, nearest first; None stands for one that is not known."""
        if (self.path, name) in seen:
            return
        seen = seen | {(self.path, name)}
        definition = self.classes[name]
        yield Definition(self, definition)
        for base in definition.bases:
            module, imported = self.origin(base)
            beside = Path(self.path).with_name(f"{module}.py")
            if not module and imported in self.classes:
                yield from self.lineage(imported, seen)
            elif imported.rpartition(".")[2] in (ACTOR, "object"):
                continue
            elif module and "." not in module and beside.is_file():
                source = self._neighbour(beside)
                if source is not None and imported in source.classes:
                    yield from source.lineage(imported, seen)
                else:
                    yield None
            else:
                yield None

    def _neighbour(self, path: Path) -> Optional[PythonSource]:
        """A file beside this one, read once; None where it cannot be read."""
        if path not in self._beside:
            try:
                self._beside[path] = PythonSource(str(path))
            except EpruneError:
                self._beside[path] = None
        return self._beside[path]


@dataclass(frozen=True)
class Literal:
    """A class attribute as the file states it. ``value`` is None where it is computed: known at run time only."""

    owner: str
    where: Location
    value: Any


def literal(lineage: Lineage, name: str) -> Optional[Literal]:
    """The attribute of the nearest class that has it; None: no class has it."""
    for each in filter(None, lineage):
        for node in each.node.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                try:
                    value = ast.literal_eval(getattr(node, "value", None) or ast.Constant(None))
                except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
                    value = None
                return Literal(each.node.name, Location(each.source.path, node.lineno), value)
    return None


def members(lineage: Lineage) -> Optional[tuple[str, ...]]:
    """The names that a class and its base classes define, methods first; None where others may come from elsewhere."""
    methods: dict[str, None] = {}
    others: dict[str, None] = {}
    for each in lineage:
        if each is None or each.node.decorator_list or each.node.keywords:
            return None
        for statement in _top_level(each.node.body):
            if isinstance(statement, FUNCTIONS):
                methods[statement.name] = None
            elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                others.update(
                    (part.id, None) for each in targets for part in ast.walk(each) if isinstance(part, ast.Name)
                )
            elif isinstance(statement, (ast.Import, ast.ImportFrom)):
                others.update((alias.asname or alias.name, None) for alias in statement.names)
    return tuple(dict.fromkeys((*methods, *others)))


@dataclass(frozen=True)
class Parameter:
    """A parameter of a constructor. ``default`` and ``annotation`` are source text, "" where there is none.

    ``doc`` is for what a docstring says of it.
    """

    name: str
    required: bool
    default: str = ""
    annotation: str = ""
    doc: str = ""


def constructor(lineage: Lineage) -> Optional[tuple[Parameter, ...]]:
    """What the nearest constructor takes, without ``self``; None: anything, or not known."""
    for each in lineage:
        if each is None:
            return None
        for node in each.node.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                return None if node.args.kwarg else tuple(_signature(node.args))
        if each.node.decorator_list or each.node.keywords:
            return None  # a dataclass, or another way to write __init__
    return ()


def _signature(arguments: ast.arguments) -> Iterator[Parameter]:
    positional = arguments.posonlyargs + arguments.args
    defaults: list[Optional[ast.expr]] = [None] * (len(positional) - len(arguments.defaults))
    defaults += arguments.defaults
    pairs = list(zip(positional, defaults))[1:]  # without self
    for argument, default in [*pairs, *zip(arguments.kwonlyargs, arguments.kw_defaults)]:
        annotation = ast.unparse(argument.annotation) if argument.annotation else ""
        yield Parameter(argument.arg, default is None, "" if default is None else ast.unparse(default), annotation)


def imported_modules(path: str) -> list[str]:
    """The modules that a file imports by a plain name, anywhere in it, in order; none where it cannot be read."""
    try:
        return list(_imports(path, read_bytes(path, MAX_BYTES)))
    except EpruneError:
        return []  # what cannot be read is reported where it is used


@lru_cache(maxsize=64)  # an exploration asks for the same files for each program
def _imports(path: str, data: bytes) -> tuple[str, ...]:
    names: list[str] = []
    for each in ast.walk(_tree(path, data)):
        if isinstance(each, ast.Import):
            names += [alias.name.partition(".")[0] for alias in each.names]
        elif isinstance(each, ast.ImportFrom) and each.module and each.level == 0:
            names.append(each.module.partition(".")[0])
    return tuple(names)


def parse(path: str) -> ast.Module:
    """The file's syntax tree. Raises EpruneError (FILE)."""
    return _tree(path, read_bytes(path, MAX_BYTES))


def _tree(path: str, data: bytes) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the style of the file, such as unknown escapes
            return ast.parse(data, path)
    except SyntaxError as error:
        problem = f"not valid Python: {error.msg}"
        raise EpruneError(Finding("FILE", Location(path, error.lineno or 0), problem)) from None
    except (ValueError, RecursionError, MemoryError) as error:
        problem = f"not valid Python: {error or type(error).__name__}"
        raise EpruneError(Finding("FILE", Location(path), problem)) from None


def dotted(expression: ast.expr) -> str:
    """``module.Class`` as text; "?" for anything else."""
    if isinstance(expression, ast.Name):
        return expression.id
    if isinstance(expression, ast.Attribute):
        return f"{dotted(expression.value)}.{expression.attr}"
    return "?"


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when the file is imported, also those inside ``if``, ``try`` and ``with``."""
    for statement in body:
        yield statement
        if isinstance(statement, (ast.If, ast.Try, ast.With)):
            for part in ("body", "handlers", "orelse", "finalbody"):
                for child in getattr(statement, part, []):
                    yield from _top_level(child.body if isinstance(child, ast.ExceptHandler) else [child])
