"""SDF3's XML (``sdf3 > applicationGraph > sdf``) as application graphs: synchronous dataflow (SDF) with fixed rates.

Single-rate graphs are read as they are. A graph with channels whose two ends have different rates is expanded to
single rate (Lee and Messerschmitt 1987): an actor that fires n times an iteration becomes n actors, and a channel
becomes FIFOs that lead each token from the firing that writes it to the one that reads it.

SDF3 (Stuijk, Geilen, Basten 2006) gives sizes of tokens in bits, of buffers in tokens, and times in units of its own.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Optional

from eprune.formats.xml.safe import Document, Node, parse
from eprune.model.finding import EpruneError, Finding, Location
from eprune.model.graph import Actor, Direction, Fifo, Graph, Port, PortRef
from eprune.model.token import TokenType

#: Firings and FIFOs of an expanded graph, at most.
MAX_FIRINGS = 100_000
MAX_FIFOS = 500_000

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]*")
_COUNT = re.compile(r"[0-9]{1,9}")
_TIME = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?")


@dataclass(frozen=True)
class Sdf:
    """A graph as SDF3 has it: ``graph`` with the rates of the file at both ends, by rule G4 only if it is single-rate.

    ``overlapping`` names the actors without a self-loop: in SDF3 their firings may overlap.
    """

    graph: Graph
    overlapping: tuple[str, ...]

    def findings(self) -> list[Finding]:
        """A finding under G4 for each channel whose ends have different rates."""
        hint = "token rates are symmetric here; --expand makes one actor of each firing"
        return [
            Finding(
                "G4",
                fifo.where,
                f"channel '{fifo.name}': rate {produced} at {fifo.source}, {consumed} at {fifo.target}",
                hint,
            )
            for fifo, (produced, consumed) in zip(self.graph.fifos, _rates(self.graph))
            if produced != consumed
        ]


def read_sdf3(path: str, unit: Fraction = Fraction(1, 10**6)) -> Sdf:
    """Read an SDF3 file, "-" for stdin; ``unit`` is its unit of time, in seconds.

    Raises EpruneError, with all findings, for what is no SDF graph. Names, ends and rates of what is read are for the
    analyzer to judge, but for ends that do not exist.
    """
    return _Reader(parse(path), unit).read()


def _rates(graph: Graph) -> list[tuple[int, int]]:
    """The rates at both ends of each FIFO."""
    ports = {ref: port.url for ref, port in graph.ports()}
    return [(ports[fifo.source], ports[fifo.target]) for fifo in graph.fifos]


class _Reader:
    def __init__(self, document: Document, unit: Fraction) -> None:
        self.document = document
        self.unit = unit
        self.findings: list[Finding] = []

    def report(self, element: Node, message: str, hint: str = "", rule: str = "XML") -> None:
        self.findings.append(Finding(rule, self.document.where(element), message, hint))

    def read(self) -> Sdf:
        root = self.document.root
        if root.tag != "sdf3":
            self.report(root, f"<{root.tag}> is no SDF3 file", "its first element is <sdf3>")
            raise EpruneError(*self.findings)
        application = self.child(root, "applicationGraph")
        sdf = self.child(application, "sdf")
        properties = next((each for each in application.children if each.tag == "sdfProperties"), Node("", {}))
        times = {each.attributes.get("actor"): each for each in properties.children if each.tag == "actorProperties"}
        sizes = {
            each.attributes.get("channel"): each for each in properties.children if each.tag == "channelProperties"
        }
        actors = [self.actor(each, times) for each in sdf.children if each.tag == "actor"]
        ports = {
            PortRef(actor.name, port.name): (actor_at, port_at)
            for actor_at, actor in enumerate(actors)
            for port_at, port in enumerate(actor.ports)
        }
        fifos = [self.channel(each, actors, ports, sizes) for each in sdf.children if each.tag == "channel"]
        if self.findings:
            raise EpruneError(*sorted(self.findings, key=lambda finding: finding.where))
        name = application.attributes.get("name") or sdf.attributes.get("name") or "sdf"
        graph = Graph(
            name if _NAME.fullmatch(name) else "sdf",
            tuple(actors),
            tuple(fifo for fifo in fifos if fifo is not None),
            where=self.document.where(sdf),
        )
        bound = {fifo.source.actor for fifo in graph.fifos if fifo.source.actor == fifo.target.actor}
        return Sdf(graph, tuple(actor.name for actor in actors if actor.name not in bound))

    def child(self, element: Node, tag: str) -> Node:
        found = [each for each in element.children if each.tag == tag]
        if not found:
            other = ", ".join(f"<{name}>" for name in dict.fromkeys(each.tag for each in element.children))
            hint = f"there is {other}: only SDF graphs are read" if other else ""
            self.report(element, f"<{element.tag}> has no <{tag}>", hint)
            raise EpruneError(*self.findings)
        return found[0]

    def actor(self, element: Node, times: dict[Optional[str], Node]) -> Actor:
        name = self.name(element)
        ports = tuple(self.port(each) for each in element.children if each.tag == "port")
        time = self.time(times[name]) if name in times else None
        return Actor(name, ports, time=time, where=self.document.where(element))

    def name(self, element: Node, attribute: str = "name") -> str:
        name = element.attributes.get(attribute, "")
        if not _NAME.fullmatch(name):
            hint = "names have letters, digits, '_' and '-', and do not begin with '-'"
            self.report(element, f"<{element.tag}> has the {attribute} {name!r}", hint)
        return name

    def count(self, element: Node, attribute: str, default: Optional[int] = None) -> int:
        text = element.attributes.get(attribute)
        if text is None and default is not None:
            return default
        if text is None or not _COUNT.fullmatch(text):
            hint = "CSDF and other graphs with several rates a port are not read" if "," in (text or "") else ""
            what = "is missing" if text is None else f"{text!r} is no whole number from 0 to 999999999"
            self.report(element, f"<{element.tag}>: {attribute} {what}", hint)
            return 1
        return int(text)

    def port(self, element: Node) -> Port:
        kind = element.attributes.get("type", "")
        if kind not in ("in", "out"):
            self.report(element, f"<port> has the type {kind!r}", "it is 'in' or 'out'")
        rate = self.count(element, "rate")
        if rate == 0:
            self.report(element, "<port>: rate 0", "write a rate of 1 or more", "G3")
        token = TokenType("uint8")
        direction = Direction.IN if kind == "in" else Direction.OUT
        return Port(self.name(element), direction, token, rate, rate, rate, where=self.document.where(element))

    def time(self, element: Node) -> Optional[Fraction]:
        """The time on the processor that is the default one, or the first."""
        processors = [each for each in element.children if each.tag == "processor"]
        chosen = [each for each in processors if each.attributes.get("default") == "true"] or processors
        for each in chosen[0].children if chosen else ():
            if each.tag == "executionTime":
                text = each.attributes.get("time", "")
                if _TIME.fullmatch(text):
                    return Fraction(text) * self.unit
                self.report(each, f"<executionTime>: time {text!r} is no number")
        return None

    def channel(
        self,
        element: Node,
        actors: list[Actor],
        ports: dict[PortRef, tuple[int, int]],
        sizes: dict[Optional[str], Node],
    ) -> Optional[Fifo]:
        name = self.name(element)
        source, target = (
            PortRef(element.attributes.get(f"{end}Actor", ""), element.attributes.get(f"{end}Port", ""))
            for end in ("src", "dst")
        )
        ends = (source, target)
        unknown = [end for end in ends if end not in ports]
        for end in unknown:
            self.report(element, f"channel {name!r}: there is no port {end}", rule="G1")
        delay = self.count(element, "initialTokens", 0)
        token, capacity = self.properties(sizes.get(name))
        if unknown:
            return None
        for end in ends:
            actor_at, port_at = ports[end]
            actor = actors[actor_at]
            own = list(actor.ports)
            own[port_at] = replace(own[port_at], token=token)
            actors[actor_at] = replace(actor, ports=tuple(own))
        rate = max(actors[at].ports[port].url for at, port in (ports[end] for end in ends))
        default = delay + 2 * rate
        return Fifo(
            name, source, target, default if capacity is None else capacity, delay, where=self.document.where(element)
        )

    def properties(self, element: Optional[Node]) -> tuple[TokenType, Optional[int]]:
        """The token's type, bytes that hold its bits, and the capacity where it is given."""
        token, capacity = TokenType("uint8"), None
        for each in element.children if element is not None else ():
            if each.tag == "tokenSize":
                nbytes = -(-self.count(each, "sz") // 8)
                token = TokenType("uint8", (nbytes,)) if nbytes > 1 else token
            elif each.tag == "bufferSize":
                capacity = self.count(each, "sz")
        return token, capacity


def repetitions(graph: Graph) -> dict[str, int]:
    """Actor -> its firings in an iteration, the least whole numbers after which every channel is as full as before.

    Raises EpruneError (C1) for a channel that no such numbers satisfy.
    """
    rates = _rates(graph)
    beside: dict[str, list[tuple[str, Fraction]]] = {actor.name: [] for actor in graph.actors}
    for fifo, (produced, consumed) in zip(graph.fifos, rates):
        beside[fifo.source.actor].append((fifo.target.actor, Fraction(produced, consumed)))
        beside[fifo.target.actor].append((fifo.source.actor, Fraction(consumed, produced)))
    firings: dict[str, int] = {}
    for root in beside:
        if root in firings:
            continue
        part = {root: Fraction(1)}
        stack = [root]
        while stack:
            actor = stack.pop()
            for other, factor in beside[actor]:
                if other not in part:
                    part[other] = part[actor] * factor
                    stack.append(other)
        least = math.lcm(*(count.denominator for count in part.values()))
        common = math.gcd(*(int(count * least) for count in part.values()))
        firings.update({actor: int(count * least) // common for actor, count in part.items()})
    for fifo, (produced, consumed) in zip(graph.fifos, rates):
        source, target = fifo.source.actor, fifo.target.actor
        if firings[source] * produced != firings[target] * consumed:
            message = (
                f"channel '{fifo.name}': an iteration writes {firings[source] * produced} tokens ({firings[source]} "
                f"firings of '{source}') and reads {firings[target] * consumed} ({firings[target]} of '{target}')"
            )
            raise EpruneError(
                Finding("C1", fifo.where, message, "no numbers of firings keep it in balance"), exit_code=1
            )
    return firings


def expand(graph: Graph) -> Graph:
    """The single-rate graph that does the same: one actor for each firing of an iteration, and its times.

    Firing i of actor A is ``A-i``, from 1; an actor that fires once keeps its name. Capacities are the defaults. Raises
    EpruneError where rates are inconsistent (C1) or the graph would be too large.
    """
    firings = repetitions(graph)
    if sum(firings.values()) > MAX_FIRINGS:
        _too_large(graph.where, f"{sum(firings.values())} firings in an iteration; the limit is {MAX_FIRINGS}")
    taken = {actor.name for actor in graph.actors}
    copies = {}
    for actor in graph.actors:
        count = firings[actor.name]
        copies[actor.name] = [actor.name] if count == 1 else _fresh(actor.name, count, taken)
    names = {fifo.name for fifo in graph.fifos}
    ports: dict[str, list[Port]] = {name: [] for every in copies.values() for name in every}
    types = {ref: port.token for ref, port in graph.ports()}
    fifos: list[Fifo] = []
    for fifo, rates in zip(graph.fifos, _rates(graph)):
        paths = _paths(fifo, rates, (firings[fifo.source.actor], firings[fifo.target.actor]))
        if len(fifos) + len(paths) > MAX_FIFOS:
            _too_large(fifo.where, f"more than {MAX_FIFOS} FIFOs")
        own = [fifo.name] if len(paths) == 1 else _fresh(fifo.name, len(paths), names)
        for name, ((writer, reader, ahead), rate) in zip(own, paths.items()):
            ends = []
            for end, firing, direction in ((fifo.source, writer, Direction.OUT), (fifo.target, reader, Direction.IN)):
                own_ports = ports[copies[end.actor][firing]]
                port = f"{direction.value}{len(own_ports) + 1}"
                own_ports.append(Port(port, direction, types[end], rate, rate, rate, where=fifo.where))
                ends.append(PortRef(copies[end.actor][firing], port))
            source, target = ends
            fifos.append(Fifo(name, source, target, (ahead + 2) * rate, ahead * rate, where=fifo.where))
    actors = [
        replace(actor, name=name, ports=tuple(ports[name])) for actor in graph.actors for name in copies[actor.name]
    ]
    return Graph(graph.name, tuple(actors), tuple(fifos), where=graph.where)


def _paths(fifo: Fifo, rates: tuple[int, int], firings: tuple[int, int]) -> dict[tuple[int, int, int], int]:
    """(writing firing, reading firing, iterations that the second is ahead) -> tokens in an iteration."""
    (produced, consumed), (writers, readers) = rates, firings
    paths: Counter[tuple[int, int, int]] = Counter()
    for reader in range(readers):
        token = reader * consumed - fifo.delay
        end = token + consumed
        while token < end:
            firing = token // produced
            following = min(end, (firing + 1) * produced)
            paths[firing % writers, reader, -(firing // writers)] += following - token
            token = following
            if len(paths) > MAX_FIFOS:
                _too_large(fifo.where, f"more than {MAX_FIFOS} FIFOs")
    return paths


def _fresh(name: str, count: int, taken: set[str]) -> list[str]:
    """``name-1`` and so on; more hyphens where one of them is taken."""
    hyphens = "-"
    while not taken.isdisjoint(f"{name}{hyphens}{number}" for number in range(1, count + 1)):
        hyphens += "-"
    made = [f"{name}{hyphens}{number}" for number in range(1, count + 1)]
    taken.update(made)
    return made


def _too_large(where: Location, message: str) -> None:
    raise EpruneError(Finding("XML", where, f"too large to expand: {message}"))
