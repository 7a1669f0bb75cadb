"""Finding things by name, and guessing what a wrong name was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from fractions import Fraction

from eprune.model.graph import ActorType, Fifo, Graph, Port, phases_text
from eprune.model.system import System
from eprune.model.token import TokenType


def port_table(graph: Graph) -> dict[str, dict[str, Port]]:
    """Actor name -> port name -> port. Of things with the same name, the first counts."""
    table: dict[str, dict[str, Port]] = {}
    for actor in graph.actors:
        ports = table.setdefault(actor.name, {})
        for port in actor.ports:
            ports.setdefault(port.name, port)
    return table


def joined(graph: Graph) -> Iterator[tuple[Fifo, Port, Port]]:
    """Each FIFO whose ends both exist, with its source and target port."""
    table = port_table(graph)
    for fifo in graph.fifos:
        source = table.get(fifo.source.actor, {}).get(fifo.source.port)
        target = table.get(fifo.target.actor, {}).get(fifo.target.port)
        if source is not None and target is not None:
            yield fifo, source, target


def untold(graph: Graph) -> frozenset[str]:
    """The DPAs without a control input: they fire when their data is there, and learn nothing of other iterations."""
    return frozenset(
        actor.name
        for actor in graph.actors
        if actor.type is ActorType.DPA and not any(port.control for port in actor.inputs)
    )


def rate_text(port: Port) -> str:
    """``[0,2]``, a port's rate limits; ``1,0,0``, its phases."""
    return phases_text(port.phases) if port.phases else f"[{port.lrl},{port.url}]"


def fifo_rates(graph: Graph) -> dict[str, int]:
    """FIFO name -> the upper rate limit at its source, in tokens per firing, where the source exists."""
    table = port_table(graph)
    rates = {}
    for fifo in graph.fifos:
        port = table.get(fifo.source.actor, {}).get(fifo.source.port)
        if port is not None:
            rates[fifo.name] = port.url
    return rates


def token_bytes(graph: Graph) -> dict[str, int]:
    """FIFO name -> bytes of one token, as links carry it, where its source exists."""
    return {name: token.nbytes for name, token in _tokens(graph)}


def slot_bytes(graph: Graph) -> dict[str, int]:
    """FIFO name -> bytes that one token takes in memory, where its source exists."""
    return {name: token.slot_bytes for name, token in _tokens(graph)}


def _tokens(graph: Graph) -> Iterator[tuple[str, TokenType]]:
    table = port_table(graph)
    for fifo in graph.fifos:
        port = table.get(fifo.source.actor, {}).get(fifo.source.port)
        if port is not None:
            yield fifo.name, port.token


def buffer_bytes(graph: Graph) -> dict[str, int]:
    """FIFO name -> bytes of its buffer (capacity times slot), where its source exists."""
    sizes = slot_bytes(graph)
    return {fifo.name: fifo.capacity * sizes[fifo.name] for fifo in graph.fifos if fifo.name in sizes}


def windows(system: System) -> dict[str, int]:
    """FIFO name -> tokens that may be under way beyond its capacity, of those that cross platforms.

    A link's window is in bytes, and rounded up to whole tokens.
    """
    sizes, homes = token_bytes(system.graph), system.homes
    links = {(platform.name, link.to): link for platform in system.platforms for link in platform.links}
    found = {}
    for fifo in system.graph.fifos:
        ends = homes.get(fifo.source.actor, ""), homes.get(fifo.target.actor, "")
        if ends[0] == ends[1] or "" in ends:
            continue
        link = links.get(ends) or links.get((ends[1], ends[0]))
        allowed = 0 if link is None else -(-link.window // max(sizes[fifo.name], 1))
        found[fifo.name] = allowed if fifo.window is None else fifo.window
    return found


def exact(value: float) -> Fraction:
    """The number that was written, not that next to it."""
    return Fraction(value).limit_denominator(10**9)


def some(names: Iterable[str], limit: int = 6) -> str:
    """``a, b and c`` for people; after ``limit`` names, how many more there are."""
    quoted = [f"'{name}'" for name in names]
    if len(quoted) > limit:
        quoted[limit:] = [f"{len(quoted) - limit} more"]
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}" if len(quoted) > 1 else "".join(quoted)


class Guesser:
    """Says "did you mean" as long as that takes no seconds: ``comparisons`` is how many names it may compare in all."""

    def __init__(self, comparisons: int = 100_000) -> None:
        self._left = comparisons

    def guess(self, name: str, known: Iterable[str]) -> str:
        """The name of ``known`` nearest to ``name``, or an empty text."""
        names = list(known)
        if len(names) > self._left:
            return ""
        self._left -= len(names)
        return next(iter(difflib.get_close_matches(name, names, n=1)), "")

    def hint(self, name: str, known: Iterable[str]) -> str:
        """A hint that names the nearest of ``known``, or lists them where they are few, or says that there is none."""
        names = list(dict.fromkeys(known))
        near = self.guess(name, names)
        if near:
            return f"did you mean '{near}'?"
        if not names:
            return "there are none"
        return f"there {'is' if len(names) == 1 else 'are'} {some(names)}"
