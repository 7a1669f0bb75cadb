"""Put an imported model into an application of your own, in place of its sources and sink."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from eprune.formats.models.parts import Model
from eprune.model.finding import EpruneError, Finding
from eprune.model.graph import Actor, Fifo, Graph, Port, PortRef
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.mapping import Placement
from eprune.model.system import System
from eprune.passes.base import Report, Result, carries
from eprune.passes.import_ import SINK_NAME, SOURCE, end_names, find_end

#: What an application calls the model that is put into it, where its FIFOs end there.
MODEL = "Model"


@dataclass(frozen=True)
class Options:
    """The model as the pass ``import`` gives it."""

    model: Model
    imported: System


@carries
def apply(system: System, options: Options) -> Result:
    """The system's application with the model in it, on the imported system's platform.

    FIFOs of the application to ``Model.NAME`` lead to the model's input of that name, those from ``Model.NAME`` begin
    at its output; names are as for ``find_end``. Inputs and outputs that none of them names keep their source, and the
    sink. Raises EpruneError (FILE) for ends that the model does not have, and where there are none at all.
    """
    model, imported, application = options.model, options.imported, system.graph
    joiner = _Joiner(model, imported.graph, application)
    fifos = [joined for fifo in application.fifos for joined in joiner.join(fifo)]
    if not joiner.replaced:
        message = f"application {application.name!r} has no FIFO to the model and none from it"
        hint = f'such as <fifo name="f1" from="Camera.out" to="{MODEL}.{end_names(model, model.inputs)[0]}"/>'
        raise EpruneError(Finding("FILE", application.where, message, hint))
    inner = [fifo for fifo in imported.graph.fifos if fifo.name not in joiner.replaced]
    ends = {ref for fifo in (*fifos, *inner) for ref in (fifo.source, fifo.target)}
    actors = [
        # Of a source or a sink, what is still joined to the model; of a slice everything.
        actor
        if actor.is_slice
        else replace(actor, ports=tuple(port for port in actor.ports if PortRef(actor.name, port.name) in ends))
        for actor in imported.graph.actors
    ]
    before = max(
        (place for place, actor in enumerate(application.actors, 1) if actor.name in joiner.feeders), default=0
    )
    own = application.actors
    every = [*own[:before], *(actor for actor in actors if actor.ports), *own[before:]]
    graph = Graph(
        application.name,
        tuple(replace(actor, ports=joiner.ports_of(actor)) for actor in every),
        (*fifos, *inner),
        application.dpgs,
        application.requirements,
        application.where,
    )
    (platform,) = imported.platforms
    placements = tuple(Placement(actor.name, unit=platform.units[0].name) for actor in graph.actors)
    mapping = PlatformMapping(graph.name, platform.name, placements)
    count = sum(actor.is_slice for actor in graph.actors)
    figures = {"actors": len(graph.actors), "slices": count, "fifos": len(graph.fifos)}
    return Result(replace(imported, graph=graph, mappings=(mapping,)), Report((), figures))


class _Joiner:
    """Leads FIFOs of an application to and from the slices of a model."""

    def __init__(self, model: Model, graph: Graph, application: Graph) -> None:
        self.model = model
        self.ports: dict[PortRef, Port] = {**dict(graph.ports()), **dict(application.ports())}
        sources = {actor.name for actor in graph.actors if actor.behaviour == SOURCE}
        self.inward = _by_tensor([fifo for fifo in graph.fifos if fifo.source.actor in sources], self.ports)
        outward = [fifo for fifo in graph.fifos if fifo.target.actor == SINK_NAME and fifo.source.actor not in sources]
        self.outward = _by_tensor(outward, self.ports)
        self.used: dict[PortRef, int] = {}
        self.extra: dict[str, list[Port]] = {}  # actor -> further ports of it
        self.replaced: set[str] = set()  # names of FIFOs that are no longer needed
        self.feeders: set[str] = set()  # actors of the application that the model waits for

    def join(self, fifo: Fifo) -> list[Fifo]:
        """What becomes of one FIFO of the application: one for each reader, where it leads to the model."""
        if fifo.source.actor == fifo.target.actor == MODEL:
            raise _error(fifo, "leads from the model to the model", "state that goes round takes --feedback OUT:IN")
        if fifo.target.actor == MODEL:
            inner = self._inner(fifo, "input", fifo.target.port, self.model.inputs, self.inward)
            self.feeders.add(fifo.source.actor)
            names = [fifo.name, *(f"{fifo.name}_{each.target.actor}" for each in inner[1:])]
            if len(inner) > 1 and fifo.source in self.ports:
                # Saying which tensor its ports carry, and so that it is the same, lets their readers be fused.
                tensor = self.ports[inner[0].source].tensor
                self.ports[fifo.source] = replace(self.ports[fifo.source], tensor=tensor)
            return [
                replace(fifo, name=name, source=self._free(fifo.source), target=each.target)
                for name, each in zip(names, inner)
            ]
        if fifo.source.actor == MODEL:
            inner = self._inner(fifo, "output", fifo.source.port, self.model.outputs, self.outward)
            return [replace(fifo, source=self._free(inner[0].source))]
        return [fifo]

    def ports_of(self, actor: Actor) -> tuple[Port, ...]:
        """An actor's ports, with those that joining has added."""
        own = (self.ports.get(PortRef(actor.name, port.name), port) for port in actor.ports)
        return (*own, *self.extra.get(actor.name, ()))

    def _inner(
        self, fifo: Fifo, side: str, name: str, ends: Sequence[int], joined: Mapping[Optional[int], list[Fifo]]
    ) -> list[Fifo]:
        """The imported FIFOs of an input or output."""
        tensor = find_end(self.model, ends, name)
        if tensor is None:
            names = end_names(self.model, ends)
            near = difflib.get_close_matches(name, names, 1)
            known = ", ".join(f"{position}: {each}" for position, each in enumerate(names))
            hint = f"did you mean {MODEL}.{near[0]}?" if near else f"its {side}s are {known}"
            raise _error(fifo, f"the model has no {side} {name!r}", hint)
        if tensor not in joined:
            raise _error(fifo, f"{side} {name!r} of the model is fed back, or nothing that the model computes with")
        self.replaced.update(each.name for each in joined[tensor])
        return joined[tensor]

    def _free(self, ref: PortRef) -> PortRef:
        """An output port that carries what ``ref`` does, and has no FIFO yet: at first ``ref``, then new ones."""
        count = self.used[ref] = self.used.get(ref, 0) + 1
        if count == 1 or ref not in self.ports:
            return ref
        port = replace(self.ports[ref], name=f"{ref.port}_{count}")
        self.extra.setdefault(ref.actor, []).append(port)
        return PortRef(ref.actor, port.name)


def _by_tensor(fifos: Sequence[Fifo], ports: Mapping[PortRef, Port]) -> dict[Optional[int], list[Fifo]]:
    found: dict[Optional[int], list[Fifo]] = {}
    for fifo in fifos:
        found.setdefault(ports[fifo.source].tensor, []).append(fifo)
    return found


def _error(fifo: Fifo, message: str, hint: str = "") -> EpruneError:
    return EpruneError(Finding("FILE", fifo.where, f"FIFO {fifo.name!r}: {message}", hint))
