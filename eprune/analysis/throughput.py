"""Throughput: how often a graph whose actors take known times can fire, and the cycle that keeps it from more.

The graph is that of ``precedence``, with all its edges and how many firings each lets its target be ahead. With rate r,
delay d and capacity c on a FIFO from u to v there is an edge u -> v with floor(d/r) tokens and an edge v -> u with
floor((c-d)/r); an actor has an edge to itself with one token, because its firings do not overlap. Where the mapping is
given, the actors of a cluster stand in a ring with one token, in the order in which their thread fires them. Where a
unit has more than one cluster, their times add up to a cycle of its own, in whatever order the threads come to run. A
FIFO that crosses platforms passes a node that takes the time of the transfer, and all transfers over a link in one
direction are a ring, too. Its capacity and window bound what is written and not yet released, at both ends and under
way: so room comes back over the link as well, and its edge v -> u passes the latency of the way back.

The maximum cycle ratio of this graph is the time between two iterations: exactly, for static graphs whose actors fire
as soon as they can. With every rate at its upper limit it is one that dynamic graphs never exceed. Where clusters share
a unit, it is the least time that their load leaves.

Of a route with ``one`` server for each token, each of m branches gets one token of m where none is slower than the
others: whatever is done in a branch, or on the way there and back, takes an m-th of its time per iteration. A slower
one gets fewer tokens, and the true time between two iterations is less.

FIFOs that divide the graph into rate domains (``domains``) are not part of it, except for the link that a FIFO into an
input on hold waits for. On a unit only the times of one domain add up: each domain is timed as if it were alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Optional

from eprune.analysis.clusters import Cluster, clusters
from eprune.analysis.cycle_ratio import Cycle, TimedEdge
from eprune.analysis.domains import dividing, rate_domains
from eprune.analysis.lookup import exact, fifo_rates, some, token_bytes, windows
from eprune.analysis.precedence import order, precedence
from eprune.analysis.routes import routes
from eprune.model.graph import FaultPolicy, Fifo, Graph, Route
from eprune.model.system import System

#: How the node of a transfer's latency begins.
LATENCY = "latency of "
_ROOM, _ON = "room in ", " on "


@dataclass(frozen=True)
class Transfer:
    """An iteration's tokens of a FIFO on a link: seconds that the link is busy, and that they take beyond that.

    ``back`` is how long it takes until the sender knows that they are released, and ``window`` how many tokens may be
    under way beyond the capacity, where the FIFO does not state it.
    """

    link: str
    busy: Fraction
    latency: Fraction = Fraction(0)
    back: Fraction = Fraction(0)
    window: int = 0


@dataclass(frozen=True)
class Resources:
    """``units``: "platform/unit" -> its clusters, each in firing order. ``transfers``: by FIFO name."""

    units: Mapping[str, Sequence[Cluster]] = field(default_factory=dict)
    transfers: Mapping[str, Transfer] = field(default_factory=dict)


#: Every actor on a processor of its own, and no links.
ALONE = Resources()


@dataclass(frozen=True)
class Timed:
    """Nodes (actors, transfers, news of room) with their seconds, and edges, to find the maximum cycle ratio of.

    ``actors``: node -> the actor itself, or the one that writes to its FIFO.
    """

    times: dict[str, Fraction]
    edges: tuple[TimedEdge, ...]
    actors: dict[str, str]


def resources(system: System, parts: Optional[Mapping[str, Sequence[Cluster]]] = None) -> Resources:
    """Who shares a thread or a unit, and what crosses which link. What is unknown (bandwidth, latency) takes no time.

    ``parts``: platform -> the clusters of its program; None: those that its actors would make with no slices fused.
    """
    graph, homes = system.graph, system.homes
    placed: dict[str, list[Cluster]] = {}
    for platform, own in (clusters(system) if parts is None else parts).items():
        for cluster in own:
            placed.setdefault(f"{platform}/{system.units[cluster[0]][1]}", []).append(cluster)
    under_way = windows(system)
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
        busy = nbytes / exact(link.bandwidth) if link is not None and link.bandwidth else Fraction(0)
        latency = exact(link.latency) if link is not None and link.latency else Fraction(0)
        other = links.get((to, origin)) or link
        back = exact(other.latency) if other is not None and other.latency else Fraction(0)
        transfers[fifo.name] = Transfer(f"{origin} -> {to}", busy, latency, back, under_way[fifo.name])
    return Resources(placed, transfers)


def timed(graph: Graph, times: Mapping[str, Fraction], resources: Resources = ALONE, bounded: bool = True) -> Timed:
    """The graph to find the maximum cycle ratio of, with every rate at its upper limit.

    ``times``: actor -> seconds per firing. Not ``bounded``: as if every FIFO had room for ever. The graph must be sound
    by rules G1 to G6. Raises KeyError for an actor without a time.
    """
    shared, on_route = _shared(graph)
    nodes = {actor.name: times[actor.name] * shared.get(actor.name, Fraction(1)) for actor in graph.actors}
    actors = {name: name for name in nodes}
    edges = [TimedEdge(name, name, 1, "self", name) for name in nodes]
    rates = fifo_rates(graph)
    sent: dict[tuple[str, int], list[str]] = {}
    position = {name: index for index, name in enumerate(order(precedence(graph)))} if resources.transfers else {}
    domain = {name: number for number, members in enumerate(rate_domains(graph)) for name in members}
    between = set(dividing(graph))
    sending = {fifo.name for fifo in between if held_over_link(fifo, resources.transfers.get(fifo.name))}
    whole = [fifo for fifo in graph.fifos if fifo not in between or fifo.name in sending]
    for fifo in sorted(whole, key=lambda each: position.get(each.source.actor, 0)):
        transfer = resources.transfers.get(fifo.name)
        part = on_route.get(fifo.name, Fraction(1))
        stops = [fifo.source.actor]
        if transfer is not None:
            stops.append(transfer_node(fifo, transfer))
            nodes[stops[-1]] = transfer.busy * part
            sent.setdefault((transfer.link, domain[fifo.source.actor]), []).append(stops[-1])
            if transfer.latency:
                stops.append(arrival(fifo, transfer))
                nodes[stops[-1]] = transfer.latency * part
        held = fifo.name in sending
        ahead = [0] * len(stops)
        if not held:
            stops.append(fifo.target.actor)
            ahead[-1] = fifo.delay // rates[fifo.name]
        edges += [
            TimedEdge(stop, after, tokens, "token", fifo.name) for stop, after, tokens in zip(stops, stops[1:], ahead)
        ]
        room = room_of(fifo, transfer, held)
        if room[0] != stops[-1] and transfer is not None:
            nodes[room[0]] = transfer.back * part
            edges.append(TimedEdge(stops[-1], room[0], 0, "room", fifo.name))
            stops.append(room[0])
        actors.update((stop, fifo.source.actor) for stop in stops if stop not in actors)
        if bounded:
            edges.append(TimedEdge(*room, room_for(fifo, rates[fifo.name], transfer, held), "room", fifo.name))
    turns: list[tuple[str, Sequence[str]]] = []
    for unit, parts in resources.units.items():
        turns += [(unit, cluster) for cluster in parts if len(cluster) > 1]
        if len(parts) > 1:
            load: dict[int, list[str]] = {}
            for name in (name for cluster in parts for name in cluster):
                node = on(name, unit)
                nodes[node], actors[node] = nodes[name], name
                load.setdefault(domain[name], []).append(node)
            turns += [(unit, own) for own in load.values()]
    links = [(link, own) for (link, _), own in sent.items()]
    return Timed(nodes, (*rings("unit", turns), *rings("link", links), *edges), actors)


def _shared(graph: Graph) -> tuple[dict[str, Fraction], dict[str, Fraction]]:
    """Of actors in branches of routes, and of FIFOs there, on the way there and back: the share of all iterations that
    they have to do with. A sticky route may use one branch only. Who is in branches of several routes takes what all of
    these send together where it does not keep up.
    """
    one = [routing for routing in routes(graph) if routing.fifos[0].route is Route.ONE]
    sums: dict[str, Fraction] = {}
    ways: dict[str, Fraction] = {}
    for routing in one:
        part = Fraction(1, len(routing.fifos))
        ways.update((fifo.name, part) for fifo in routing.fifos)
        for name in routing.members:
            sums[name] = min(sums.get(name, Fraction(0)) + part, Fraction(1))
    for fifo in graph.fifos:
        member = next((ref.actor for ref in (fifo.source, fifo.target) if ref.actor in sums), "")
        if member:
            ways.setdefault(fifo.name, sums[member])
    return sums, ways


def rings(kind: str, shared: Sequence[tuple[str, Sequence[str]]]) -> Iterator[TimedEdge]:
    """Of those that share something, one is at work at a time, each in its turn."""
    for name, members in shared:
        for index, member in enumerate(members, start=1):
            last = index == len(members)
            yield TimedEdge(member, members[0] if last else members[index], int(last), kind, name)


def on(actor: str, unit: str) -> str:
    """The name of an actor's load on its unit; no actor has such a name."""
    return f"{actor}{_ON}{unit}"


def is_load(node: str) -> bool:
    """Whether a node of a unit's ring is what an actor adds to the unit's load, and no firing of it."""
    return _ON in node


def transfer_node(fifo: Fifo, transfer: Transfer) -> str:
    """The name of a FIFO's transfer; no actor has such a name."""
    return f"{fifo.name}{_ON}{transfer.link}"


def arrival(fifo: Fifo, transfer: Transfer) -> str:
    """The node with whose end a FIFO's tokens have arrived."""
    node = transfer_node(fifo, transfer)
    return f"{LATENCY}{node}" if transfer.latency else node


def held_over_link(fifo: Fifo, transfer: Optional[Transfer]) -> bool:
    """Whether a FIFO that divides a graph waits for a link, but for no reader: one into an input on hold."""
    return transfer is not None and fifo.policy is not FaultPolicy.NEWEST


def room_of(fifo: Fifo, transfer: Optional[Transfer], held: bool = False) -> tuple[str, str]:
    """Who makes room in a FIFO, and for whom: over a link with a latency, the news of it.

    ``held``: the FIFO leads over a link into an input on hold, where tokens make room for the next ones as they arrive.
    """
    if transfer is not None and transfer.back:
        return f"{_ROOM}{transfer_node(fifo, transfer)}", fifo.source.actor
    return arrival(fifo, transfer) if held and transfer is not None else fifo.target.actor, fifo.source.actor


def room_for(fifo: Fifo, rate: int, transfer: Optional[Transfer], held: bool = False) -> int:
    """For how many firings of its source a FIFO has room beside its initial tokens, window included.

    ``held``: over a link, beside what is on hold, which stays until the next firing's tokens have come.
    """
    room = fifo.capacity + (0 if transfer is None else window_of(fifo, transfer))
    return room // rate - 1 if held else (room - fifo.delay) // rate


def window_of(fifo: Fifo, transfer: Transfer) -> int:
    """How many tokens of a FIFO may be under way beyond its capacity: what it states, else what its link allows."""
    return transfer.window if fifo.window is None else fifo.window


def subject(node: str) -> str:
    """The actor or FIFO that a node is about."""
    return node.partition(_ON)[0].rpartition(" ")[2]


def advice(cycle: Cycle, graph: Graph, resources: Resources = ALONE) -> list[str]:
    """What would make a cycle faster, a line each."""
    fifos = {fifo.name: fifo for fifo in graph.fifos}
    rates = fifo_rates(graph)
    known = {actor.name for actor in graph.actors}
    nodes = list(dict.fromkeys(edge.source for edge in cycle.edges))
    shared = {edge.source for edge in cycle.edges if edge.kind == "unit" and edge.source not in known}
    actors = [subject(node) for node in nodes if node in known or node in shared]
    about = {kind: list(dict.fromkeys(e.about for e in cycle.edges if e.kind == kind)) for kind in ("room", "unit")}
    lines = []
    if actors:
        split = ", or cut it into several" if len(cycle.edges) == 1 else ""
        lines.append(f"make {'' if len(actors) == 1 else 'one of '}{some(actors)} faster{split}")
    for name in about["room"]:
        fifo, rate, transfer = fifos[name], rates[name], resources.transfers.get(name)
        more = fifo.delay + rate * (room_for(fifo, rate, transfer) + 1)
        lines.append(f"give {name} a {'capacity' if transfer is None else 'window'} of ")
        lines[-1] += str(more if transfer is None else more - fifo.capacity)
    lines += [f"move an actor from {unit} to another unit" for unit in about["unit"]]
    sent = dict.fromkeys(subject(node) for node in nodes if node not in known and node not in shared)
    lines += [f"make the tokens of {name} fewer or smaller, or the link faster" for name in sent]
    return lines
