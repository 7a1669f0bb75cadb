"""What an offloading pass writes on before it is a graph: actors, FIFOs, control tables and where everything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.model.behaviour import Behaviour
from eprune.model.graph import Actor, ActorType, Direction, Dpg, FaultPolicy, Fifo, Graph, Port, PortRef, Row
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.mapping import Placement
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes._names import fresh, names_of

CONTROL = TokenType("int32")
#: The row of a frame that leaves at an exit: it neither comes from a block nor goes on to one.
LEAVE = (-1, -1)


@dataclass
class Table:
    """A dynamic processing graph while it is being wired.

    ``rows``: control value -> the number of the block at which a frame comes in, and of that at which it goes out.
    """

    name: str
    rows: Mapping[int, tuple[int, int]]
    entry: str
    exit: str
    inside: str = ""
    members: list[str] = field(default_factory=list)
    columns: dict[PortRef, list[int]] = field(default_factory=dict)

    def dpg(self) -> Dpg:
        """As it is in the graph."""
        values = enumerate(self.rows)
        rows = tuple(Row(value, tuple(rates[place] for rates in self.columns.values())) for place, value in values)
        members = tuple(self.members)
        return Dpg(self.name, self.entry, self.entry, self.exit, members, tuple(self.columns), rows, self.inside)


#: A table, and in which of its rows something is active: by the blocks at which a frame comes in and goes out.
On = tuple[Table, Callable[[int, int], bool]]


@dataclass
class _Part:
    """A new actor while it is being wired."""

    type: ActorType
    home: str
    behaviour: Optional[Behaviour]
    parameters: tuple[tuple[str, str], ...] = ()
    ports: list[Port] = field(default_factory=list)
    model: Optional[Actor] = None


class Sheet:
    """The parts of a graph; ``frames`` may be under way at once.

    ``inside`` names the dynamic processing graph of whose branch it is a part, if any.
    """

    def __init__(self, system: System, frames: int, inside: str = "") -> None:
        self.system, self.frames = system, frames
        self.outer = next((dpg for dpg in system.graph.dpgs if dpg.name == inside), None)
        #: ports at the ends of FIFOs of the graph around -> the ends of the old FIFO, which say when they are active
        self.border: dict[PortRef, PortRef] = {}
        self.taken = names_of(system.graph)
        self.ports = dict(system.graph.ports())
        self.parts: dict[str, _Part] = {}
        self.fifos: list[Fifo] = []
        self.tables: list[Table] = []
        #: a port with a name of its own -> the port of the old actor whose tensor it carries
        self.carries: dict[PortRef, PortRef] = {}

    def part(self, name: str, type_: ActorType, home: str, class_name: str, parameters: Mapping[str, str] = {}) -> str:
        """A new actor of the library: ``cut_packer.py:CutPacker``. Returns its name, if ``name`` is taken another."""
        own = fresh(name, self.taken)
        behaviour = PythonBehaviour.of_library(class_name)
        self.parts[own] = _Part(type_, home, behaviour, tuple(parameters.items()))
        return own

    def slice(self, name: str, home: str, behaviour: Behaviour) -> str:
        """A new dynamic actor that is a slice of a model."""
        own = fresh(name, self.taken)
        self.parts[own] = _Part(ActorType.DPA, home, behaviour)
        return own

    def copy(self, name: str, suffix: str, home: str) -> str:
        """A dynamic copy of an old actor, which goes."""
        old = self.system.graph.actor(name)
        assert old is not None
        own = f"{name}{suffix}" if not suffix else fresh(f"{name}{suffix}", self.taken)
        self.parts[own] = _Part(ActorType.DPA, home, None, model=old)
        return own

    def table(self, name: str, rows: Mapping[int, tuple[int, int]], entry: str, leave: str, inside: str = "") -> Table:
        """A new dynamic processing graph."""
        around = inside or (self.outer.name if self.outer is not None else "")
        made = Table(fresh(name, self.taken), rows, entry, leave, around)
        self.tables.append(made)
        return made

    def join(
        self, source: PortRef, target: PortRef, token: TokenType, on: Optional[On] = None, *, room: int = 2,
        delay: int = 0, control: bool = False, within: Optional[float] = None,
    ) -> None:  # fmt: skip
        """A FIFO, and the ports at its ends; without ``on`` it is static. ``within``: seconds after which an exit does
        without its tokens, which may be lost.
        """
        lrl = 1
        if on is not None:
            table, active = on
            lrl, rates = 0, [int(active(*row)) for row in table.rows.values()]
            table.columns.update({source: rates, target: rates})
        for ref, direction in ((source, Direction.OUT), (target, Direction.IN)):
            leaving = direction is Direction.IN and ref.actor in [table.exit for table in self.tables]
            needed = within is None or not leaving
            port = Port(ref.port, direction, token, lrl, 1, 1, control=control, required=needed)
            self.parts[ref.actor].ports.append(port)
        other = target if control else source
        name = f"{source.actor}-{other.actor if control else other.port}"
        capacity = delay + 1 if delay else room
        fifo = Fifo(fresh(name, self.taken), source, target, capacity, delay)
        self.fifos.append(fifo if within is None else replace(fifo, policy=FaultPolicy.DROP, timeout=within))

    def beside(self, source: PortRef, target: PortRef, token: TokenType) -> None:
        """A static FIFO past others, with room for all frames that are under way."""
        self.join(source, target, token, room=max(self.frames, 2))

    def into(self, fifo: Fifo, target: PortRef) -> None:
        """An old FIFO leads to a new port."""
        lrl = 1 if self.outer is None else 0
        self.parts[target.actor].ports.append(Port(target.port, Direction.IN, self.ports[fifo.source].token, lrl))
        self.border[target] = fifo.source
        self.fifos.append(replace(fifo, target=target))

    def out_of(self, fifo: Fifo, source: PortRef) -> None:
        """An old FIFO comes from a new port. It has room for answers that are on their way to somewhere else."""
        lrl = 1 if self.outer is None else 0
        self.parts[source.actor].ports.append(Port(source.port, Direction.OUT, self.ports[fifo.source].token, lrl))
        self.border[source] = fifo.target
        self.fifos.append(replace(fifo, source=source, capacity=max(fifo.capacity, 2 * self.frames + 2)))

    def lead(self) -> None:
        """Control FIFOs, once everything else is there."""
        for table in self.tables:
            for follower in (*table.members, table.exit):
                source, target = PortRef(table.entry, f"to_{follower}"), PortRef(follower, "mode")
                self.join(source, target, CONTROL, room=max(self.frames, 2), control=True)

    def graph(self, gone: frozenset[str], suffix: str) -> Graph:
        """The application's graph, without the actors that are gone."""
        old = self.system.graph
        actors = [self._actor(name, part) for name, part in self.parts.items()]
        kept = tuple(fifo for fifo in old.fifos if not {fifo.source.actor, fifo.target.actor} & gone)
        ports = {ref for fifo in (*kept, *self.fifos) for ref in (fifo.source, fifo.target)}
        own = [
            # what told those that are gone when to work
            replace(actor, ports=tuple(p for p in actor.ports if not p.control or PortRef(actor.name, p.name) in ports))
            for actor in old.actors
            if actor.name not in gone
        ]
        around = [self._around(dpg, gone) if dpg is self.outer else dpg for dpg in old.dpgs]
        return replace(
            old,
            name=f"{old.name}{suffix}",
            actors=(*own, *actors),
            fifos=(*kept, *self.fifos),
            dpgs=(*around, *(table.dpg() for table in self.tables)),
        )

    def _around(self, dpg: Dpg, gone: frozenset[str]) -> Dpg:
        """The graph around, without what is gone, and with what is at the border instead."""
        refs = [ref for ref in dpg.ports if ref.actor not in gone]
        refs += self.border
        places = [dpg.ports.index(self.border.get(ref, ref)) for ref in refs]
        rows = tuple(replace(row, rates=tuple(row.rates[place] for place in places)) for row in dpg.rows)
        members = tuple(name for name in dpg.members if name not in gone)
        return replace(dpg, members=members, ports=tuple(refs), rows=rows)

    def _actor(self, name: str, part: _Part) -> Actor:
        if part.model is None:
            return Actor(name, tuple(part.ports), part.type, part.behaviour, part.parameters)
        ports = tuple(port if port.control else replace(port, tensor=self._tensor(name, port)) for port in part.ports)
        return replace(part.model, name=name, type=part.type, ports=ports)

    def _tensor(self, name: str, port: Port) -> Any:
        """Ports that carry one tensor, or were told apart by their order, name theirs."""
        old = self.parts[name].model
        assert old is not None
        ref = self.carries.get(PortRef(name, port.name), PortRef(old.name, port.name))
        interface = self.system.interfaces.get(old.name)
        told = interface.tensors.get(ref.port) if interface is not None else None
        return told if told is not None else self.ports[ref].tensor

    def mappings(self, graph: Graph, default: str) -> tuple[PlatformMapping, ...]:
        """Where everything runs; old actors where they were, or on the platform ``default``."""
        system = self.system
        homes = {actor.name: system.homes.get(actor.name, default) for actor in graph.actors}
        homes.update((name, part.home) for name, part in self.parts.items())
        units = {platform.name: platform.units[0].name for platform in system.platforms}
        kept = {actor: unit for actor, (platform, unit) in system.units.items() if platform == homes.get(actor)}
        return tuple(
            PlatformMapping(
                graph.name,
                platform.name,
                tuple(
                    Placement(name, unit=kept.get(name, units[home]))
                    if home == platform.name
                    else Placement(name, platform=home)
                    for name, home in homes.items()
                ),
            )
            for platform in system.platforms
            if platform.name in homes.values()
        )
