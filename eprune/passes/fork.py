"""Send what several actors of another platform read once: a fork there gives each of them a copy.

Every program is generated with it, so that the bytes between platforms are those of the tensors that cross. The fork
has rate 1 and no delay, so it adds neither a wait nor a cycle to the precedence graph: it fires when the token is
there, and its readers fire behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from eprune.analysis.sharing import same_tokens
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.model.graph import Actor, Direction, Fifo, Graph, Port, PortRef
from eprune.model.interface import Interface
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.mapping import Placement
from eprune.model.system import System
from eprune.passes._names import fresh, names_of
from eprune.passes.base import Report, Result, carries


@dataclass(frozen=True)
class Options:
    """There are none."""


@carries
def apply(system: System, options: Options = Options()) -> Result:
    """An actor ``Fork-FIFO`` where several FIFOs would bring the same tokens (``analysis.sharing``) from one platform.

    The first of these FIFOs leads to it, the others are gone, and their ports with them; its outputs have the
    capacities of the FIFOs that they replace. A delay, and its initial tokens, stay before the fork.
    """
    homes = system.homes
    groups: dict[tuple[str, str], list[Fifo]] = {}
    same = same_tokens(system.graph, system.interfaces)
    for fifo in system.graph.fifos:
        ends = homes.get(fifo.source.actor), homes.get(fifo.target.actor)
        if fifo.name in same and None not in ends and ends[0] != ends[1]:
            groups.setdefault((same[fifo.name], str(ends[1])), []).append(fifo)
    shared = [fifos for fifos in groups.values() if len(fifos) > 1]
    if not shared:
        return Result(system, Report(("no tensor crosses more than once",), {"forks": []}))
    made = _Forks(system)
    for fifos in shared:
        made.add(fifos)
    names = [actor.name for actor in made.actors]
    lines = (f"{len(names)} tensors cross once instead of several times: {', '.join(names)}",)
    return Result(made.system(), Report(lines, {"forks": names}))


class _Forks:
    def __init__(self, system: System) -> None:
        self.before = system
        graph = system.graph
        self.ports = dict(graph.ports())
        self.taken = names_of(graph)
        self.actors: list[Actor] = []
        self.fifos: dict[str, list[Fifo]] = {}  # a FIFO's name -> what takes its place
        self.gone: set[PortRef] = set()
        self.beside: dict[str, str] = {}  # fork -> the actor with which it is
        self.interfaces: dict[str, Interface] = {}

    def add(self, fifos: list[Fifo]) -> None:
        """A fork for these FIFOs."""
        first = fifos[0]
        name = fresh(f"Fork-{first.name}", self.taken)
        port = self.ports[first.source]
        tensor = self.before.interfaces[first.source.actor].tensors[first.source.port]
        outputs = [Port(f"out_{place}", Direction.OUT, port.token, tensor=tensor) for place in range(1, len(fifos) + 1)]
        ports = (Port("in", Direction.IN, port.token, tensor=tensor), *outputs)
        behaviour = PythonBehaviour.of_library("fork.py:Fork")
        self.actors.append(Actor(name, ports, behaviour=behaviour, where=first.where))
        self.interfaces[name] = Interface(tensors={each.name: tensor for each in ports}, copies=True)
        self.beside[name] = first.target.actor
        room = max(fifo.capacity for fifo in fifos)
        self.fifos[first.name] = [replace(first, target=PortRef(name, "in"), capacity=room)]
        for fifo, out in zip(fifos, outputs):
            own = Fifo(fresh(f"{fifo.name}-fork", self.taken), PortRef(name, out.name), fifo.target, fifo.capacity)
            self.fifos.setdefault(fifo.name, []).append(replace(own, where=fifo.where))
        self.gone.update(fifo.source for fifo in fifos[1:])

    def system(self) -> System:
        """The system with the forks."""
        graph = self.before.graph
        fifos = tuple(each for fifo in graph.fifos for each in self.fifos.get(fifo.name, [fifo]))
        actors = tuple(self._without(actor) for actor in graph.actors)
        interfaces = {name: self._narrowed(name, interface) for name, interface in self.before.interfaces.items()}
        made: Graph = replace(graph, actors=(*actors, *self.actors), fifos=fifos)
        return replace(
            self.before,
            graph=made,
            mappings=tuple(self._placed(mapping) for mapping in self.before.mappings),
            interfaces={**interfaces, **self.interfaces},
        )

    def _without(self, actor: Actor) -> Actor:
        kept = tuple(port for port in actor.ports if PortRef(actor.name, port.name) not in self.gone)
        return actor if len(kept) == len(actor.ports) else replace(actor, ports=kept)

    def _narrowed(self, name: str, interface: Interface) -> Interface:
        own = {ref.port for ref in self.gone if ref.actor == name}
        outputs = {port: token for port, token in interface.outputs.items() if port not in own}
        tensors = {port: tensor for port, tensor in interface.tensors.items() if port not in own}
        return replace(interface, outputs=outputs, tensors=tensors)

    def _placed(self, mapping: PlatformMapping) -> PlatformMapping:
        places = {placement.actor: placement for placement in mapping.placements}
        more: list[Placement] = [
            replace(places[reader], actor=fork, segment=None)
            for fork, reader in self.beside.items()
            if reader in places
        ]
        return replace(mapping, placements=(*mapping.placements, *more))
