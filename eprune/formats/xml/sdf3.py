"""SDF3's XML (``sdf3 > applicationGraph > sdf``) as application graphs: synchronous dataflow (SDF) with fixed rates.

Single-rate graphs are read as they are. A graph with channels whose two ends have different rates is for the pass
``expand``.

SDF3 (Stuijk, Geilen, Basten 2006) gives sizes of tokens in bits, of buffers in tokens, and times in units of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Optional

from eprune.formats.xml.safe import Document, Node, parse
from eprune.model.finding import EpruneError, Finding
from eprune.model.graph import Actor, Direction, Fifo, Graph, Port, PortRef
from eprune.model.names import NAME
from eprune.model.token import TokenType

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
            for fifo, (produced, consumed) in zip(self.graph.fifos, rates_at_ends(self.graph))
            if produced != consumed
        ]


def read_sdf3(path: str, unit: Fraction = Fraction(1, 10**6)) -> Sdf:
    """Read an SDF3 file, "-" for stdin; ``unit`` is its unit of time, in seconds.

    Raises EpruneError, with all findings, for what is not an SDF graph. Names, ends and rates of what is read are for
    the analyzer to judge, but for ends that do not exist.
    """
    return _Reader(parse(path), unit).read()


def rates_at_ends(graph: Graph) -> list[tuple[int, int]]:
    """The rates at both ends of each FIFO, in tokens per firing."""
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
            self.report(root, f"<{root.tag}> is not an SDF3 file", "its first element is <sdf3>")
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
            name if re.fullmatch(NAME, name) else "sdf",
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
        if not re.fullmatch(NAME, name):
            hint = "names have letters, digits, '_' and '-', and do not begin with '-'"
            self.report(element, f"<{element.tag}> has the {attribute} {name!r}", hint)
        return name

    def count(self, element: Node, attribute: str, default: Optional[int] = None) -> int:
        text = element.attributes.get(attribute)
        if text is None and default is not None:
            return default
        if text is None or not _COUNT.fullmatch(text):
            hint = "CSDF and other graphs with several rates a port are not read" if "," in (text or "") else ""
            what = "is missing" if text is None else f"{text!r} is not a whole number from 0 to 999999999"
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
                self.report(each, f"<executionTime>: time {text!r} is not a number")
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
