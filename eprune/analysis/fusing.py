"""Which model slices of one unit may run as one segment, that is, as one firing of one interpreter (rule M4).

A set of slices may be fused if

- they run on one unit, are cut from one model file, and have rate 1 at all ports: always, or in the same rows of one
  dynamic processing graph's control table, and rate 0 in the others;
- contracted to one node they leave the precedence graph acyclic, so no path leaves the segment and comes back;
- a FIFO with a delay between two of them, which becomes a loop of the segment to itself, has room for a firing's tokens
  beside its delay (rule G5 of self-loops), as the segment reserves its outputs before it releases its inputs;
- the segment, cut from the union of their operators, computes what they compute: no operator is in two of them, the
  FIFOs between them join a tensor to itself, a tensor that one of them writes is taken from it at once, slices that
  take the same tensor from outside, or from an earlier firing, take the same values, and a tensor has the same channels
  in all of them.

The last point matters where an application has two instances of a model, or joins slices otherwise than the model does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Optional, Union

from eprune.analysis.domains import rate_domains
from eprune.analysis.precedence import Precedence, order
from eprune.model.graph import Actor, ActorType, Direction, Fifo, Graph, PortRef
from eprune.model.interface import Interface

#: When an actor has rate 1 at all data ports: always, or in those rows of that dynamic processing graph.
Activity = Union[int, tuple[str, tuple[int, ...]]]


def activities(graph: Graph) -> dict[str, Activity]:
    """Actor name -> activity, for the model slices whose data ports have rate 1 together, and rate 0 otherwise."""
    result: dict[str, Activity] = {}
    dpg_of = {name: dpg for dpg in graph.dpgs for name in dpg.members}
    domain = {name: number for number, members in enumerate(rate_domains(graph)) for name in members}
    for actor in graph.actors:
        if not actor.is_slice:
            continue
        if all(port.lrl == port.url == 1 and not port.control for port in actor.ports):
            around = dpg_of.get(actor.name)
            # Inside of an inner graph it fires in all of that one's rows, but not in each iteration.
            every = (around.name, tuple(range(len(around.rows)))) if around is not None and around.inside else None
            result[actor.name] = every or domain[actor.name]
        elif actor.type is ActorType.DPA and actor.name in dpg_of:
            dpg = dpg_of[actor.name]
            data = [PortRef(actor.name, port.name) for port in actor.ports if not port.control]
            rates = [{dpg.rates(row).get(ref) for ref in data} for row in dpg.rows]
            if all(each in ({0}, {1}) for each in rates):
                result[actor.name] = (dpg.name, tuple(index for index, each in enumerate(rates) if each == {1}))
    return result


def tight(fifo: Fifo) -> bool:
    """Whether a FIFO of rate 1 has no room for a token beside its delay, so no actor can have both ends."""
    return fifo.capacity < fifo.delay + 1


def model_file(actor: Actor) -> str:
    """The file that a model slice is cut from."""
    assert actor.behaviour is not None  # the caller's choice
    return actor.behaviour.path or actor.behaviour.file


class Source(NamedTuple):
    """Where an input comes from: a tensor of an actor (None: not known which), ``delay`` firings ago.

    Equal sources bring equal values, where the tensor is known. ``tight``: the FIFO cannot be a loop of one segment.
    """

    actor: str
    tensor: Optional[int]
    delay: int = 0
    initial: Optional[str] = None
    tight: bool = False


class Wiring:
    """The operators of a set of slices, the tensors it writes, and those it takes from outside, with their sources."""

    def __init__(
        self,
        name: str,
        operators: set[int],
        writes: set[int],
        takes: dict[int, set[Source]],
        channels: Mapping[int, Optional[tuple[int, ...]]],
    ) -> None:
        self.members = {name}
        self._channels = dict(channels)  # of each tensor that it has: None for all
        self._operators = operators
        self._writes = writes
        self._takes = takes

    def clash(self, other: Wiring) -> str:
        """Why the two sets cannot be one segment, or an empty text."""
        if not self._operators.isdisjoint(other._operators):
            return f"operator {min(self._operators & other._operators)} is in more than one of its slices"
        for tensor in self._channels.keys() & other._channels.keys():
            if self._channels[tensor] != other._channels[tensor]:
                return f"its slices have different channels of tensor {tensor}"
        return self._clash_one_way(other) or other._clash_one_way(self) or self._clash_outside(other)

    def _clash_one_way(self, other: Wiring) -> str:
        """Why the other set's inputs do not fit this set's tensors."""
        for tensor, sources in other._takes.items():
            for source in sources:
                inside = source.actor in self.members
                if inside and source.tight:
                    return f"the FIFO that brings tensor {tensor} from '{source.actor}' has no room beside its delay"
                if inside and not source.delay and source.tensor != tensor:
                    return f"its slices take tensor {tensor} from '{source.actor}', which does not write it there"
                if tensor in self._writes and (source.delay or not inside):
                    late = f" with a delay of {source.delay}" if source.delay else ""
                    return f"tensor {tensor}, which one of its slices writes, is taken from '{source.actor}'{late}"
        return ""

    def _clash_outside(self, other: Wiring) -> str:
        """Why the two sets cannot share their inputs from outside."""
        few, many = sorted((self, other), key=lambda wiring: len(wiring._takes))
        for tensor in few._takes.keys() & many._takes.keys():
            sources = few._takes[tensor] | many._takes[tensor]
            if len(sources) > 1 or next(iter(sources)).tensor is None:
                return f"two of its slices take tensor {tensor} from outside, and perhaps not the same values"
        return ""

    def absorb(self, other: Wiring) -> None:
        """Become the union of the two sets, which must not clash."""
        self.members |= other.members
        self._operators |= other._operators
        self._writes |= other._writes
        self._channels.update(other._channels)
        for tensor, sources in other._takes.items():
            self._takes.setdefault(tensor, set()).update(sources)
        for tensor in [tensor for tensor in self._takes if tensor in self._writes]:
            del self._takes[tensor]


def wirings(graph: Graph, interfaces: Mapping[str, Interface]) -> dict[str, Wiring]:
    """Actor name -> wiring, for the model slices whose every port has a tensor in ``interfaces``."""
    feeds: dict[str, dict[str, Fifo]] = {}
    for fifo in graph.fifos:
        feeds.setdefault(fifo.target.actor, {})[fifo.target.port] = fifo
    result = {}
    for actor in graph.actors:
        tensors = interfaces[actor.name].tensors if actor.name in interfaces else {}
        data = [port for port in actor.ports if not port.control]
        if actor.behaviour is None or not actor.is_slice or any(port.name not in tensors for port in data):
            continue
        takes: dict[int, set[Source]] = {}
        for port in (port for port in data if port.direction is Direction.IN):
            fifo = feeds[actor.name][port.name]
            interface = interfaces.get(fifo.source.actor)
            tensor = interface.tensors.get(fifo.source.port) if interface is not None else None
            source = Source(fifo.source.actor, tensor, fifo.delay, fifo.initial, tight(fifo))
            takes.setdefault(tensors[port.name], set()).add(source)
        writes = {tensors[port.name] for port in data if port.direction is Direction.OUT}
        kept = interfaces[actor.name].channels
        channels = {tensors[port.name]: kept.get(port.name) for port in data}
        result[actor.name] = Wiring(actor.name, set(actor.behaviour.operators), writes, takes, channels)
    return result


class Contraction:
    """The precedence graph while sets of its nodes are merged, kept acyclic.

    The topological order is kept up to date, and only what lies between the two nodes in it is searched (as Pearce and
    Kelly do for added edges); the smaller node goes into the larger. So thousands of merges take seconds. ``place`` is
    that order: node -> a number, smaller than those of the nodes after it.
    """

    def __init__(self, graph: Precedence) -> None:
        self._merged_into: dict[str, str] = {}
        self._weight = dict.fromkeys(graph.nodes, 1)
        self.place = {node: index for index, node in enumerate(order(graph))}
        self._after: dict[str, set[str]] = {node: set() for node in graph.nodes}
        self._before: dict[str, set[str]] = {node: set() for node in graph.nodes}
        for edge in graph.edges:
            self._after[edge.source].add(edge.target)
            self._before[edge.target].add(edge.source)

    def node(self, name: str) -> str:
        """The node that a node has become part of."""
        while name in self._merged_into:
            above = self._merged_into[name]
            self._merged_into[name] = self._merged_into.get(above, above)
            name = above
        return name

    def merge(self, a: str, b: str) -> bool:
        """Merge two nodes that an edge a -> b joins, unless a path from a to b through others would become a cycle."""
        below = self._between(a, b, self._after)
        if below is None:
            return False
        above = self._between(b, a, self._before)
        assert above is not None, "a path from a to b was found only backwards"
        # Between the two in the order there are nodes after a, nodes before b, and others. Those before b go first,
        # then the merged node, then those after a: all within the places that they had, so the others may stay.
        places = sorted(self.place[node] for node in (*above, *below, a, b))
        before, after = (sorted(nodes, key=self.place.__getitem__) for nodes in (above, below))
        kept, gone = (a, b) if self._weight[a] >= self._weight[b] else (b, a)
        self.place.update(zip((*before, kept, *after), places))
        self._absorb(kept, gone)
        return True

    def _between(self, start: str, goal: str, successors: dict[str, set[str]]) -> Optional[set[str]]:
        """The nodes reached from ``start`` that lie before ``goal`` in the order; None if they lead to ``goal``."""
        low, high = sorted((self.place[start], self.place[goal]))
        reached: set[str] = set()
        stack = [start]
        while stack:
            node = stack.pop()
            for successor in successors[node]:
                if successor == goal:
                    if node != start:
                        return None
                elif low < self.place[successor] < high and successor not in reached:
                    reached.add(successor)
                    stack.append(successor)
        return reached

    def _absorb(self, kept: str, gone: str) -> None:
        self._merged_into[gone] = kept
        self._weight[kept] += self._weight.pop(gone)
        for there, back in ((self._after, self._before), (self._before, self._after)):
            for neighbour in there.pop(gone):
                back[neighbour].discard(gone)
                if neighbour != kept:
                    back[neighbour].add(kept)
                    there[kept].add(neighbour)
