"""Fuse consecutive slices of a model into one actor, which one interpreter runs.

Which slices go together is chosen here, by the conditions of rule M4 (``analysis.fusing``), and done here. What comes
out is for the code generator: its names hold signs that no file may have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from eprune.analysis.clusters import Cluster, clusters
from eprune.analysis.fusing import Contraction, activities, model_file, wirings
from eprune.analysis.precedence import contract, order, untangled
from eprune.model.graph import Actor, Dpg, Fifo, Graph, PortRef
from eprune.model.interface import Interface
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.mapping import Placement
from eprune.model.system import System
from eprune.passes.base import Report, Result, carries, option

T = TypeVar("T")

MULTI_RATE = True

#: A segment is named after all of its actors up to here, after its first and last beyond.
_NAMED_IN_FULL = 3


@dataclass(frozen=True)
class Options:
    """Whether to fuse at all."""

    together: bool = option(True, help="Run consecutive slices of a model as one segment (default), or each alone.")


@carries
def apply(system: System, options: Options = Options()) -> Result:
    """Each set of slices of one unit that may run as one segment becomes one actor; FIFOs within a set are gone.

    A slice that stays alone becomes such an actor, too, and so does every slice where they are not ``together``, or
    where each end of a FIFO has a rate of its own. The
    system must have passed ``analysis.check``, with a mapping of each platform that programs are wanted for.
    """
    together = options.together and not system.graph.is_sdf
    sets = choose(system) if together else [(name,) for name in _slices(system)]
    names = {member: segment_name(members) for members in sets for member in members}
    interfaces = {name: interface for name, interface in system.interfaces.items() if name not in names}
    graph = _fused(system, sets, names, interfaces)
    mappings = tuple(_placed(mapping, names) for mapping in system.mappings)
    several = sum(len(members) > 1 for members in sets)
    report = Report(
        (f"{len(names)} slices in {len(sets)} segments, {several} of more than one slice",),
        {"segments": {segment_name(members): list(members) for members in sets}},
    )
    return Result(replace(system, graph=graph, mappings=mappings, interfaces=interfaces), report)


def segment_name(actors: Sequence[str]) -> str:
    """``L1``, ``L1+L2``, or ``L1~L9`` for many: fit for a file name, and no other segment's or actor's name.

    Names of actors hold neither sign, and no two segments have an actor in common.
    """
    return "+".join(actors) if len(actors) <= _NAMED_IN_FULL else f"{actors[0]}~{actors[-1]}"


def clusters_of(system: System) -> dict[str, tuple[Cluster, ...]]:
    """Platform -> the clusters of its program, a segment as the slices that it is made of, in their order."""
    fused = apply(system).system
    members = {actor.name: actor.members or (actor.name,) for actor in fused.graph.actors}
    return {
        platform: tuple(tuple(member for node in cluster for member in members[node]) for cluster in own)
        for platform, own in clusters(fused).items()
    }


def choose(system: System) -> list[tuple[str, ...]]:
    """The model slices that platforms run, in the sets to fuse; each set and all of them in precedence order.

    Explicit ``segment`` names are taken as they are. Other slices are merged along FIFOs in precedence order as long
    as any two sets may be fused; a slice whose tensors are not known stays alone.
    """
    graph = system.graph
    actors = {actor.name: actor for actor in graph.actors}
    local = [
        (mapping.platform, placement)
        for mapping in system.mappings
        for placement in mapping.placements
        if placement.unit is not None and actors[placement.actor].is_slice
    ]
    whole = untangled(graph)
    rings = {end for edge in whole.edges if edge.kind == "ring" for end in (edge.source, edge.target)}
    position = {name: index for index, name in enumerate(order(whole))}

    named: dict[tuple[str, str], list[str]] = {}
    for platform, placement in local:
        if placement.segment is not None:
            named.setdefault((platform, placement.segment), []).append(placement.actor)

    wires = wirings(graph, system.interfaces)
    active = activities(graph)
    kinds = {
        placement.actor: (platform, placement.unit, model_file(actors[placement.actor]), active[placement.actor])
        for platform, placement in local
        if placement.segment is None
        and placement.actor in wires
        and placement.actor in active
        and placement.actor not in rings
    }
    joints = [
        (fifo.source.actor, fifo.target.actor)
        for fifo in graph.fifos
        if not fifo.delay
        and fifo.source.actor in kinds
        and fifo.target.actor in kinds
        and kinds[fifo.source.actor] == kinds[fifo.target.actor]
    ]
    joints.sort(key=lambda joint: position[joint[0]])
    contraction = Contraction(contract(whole, named.values()))
    merged = True
    while merged:
        merged = False
        for source, target in joints:
            a, b = contraction.node(source), contraction.node(target)
            if a != b and not wires[a].clash(wires[b]) and contraction.merge(a, b):
                kept, gone = (a, b) if contraction.node(a) == a else (b, a)
                wires[kept].absorb(wires[gone])
                merged = True

    sets: dict[str, list[str]] = {}
    for _, placement in local:
        if placement.segment is None:
            sets.setdefault(contraction.node(placement.actor), []).append(placement.actor)
    set_of = {}
    for members in (*named.values(), *sets.values()):
        together = tuple(sorted(members, key=position.__getitem__))
        set_of.update(dict.fromkeys(together, together))
    nodes = order(contract(whole, set(set_of.values())))
    return [set_of[node] for node in nodes if node in set_of]


def _slices(system: System) -> list[str]:
    return [actor.name for actor in system.graph.actors if actor.is_slice and actor.name in system.units]


def _fused(
    system: System,
    sets: Sequence[tuple[str, ...]],
    names: Mapping[str, str],
    interfaces: dict[str, Interface],
) -> Graph:
    """The graph after fusing, its actors in precedence order; ``interfaces`` gets those of the fused actors."""
    graph = system.graph
    actors = {actor.name: actor for actor in graph.actors}

    def end(ref: PortRef) -> PortRef:
        return PortRef(names[ref.actor], str(ref)) if ref.actor in names else ref

    def within(fifo: Fifo) -> bool:
        """Whether its tokens never leave the interpreter. (With a delay it is a loop.)"""
        source, target = fifo.source.actor, fifo.target.actor
        return not fifo.delay and source in names and names[source] == names.get(target)

    gone = {ref for fifo in graph.fifos if within(fifo) for ref in (fifo.source, fifo.target)}

    def at_ports(members: Iterable[str], of: Callable[[Interface], Mapping[str, T]]) -> dict[str, T]:
        """What interfaces of members say of ports, by the ports of what they become."""
        there = ((name, of(system.interfaces[name])) for name in members if name in system.interfaces)
        stated = {PortRef(name, port): value for name, values in there for port, value in values.items()}
        return {str(ref): value for ref, value in stated.items() if ref not in gone}

    made = {}
    for members in sets:
        parts = [actors[name] for name in members]
        made[members[0]] = actor = _together(parts, gone)
        known = [system.interfaces[name] for name in members if name in system.interfaces]
        interfaces[actor.name] = Interface(
            tensors=at_ports(members, lambda each: each.tensors),
            weight_bytes=sum(each.weight_bytes for each in known),
            copies=True,
            channels=at_ports(members, lambda each: each.channels),
            axes=at_ports(members, lambda each: each.axes),
        )
    groups = {tuple(members) for members in sets}
    precedence = order(contract(untangled(graph), groups))
    leader = {member: members[0] for members in groups for member in members}
    listed = [made.get(leader.get(node, node)) or actors[node] for node in precedence]
    return replace(
        graph,
        actors=tuple(listed),
        fifos=tuple(
            replace(fifo, source=end(fifo.source), target=end(fifo.target)) for fifo in graph.fifos if not within(fifo)
        ),
        dpgs=tuple(_dpg(dpg, names, gone, end) for dpg in graph.dpgs),
    )


def _together(parts: Sequence[Actor], gone: set[PortRef]) -> Actor:
    ports = [
        replace(port, name=str(PortRef(part.name, port.name)))
        for part in parts
        for port in part.ports
        if PortRef(part.name, port.name) not in gone
    ]
    limits = [part.stall_after for part in parts]
    stated = [limit for limit in limits if limit is not None]
    members = tuple(part.name for part in parts)
    return replace(
        parts[0],
        name=segment_name(members),
        ports=tuple(ports),
        behaviour=parts[0].behaviour
        and parts[0].behaviour.together([part.behaviour for part in parts[1:] if part.behaviour]),
        members=members,
        stall_after=sum(stated) if len(stated) == len(limits) else None,
    )


def _dpg(dpg: Dpg, names: Mapping[str, str], gone: set[PortRef], end: Callable[[PortRef], PortRef]) -> Dpg:
    kept = [index for index, ref in enumerate(dpg.ports) if ref not in gone]
    return replace(
        dpg,
        members=tuple(dict.fromkeys(names.get(member, member) for member in dpg.members)),
        ports=tuple(end(dpg.ports[index]) for index in kept),
        rows=tuple(replace(row, rates=tuple(row.rates[index] for index in kept)) for row in dpg.rows),
    )


def _placed(mapping: PlatformMapping, names: Mapping[str, str]) -> PlatformMapping:
    """The mapping of the fused actors, each where its first member was."""
    placements: dict[str, Placement] = {}
    for placement in mapping.placements:
        name = names.get(placement.actor, placement.actor)
        placements.setdefault(name, replace(placement, actor=name, segment=None))
    return replace(mapping, placements=tuple(placements.values()))
