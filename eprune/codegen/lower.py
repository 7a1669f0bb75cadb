"""Graph, platform and mapping -> Program: who runs where and in which order, and what crosses to other platforms.

TX and RX FIFOs and their port numbers appear here and nowhere else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, Optional

from eprune.analysis.fusing import clusters
from eprune.analysis.precedence import contract, order, untangled
from eprune.codegen.digest import digest, initial_path
from eprune.codegen.program import (
    Channel,
    ControlRow,
    LinkFigures,
    Node,
    ProcessingUnit,
    Program,
    PythonActor,
    RxFifo,
    Segment,
    Tunnel,
    TxFifo,
)
from eprune.model.graph import Actor, Direction, FaultPolicy, Fifo, Graph, ModelSlice, PortRef, PythonBehaviour
from eprune.model.interface import Interface
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.platform import Platform, Security

#: A segment is named after all of its actors up to here, after its first and last beyond.
_NAMED_IN_FULL = 3
#: Addresses at which nobody on another machine is found.
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def lower(
    graph: Graph,
    platform: Platform,
    mapping: PlatformMapping,
    interfaces: Mapping[str, Interface],
    fuse: bool = True,
    hashes: Optional[Mapping[str, str]] = None,
) -> Program:
    """One platform's program. The arguments must have passed ``analysis.check`` without an error.

    ``interfaces`` are the actors' behaviours as ``formats.behaviour`` found them. ``hashes`` maps the path of each
    behaviour, model and file of initial tokens to a hash of its contents, for the digest: all of the graph's, not only
    this platform's. Without ``fuse`` every slice of a model is a segment by itself, whatever the mapping asks for.
    """
    homes = mapping.homes()
    actors = {actor.name: actor for actor in graph.actors}
    units = {placement.actor: placement.unit for placement in mapping.placements if placement.unit is not None}
    groups = _groups(graph, mapping, interfaces, fuse)
    slices = [group for group in groups if isinstance(actors[group[0]].behaviour, ModelSlice)]
    segment_of = {name: segment_name(group) for group in slices for name in group}
    hidden = {ref for fifo in graph.fifos if _hidden(fifo, segment_of) for ref in (fifo.source, fifo.target)}
    nodes: list[Node] = []
    for group in groups:
        members = [actors[name] for name in group]
        if group[0] in segment_of:
            nodes.append(_segment(members, units[group[0]], interfaces, hidden))
        else:
            nodes.append(_python_actor(members[0], units[group[0]], interfaces))
    fifos, tx, rx = _fifos(graph, platform, homes, segment_of)
    here = {channel.name for channel in (*fifos, *(end.channel for end in tx), *(end.channel for end in rx))}
    return Program(
        application=graph.name,
        platform=platform.name,
        digest=digest(graph, homes, hashes or {}),
        aligned=any(_lossy(fifo) and homes[fifo.source.actor] != homes[fifo.target.actor] for fifo in graph.fifos),
        units=_units(platform, nodes),
        nodes=tuple(nodes),
        rows=_rows(graph, here),
        fifos=fifos,
        tx=tx,
        rx=rx,
        links=_links(platform, {*(fifo.to for fifo in tx), *(fifo.origin for fifo in rx)}),
        tunnels=_tunnels(platform, tx, rx),
        sources=(graph.where.file, platform.where.file, mapping.where.file),
    )


def _lossy(fifo: Fifo) -> bool:
    return fifo.policy in (FaultPolicy.DROP, FaultPolicy.ZERO)


def segment_name(actors: Sequence[str]) -> str:
    """``L1``, ``L1+L2``, or ``L1~L9`` for many: fit for a file name, and no other segment's or actor's name.

    Names of actors hold neither sign, and no two segments have an actor in common.
    """
    return "+".join(actors) if len(actors) <= _NAMED_IN_FULL else f"{actors[0]}~{actors[-1]}"


def _groups(
    graph: Graph, mapping: PlatformMapping, interfaces: Mapping[str, Interface], fuse: bool
) -> list[tuple[str, ...]]:
    """This platform's actors, each alone or with those it is fused with; groups and members in precedence order."""
    precedences = untangled(graph)
    position = {name: index for index, name in enumerate(order(precedences))}
    local = [placement.actor for placement in mapping.placements if placement.unit is not None]
    group_of: dict[str, tuple[str, ...]] = {name: (name,) for name in local}
    for cluster in clusters(graph, mapping, interfaces) if fuse else ():
        group_of.update(dict.fromkeys(cluster, tuple(sorted(cluster, key=position.__getitem__))))
    contracted = contract(precedences, set(group_of.values()))
    return list(dict.fromkeys(group_of[node] for node in order(contracted) if node in group_of))


def _hidden(fifo: Fifo, segment_of: Mapping[str, str]) -> bool:
    """Whether fusing does away with a FIFO: its tokens never leave the interpreter. (With a delay it is a loop.)"""
    source, target = fifo.source.actor, fifo.target.actor
    return not fifo.delay and source in segment_of and segment_of[source] == segment_of.get(target)


def _python_actor(actor: Actor, unit: str, interfaces: Mapping[str, Interface]) -> PythonActor:
    behaviour = actor.behaviour
    if not isinstance(behaviour, PythonBehaviour):
        raise ValueError(f"actor {actor.name!r} has no behaviour (rule G2)")
    model = None
    if behaviour.model is not None:
        called = interfaces[actor.name].called
        assert called is not None  # as formats.behaviour found it
        model = Segment(
            name=actor.name,
            unit=unit,
            actors=(actor.name,),
            path=behaviour.model.path,
            operators=tuple(behaviour.model.operators),
            input_tensors=called[0],
            output_tensors=called[1],
            inputs=(),
            outputs=(),
            where=actor.where,
        )
    return PythonActor(
        name=actor.name,
        unit=unit,
        path=behaviour.path,
        class_name=behaviour.class_name,
        parameters=actor.parameters,
        model=model,
        optional=tuple(port.name for port in actor.inputs if not port.required),
        quorum=actor.quorum,
        where=actor.where,
    )


def _segment(actors: Sequence[Actor], unit: str, interfaces: Mapping[str, Interface], hidden: Set[PortRef]) -> Segment:
    """Fuse slices of one model: hidden ports are gone, and a tensor that several ports carry has one position."""
    positions: dict[Direction, dict[int, int]] = {Direction.IN: {}, Direction.OUT: {}}  # tensor -> position
    ports: dict[Direction, dict[str, int]] = {Direction.IN: {}, Direction.OUT: {}}  # port -> position
    operators: set[int] = set()
    path = ""
    for actor in actors:
        assert isinstance(actor.behaviour, ModelSlice)  # the caller's choice
        path = actor.behaviour.path
        operators.update(actor.behaviour.operators)
        for port in actor.ports:
            ref = PortRef(actor.name, port.name)
            if ref not in hidden and not port.control:
                tensors = positions[port.direction]
                tensor = interfaces[actor.name].tensors[port.name]
                ports[port.direction][str(ref)] = tensors.setdefault(tensor, len(tensors))
    return Segment(
        name=segment_name([actor.name for actor in actors]),
        unit=unit,
        actors=tuple(actor.name for actor in actors),
        path=path,
        operators=tuple(sorted(operators)),
        input_tensors=tuple(positions[Direction.IN]),
        output_tensors=tuple(positions[Direction.OUT]),
        inputs=tuple(ports[Direction.IN].items()),
        outputs=tuple(ports[Direction.OUT].items()),
        where=actors[0].where,
    )


def _fifos(
    graph: Graph, platform: Platform, homes: Mapping[str, str], segment_of: Mapping[str, str]
) -> tuple[tuple[Channel, ...], tuple[TxFifo, ...], tuple[RxFifo, ...]]:
    """This platform's FIFOs, in file order: within it, from it and to it."""
    here = platform.name
    ports = dict(graph.ports())
    links = {link.to: link for link in platform.links}
    controlled_by = {dpg.control: dpg.name for dpg in graph.dpgs}
    local: list[Channel] = []
    tx: list[TxFifo] = []
    rx: list[RxFifo] = []
    crossing: Counter[str] = Counter()  # FIFOs so far between here and each other platform, in either direction

    def end(ref: PortRef) -> str:
        return f"{segment_of[ref.actor]}.{ref}" if ref.actor in segment_of else str(ref)

    for fifo in graph.fifos:
        source, target = homes[fifo.source.actor], homes[fifo.target.actor]
        if here not in (source, target) or _hidden(fifo, segment_of):
            continue
        port = ports[fifo.source]
        channel = Channel(
            name=fifo.name,
            source=end(fifo.source),
            target=end(fifo.target),
            token=port.token,
            rate=port.url,
            capacity=fifo.capacity,
            delay=fifo.delay,
            initial=initial_path(fifo),
            lrl=port.lrl,
            control=controlled_by[fifo.source.actor] if port.control else None,
            where=fifo.where,
        )
        if source == target:
            local.append(channel)
            continue
        peer = target if source == here else source
        if peer not in links:
            raise ValueError(f"FIFO {fifo.name!r} crosses to {peer!r}, to which {here!r} has no link (rule M2)")
        link, number = links[peer], crossing[peer]
        crossing[peer] += 1
        common: dict[str, Any] = {
            "channel": channel,
            "port": link.port if link.shared else link.port + number,
            "number": number,
            "shared": link.shared,
            "policy": fifo.policy.value,
            "timeout": fifo.timeout,
            "ack": fifo.ack.value,
            "security": link.security.value,
        }
        if source == here:
            # The near end of a tunnel is here.
            address = LOOPBACK[0] if link.security is Security.SSH else link.address
            tx.append(TxFifo(**common, to=peer, address=address))
        else:
            rx.append(RxFifo(**common, origin=peer))
    return tuple(local), tuple(tx), tuple(rx)


def _rows(graph: Graph, here: Set[str]) -> tuple[ControlRow, ...]:
    """The control tables of which a control FIFO is among those that are ``here``, with the dynamic ones among them."""
    fifo_of = {ref: fifo.name for fifo in graph.fifos if fifo.name in here for ref in (fifo.source, fifo.target)}
    sources = {ref.actor for ref, port in graph.ports() if port.control and ref in fifo_of}
    return tuple(
        ControlRow(
            dpg.name,
            row.value,
            tuple({fifo_of[ref]: rate for ref, rate in dpg.rates(row).items() if ref in fifo_of}.items()),
            row.where,
        )
        for dpg in graph.dpgs
        if dpg.control in sources
        for row in dpg.rows
    )


def _units(platform: Platform, nodes: Iterable[Node]) -> tuple[ProcessingUnit, ...]:
    """The units that run something."""
    runs: dict[str, list[str]] = {}
    for node in nodes:
        runs.setdefault(node.unit, []).append(node.name)
    return tuple(
        ProcessingUnit(unit.name, unit.core, unit.slowdown, tuple(runs[unit.name]), unit.where)
        for unit in platform.units
        if unit.name in runs
    )


def _tunnels(platform: Platform, tx: Sequence[TxFifo], rx: Sequence[RxFifo]) -> tuple[Tunnel, ...]:
    """A tunnel for each link that wants one and that a FIFO crosses. Who sends the first FIFO opens it."""
    tunnels = []
    for link in platform.links:
        out = {fifo.number: fifo.port - link.port for fifo in tx if fifo.to == link.to}
        back = {fifo.number: fifo.port - link.port for fifo in rx if fifo.origin == link.to}
        if link.security is not Security.SSH or not (out or back):
            continue
        opens = 0 in out
        if link.shared:
            out, back = ({0: 0}, {}) if opens else ({}, {0: 0})
        host = "" if link.address in LOOPBACK else link.address
        tunnels.append(Tunnel(link.to, host, link.port, tuple(out.values()), tuple(back.values()), opens))
    return tuple(tunnels)


def _links(platform: Platform, peers: Set[str]) -> tuple[LinkFigures, ...]:
    """The links to these peers of which something is known."""
    return tuple(
        LinkFigures(link.to, link.bandwidth or None, link.latency or 0.0)
        for link in platform.links
        if link.to in peers and (link.bandwidth or link.latency)
    )
