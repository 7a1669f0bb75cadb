"""Routes: FIFOs of one actor to equal branches, of which each token takes one. Rule F5, that they are such.

With ``route`` left out, each token would go over all of these FIFOs, and whoever reads the answers would take the first
one of an index. With it the copies are held back: one is sent, and another only if no answer to that comes. So what is
computed is the same, and whatever holds of the graph without the attribute (liveness, room, what failures it survives)
holds with it, for fewer tokens are never more; only the traffic, and the work, are divided.

The *answer* to a token is the token of the same index that a branch brings to the route's reader; where the branches do
not come back it is that the branch's first actor has fired on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from eprune.analysis.lookup import some
from eprune.analysis.reach import leaving, reached
from eprune.analysis.rules import violation
from eprune.model.finding import Finding
from eprune.model.graph import FaultPolicy, Fifo, Graph, Port, PortRef
from eprune.model.system import System

_POLICIES = (FaultPolicy.DROP, FaultPolicy.WAIT)


@dataclass(frozen=True)
class Routing:
    """A route: ``fifos`` of the actor ``source``, behind each the actors of a branch, in file order.

    ``answers`` are the FIFOs from branches to ``reader``, where they meet: "" and none where they do not.
    """

    source: str
    fifos: tuple[Fifo, ...]
    branches: tuple[tuple[str, ...], ...]
    reader: str
    answers: tuple[Fifo, ...]

    @property
    def members(self) -> tuple[str, ...]:
        """The actors of all branches."""
        return tuple(dict.fromkeys(name for branch in self.branches for name in branch))

    @property
    def keeps(self) -> bool:
        """Whether a token is kept until there is an answer, even while no branch is left."""
        return all(fifo.policy is FaultPolicy.WAIT for fifo in self.fifos)


def routes(graph: Graph) -> tuple[Routing, ...]:
    """The routes of a graph, by their actors in file order. The graph must be sound by rules G1 to G7."""
    chosen: dict[str, list[Fifo]] = {}
    for fifo in graph.fifos:
        if fifo.route is not None:
            chosen.setdefault(fifo.source.actor, []).append(fifo)
    if not chosen:
        return ()
    ways = leaving(graph)
    return tuple(_routing(source, fifos, ways) for source, fifos in chosen.items())


def _routing(source: str, fifos: list[Fifo], ways: dict[str, list[Fifo]]) -> Routing:
    behind = [reached(fifo.target.actor, ways) for fifo in fifos]
    shared = {name for name in ways if sum(name in each for each in behind) > 1}
    branches = tuple(tuple(name for name in ways if name in each - shared) for each in behind)
    answers = [fifo for branch in branches for name in branch for fifo in ways[name] if fifo.target.actor in shared]
    readers = list(dict.fromkeys(fifo.target.actor for fifo in answers))
    return Routing(source, tuple(fifos), branches, readers[0] if readers else "", tuple(answers))


def misrouted(system: System) -> Iterator[Finding]:
    """F5: what states a route is one. Platforms count only as far as the mappings are there."""
    ports = dict(system.graph.ports())
    for routing in routes(system.graph):
        yield from _unroutable(system, routing, ports)
        yield from _entangled(system, routing, ports)


def _unroutable(system: System, routing: Routing, ports: dict[PortRef, Port]) -> Iterator[Finding]:
    """What is wrong with a route's FIFOs."""
    first, homes = routing.fifos[0], system.homes
    if len(routing.fifos) < 2:
        message = f"FIFO '{first.name}': a route is a choice, and no other FIFO of '{routing.source}' states one"
        yield violation("F5", first.where, message, "leave route out")
    if not any(ref.actor == routing.source and port.direction.value == "in" for ref, port in ports.items()):
        message = f"'{routing.source}' is a source, which cannot keep its tokens until they are answered"
        yield violation("F5", first.where, message, "put an actor between it and the branches")
    places: dict[str, Fifo] = {}
    for fifo in routing.fifos:
        source, target = ports[fifo.source], ports[fifo.target]
        wrong = {
            f"policy {fifo.policy.value}, which cannot go on without one branch": fifo.policy not in _POLICIES,
            "policies differ": fifo.policy is not first.policy,
            "routes differ": fifo.route is not first.route,
            "tokens differ": source.token != ports[first.source].token,
            "a rate other than 1": not source.static or source.url != 1,
            "a control FIFO": source.control or target.control,
            "a delay": bool(fifo.delay),
            "room-timeout or group, where nothing is late": fifo.room_timeout is not None or fifo.group is not None,
        }
        for what in [what for what, holds in wrong.items() if holds]:
            hint = 'write the same at all FIFOs of a route: policy="drop" or policy="wait", rate 1, and no delay'
            yield violation("F5", fifo.where, f"FIFO '{fifo.name}' with a route: {what}", hint)
        here, there = homes.get(fifo.source.actor), homes.get(fifo.target.actor)
        if here is None or there is None:
            continue
        other = places.setdefault(there, fifo)
        if there == here or other is not fifo:
            where = "on its sender's" if there == here else f"like FIFO '{other.name}' on"
            message = f"FIFO '{fifo.name}' with a route: its branch is {where} platform '{there}'"
            yield violation("F5", fifo.where, message, "map each branch to a platform of its own")


def _entangled(system: System, routing: Routing, ports: dict[PortRef, Port]) -> Iterator[Finding]:
    """What is wrong with the branches, and where they meet."""
    graph, where, homes = system.graph, routing.fifos[0].where, system.homes
    members = set(routing.members)
    foreign = [
        fifo
        for fifo in graph.fifos
        if fifo.target.actor in members and fifo.source.actor not in members and fifo.route is None
    ]
    for fifo in foreign:
        message = (
            f"'{fifo.target.actor}' is in a branch of the route of '{routing.source}', and takes more: '{fifo.name}'"
        )
        yield violation("F5", fifo.where, message, "a branch takes nothing but what comes over a route")
    chosen_by_rows = {name: dpg.name for dpg in graph.dpgs for name in dpg.actors}
    for name in (routing.source, *routing.members, routing.reader):
        if name in chosen_by_rows:
            message = f"'{name}' takes part in a route, and is in the dynamic processing graph '{chosen_by_rows[name]}'"
            yield violation("F5", where, message, "let the branches be outside of dynamic processing graphs")
    if any(not branch for branch in routing.branches):
        message = f"the route of '{routing.source}' leads into the same actor twice"
        yield violation("F5", where, message, "let each FIFO of the route lead to an actor of its own")
    if not routing.reader:
        return
    reader = graph.actor(routing.reader)
    assert reader is not None
    readers = list(dict.fromkeys(fifo.target.actor for fifo in routing.answers))
    if len(readers) > 1 or len(routing.answers) != len(routing.fifos):
        message = (
            f"the branches of the route of '{routing.source}' meet at {some(readers)}: {len(routing.answers)} ways"
        )
        yield violation("F5", where, message, "let one FIFO lead out of each branch, all to one actor")
    answers = {fifo.target for fifo in routing.answers}
    others = [port.name for port in reader.inputs if PortRef(reader.name, port.name) not in answers]
    if others:
        message = f"'{reader.name}' reads the answers of a route, and takes more: {some(others)}"
        yield violation("F5", reader.where, message, "put an actor before it that reads the answers")
    for fifo in routing.answers:
        if fifo.policy is not FaultPolicy.DROP or ports[fifo.target].required:
            message = f"FIFO '{fifo.name}' brings an answer that may come from another branch instead"
            yield violation("F5", fifo.where, message, f'write policy="drop" and, at {fifo.target}, required="false"')
    if homes.get(reader.name, homes.get(routing.source)) != homes.get(routing.source, homes.get(reader.name)):
        message = f"'{reader.name}' reads the answers to tokens of '{routing.source}', on another platform"
        yield violation("F5", reader.where, message, f"map both to one platform, '{homes[routing.source]}'")
