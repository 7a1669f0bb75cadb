"""SDF3's XML (``sdf3 > applicationGraph > sdf`` or ``csdf``) as application graphs: synchronous dataflow (SDF).

Single-rate graphs are read as they are. A graph with channels whose two ends have different rates is for the pass
``expand``, and so is cyclo-static dataflow (CSDF; Bilsen, Engels, Lauwereins, Peperstraete 1996), where the rates and
times of an actor go through phases: ``1,2``, or ``3*1,2`` for three phases with 1 and one with 2. CSDF whose rates are
all constant is SDF.

SDF3 (Stuijk, Geilen, Basten 2006) gives sizes of tokens in bits, of buffers in tokens, and times in units of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import count as count_from
from typing import Optional, TypeVar

from eprune.formats.xml.safe import Document, Node, parse
from eprune.model.finding import EpruneError, Finding
from eprune.model.graph import Actor, Direction, Fifo, Graph, Port, PortRef
from eprune.model.names import NAME
from eprune.model.token import TokenType

_Item = TypeVar("_Item")

_COUNT = re.compile(r"[0-9]{1,9}")
_TIME = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?")


#: The most phases of an actor.
MAX_PHASES = 10_000


@dataclass(frozen=True)
class Phases:
    """How long firings take, of the actors that have phases: as many seconds as there are phases.

    Their rates are in the graph (``Port.phases``).
    """

    times: Mapping[str, tuple[Optional[Fraction], ...]] = field(default_factory=dict)

    def count(self, actor: str) -> int:
        """The number of an actor's phases."""
        return len(self.times.get(actor, (None,)))


#: the phases of a graph in which no firing differs from others of its actor
STEADY = Phases()


@dataclass(frozen=True)
class Sdf:
    """A graph as SDF3 has it: ``graph`` with the rates of the file at both ends, by rule G4 only if it is single-rate.

    ``overlapping`` names the actors without a self-loop: in SDF3 their firings may overlap. Where there are ``phases``,
    the graph has the largest times. ``notes`` are for the user: what was understood, renamed or left out.
    """

    graph: Graph
    overlapping: tuple[str, ...]
    phases: Phases = STEADY
    notes: tuple[str, ...] = ()

    def findings(self) -> list[Finding]:
        """A finding under G4 for each channel whose ends have different rates, or rates that change."""
        hint = "token rates are symmetric here; --expand makes one actor of each firing, --model sdf leaves it as it is"
        return [
            Finding(
                "G4",
                fifo.where,
                f"channel '{fifo.name}': rate {_sequence(produced)} at {fifo.source}, {_sequence(consumed)} at "
                f"{fifo.target}",
                hint,
            )
            for fifo, (produced, consumed) in zip(self.graph.fifos, self._rates_at_ends())
            if {*produced, *consumed} != {produced[0]}
        ]

    def _rates_at_ends(self) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        ports = {ref: port.rates for ref, port in self.graph.ports()}
        return [(ports[fifo.source], ports[fifo.target]) for fifo in self.graph.fifos]


def _sequence(rates: Sequence[int]) -> str:
    """``2``, or ``1,2,1``, shortened for people."""
    shown = [str(rate) for rate in (rates if len(set(rates)) > 1 else rates[:1])]
    return ",".join(shown if len(shown) <= 8 else [*shown[:7], "..."])


def read_sdf3(path: str, unit: Fraction = Fraction(1, 10**6)) -> Sdf:
    """Read an SDF3 file, "-" for stdin; ``unit`` is its unit of time, in seconds.

    Raises EpruneError, with all findings, for what is not an SDF graph. Names, ends and rates of what is read are for
    the analyzer to judge, but for ends that do not exist.
    """
    return sdf3_graph(parse(path), unit)


def sdf3_graph(document: Document, unit: Fraction) -> Sdf:
    """The graph of a document; raises EpruneError as ``read_sdf3`` does."""
    return _Reader(document, unit).read()


def _period(count: int, sequences: Sequence[Sequence[object]]) -> int:
    """The least divisor of ``count`` after which all sequences, each repeated ``count`` times, begin again."""
    whole = [[each[phase % len(each)] for phase in range(count)] for each in sequences]
    return next(
        period
        for period in range(1, count + 1)
        if count % period == 0 and all(each[period:] == each[:-period] for each in whole)
    )


class _Reader:
    def __init__(self, document: Document, unit: Fraction) -> None:
        self.document = document
        self.unit = unit
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.phased = False
        self.times: dict[str, tuple[Optional[Fraction], ...]] = {}
        self.names: set[str] = set()

    def report(self, element: Node, message: str, hint: str = "", rule: str = "XML") -> None:
        self.findings.append(Finding(rule, self.document.where(element), message, hint))

    def read(self) -> Sdf:
        root = self.document.root
        if root.tag != "sdf3":
            self.report(
                root,
                f"<{root.tag}> is not an SDF3 file",
                "its first element is <sdf3>, or <graphml> in PREESM's .pi files",
            )
            raise EpruneError(*self.findings)
        application = self.child(root, "applicationGraph")
        self.phased = any(each.tag == "csdf" for each in application.children)
        kind = "csdf" if self.phased else "sdf"
        sdf = self.child(application, kind)
        properties = next((each for each in application.children if each.tag == f"{kind}Properties"), Node("", {}))
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
        channels = [each for each in sdf.children if each.tag == "channel"]
        self.names = {each.attributes.get("name", "") for each in channels}
        named: dict[str, int] = {}
        fifos = [self.channel(each, actors, ports, sizes, named) for each in channels]
        self.notes += [
            f"{count} channels are called '{name}': numbers tell them apart"
            for name, count in named.items()
            if count > 1
        ]
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
        overlapping = tuple(actor.name for actor in actors if actor.name not in bound)
        return Sdf(graph, overlapping, Phases(self.times), tuple(self.notes))

    def child(self, element: Node, tag: str) -> Node:
        found = [each for each in element.children if each.tag == tag]
        if not found:
            other = ", ".join(f"<{name}>" for name in dict.fromkeys(each.tag for each in element.children))
            hint = f"there is {other}: only SDF and CSDF graphs are read" if other else ""
            self.report(element, f"<{element.tag}> has no <{tag}>", hint)
            raise EpruneError(*self.findings)
        return found[0]

    def actor(self, element: Node, times: dict[Optional[str], Node]) -> Actor:
        """An actor; what its phases are is noted, in the least number that has all of its rates and times."""
        name = self.name(element)
        own = [each for each in element.children if each.tag == "port"]
        rates = [self.port_rates(each) for each in own]
        spent = self.time(times[name]) if name in times else (None,)
        count = math.lcm(*(len(each) for each in (*rates, spent)))
        if count > MAX_PHASES:
            self.report(element, f"actor {name!r} has {count} phases; the limit is {MAX_PHASES}")
            count = 1
        period = _period(count, [*rates, spent])
        ports = tuple(self.port(each, sequence) for each, sequence in zip(own, rates))
        if period > 1:
            self.times[name] = tuple(spent[phase % len(spent)] for phase in range(period))
            if not any(len(set(sequence)) > 1 for sequence in rates):
                self.notes.append(
                    f"the time of '{name}' goes through {period} phases; without --expand it is the largest"
                )
        time = max((each for each in spent if each is not None), default=None)
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
            hint = "several rates a port are those of <csdf>" if "," in (text or "") else ""
            what = "is missing" if text is None else f"{text!r} is not a whole number from 0 to 999999999"
            self.report(element, f"<{element.tag}>: {attribute} {what}", hint)
            return 1
        return int(text)

    def items(self, element: Node, attribute: str, item: re.Pattern[str], make: Callable[[str], _Item]) -> list[_Item]:
        """The sequence that an attribute states; empty, and reported, where it is none. ``3*1`` is 1,1,1."""
        made: list[_Item] = []
        for part in element.attributes.get(attribute, "").split(","):
            repeat, star, text = part.strip().rpartition("*")
            if not item.fullmatch(text.strip()) or (star and not _COUNT.fullmatch(repeat.strip())):
                return []
            count = int(repeat) if star else 1
            if not 0 < count <= MAX_PHASES - len(made):
                return []
            made += [make(text)] * count
        return made

    def port_rates(self, element: Node) -> tuple[int, ...]:
        if not self.phased:
            return (self.count(element, "rate"),)
        rates = self.items(element, "rate", _COUNT, int)
        if not rates:
            text = element.attributes.get("rate")
            self.report(element, f"<port>: rate {text!r} is no sequence of whole numbers, such as 1,2 or 3*1,2")
        return tuple(rates) or (1,)

    def port(self, element: Node, rates: Sequence[int]) -> Port:
        kind = element.attributes.get("type", "")
        if kind not in ("in", "out"):
            self.report(element, f"<port> has the type {kind!r}", "it is 'in' or 'out'")
        least, rate = min(rates), max(rates)
        if rate == 0:
            self.report(element, "<port>: rate 0", "write a rate of 1 or more", "G3")
        token = TokenType("uint8")
        direction = Direction.IN if kind == "in" else Direction.OUT
        phases = tuple(rates) if least < rate else ()
        where = self.document.where(element)
        return Port(self.name(element), direction, token, least, rate, rate, phases=phases, where=where)

    def time(self, element: Node) -> tuple[Optional[Fraction], ...]:
        """The time on the processor that is the default one, or the first; of each phase."""
        processors = [each for each in element.children if each.tag == "processor"]
        chosen = [each for each in processors if each.attributes.get("default") == "true"] or processors
        for each in chosen[0].children if chosen else ():
            if each.tag == "executionTime":
                text = each.attributes.get("time", "")
                times = self.items(each, "time", _TIME, Fraction)
                if times and (self.phased or len(times) == 1):
                    return tuple(time * self.unit for time in times)
                self.report(each, f"<executionTime>: time {text!r} is not a number{' for each phase' * self.phased}")
        return (None,)

    def channel(
        self,
        element: Node,
        actors: list[Actor],
        ports: dict[PortRef, tuple[int, int]],
        sizes: dict[Optional[str], Node],
        named: dict[str, int],
    ) -> Optional[Fifo]:
        name = given = self.name(element)
        named[given] = number = named.get(given, 0) + 1
        if number > 1:
            name = next(text for text in self._numbered(given, number) if text not in self.names)
            self.names.add(name)
        source, target = (
            PortRef(element.attributes.get(f"{end}Actor", ""), element.attributes.get(f"{end}Port", ""))
            for end in ("src", "dst")
        )
        ends = (source, target)
        unknown = [end for end in ends if end not in ports]
        for end in unknown:
            self.report(element, f"channel {name!r}: there is no port {end}", rule="G1")
        delay = self.count(element, "initialTokens", 0)
        token, capacity = self.properties(sizes.get(given))
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

    def _numbered(self, name: str, number: int) -> Iterator[str]:
        """``name-2``, and with more hyphens."""
        return (f"{name}{'-' * hyphens}{number}" for hyphens in count_from(1))

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
