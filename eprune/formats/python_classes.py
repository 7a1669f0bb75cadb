"""What the classes of a Python file are, as people are shown them: ``eprune inspect`` and the pages of the library."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass, replace
from typing import Optional

from eprune.formats.python_source import (
    ACTOR,
    FUNCTIONS,
    Function,
    Lineage,
    Parameter,
    PythonSource,
    constructor,
    dotted,
    literal,
)


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
    """The public classes of a Python file, in order. Raises EpruneError (FILE)."""
    source = PythonSource(path)
    return tuple(_describe(source, name) for name in source.classes if not name.startswith("_"))


def _describe(source: PythonSource, name: str) -> ClassDescription:
    lineage = list(source.lineage(name))
    known = [each for each in lineage if each is not None]
    own = known[0].node
    doc = inspect.cleandoc(ast.get_docstring(own, clean=False) or "")
    functions = [node for each in known for node in each.node.body if isinstance(node, FUNCTIONS)]
    parameters = constructor(lineage)
    if parameters is not None:
        texts = _documented(doc)
        parameters = tuple(replace(each, doc=texts.get(each.name, "")) for each in parameters)
    return ClassDescription(
        name,
        source.path,
        own.lineno,
        tuple(map(dotted, own.bases)),
        _is_actor(lineage),
        doc,
        parameters,
        _declared(lineage, "INPUTS"),
        _declared(lineage, "OUTPUTS"),
        _ports_named(functions, "inputs"),
        _ports_named(functions, "outputs"),
        tuple(node.name for node in own.body if isinstance(node, FUNCTIONS) and node.name in _CALLED),
    )


#: The methods of a behaviour that the runtime calls.
_CALLED = ("initialize", "control", "fire", "finalize")


def _is_actor(lineage: Lineage) -> Optional[bool]:
    known = [each for each in lineage if each is not None]
    if any(each.source.origin(base)[1].rpartition(".")[2] == ACTOR for each in known for base in each.node.bases):
        return True
    return None if None in lineage else False


def _documented(doc: str) -> dict[str, str]:
    """Parameter -> its text under "Parameters:" in a docstring, where lines begin with ``name:`` or ``one, other:``."""
    _, found, section = doc.partition("Parameters:\n")
    texts: dict[str, str] = {}
    names: list[str] = []
    indent = ""
    for line in section.splitlines() if found else ():
        stripped = line.strip()
        head, colon, rest = stripped.partition(":")
        margin = line[: len(line) - len(line.lstrip())]
        if not stripped or not margin:
            break
        indent = indent or margin
        if margin == indent and colon and all(each.strip().isidentifier() for each in head.split(",")):
            names = [each.strip() for each in head.split(",")]
            texts.update(dict.fromkeys(names, rest.strip()))
        else:
            texts.update((name, f"{texts[name]} {stripped}") for name in names)
    return texts


def _declared(lineage: Lineage, name: str) -> Optional[dict[str, str]]:
    """``INPUTS`` or ``OUTPUTS`` where it is a literal of port names and token types."""
    found = literal(lineage, name)
    if found is None or not isinstance(found.value, dict):
        return None
    return {str(port): str(token) for port, token in found.value.items()}


def _ports_named(functions: list[Function], mapping: str) -> tuple[str, ...]:
    """The ports of ``inputs["name"]`` and ``outputs["name"]`` in these methods, in order."""
    return tuple(
        dict.fromkeys(
            node.slice.value
            for function in functions
            for node in ast.walk(function)
            if isinstance(node, ast.Subscript)
            and dotted(node.value) in (mapping, f"self.{mapping}")
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, str)
        )
    )
