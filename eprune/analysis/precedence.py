"""The precedence graph: who has to fire before whom, for the first time, in a given choice of token rates.

With rate r, delay d and capacity c on a FIFO from u to v there is

- an edge u -> v, kind ``token``, if d < r: v first needs tokens that u has to write;
- an edge v -> u, kind ``room``, if d + r > c: u first needs room that v has to make; but not with the policy NEWEST,
  under which u makes room itself. (Into an input on hold d + r <= c, by G5.)

Every iteration of the application completes, in any interleaving, exactly if this graph is acyclic. (The k-th firing of
v needs firing k - floor(d/r) of u, the k-th firing of u needs firing k - floor((c-d)/r) of v. So the application is a
marked graph, which deadlocks exactly if it has a cycle without a token; the edges here are those without a token.)
Deadlock, fusing, modes, buffer sizes and fault analysis all ask this one graph. Everything takes linear time, or
n log n, and no recursion.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Optional

from eprune.analysis.lookup import fifo_rates
from eprune.model.graph import FaultPolicy, Fifo, Graph

#: How many edges the search for a short cycle may look at before it is content with the shortest so far.
_CYCLE_BUDGET = 20_000


class Edge(NamedTuple):
    """``target`` cannot fire for the first time before ``source`` has, because of a FIFO's tokens or its room."""

    source: str
    target: str
    kind: str  # "token" or "room"
    fifo: str


@dataclass(frozen=True)
class Precedence:
    """Actors (or clusters of actors) in file order, and the edges between them in the FIFOs' file order."""

    nodes: tuple[str, ...]
    edges: tuple[Edge, ...]

    def outgoing(self) -> dict[str, list[Edge]]:
        """Node -> the edges that leave it."""
        outgoing: dict[str, list[Edge]] = {node: [] for node in self.nodes}
        for edge in self.edges:
            outgoing[edge.source].append(edge)
        return outgoing


def fifo_edges(fifo: Fifo, rate: int) -> Iterator[Edge]:
    """The edges that one FIFO draws at a rate in tokens per firing: none, one, or (where rule G5 is broken) both."""
    source, target = fifo.source.actor, fifo.target.actor
    if fifo.delay < rate:
        yield Edge(source, target, "token", fifo.name)
    if fifo.delay + rate > fifo.capacity and fifo.policy is not FaultPolicy.NEWEST:
        yield Edge(target, source, "room", fifo.name)


def precedence(graph: Graph, rates: Optional[Mapping[str, int]] = None) -> Precedence:
    """The precedence graph of an application.

    ``rates`` gives the rates of one mode, FIFO name -> tokens per firing; FIFOs that it does not name run at their
    upper rate limit. FIFOs with an end that does not exist are left out, of actors with the same name one is taken.
    """
    nodes = dict.fromkeys(actor.name for actor in graph.actors)
    limits = fifo_rates(graph)
    edges: list[Edge] = []
    for fifo in graph.fifos:
        if fifo.name in limits and fifo.source.actor in nodes and fifo.target.actor in nodes:
            rate = limits[fifo.name] if rates is None else rates.get(fifo.name, limits[fifo.name])
            edges.extend(fifo_edges(fifo, rate))
    return Precedence(tuple(nodes), tuple(edges))


def explain(edge: Edge, fifo: Fifo, rate: int) -> str:
    """Why the edge is there, in the terms of the file."""
    source, target = fifo.source.actor, fifo.target.actor
    if edge.kind == "token":
        what = "a token" if rate - fifo.delay == 1 else f"{rate - fifo.delay} tokens"
        return f"{target} first needs {what} of {source} over {fifo.name}: rate {rate}, delay {fifo.delay}"
    return (
        f"{source} first needs room in {fifo.name} that {target} makes: "
        f"capacity {fifo.capacity} < delay {fifo.delay} + rate {rate}"
    )


def order(precedence: Precedence) -> tuple[str, ...]:
    """The nodes in an order in which they can fire; where it is open, the one that is first in the file goes first.

    Raises ValueError if the graph is cyclic.
    """
    result = _fireable(precedence)
    if len(result) < len(precedence.nodes):
        raise ValueError("the precedence graph is cyclic")
    return tuple(result)


def untangled(graph: Graph) -> Precedence:
    """The precedence graph at the upper rate limits, made acyclic for a graph that is live in every mode.

    There may be rings in it that no row of a control table closes. Their actors become a chain, in file order, by edges
    of the kind ``ring``: what leads into the ring leads to its first actor, and what leads out of it comes from its
    last. So the graph shows each way past a ring, but none within it.
    """
    whole = precedence(graph)
    rings = [component.nodes for component in components(whole)]
    first = {node: ring[0] for ring in rings for node in ring}
    last = {node: ring[-1] for ring in rings for node in ring}
    edges = [
        edge._replace(source=last.get(edge.source, edge.source), target=first.get(edge.target, edge.target))
        for edge in whole.edges
        if edge.source not in first or first[edge.source] != first.get(edge.target)
    ]
    chains = [Edge(node, after, "ring", "") for ring in rings for node, after in zip(ring, ring[1:])]
    return Precedence(whole.nodes, (*edges, *chains))


def firing_order(graph: Graph) -> tuple[str, ...]:
    """The actors in an order in which they can fire; those that take turns to wait for each other in file order."""
    return order(untangled(graph))


def _fireable(precedence: Precedence) -> list[str]:
    """The nodes that can fire, in that order: all but those in a cycle or behind one."""
    position = {node: index for index, node in enumerate(precedence.nodes)}
    outgoing = precedence.outgoing()
    waiting = dict.fromkeys(precedence.nodes, 0)
    for edge in precedence.edges:
        waiting[edge.target] += 1
    ready = [position[node] for node, count in waiting.items() if count == 0]
    result = []
    while ready:
        node = precedence.nodes[heapq.heappop(ready)]
        result.append(node)
        for edge in outgoing[node]:
            waiting[edge.target] -= 1
            if waiting[edge.target] == 0:
                heapq.heappush(ready, position[edge.target])
    return result


def postorder(nodes: Iterable[str], successors: Mapping[str, list[str]]) -> list[str]:
    """The nodes reached from ``nodes`` by depth-first search, each after all that were reached through it."""
    seen: set[str] = set()
    result = []
    for root in nodes:
        if root in seen:
            continue
        seen.add(root)
        stack = [(root, iter(successors[root]))]
        while stack:
            node, rest = stack[-1]
            for successor in rest:
                if successor not in seen:
                    seen.add(successor)
                    stack.append((successor, iter(successors[successor])))
                    break
            else:
                result.append(node)
                stack.pop()
    return result


def components(precedence: Precedence) -> list[Precedence]:
    """The cyclic strongly connected components, each as a graph of its own; empty if the graph is acyclic."""
    done = set(_fireable(precedence))
    stuck = [node for node in precedence.nodes if node not in done]
    inner = [edge for edge in precedence.edges if edge.source not in done]  # so its target is not, either
    forward: dict[str, list[str]] = {node: [] for node in stuck}
    backward: dict[str, list[str]] = {node: [] for node in stuck}
    for edge in inner:
        forward[edge.source].append(edge.target)
        backward[edge.target].append(edge.source)
    # Kosaraju: against the edges, in reverse postorder, a search stays within one component.
    owner: dict[str, str] = {}
    for root in reversed(postorder(stuck, forward)):
        stack = [root]
        while stack:
            node = stack.pop()
            if node not in owner:
                owner[node] = root
                stack.extend(backward[node])
    edges: dict[str, list[Edge]] = {}
    for edge in inner:
        if owner[edge.source] == owner[edge.target]:
            edges.setdefault(owner[edge.source], []).append(edge)
    nodes: dict[str, list[str]] = {}
    for node in stuck:
        if owner[node] in edges:
            nodes.setdefault(owner[node], []).append(node)
    return [Precedence(tuple(members), tuple(edges[root])) for root, members in nodes.items()]


def find_cycle(precedence: Precedence) -> Optional[tuple[Edge, ...]]:
    """A cycle as a witness of deadlock: the shortest of the first cyclic component, or a short one where that is large.

    None if the graph is acyclic.
    """
    parts = components(precedence)
    return short_cycle(parts[0]) if parts else None


def short_cycle(component: Precedence, budget: int = _CYCLE_BUDGET) -> tuple[Edge, ...]:
    """The same for one cyclic strongly connected component, looking at about ``budget`` edges."""
    outgoing = component.outgoing()
    best: tuple[Edge, ...] = ()
    for root in component.nodes:
        cycle, looked_at = cycle_through(root, outgoing, len(best))
        best = cycle or best
        budget -= looked_at
        if budget <= 0 or len(best) == 1:
            break
    return best


def cycle_through(root: str, outgoing: Mapping[str, list[Edge]], shorter_than: int = 0) -> tuple[tuple[Edge, ...], int]:
    """The shortest cycle through a node, if ``shorter_than`` (0: any length) allows one, and how many edges it took."""
    came_by: dict[str, Edge] = {}
    depth = {root: 0}
    queue = deque([root])
    looked_at = 0
    while queue:
        node = queue.popleft()
        if shorter_than and depth[node] + 1 >= shorter_than:
            break
        for edge in outgoing[node]:
            looked_at += 1
            if edge.target == root:
                cycle = [edge]
                while cycle[-1].source != root:
                    cycle.append(came_by[cycle[-1].source])
                return tuple(reversed(cycle)), looked_at
            if edge.target not in depth:
                depth[edge.target] = depth[node] + 1
                came_by[edge.target] = edge
                queue.append(edge.target)
    return (), looked_at


def contract(precedence: Precedence, clusters: Iterable[Iterable[str]]) -> Precedence:
    """The graph in which each cluster is one node, named like its first member in file order.

    Edges within a cluster are gone, the others stay, each with its FIFO. The clusters must be disjoint.
    """
    position = {node: index for index, node in enumerate(precedence.nodes)}
    node_of = {node: node for node in precedence.nodes}
    for cluster in clusters:
        members = sorted(cluster, key=position.__getitem__)
        node_of.update(dict.fromkeys(members, members[0]))
    edges = (
        edge._replace(source=node_of[edge.source], target=node_of[edge.target])
        for edge in precedence.edges
        if node_of[edge.source] != node_of[edge.target] or edge.source == edge.target
    )
    return Precedence(tuple(dict.fromkeys(node_of.values())), tuple(edges))
