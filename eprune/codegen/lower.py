"""System -> Programs: who runs where and in which order, and what crosses to other platforms.

TX and RX FIFOs and their port numbers appear here and nowhere else. Whatever is the same for all platforms is found
once, so that the cost follows the sum of what platforms run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from typing import Any, Optional

from eprune.analysis.clusters import clusters
from eprune.analysis.domains import dividing
from eprune.analysis.faults import LOSSY
from eprune.analysis.lookup import untold, windows
from eprune.analysis.matching import matching
from eprune.analysis.nests import Nests
from eprune.analysis.order import firing_order
from eprune.analysis.routes import routes
from eprune.analysis.sdf.execution import schedule
from eprune.analysis.sdf.loops import looped
from eprune.analysis.sdf.repetition import repetition
from eprune.analysis.ways import budgets, way
from eprune.codegen.program import (
    LOOPBACK,
    ControlRow,
    EndRates,
    LateRow,
    LinkEnd,
    LocalFifo,
    Node,
    PeerLink,
    PlatformProgram,
    ProcessingUnit,
    Required,
    RxFifo,
    TxFifo,
)
from eprune.model.graph import Actor, FaultPolicy, Fifo, PortRef, Route
from eprune.model.interface import Interface
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.platform import Platform, Security
from eprune.model.system import System


def lower(system: System, digest: str = "", only: Optional[Set[str]] = None) -> tuple[PlatformProgram, ...]:
    """A program for each mapping, in their order; of the platforms ``only`` where it is given.

    The system must have passed ``analysis.check`` without an error and then ``passes.fuse``; each mapping's platform
    must be there. ``digest`` is what all platforms of the deployment agree on.
    """
    lowering = _Lowering(system, digest)
    return tuple(lowering.program(each) for each in system.mappings if only is None or each.platform in only)


class _Lowering:
    """What is the same for all platforms of a system, and each platform's part of it."""

    def __init__(self, system: System, digest: str) -> None:
        self.system, self.digest = system, digest
        graph = system.graph
        self.actors = {actor.name: actor for actor in graph.actors}
        self.position = {name: index for index, name in enumerate(firing_order(graph))}
        self.clusters = clusters(system)
        self.ports = dict(graph.ports())
        self.controlled_by = {dpg.control: dpg.name for dpg in graph.dpgs}
        #: the actors that learn from their tokens alone in which iterations they fire
        self.nested = {name for name, dpg in Nests(graph).home.items() if dpg.inside} | untold(graph)
        self.nested -= {fifo.target.actor for fifo in graph.fifos if self.ports[fifo.target].control}
        homes = system.homes
        found = routes(graph)
        #: actors whose tokens come as a route sends them, in any order; who reads a route's answers -> who sends by it
        self.relaying = {name for route in found for name in route.members}
        #: those of them that keep nothing from one token to the next
        self.sharing = {name for route in found if route.fifos[0].route is Route.ONE for name in route.members}
        self.answers = {
            route.reader: (route.source, *(fifo.target.port for fifo in route.answers))
            for route in found
            if route.reader
        }
        self.aligned = bool(dividing(graph) or found) or any(
            fifo.policy in LOSSY and homes[fifo.source.actor] != homes[fifo.target.actor] for fifo in graph.fifos
        )
        self.groups = matching(graph).groups if self.aligned else {}
        self.windows = windows(system)
        #: of a multi-rate graph, the firings of an iteration: in their order, and of each actor
        self.schedule = schedule(graph) if graph.is_sdf else ()
        self.repetition = repetition(graph) if graph.is_sdf else None
        self.ways = [(each, way(graph, each)) for each in graph.requirements]
        self.budgets = {dpg.name: budgets(graph, dpg) for dpg in graph.dpgs if dpg.late is not None}
        #: platform -> its FIFOs, in file order
        self.fifos: dict[str, list[Fifo]] = {}
        for fifo in graph.fifos:
            for home in dict.fromkeys((homes[fifo.source.actor], homes[fifo.target.actor])):
                self.fifos.setdefault(home, []).append(fifo)

    def program(self, mapping: PlatformMapping) -> PlatformProgram:
        platform = self.system.platform(mapping.platform)
        assert platform is not None  # as the system was checked
        units = {placement.actor: placement.unit for placement in mapping.placements if placement.unit is not None}
        names = sorted(units, key=self.position.__getitem__)
        nodes = tuple(self._node(self.actors[name], units[name]) for name in names)
        fifos, tx, rx = self._ends(platform)
        named = {fifo.name for fifo in (*fifos, *(end.fifo for end in tx), *(end.fifo for end in rx))}
        return PlatformProgram(
            application=self.system.graph.name,
            platform=platform.name,
            digest=self.digest,
            aligned=self.aligned,
            units=_units(platform, nodes),
            nodes=nodes,
            clusters=tuple(each for each in self.clusters[platform.name] if len(each) > 1 and not self.schedule),
            schedules=tuple(self._schedule(each) for each in self.clusters[platform.name] if self.schedule),
            rows=self._rows(platform, named),
            late=self._late(set(names)),
            required=self._required(named),
            fifos=fifos,
            tx=tx,
            rx=rx,
            links=_links(platform, {*(end.to for end in tx), *(end.origin for end in rx)}),
            ends=_link_ends(platform, tx, rx),
            sources=(self.system.graph.where.file, platform.where.file, mapping.where.file),
        )

    def _schedule(self, cluster: Sequence[str]) -> str:
        """A cluster's part of the schedule, as a looped list."""
        members = set(cluster)
        return looped([name for name in self.schedule if name in members])

    def _node(self, actor: Actor, unit: str) -> Node:
        if actor.behaviour is None:
            raise ValueError(f"actor {actor.name!r} has no behaviour (rule G2)")
        declaration = actor.behaviour.declare(actor, self.system.interfaces.get(actor.name, Interface()))
        live = self._live(actor)
        if actor.name in self.sharing and declaration.call == "segment":
            live = (*live, ("shares", True))
        return Node(actor.name, unit, declaration, actor.members or (actor.name,), actor.where, live)

    def _live(self, actor: Actor) -> tuple[tuple[str, Any], ...]:
        """What is said of an actor's live data, as far as there is something to say."""
        groups = self.groups.get(actor.name, ())
        stated = {
            "hold": tuple(port.name for port in actor.inputs if port.hold),
            "max_age": {port.name: port.max_age for port in actor.inputs if port.max_age is not None},
            "groups": groups if len(groups) > 1 else (),
            "clock": actor.clock,
            "rate": actor.rate,
            "stall_after": actor.stall_after,
            "nested": actor.name in self.nested,
            "relays": actor.name in self.relaying,
            "answers": self.answers.get(actor.name),
        }
        return tuple((name, value) for name, value in stated.items() if value)

    def _ends(self, platform: Platform) -> tuple[tuple[LocalFifo, ...], tuple[TxFifo, ...], tuple[RxFifo, ...]]:
        """A platform's FIFOs, in file order: within it, from it and to it."""
        own, homes = platform.name, self.system.homes
        links = {link.to: link for link in platform.links}
        local: list[LocalFifo] = []
        tx: list[TxFifo] = []
        rx: list[RxFifo] = []
        crossing: Counter[str] = Counter()  # FIFOs so far between this and each other platform, in either direction
        for fifo in self.fifos.get(own, ()):
            source, target = homes[fifo.source.actor], homes[fifo.target.actor]
            lowered = self._fifo(fifo, own)
            if source == target:
                local.append(lowered)
                continue
            peer = target if source == own else source
            if peer not in links:
                raise ValueError(f"FIFO {fifo.name!r} crosses to {peer!r}, to which {own!r} has no link (rule M2)")
            link, number = links[peer], crossing[peer]
            crossing[peer] += 1
            common: dict[str, Any] = {
                "fifo": lowered,
                "port": link.port if link.shared else link.port + number,
                "number": number,
                "shared": link.shared,
                "policy": fifo.policy.value,
                "timeout": fifo.timeout,
                "timeout_floor": fifo.timeout_floor,
                "ack": fifo.ack.value,
                "security": link.security.value,
                "window": self.windows[fifo.name],
                "room_timeout": fifo.room_timeout,
                "group": fifo.group,
                "route": None if fifo.route is None else fifo.route.value,
                "via": "" if link.via is None else link.via.value,
            }
            if source == own:
                # The near end of a tunnel is on this platform.
                address = LOOPBACK[0] if link.security is Security.SSH else link.address
                tx.append(TxFifo(**common, to=peer, address=address))
            else:
                rx.append(RxFifo(**common, origin=peer))
        return tuple(local), tuple(tx), tuple(rx)

    def _fifo(self, fifo: Fifo, platform: str) -> LocalFifo:
        port = self.ports[fifo.source]
        return LocalFifo(
            name=fifo.name,
            source=self._end(fifo.source, platform),
            target=self._end(fifo.target, platform),
            token=port.token,
            rate=port.url,
            capacity=fifo.capacity,
            delay=fifo.delay,
            initial=fifo.initial_path,
            lrl=port.lrl,
            ends=self._rates(fifo),
            control=self.controlled_by[fifo.source.actor] if port.control else None,
            policy=FaultPolicy.NEWEST.value if fifo.policy is FaultPolicy.NEWEST else FaultPolicy.STOP.value,
            where=fifo.where,
        )

    def _rates(self, fifo: Fifo) -> Optional[EndRates]:
        """What a multi-rate FIFO's ends give and take, where that is not one rate."""
        if self.repetition is None:
            return None
        rates = self.ports[fifo.source].rates, self.ports[fifo.target].rates
        return EndRates(*rates, self.repetition.tokens(fifo, rates))

    def _end(self, ref: PortRef, platform: str) -> str:
        """``NODE.PORT``; elsewhere ``ACTOR.PORT``, for what is fused there is that platform's affair."""
        fused_elsewhere = self.system.homes[ref.actor] != platform and self.actors[ref.actor].members
        return ref.port if fused_elsewhere else str(ref)

    def _late(self, names: Set[str]) -> tuple[LateRow, ...]:
        """The rows for late frames that are chosen by the actors of these names."""
        return tuple(
            LateRow(dpg.name, dpg.late, tuple(self.budgets[dpg.name].items()), dpg.where)
            for dpg in self.system.graph.dpgs
            if dpg.late is not None and dpg.control in names
        )

    def _required(self, named: Set[str]) -> tuple[Required, ...]:
        """The requirements on whose ways some of the FIFOs ``named`` are."""
        found = []
        for each, fifos in self.ways:
            own = tuple(fifo.name for fifo in fifos if fifo.name in named)
            if own:
                latency = None if each.latency is None else float(each.latency)
                rate = None if each.rate is None else float(each.rate)
                ends = str(each.source), str(each.target)
                found.append(Required(*ends, latency, rate, float(each.share), own, each.where))
        return tuple(found)

    def _rows(self, platform: Platform, named: Set[str]) -> tuple[ControlRow, ...]:
        """The control tables of which a control FIFO is among those ``named``, with the dynamic ones among them."""
        own = [fifo for fifo in self.fifos.get(platform.name, ()) if fifo.name in named]
        fifo_of = {ref: fifo.name for fifo in own for ref in (fifo.source, fifo.target)}
        sources = {ref.actor for ref in fifo_of if self.ports[ref].control}
        return tuple(
            ControlRow(
                dpg.name,
                row.value,
                tuple({fifo_of[ref]: rate for ref, rate in dpg.rates(row).items() if ref in fifo_of}.items()),
                row.where,
            )
            for dpg in self.system.graph.dpgs
            if dpg.control in sources
            for row in dpg.rows
        )


def _units(platform: Platform, nodes: Iterable[Node]) -> tuple[ProcessingUnit, ...]:
    """The units that run something."""
    runs: dict[str, list[str]] = {}
    for node in nodes:
        runs.setdefault(node.unit, []).append(node.name)
    return tuple(
        ProcessingUnit(
            unit.name,
            unit.cores,
            unit.slowdown,
            unit.engine.value if unit.engine is not None else "",
            unit.threads,
            unit.delegate,
            unit.opencl,
            unit.options,
            tuple(runs[unit.name]),
            unit.where,
        )
        for unit in platform.units
        if unit.name in runs
    )


def _link_ends(platform: Platform, tx: Sequence[TxFifo], rx: Sequence[RxFifo]) -> tuple[LinkEnd, ...]:
    """The links that a FIFO crosses, in the order of the platform file."""
    ends = []
    for link in platform.links:
        out = {end.number: end.port - link.port for end in tx if end.to == link.to}
        back = {end.number: end.port - link.port for end in rx if end.origin == link.to}
        if not (out or back):
            continue
        if link.shared:
            out, back = ({0: 0}, {}) if 0 in out else ({}, {0: 0})
        via = "" if link.via is None else link.via.value
        distances = tuple(out.values()), tuple(back.values())
        ends.append(LinkEnd(link.to, link.address, link.port, *distances, link.security.value, via, link.where))
    return tuple(ends)


def _links(platform: Platform, peers: Set[str]) -> tuple[PeerLink, ...]:
    """The links to these peers of which something is known."""
    return tuple(
        PeerLink(link.to, link.bandwidth or None, link.latency or 0.0)
        for link in platform.links
        if link.to in peers and (link.bandwidth or link.latency)
    )
