"""The schemas of the XML files, and what is wrong with a file that does not follow one.

The RELAX NG files in ``schema/`` are the single truth for structure. A file is validated by libxml2, which is fast but
says little. Only where it refuses, the document is walked against tables that are taken from the same schema, to name
everything that is wrong, in the order of the file, with what is expected and the nearest valid name.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from itertools import product
from pathlib import Path
from typing import Optional, TypeVar

from lxml import etree

import eprune.formats.behaviours  # noqa: F401  # the kinds of behaviours are known from here on
from eprune.formats.xml.safe import Document, Node, libxml_tree, parse, parse_bytes
from eprune.model.behaviour import Behaviour
from eprune.model.finding import EpruneError, Finding, Location
from eprune.model.names import NAME
from eprune.model.quantity import (
    exact_times,
    parse_bandwidth,
    parse_frequency,
    parse_power,
    parse_share,
    parse_size,
    parse_time,
    parse_timeout,
    parse_timeouts,
)
from eprune.model.token import parse_token

#: What stands for the pattern of names, and where the kinds of behaviours have their place in application.rng.
_NAME = "%NAME%"
_BEHAVIOURS = "<!-- behaviours -->"

KINDS = ("application", "platform", "mapping")

#: Values that can match their pattern and still have no meaning, such as a dimension of 0: who reads them.
_PARSERS: dict[str, Callable[[str], object]] = {
    "token": parse_token,
    "size": parse_size,
    "bandwidth": parse_bandwidth,
    "power": parse_power,
    "time": parse_time,
    "times": exact_times,
    "timeout": parse_timeout,
    "timeouts": parse_timeouts,
    "frequency": parse_frequency,
    "share": parse_share,
}

T = TypeVar("T")


def schema_text(kind: str) -> str:
    """The RELAX NG schema of "application", "platform" or "mapping" files, in XML syntax."""
    if kind not in KINDS:
        raise ValueError(f"there is no schema {kind!r}; there are {', '.join(KINDS)}")
    return _file(kind).replace(_BEHAVIOURS, _behaviours()).replace(_NAME, NAME)


@cache
def _file(kind: str) -> str:
    return (Path(__file__).parent / "schema" / f"{kind}.rng").read_text(encoding="utf-8")


def _behaviours() -> str:
    """What the kinds of behaviours allow on an actor, as a definition that ``application.rng`` refers to."""
    kinds = [kind for _, kind in sorted(Behaviour.kinds.items())]
    choices = [f"    <optional><group>{kind.schema}</group></optional>" for kind in kinds]
    types = [f"  {kind.schema_types}" for kind in kinds if kind.schema_types]
    return "\n".join(['<define name="behaviour">', *choices, "  </define>", *types])


def read(path: str, kind: str, build: Callable[[Document], T]) -> T:
    """Parse the file, validate it as ``kind`` and return ``build(document)``.

    Raises EpruneError with all findings, in the order of the file. A ValueError of ``build`` means a value that has no
    meaning; it becomes a finding, too.
    """
    with _no_garbage():
        document = parse(path)
        validator = _validator(schema_text(kind))
        if not validator.validate(libxml_tree(document)):
            last = validator.error_log.last_error
            reason, line = (last.message, last.line) if last is not None else ("no reason given", 0)
            raise EpruneError(*_explain(document, kind, Location(document.file, line), f"not a valid {kind}: {reason}"))
        try:
            return build(document)
        except ValueError as error:
            raise EpruneError(*_explain(document, kind, document.where(document.root), str(error))) from None


@contextmanager
def _no_garbage() -> Iterator[None]:
    """No garbage collection inside: reading makes a million objects and no cycles, and would take twice as long."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@cache
def _validator(schema: str) -> etree.RelaxNG:
    return etree.RelaxNG(libxml_tree(_parsed(schema)))


@cache
def _parsed(schema: str) -> Document:
    return parse_bytes(schema.encode(), "schema")


# Tables of what a schema allows, read from its text.


@dataclass(frozen=True)
class _Type:
    """An attribute's type: its name in the schema, what to call it, and a pattern, or values; neither: any text."""

    name: str = "text"
    documentation: str = "text"
    pattern: Optional[str] = None
    values: tuple[str, ...] = ()

    def complaint(self, value: str) -> str:
        """What is wrong with a value, "" if nothing."""
        if self.values and value not in self.values:
            close = get_close_matches(value, self.values, 1)
            return f"expected {self.documentation}" + (f"; did you mean {close[0]!r}?" if close else "")
        try:
            _PARSERS.get(self.name, str)(value)
        except ValueError as error:
            return str(error)
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            return f"expected {self.documentation}"
        return ""


@dataclass(frozen=True)
class _Shape:
    """One of the sets of attributes that an element may have."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    def missing(self, given: dict[str, str]) -> list[str]:
        return [name for name in self.required if name not in given]

    def excess(self, given: dict[str, str]) -> list[str]:
        return [name for name in given if name not in self.required + self.optional]


@dataclass(frozen=True)
class _Element:
    """What may be on and in an element. ``shapes`` differ where some attributes exclude or need others.

    Of the ``children``, exactly one is to be there of each that is ``needed``.
    """

    attributes: dict[str, _Type]
    shapes: tuple[_Shape, ...]
    children: tuple[str, ...]
    needed: tuple[str, ...]


@cache
def _tables_of(schema: str) -> dict[str, _Element]:
    """Element name -> what is allowed. Knows the parts of RELAX NG that the schemas use, with one meaning a name."""
    defines = {child.attributes["name"]: child for child in _parsed(schema).root.children if child.tag == "define"}

    def resolve(pattern: Node) -> list[Node]:
        """The patterns in a pattern, references followed, except into elements."""
        inside: list[Node] = []
        for child in pattern.children:
            if child.tag == "ref":
                define = defines[child.attributes["name"]]
                inside += define.children if define.children[0].tag == "element" else resolve(define)
            else:
                inside.append(child)
        return inside

    def attributes(pattern: Node) -> Iterator[tuple[str, _Type]]:
        for child in resolve(pattern):
            if child.tag == "attribute":
                yield child.attributes["name"], type_of(child)
            elif child.tag != "element":
                yield from attributes(child)

    def children(pattern: Node) -> Iterator[str]:
        for child in resolve(pattern):
            if child.tag == "element":
                yield child.attributes["name"]
            elif child.tag != "attribute":
                yield from children(child)

    def shapes(pattern: Node) -> list[_Shape]:
        """The sets of attributes that one pattern allows."""
        if pattern.tag == "attribute":
            return [_Shape(required=(pattern.attributes["name"],))]
        parts = [shapes(child) for child in resolve(pattern) if child.tag not in ("element", "zeroOrMore")]
        if pattern.tag == "choice":
            return [shape for part in parts for shape in part]
        whole = [
            _Shape(sum((s.required for s in chosen), ()), sum((s.optional for s in chosen), ()))
            for chosen in product(*parts)
        ]
        if pattern.tag == "optional":
            if len(whole) == 1 and len(whole[0].required) == 1 and not whole[0].optional:
                return [_Shape(optional=whole[0].required)]
            return [_Shape(), *whole]
        return whole

    def type_of(attribute: Node) -> _Type:
        if not attribute.children:
            return _Type()
        name = attribute.children[0].attributes["name"]
        documentation, content = defines[name].children
        if content.tag == "choice":
            return _Type(name, documentation.text, values=tuple(value.text for value in content.children))
        return _Type(name, documentation.text, pattern=content.children[0].text)

    tables = {}
    for define in defines.values():
        element = define.children[0]
        if element.tag == "element":
            tables[element.attributes["name"]] = _Element(
                dict(attributes(element)),
                tuple(shapes(element)),
                tuple(children(element)),
                tuple(child.attributes["name"] for child in resolve(element) if child.tag == "element"),
            )
    return tables


# The walk.


def _explain(document: Document, kind: str, where: Location, reason: str) -> list[Finding]:
    """All that is wrong with a document; ``reason`` at ``where``, if the walk finds nothing."""
    problems = sorted(_walk(document.root, kind), key=lambda problem: problem[0].line)
    findings = [Finding("XML", document.where(node), message, hint) for node, message, hint in problems]
    return findings or [Finding("XML", where, reason)]


def _walk(root: Node, kind: str) -> Iterator[tuple[Node, str, str]]:
    if root.tag != kind:
        hint = f"this is the file of a {root.tag}" if root.tag in KINDS else f"the outermost element is <{kind} ...>"
        yield root, f"<{_short(root.tag)}> found where <{kind}> is expected", hint
        return
    tables = _tables_of(schema_text(kind))
    open_nodes = [root]
    while open_nodes:
        node = open_nodes.pop()
        table = tables[node.tag]
        yield from _attribute_problems(node, table)
        if node.text:
            yield node, f"text inside <{node.tag}>: {_short(node.text.strip())!r}", "all values are attributes"
        known = []
        for child in node.children:
            if child.tag in table.children:
                known.append(child)
            else:
                yield (child, *_unknown_element(child.tag, node.tag, tables))
        for tag in table.needed:
            count = sum(child.tag == tag for child in known)
            if count != 1:
                yield node, f"<{node.tag}> has {count or 'no'} <{tag}>", f"it has exactly one <{tag} .../> inside"
        open_nodes += reversed(known)


def _attribute_problems(node: Node, table: _Element) -> Iterator[tuple[Node, str, str]]:
    given = {name: value for name, value in node.attributes.items() if name in table.attributes}
    absent = [name for name in table.attributes if name not in given]
    supposed = dict(given)  # as if misspelt names were spelt right, so that they are not reported as missing as well
    for name in node.attributes:
        if name not in given:
            close = get_close_matches(name, absent, 1) or get_close_matches(name, table.attributes, 1)
            supposed.update(dict.fromkeys(close, ""))
            hint = f"did you mean {close[0]!r}?" if close else f"valid there: {', '.join(table.attributes)}"
            yield node, f"unknown attribute {_short(name)!r} of <{node.tag}>", hint
    yield from ((node, *problem) for problem in _shape_problem(node.tag, supposed, table))
    for name, value in given.items():
        complaint = table.attributes[name].complaint(value)
        if complaint:
            hint = "" if complaint.startswith("expected") else f"write {table.attributes[name].documentation}"
            yield node, f'{name}="{_short(value)}" of <{node.tag}>: {_short(complaint, 300)}', hint


def _shape_problem(tag: str, given: dict[str, str], table: _Element) -> Iterator[tuple[str, str]]:
    """What keeps the attributes from being one of the shapes, in terms of the nearest ones."""

    def distance(shape: _Shape) -> int:
        return len(shape.missing(given)) + len(shape.excess(given))

    least = min(map(distance, table.shapes))
    if least == 0:
        return
    near = [shape for shape in table.shapes if distance(shape) == least]
    always = [name for name in near[0].missing(given) if all(name in shape.missing(given) for shape in near)]
    for name in always:
        yield f"<{tag}> lacks the attribute {name!r}", f"its value is {table.attributes[name].documentation}"
    if len(always) == least:
        return
    excess = list(dict.fromkeys(name for shape in near for name in shape.excess(given)))
    missing = list(dict.fromkeys(name for shape in near for name in shape.missing(given) if name not in always))
    if excess and missing:
        yield f"<{tag}> has {_list(excess, 'and')} without {_list(missing, 'or')}", ""
    elif excess:
        rivals = [name for name in given if name in _varying(table)]
        all_of = "both" if len(rivals) == 2 else "all of"
        yield f"<{tag}> cannot have {all_of} {_list(rivals, 'and')}", f"remove {_list(excess, 'or')}"
    else:
        yield f"<{tag}> lacks {_list(missing, 'or')}", ""


def _varying(table: _Element) -> set[str]:
    """The attributes that not every shape allows."""
    common = [name for name in table.attributes if not any(shape.excess({name: ""}) for shape in table.shapes)]
    return set(table.attributes).difference(common)


def _unknown_element(tag: str, parent: str, tables: dict[str, _Element]) -> tuple[str, str]:
    homes = [f"<{name}>" for name, table in tables.items() if tag in table.children]
    if homes:
        return f"<{tag}> does not belong inside <{parent}>", f"it goes inside {' or '.join(homes)}"
    allowed = tables[parent].children
    close = get_close_matches(tag, allowed, 1) or get_close_matches(tag, tables, 1)
    if close:
        return f"unknown element <{_short(tag)}> inside <{parent}>", f"did you mean <{close[0]}>?"
    names = ", ".join(f"<{name}>" for name in allowed) or "nothing"
    return f"unknown element <{_short(tag)}> inside <{parent}>", f"valid there: {names}"


def _list(names: list[str], word: str) -> str:
    quoted = [repr(name) for name in names]
    return f" {word} ".join(quoted) if len(quoted) < 3 else f"{', '.join(quoted[:-1])} {word} {quoted[-1]}"


def _short(text: str, length: int = 80) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
