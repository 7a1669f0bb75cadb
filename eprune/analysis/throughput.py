"""Throughput: how often a graph whose actors take known times can fire, and the cycle that keeps it from more.

The graph is that of ``precedence``, with all its edges and how many firings each lets its target be ahead. With rate r,
delay d and capacity c on a FIFO from u to v there is an edge u -> v with floor(d/r) tokens and an edge v -> u with
floor((c-d)/r); an actor has an edge to itself with one token, because its firings do not overlap. Where the mapping is
given, the actors of a unit stand in a ring with one token, in an order in which they can fire, and a FIFO that crosses
platforms passes a node that takes the time of the transfer; all transfers over a link in one direction are a ring, too.

The maximum cycle ratio of this graph is the time between two iterations: exactly, for static graphs whose actors fire
as soon as they can. With every rate at its upper limit it is one that dynamic graphs never exceed. The ring of a unit
is one order of many, so with a mapping the figure is one that can be had, and may be more than the least. Sockets'
buffers, which only add room, are left out.

FIFOs that divide the graph into rate domains (``domains``) are no part of it, and only actors of one domain take turns
on a unit: each domain is timed as if it were alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Optional

from eprune.analysis.cycle_ratio import Cycle, TimedEdge
from eprune.analysis.domains import dividing, rate_domains
from eprune.analysis.lookup import fifo_rates, some, token_bytes
from eprune.analysis.precedence import order, precedence
from eprune.model.graph import Fifo, Graph
from eprune.model.system import System

_LATENCY = "latency of "


@dataclass(frozen=True)
class Transfer:
    """An iteration's tokens of a FIFO on a link: seconds that the link is busy, and that they take beyond that."""

    link: str
    busy: Fraction
    latency: Fraction = Fraction(0)


@dataclass(frozen=True)
class Resources:
    """``units``: "platform/unit" -> its actors, in the order in which it fires them. ``transfers``: by FIFO name."""

    units: Mapping[str, Sequence[str]] = field(default_factory=dict)
    transfers: Mapping[str, Transfer] = field(default_factory=dict)


#: Every actor on a processor of its own, and no links.
ALONE = Resources()


@dataclass(frozen=True)
class Timed:
    """Nodes (actors and transfers) with their seconds, and edges, to find the maximum cycle ratio of."""

    times: dict[str, Fraction]
    edges: tuple[TimedEdge, ...]


def resources(system: System) -> Resources:
    """Who shares a unit and what crosses which link. What is unknown (bandwidth, latency) takes no time."""
    graph = system.graph
    position = {name: index for index, name in enumerate(order(precedence(graph)))}
    placed: dict[str, list[str]] = {}
    homes: dict[str, str] = {}
    for mapping in system.mappings:
        homes.update(mapping.homes())
        for placement in mapping.placements:
            if placement.unit is not None:
                placed.setdefault(f"{mapping.platform}/{placement.unit}", []).append(placement.actor)
    links = {(platform.name, link.to): link for platform in system.platforms for link in platform.links}
    rates, sizes = fifo_rates(graph), token_bytes(graph)
    transfers = {}
    for fifo in graph.fifos:
        ends = homes.get(fifo.source.actor), homes.get(fifo.target.actor)
        if None in ends or ends[0] == ends[1]:
            continue
        origin, to = str(ends[0]), str(ends[1])
        link = links.get((origin, to)) or links.get((to, origin))
        nbytes = rates[fifo.name] * sizes[fifo.name]
        busy = nbytes / Fraction(link.bandwidth) if link is not None and link.bandwidth else Fraction(0)
        latency = Fraction(link.latency) if link is not None and link.latency else Fraction(0)
        transfers[fifo.name] = Transfer(f"{origin} -> {to}", busy, latency)
    return Resources({unit: sorted(actors, key=position.__getitem__) for unit, actors in placed.items()}, transfers)


def timed(graph: Graph, times: Mapping[str, Fraction], resources: Resources = ALONE, bounded: bool = True) -> Timed:
    """The graph to find the maximum cycle ratio of, with every rate at its upper limit.

    ``times``: actor -> seconds per firing. Not ``bounded``: as if every FIFO had room for ever. The graph must be sound
    by rules G1 to G6. Raises KeyError for an actor without a time.
    """
    nodes = {actor.name: times[actor.name] for actor in graph.actors}
    edges = [TimedEdge(name, name, 1, "self", name) for name in nodes]
    rates = fifo_rates(graph)
    sent: dict[tuple[str, int], list[str]] = {}
    position = {name: index for index, name in enumerate(order(precedence(graph)))} if resources.transfers else {}
    domain = {name: number for number, members in enumerate(rate_domains(graph)) for name in members}
    between = set(dividing(graph))
    whole = [fifo for fifo in graph.fifos if fifo not in between]
    for fifo in sorted(whole, key=lambda each: position.get(each.source.actor, 0)):
        transfer = resources.transfers.get(fifo.name)
        stops = [fifo.source.actor]
        if transfer is not None:
            stops.append(transfer_node(fifo, transfer))
            nodes[stops[-1]] = transfer.busy
            sent.setdefault((transfer.link, domain[fifo.source.actor]), []).append(stops[-1])
            if transfer.latency:
                stops.append(f"{_LATENCY}{stops[-1]}")
                nodes[stops[-1]] = transfer.latency
        stops.append(fifo.target.actor)
        ahead = [0] * (len(stops) - 2) + [fifo.delay // rates[fifo.name]]
        edges += [
            TimedEdge(stop, after, tokens, "token", fifo.name) for stop, after, tokens in zip(stops, stops[1:], ahead)
        ]
        if bounded:
            rooms = rooms_of(fifo, transfer)
            firings = (fifo.capacity - fifo.delay) // rates[fifo.name], fifo.capacity // rates[fifo.name]
            edges += [TimedEdge(*room, tokens, "room", fifo.name) for room, tokens in zip(rooms, firings)]
    placed: dict[tuple[str, int], list[str]] = {}
    for unit, members in resources.units.items():
        for name in members:
            placed.setdefault((unit, domain[name]), []).append(name)
    shared = {key: members for key, members in placed.items() if len(members) > 1}
    return Timed(nodes, (*_rings("unit", shared), *_rings("link", sent), *edges))


def _rings(kind: str, shared: Mapping[tuple[str, int], Sequence[str]]) -> Iterator[TimedEdge]:
    """Of those that share something, and are of one domain, one is at work at a time, each in its turn."""
    for (name, _), members in shared.items():
        for index, member in enumerate(members, start=1):
            last = index == len(members)
            yield TimedEdge(member, members[0] if last else members[index], int(last), kind, name)


def transfer_node(fifo: Fifo, transfer: Transfer) -> str:
    """The name of a FIFO's transfer; no actor has such a name."""
    return f"{fifo.name} on {transfer.link}"


def rooms_of(fifo: Fifo, transfer: Optional[Transfer]) -> list[tuple[str, str]]:
    """Who makes room in a FIFO for whom: first where its delay is, then, for one that crosses, at its source."""
    if transfer is None:
        return [(fifo.target.actor, fifo.source.actor)]
    node = transfer_node(fifo, transfer)
    return [(fifo.target.actor, node), (node, fifo.source.actor)]


def advice(cycle: Cycle, graph: Graph) -> list[str]:
    """What would make a cycle faster, a line each."""
    fifos = {fifo.name: fifo for fifo in graph.fifos}
    rates = fifo_rates(graph)
    known = {actor.name for actor in graph.actors}
    nodes = list(dict.fromkeys(edge.source for edge in cycle.edges))
    actors = [node for node in nodes if node in known]
    about = {kind: list(dict.fromkeys(e.about for e in cycle.edges if e.kind == kind)) for kind in ("room", "unit")}
    lines = []
    if actors:
        split = ", or cut it into several" if len(cycle.edges) == 1 else ""
        lines.append(f"make {'' if len(actors) == 1 else 'one of '}{some(actors)} faster{split}")
    for name in about["room"]:
        fifo, rate = fifos[name], rates[name]
        more = fifo.delay + rate * ((fifo.capacity - fifo.delay) // rate + 1)
        lines.append(f"give {name} a capacity of {more}")
    lines += [f"move an actor from {unit} to another unit" for unit in about["unit"]]
    sent = dict.fromkeys(node.replace(_LATENCY, "").partition(" on ")[0] for node in nodes if node not in known)
    lines += [f"make the tokens of {name} fewer or smaller, or the link faster" for name in sent]
    return lines
