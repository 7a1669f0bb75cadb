"""A graph while a pass puts choices into it: new actors, FIFOs, control tables, and where everything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Optional

from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.model.behaviour import Behaviour
from eprune.model.graph import Actor, ActorType, Direction, Dpg, Fifo, Graph, Port, PortRef, Row
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes._names import fresh, names_of
from eprune.passes._places import Levels, Place, tensor_of

CONTROL = TokenType("int32")


@dataclass
class Table:
    """A dynamic processing graph in the making: the rates of its ports, in each of its rows."""

    dpg: Dpg
    members: list[str]
    columns: dict[PortRef, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, dpg: Dpg) -> Table:
        """One that is there already."""
        return cls(dpg, list(dpg.members), dpg.columns)

    def made(self) -> Dpg:
        """As it is in the graph."""
        rows = tuple(
            replace(row, rates=tuple(rates[place] for rates in self.columns.values()))
            for place, row in enumerate(self.dpg.rows)
        )
        return replace(self.dpg, members=tuple(self.members), ports=tuple(self.columns), rows=rows)


#: A table, and the rate in each of its rows. None: always 1.
On = Optional[tuple[Table, tuple[int, ...]]]


class Draft:
    """The graph of a system, to be changed."""

    def __init__(self, system: System) -> None:
        self.system, self.old = system, system.graph
        self.taken = names_of(self.old)
        self.levels = Levels(self.old)
        self.actors = {actor.name: actor for actor in self.old.actors}
        self.ports = {actor.name: list(actor.ports) for actor in self.old.actors}
        self.fifos = {fifo.name: fifo for fifo in self.old.fifos}
        self.tables = {dpg.name: Table.of(dpg) for dpg in self.old.dpgs}
        #: new actor -> the one on whose unit it is
        self.beside: dict[str, str] = {}

    # Pieces

    def actor(
        self, name: str, kind: ActorType, behaviour: Behaviour, beside: str, parameters: Mapping[str, str] = {}
    ) -> str:
        """A new actor, without ports; if its name is taken, it has another one. Returns that."""
        own = fresh(name, self.taken)
        self.actors[own] = Actor(own, (), kind, behaviour, tuple(parameters.items()))
        self.ports[own], self.beside[own] = [], beside
        return own

    def library(
        self, name: str, kind: ActorType, class_name: str, beside: str, parameters: Mapping[str, str] = {}
    ) -> str:
        """A new actor of a class of the library, ``cache_gate.py:CacheGate``."""
        return self.actor(name, kind, PythonBehaviour.of_library(class_name), beside, parameters)

    def port(self, ref: PortRef) -> Port:
        """The port of that name."""
        return next(port for port in self.ports[ref.actor] if port.name == ref.port)

    def activate(self, refs: Sequence[PortRef], on: On) -> None:
        """Ports have these rates from now on."""
        if on is None:
            return
        table, rates = on
        for ref in refs:
            table.columns[ref] = rates
            changed = [replace(each, lrl=0) if each.name == ref.port else each for each in self.ports[ref.actor]]
            self.ports[ref.actor] = changed

    def join(
        self, source: PortRef, target: PortRef, token: TokenType, on: On = None, *, capacity: int = 2, delay: int = 0,
        name: str = "",
    ) -> None:  # fmt: skip
        """A new FIFO, and the ports at its ends."""
        for ref, direction in ((source, Direction.OUT), (target, Direction.IN)):
            self.ports[ref.actor].append(Port(ref.port, direction, token))
        self.activate((source, target), on)
        own = fresh(name or f"{source.actor}-{target.actor}", self.taken)
        self.fifos[own] = Fifo(own, source, target, capacity, delay)

    def lead(self, source: str, target: str, capacity: int) -> None:
        """A control FIFO."""
        refs = PortRef(source, f"to_{target}"), PortRef(target, "mode")
        for ref, direction in zip(refs, (Direction.OUT, Direction.IN)):
            self.ports[ref.actor].append(Port(ref.port, direction, CONTROL, control=True))
        name = fresh(f"{source}-{target}", self.taken)
        self.fifos[name] = Fifo(name, *refs, capacity)

    def split(self, fifo: Fifo, into: PortRef, out: PortRef, before: On, behind: On, *, near: bool) -> None:
        """Something new in the middle of a FIFO: it comes in at one port and goes out at the other.

        What is in front of that, or, if it is ``near`` the FIFO's source, behind it, is the old FIFO, with its name,
        its room and its policy.
        """
        token, extra = self.port(fifo.source).token, fresh(f"{fifo.name}-{into.port}", self.taken)
        self.ports[into.actor].append(Port(into.port, Direction.IN, token))
        self.ports[out.actor].append(Port(out.port, Direction.OUT, token))
        self.activate((fifo.source, into), before)
        self.activate((out, fifo.target), behind)
        first, second = Fifo(extra, fifo.source, into), Fifo(extra, out, fifo.target)
        self.fifos[fifo.name] = replace(fifo, source=out) if near else replace(fifo, target=into)
        self.fifos[extra] = first if near else second

    def tell_tensors(self, name: str) -> None:
        """Each port of a slice says which tensor it carries, so that there may be more of them."""
        interface = self.system.interfaces.get(name)
        tensors = interface.tensors if interface is not None else {}
        self.ports[name] = [replace(port, tensor=tensor_of(port, tensors)) for port in self.ports[name]]

    # Choices

    def branch(self, fifo: Fifo) -> On:
        """The table that says when a FIFO carries something, and when that is; None: always."""
        found = (table for table in self.tables.values() if fifo.source in table.columns)
        return next(((table, table.columns[fifo.source]) for table in found), None)

    def choice(self, place: Place, name: str, entry: str, leave: str, computed: tuple[int, ...]) -> Table:
        """A dynamic processing graph around what is at a place, which is ``computed`` in some of its rows.

        The FIFO into the place, and that out of it, are still to be split by its two DAs.
        """
        rows = tuple(Row(value, ()) for value in range(len(computed)))
        dpg = Dpg(fresh(name, self.taken), entry, entry, leave, (), (), rows, place.inside)
        table, outer = Table(dpg, []), self.tables.get(place.inside)
        level = None if outer is None else outer.dpg
        behind = set(place.behind)
        for each in place.behind:
            if self.levels.piece(each, level) == each:
                table.members.append(each)
                self.actors[each] = replace(self.actors[each], type=ActorType.DPA)
        for other in self.tables.values():
            if other.dpg.inside == place.inside and other.dpg.entry in behind:
                other.dpg = replace(other.dpg, inside=dpg.name)
        if outer is not None and level is not None:
            outer.members = [each for each in outer.members if each not in behind]
            for fifo in [each for each in self.fifos.values() if each.source.actor == level.control]:
                if self.port(fifo.source).control and fifo.target.actor in table.members:
                    del self.fifos[fifo.name]
                    for ref in (fifo.source, fifo.target):
                        self.ports[ref.actor] = [port for port in self.ports[ref.actor] if port.name != ref.port]
        for fifo in self.old.fifos:
            refs = [ref for ref in (fifo.source, fifo.target) if ref.actor in behind]
            if refs and not self.levels.within(fifo, level) and fifo.name in self.fifos:
                self.activate(refs, (table, computed))
                if outer is not None:
                    outer.columns = {ref: rates for ref, rates in outer.columns.items() if ref not in refs}
        self.tables = {dpg.name: table, **self.tables}
        return table

    # What comes out

    def graph(self, name: str) -> Graph:
        """The application's graph."""
        actors = tuple(replace(actor, ports=tuple(self.ports[own])) for own, actor in self.actors.items())
        dpgs = tuple(table.made() for table in self.tables.values())
        return replace(self.old, name=name, actors=actors, fifos=tuple(self.fifos.values()), dpgs=dpgs)

    def made(self, suffix: str) -> System:
        """The system: the graph, and mappings in which new actors are on the units of those that they are beside."""
        name = f"{self.old.name}{suffix}"
        return replace(
            self.system,
            graph=self.graph(name),
            mappings=tuple(self._placed(mapping, name) for mapping in self.system.mappings),
            interfaces={own: each for own, each in self.system.interfaces.items() if not self._changed(own)},
            problems=(),
        )

    def _changed(self, name: str) -> bool:
        """Whether an actor has other ports than before, so that what it says of itself must be asked anew."""
        old = self.old.actor(name)
        return old is None or [port.name for port in old.ports] != [port.name for port in self.ports.get(name, [])]

    def _placed(self, mapping: PlatformMapping, application: str) -> PlatformMapping:
        known = {placement.actor: placement for placement in mapping.placements}
        for new, old in self.beside.items():
            if old in known:
                known[new] = replace(known[old], actor=new, segment=None)
        placements = tuple(each for name, each in known.items() if name in self.actors)
        return replace(mapping, application=application, placements=placements)
