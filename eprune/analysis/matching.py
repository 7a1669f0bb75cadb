"""Matching: which inputs of an actor take tokens of one index, and which actors number their own firings.

Tokens carry the index of the firing that began their way, given by the actor that numbers: a source, or all sources of
one ``clock``, whose indices mean the same. Inputs that have such an origin in common are matched by index, so that a
diamond stays in step; inputs that have none are matched by arrival. An actor whose inputs form more than one group
numbers its own firings, and is the origin of all behind it. Ports with a delay are taken in order, and an input on
``hold`` takes whatever comes: both are in no group, unless there are no other inputs, and then the actor counts.
Actors with a control input go by the index of the control token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eprune.analysis.precedence import Edge, Precedence, postorder
from eprune.model.graph import Actor, Fifo, Graph, Match

#: The names of the data inputs that are matched by index with each other.
Group = tuple[str, ...]


@dataclass(frozen=True)
class Matching:
    """``groups``: actor -> the groups of its inputs, in file order. ``origins``: actor -> who numbers its firings.

    An origin is an actor, or ``clock 30/s`` for all sources of a clock; several are those of inputs that the file says
    are to be matched by index.
    """

    groups: Mapping[str, tuple[Group, ...]]
    origins: Mapping[str, frozenset[str]]

    def numbers(self, actor: str) -> bool:
        """Whether the actor has inputs, and yet numbers its firings itself."""
        return len(self.groups[actor]) > 1


def matching(graph: Graph) -> Matching:
    """The groups of all actors. The graph must be sound by rules G1 to G7."""
    undelayed = [fifo for fifo in graph.fifos if not fifo.delay]
    into: dict[str, dict[str, Fifo]] = {actor.name: {} for actor in graph.actors}
    for fifo in graph.fifos:
        into[fifo.target.actor][fifo.target.port] = fifo
    actors = {actor.name: actor for actor in graph.actors}
    edges = tuple(Edge(fifo.source.actor, fifo.target.actor, "token", fifo.name) for fifo in undelayed)
    outgoing = Precedence(tuple(actors), edges).outgoing()
    successors = {name: [edge.target for edge in leaving] for name, leaving in outgoing.items()}
    groups: dict[str, tuple[Group, ...]] = {}
    origins: dict[str, frozenset[str]] = {}
    for name in reversed(postorder(actors, successors)):
        actor = actors[name]
        known = {port: origins.get(fifo.source.actor, frozenset()) for port, fifo in into[name].items()}
        groups[name] = _groups(actor, into[name], known)
        ordered = all(port.hold or into[name][port.name].delay for port in actor.inputs if port.name in into[name])
        if len(groups[name]) == 1 and not ordered:
            origins[name] = frozenset().union(*(known[port] for port in groups[name][0]))
        else:
            origins[name] = frozenset((name if actor.clock is None else f"clock {actor.clock:g}/s",))
    return Matching({name: groups[name] for name in actors}, {name: origins[name] for name in actors})


def _groups(actor: Actor, into: Mapping[str, Fifo], origins: Mapping[str, frozenset[str]]) -> tuple[Group, ...]:
    """The actor's inputs by origin."""
    if any(port.control for port in actor.inputs):
        return (tuple(port.name for port in actor.inputs if port.control),)
    inputs = [port for port in actor.inputs if port.name in into]
    led = [port.name for port in inputs if not port.hold and not into[port.name].delay]
    names = led or [port.name for port in inputs]
    if not led or actor.match is Match.INDEX:
        return (tuple(names),) if names else ()
    if actor.match is Match.ARRIVAL:
        return tuple((name,) for name in names)
    return _joined(names, origins)


def _joined(names: Sequence[str], origins: Mapping[str, frozenset[str]]) -> tuple[Group, ...]:
    """The names in groups that have no origin in common."""
    found: list[tuple[list[str], frozenset[str]]] = []
    for name in names:
        own, members = origins[name], [name]
        for group in [group for group in found if group[1] & own]:
            found.remove(group)
            members, own = [*group[0], *members], own | group[1]
        found.append((members, own))
    position = {name: place for place, name in enumerate(names)}
    ordered = [tuple(sorted(members, key=position.__getitem__)) for members, _ in found]
    return tuple(sorted(ordered, key=lambda group: position[group[0]]))
