"""The repetition vector of a multi-rate graph: how often each actor fires in an iteration.

Lee and Messerschmitt 1987: produced rate times the writer's firings is consumed rate times the reader's, over every
FIFO, and the least whole numbers for which that holds are an iteration. An actor whose rates go through phases (Bilsen,
Engels, Lauwereins, Peperstraete 1996) goes through all of them, once or several times.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from eprune.analysis.rules import violation
from eprune.model.finding import Finding
from eprune.model.graph import Fifo, Graph

#: of each FIFO, the rates at both ends: one number for each phase
Rates = tuple[tuple[int, ...], tuple[int, ...]]
_NONE: Mapping[str, int] = MappingProxyType({})
#: How many FIFOs of a contradiction are listed.
_LISTED = 12


def rates_at_ends(graph: Graph) -> list[Rates]:
    """The rates at both ends of each FIFO, in tokens per firing: one number for each phase of the port."""
    ports = {ref: port.rates for ref, port in graph.ports()}
    return [(ports[fifo.source], ports[fifo.target]) for fifo in graph.fifos]


@dataclass(frozen=True)
class Repetition:
    """Actor -> its firings in an iteration, and the FIFOs that no such numbers keep in balance."""

    firings: dict[str, int]
    contradictions: tuple[Finding, ...] = ()

    def tokens(self, fifo: Fifo, rates: Rates) -> int:
        """How many tokens pass through a FIFO in an iteration."""
        produced = rates[0]
        return self.firings[fifo.source.actor] * sum(produced) // len(produced)


def repetition(graph: Graph, least: Mapping[str, int] = _NONE) -> Repetition:
    """The firings of an iteration. ``least``: actor -> a number that its firings are a multiple of.

    Each connected part of the graph has the least numbers for itself. Ends of FIFOs must exist, and rates not all be 0.
    """
    cycles = {
        actor.name: math.lcm(least.get(actor.name, 1), *(len(port.rates) for port in actor.ports))
        for actor in graph.actors
    }
    #: of all phases of the actor together
    rates = []
    for fifo, (produced, consumed) in zip(graph.fifos, rates_at_ends(graph)):
        written = sum(produced) * cycles[fifo.source.actor] // len(produced)
        rates.append((written, sum(consumed) * cycles[fifo.target.actor] // len(consumed)))
    beside: dict[str, list[tuple[str, Fraction, int]]] = {actor.name: [] for actor in graph.actors}
    for number, (fifo, (written, taken)) in enumerate(zip(graph.fifos, rates)):
        beside[fifo.source.actor].append((fifo.target.actor, Fraction(written, taken), number))
        beside[fifo.target.actor].append((fifo.source.actor, Fraction(taken, written), number))
    rounds: dict[str, int] = {}
    came_by: dict[str, tuple[str, int]] = {}
    for root in beside:
        if root in rounds:
            continue
        part = {root: Fraction(1)}
        queue = deque([root])
        while queue:
            actor = queue.popleft()
            for other, factor, number in beside[actor]:
                if other not in part:
                    part[other] = part[actor] * factor
                    came_by[other] = actor, number
                    queue.append(other)
        denominator = math.lcm(*(count.denominator for count in part.values()))
        common = math.gcd(*(int(count * denominator) for count in part.values()))
        rounds.update({actor: int(count * denominator) // common for actor, count in part.items()})
    firings = {actor: count * cycles[actor] for actor, count in rounds.items()}
    return Repetition(firings, tuple(_contradictions(graph, rates, rounds, firings, came_by)))


def _contradictions(
    graph: Graph,
    rates: list[tuple[int, int]],
    rounds: Mapping[str, int],
    firings: Mapping[str, int],
    came_by: Mapping[str, tuple[str, int]],
) -> Iterator[Finding]:
    for fifo, (written, taken) in zip(graph.fifos, rates):
        source, target = fifo.source.actor, fifo.target.actor
        if rounds[source] * written == rounds[target] * taken:
            continue
        way = _way(source, target, came_by)
        others = [graph.fifos[number] for number in way[:_LISTED]]
        message = (
            f"FIFO '{fifo.name}': an iteration writes {_counted(rounds[source] * written, 'token')} "
            f"({_counted(firings[source], 'firing')} of '{source}') and reads {rounds[target] * taken} "
            f"({firings[target]} of '{target}')"
        )
        related = tuple(
            (
                other.where,
                f"over '{other.name}', {_counted(firings[other.source.actor], 'firing')} of "
                f"'{other.source.actor}' for {firings[other.target.actor]} of '{other.target.actor}'",
            )
            for other in others
        )
        hint = "change its rates, or those of the FIFOs by which its ends are joined besides" if way else ""
        hint = hint or "what a firing writes into a FIFO to itself, it reads"
        yield violation("C1", fifo.where, message, hint, related)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _way(source: str, target: str, came_by: Mapping[str, tuple[str, int]]) -> list[int]:
    """The FIFOs, by number, over which the firings of both were derived from those of an actor that is before both."""

    def back(actor: str) -> list[tuple[str, int]]:
        steps = []
        while actor in came_by:
            before, number = came_by[actor]
            steps.append((actor, number))
            actor = before
        return steps

    one, other = back(source), back(target)
    while one and other and one[-1] == other[-1]:
        one.pop()
        other.pop()
    return [number for _, number in one] + [number for _, number in reversed(other)]
