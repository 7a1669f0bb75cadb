"""PREESM's .pi files (``graphml > graph``) as application graphs: PiSDF with parameters that are fixed.

PiSDF (Desnos, Pelcat, Nezan, Bhattacharyya, Aridhi 2013) is SDF whose rates are expressions over parameters. What sets
parameters while the graph runs is refused. An actor with a graph of its own is read as one actor, interfaces of a graph
are a source and a sink, and so are the special actors (broadcast, fork, join, roundbuffer) actors like others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Optional

from eprune.formats.xml.safe import Document, Node, parse
from eprune.formats.xml.sdf3 import Sdf, sdf3_graph
from eprune.model.finding import EpruneError, Finding, Location
from eprune.model.graph import Actor, Direction, Fifo, Graph, Port, PortRef
from eprune.model.names import NAME
from eprune.model.token import TokenType

#: bytes of C's types, as PREESM's files name them
_BYTES = {
    **dict.fromkeys(("char", "uchar", "unsigned char", "signed char", "int8_t", "uint8_t", "bool", "byte"), 1),
    **dict.fromkeys(("short", "ushort", "unsigned short", "int16_t", "uint16_t"), 2),
    **dict.fromkeys(("int", "uint", "unsigned int", "float", "int32_t", "uint32_t"), 4),
    **dict.fromkeys(("double", "long", "ulong", "unsigned long", "int64_t", "uint64_t"), 8),
}
_FUNCTIONS: Mapping[str, Callable[..., Fraction]] = {
    "min": lambda *values: min(values),
    "max": lambda *values: max(values),
    "abs": lambda value: abs(value),
    "floor": lambda value: Fraction(math.floor(value)),
    "ceil": lambda value: Fraction(math.ceil(value)),
    "round": lambda value: Fraction(math.floor(value + Fraction(1, 2))),
    "mod": lambda value, by: value % by,
    "sqrt": lambda value: _root(value),
    "pow": lambda base, exponent: _power(base, exponent),
}
_WORD = re.compile(r"\s*(?:([0-9]{1,18}(?:\.[0-9]{1,18})?)|([A-Za-z_][A-Za-z0-9_]*)|([-+*/%^(),]))")
_MOST = 10**12
_DEEPEST = 50


def read_dataflow(path: str, unit: Fraction = Fraction(1, 10**6)) -> Sdf:
    """A graph of SDF3 or of PREESM, "-" for stdin; which one, its first element says. Raises EpruneError.

    ``unit`` is SDF3's unit of time, in seconds. A .pi file has no times.
    """
    document = parse(path)
    return _Reader(document).read() if document.root.tag == "graphml" else sdf3_graph(document, unit)


class _Reader:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.nodes: dict[str, Node] = {}
        #: node -> the parameters that its expressions may name, by the names that they have there
        self.known: dict[str, dict[str, str]] = {}
        self.values: dict[str, Optional[Fraction]] = {}
        self.depth = 0

    def report(self, element: Node, message: str, hint: str = "", rule: str = "XML") -> None:
        self.findings.append(Finding(rule, self.document.where(element), message, hint))

    def read(self) -> Sdf:
        graph = next((each for each in self.document.root.children if each.tag == "graph"), None)
        if graph is None:
            self.report(self.document.root, "<graphml> has no <graph>")
            raise EpruneError(*self.findings)
        for node in graph.children:
            if node.tag == "node":
                self.add(node)
        edges = [each for each in graph.children if each.tag == "edge"]
        for edge in edges:
            if edge.attributes.get("kind") == "dependency":
                self.depend(edge)
        actors = {
            name: list[Port]()
            for name, node in self.nodes.items()
            if node.attributes.get("kind") not in ("param", "cfg_in_iface", "cfg_out_iface", "delay")
        }
        fifos = [self.fifo(each, actors) for each in edges if each.attributes.get("kind") == "fifo"]
        self.say(actors)
        if self.findings:
            raise EpruneError(*sorted(self.findings, key=lambda finding: finding.where))
        name = next((each.text for each in graph.children if each.attributes.get("key") == "name"), "")
        made = tuple(Actor(each, tuple(ports), where=self.place(each)) for each, ports in actors.items())
        return Sdf(
            Graph(
                name if re.fullmatch(NAME, name) else "pisdf",
                made,
                tuple(each for each in fifos if each is not None),
                where=self.document.where(graph),
            ),
            tuple(actors),
            notes=tuple(self.notes),
        )

    def place(self, name: str) -> Location:
        return self.document.where(self.nodes[name])

    def add(self, node: Node) -> None:
        name = node.attributes.get("id", "")
        if not re.fullmatch(NAME, name):
            hint = "names have letters, digits, '_' and '-', and do not begin with '-'"
            self.report(node, f"<node> has the id {name!r}", hint)
        elif name in self.nodes:
            self.report(node, f"<node>: '{name}' is there twice", rule="G1")
        self.nodes.setdefault(name, node)
        for port in node.children:
            if port.tag == "port" and port.attributes.get("kind") == "cfg_output":
                what = f"'{name}' sets a parameter while the graph runs"
                self.report(port, what, "only parameters that are fixed are read: give them a value")

    def depend(self, edge: Node) -> None:
        """A parameter that a node's expressions may name: after the port that it comes in by, or else by itself."""
        source, target = edge.attributes.get("source", ""), edge.attributes.get("target", "")
        for end in (source, target):
            if end not in self.nodes:
                self.report(edge, f"<edge>: there is no node '{end}'", rule="G1")
        self.known.setdefault(target, {})[edge.attributes.get("targetport") or source] = source

    def value(self, name: str) -> Optional[Fraction]:
        """What a parameter is; None where that cannot be told, which is reported once."""
        if name in self.values or name not in self.nodes:
            return self.values.get(name)
        self.values[name] = None  # as long as it is being looked at: a parameter that depends on itself has no value
        node = self.nodes[name]
        text = node.attributes.get("expr") or node.attributes.get("defaultValue")
        if text is None:
            hint = "a graph that is part of another has its parameters there: import that one"
            self.report(node, f"parameter '{name}' has no value", hint)
        elif self.depth == _DEEPEST:
            self.report(node, f"parameter '{name}' depends on more than {_DEEPEST} others, one upon the other")
        else:
            self.depth += 1
            self.values[name] = self.evaluate(text, name, node)
            self.depth -= 1
        return self.values[name]

    def evaluate(self, text: str, owner: str, element: Node) -> Optional[Fraction]:
        """An expression of a node; None, and reported, where it has no value."""
        lacking: list[str] = []

        def look(name: str) -> Fraction:
            found = self.value(self.known.get(owner, {}).get(name, ""))
            if found is None:
                lacking.append(name)
                return Fraction(1)
            return found

        before = len(self.findings)
        try:
            value = _Expression(text, look).value()
        except (ValueError, TypeError, ZeroDivisionError, OverflowError) as error:
            self.report(element, f"'{owner}': {text!r} has no value: {error}")
            return None
        if lacking and len(self.findings) == before:
            self.report(element, f"'{owner}': {text!r} names '{lacking[0]}', which is no parameter of it")
        return None if lacking else value

    def whole(self, text: str, owner: str, element: Node) -> Optional[int]:
        value = self.evaluate(text, owner, element)
        if value is None:
            return None
        if value.denominator != 1 or not 0 <= value < 10**9:
            self.report(element, f"'{owner}': {text} is {float(value):g}, and no whole number from 0 to 999999999")
            return None
        return int(value)

    def fifo(self, edge: Node, actors: dict[str, list[Port]]) -> Optional[Fifo]:
        ends = []
        for end, kind, direction in (("source", "output", Direction.OUT), ("target", "input", Direction.IN)):
            name, port = edge.attributes.get(end, ""), edge.attributes.get(f"{end}port", "")
            node = self.nodes.get(name)
            if node is not None and node.attributes.get("kind") == "delay":
                return None  # what sets or gets the initial tokens, outside of the iterations
            ports = node.children if node is not None else ()
            found = [
                each
                for each in ports
                if (each.attributes.get("kind"), each.attributes.get("name")) == (kind, port) and each.tag == "port"
            ]
            if not found:
                self.report(edge, f"<edge>: there is no {kind} {name}.{port}", rule="G1")
                return None
            ends.append((PortRef(name, port), found[0], direction))
        token = self.token(edge.attributes.get("type", "").strip())
        rates = []
        for ref, element, direction in ends:
            rate = self.whole(element.attributes.get("expr", "1"), ref.actor, element)
            if rate == 0:
                self.report(element, f"port {ref}: rate 0", "write a rate of 1 or more", "G3")
            if not re.fullmatch(NAME, ref.port):
                self.report(element, f"<port> has the name {ref.port!r}")
            where = self.document.where(element)
            actors[ref.actor].append(Port(ref.port, direction, token, *(rate or 1,) * 3, where=where))
            rates.append(rate or 1)
        delay = self.delay(edge)
        name = "-".join((ends[0][0].actor, ends[0][0].port))
        (source, _, _), (target, _, _) = ends
        where = self.document.where(edge)
        return Fifo(name, source, target, capacity=delay + 2 * max(rates), delay=delay, where=where)

    def delay(self, edge: Node) -> int:
        """The initial tokens: of the node that the edge names, or of the edge itself."""
        data = next((each for each in edge.children if each.attributes.get("key") == "delay"), None)
        if data is None:
            return 0
        name = data.text.strip()
        node = self.nodes.get(name)
        owner, holder = (name, node) if node is not None else (edge.attributes.get("source", ""), data)
        text = holder.attributes.get("expr") or edge.attributes.get("expr")
        if text is None:
            self.report(edge, f"<edge>: its delay '{name}' has no size")
            return 0
        return self.whole(text, owner, edge) or 0

    def token(self, kind: str) -> TokenType:
        nbytes = 8 if kind.endswith("*") else _BYTES.get(kind)
        if nbytes is None:
            note = f"the size of tokens of type '{kind}' is not known: taken for 1 byte"
            self.notes += [note] * (note not in self.notes)
        return TokenType("uint8", (nbytes,)) if nbytes and nbytes > 1 else TokenType("uint8")

    def say(self, actors: Mapping[str, list[Port]]) -> None:
        """What of the file is not in the graph."""
        deep = [
            name
            for name in actors
            for data in self.nodes[name].children
            if data.attributes.get("key") == "graph_desc" and data.text.strip().endswith(".pi")
        ]
        if deep:
            shown = ", ".join(f"'{name}'" for name in deep[:6]) + ", ..." * (len(deep) > 6)
            self.notes.append(f"with a graph of their own, here one actor each: {shown}")
        if any(
            {"getter", "setter"} & {key for key, text in node.attributes.items() if text}
            for node in self.nodes.values()
        ):
            self.notes.append("what sets and gets the initial tokens of delays is left out")


class _Expression:
    """A recursive descent over numbers, names, + - * / % ^, brackets and a few functions."""

    def __init__(self, text: str, look: Callable[[str], Fraction]) -> None:
        if len(text) > 300:
            raise ValueError("the expression is too long")
        self.words: list[tuple[str, str]] = []
        at = 0
        while text[at:].strip():
            match = _WORD.match(text, at)
            if match is None:
                raise ValueError(f"{text[at:].strip()!r} is not understood")
            self.words.append(next(pair for pair in zip(("number", "name", "sign"), match.groups()) if pair[1]))
            at = match.end()
        self.look = look
        self.depth = 0

    def value(self) -> Fraction:
        found = self.sum()
        if self.words:
            raise ValueError(f"{self.words[0][1]!r} is not expected")
        return found

    def take(self, *signs: str) -> str:
        """The next word, if it is one of these signs; else an empty text."""
        return self.words.pop(0)[1] if self.words and self.words[0][1] in signs else ""

    def sum(self) -> Fraction:
        self.depth += 1
        if self.depth > 50:
            raise ValueError("too many brackets")
        found = self.product()
        while sign := self.take("+", "-"):
            found = _bounded(found + self.product() if sign == "+" else found - self.product())
        self.depth -= 1
        return found

    def product(self) -> Fraction:
        found = self.power()
        while sign := self.take("*", "/", "%"):
            by = self.power()
            found = _bounded(found * by if sign == "*" else found / by if sign == "/" else found % by)
        return found

    def power(self) -> Fraction:
        base = self.atom()
        return _power(base, self.power()) if self.take("^") else base

    def atom(self) -> Fraction:
        signs = [self.take("-", "+")]
        while signs[-1]:
            signs.append(self.take("-", "+"))
        found = self._bare()
        return -found if signs.count("-") % 2 else found

    def _bare(self) -> Fraction:
        if self.take("("):
            found = self.sum()
            if not self.take(")"):
                raise ValueError("a bracket is not closed")
            return found
        kind, word = self.words.pop(0) if self.words else ("", "")
        if kind == "number":
            return Fraction(word)
        if kind != "name":
            raise ValueError(f"{word!r} is not expected" if word else "it ends too early")
        if not self.take("("):
            return self.look(word)
        arguments = [self.sum()]
        while self.take(","):
            arguments.append(self.sum())
        if not self.take(")"):
            raise ValueError("a bracket is not closed")
        if word not in _FUNCTIONS:
            raise ValueError(f"the function {word!r} is not known")
        return _bounded(_FUNCTIONS[word](*arguments))


def _bounded(value: Fraction) -> Fraction:
    if abs(value) > _MOST or value.denominator > _MOST:
        raise ValueError("it is too large")
    return value


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent == Fraction(1, 2):
        return _root(base)
    if exponent.denominator != 1 or not 0 <= exponent <= 64:
        raise ValueError("exponents are whole numbers from 0 to 64")
    found = Fraction(1)
    for _ in range(int(exponent)):
        found = _bounded(found * base)
    return found


def _root(value: Fraction) -> Fraction:
    """The square root, exact where it is a fraction."""
    if value < 0:
        raise ValueError("a negative number has no square root")
    above, below = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if (above**2, below**2) == (value.numerator, value.denominator):
        return Fraction(above, below)
    return Fraction(math.sqrt(value)).limit_denominator(10**6)
