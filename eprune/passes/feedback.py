"""Return each result to where its frame was taken, before the next frame is taken.

So one frame at a time is in the application, as in the Edge-PRUNE papers' measurement of end-to-end latency: it is the
time from a source's firing to the firing that gets the result. Nothing in the runtime is needed for that. Each source
has an input for a token that the result's arrival makes; its FIFO starts with one such token, and so never holds more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.model.graph import Actor, Direction, Fifo, Port, PortRef
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes._names import fresh
from eprune.passes.base import Report, Result, carries, option

#: What a source waits for.
GO = TokenType("uint8", (1,))


@dataclass(frozen=True)
class Options:
    """How long, and which sinks stay where they are."""

    frames: int = option(2**31 - 1, help="End the run after this many frames (default: when the sources end).")
    fixed: tuple[str, ...] = option((), help="A sink that stays on its platform.", metavar="ACTOR")


@carries
def apply(system: System, options: Options = Options()) -> Result:
    """Let every result return to every source, ``frames`` times; then the run ends, unless the sources end it before.

    Where the system is mapped, the actor that takes the results for a source is on its platform, and so are the sinks
    on the first source's, but for the ``fixed`` ones: there a latency ends. The report says who takes the results for
    each source (``returns``) and which are the ``sinks``. Raises ValueError for a graph without sources or sinks, and
    where a sink has a dynamic or a control port.
    """
    graph = system.graph
    # A configuration actor without inputs takes no frames: it may run ahead.
    sources = [actor for actor in graph.actors if not actor.inputs and not all(port.control for port in actor.outputs)]
    sinks = [actor for actor in graph.actors if actor.inputs and not actor.outputs]
    if not sources or not sinks:
        raise ValueError(f"{graph.name} has no {'source' if not sources else 'sink'}")
    for sink in sinks:
        changing = [port.name for port in sink.inputs if not port.static]
        changing += [port.name for port in sink.inputs if port.control]
        if changing:
            raise ValueError(f"the result is at {sink.name}.{changing[0]}, whose rate changes: not every frame has one")
    behaviour = PythonBehaviour.of_library("feedback.py:Feedback")
    names = {actor.name for actor in graph.actors}
    returns = {source.name: fresh(f"Return-{source.name}", names) for source in sources}
    spread = fresh("Spread", names) if len(sources) > 1 else ""
    results = [fifo for fifo in graph.fifos if fifo.target.actor in {sink.name for sink in sinks}]
    ports = dict(graph.ports())
    fifos = {fifo.name for fifo in graph.fifos}
    first = next(iter(returns.values()))
    inputs: dict[str, list[Port]] = {name: [] for name in (*returns.values(), *filter(None, [spread]))}
    outputs: dict[str, list[Port]] = {name: [] for name in inputs}
    added: list[Fifo] = []
    moved: dict[str, Fifo] = {}

    def join(result: Fifo, origin: PortRef, target: PortRef) -> None:
        added.append(Fifo(fresh(f"{result.name}_back", fifos), origin, target, result.capacity, where=result.where))

    for number, result in enumerate(results, 1):
        name = f"result{number}"
        port = replace(ports[result.target], name=name, tensor=None, required=True)
        for actor in inputs:
            inputs[actor].append(port)
        if spread:
            outputs[spread] += _copies(port, len(sources))
            for place, actor in enumerate(returns.values(), 1):
                join(result, PortRef(spread, f"{name}_{place}"), PortRef(actor, name))
        outputs[first] += _copies(port, 1)
        join(result, PortRef(first, f"{name}_1"), result.target)
        moved[result.name] = replace(result, target=PortRef(spread or first, name))
    actors = list(graph.actors)
    for place, source in enumerate(actors):
        if source.name in returns:
            back = returns[source.name]
            go = fresh("go", {port.name for port in source.ports})
            widened = (*source.ports, Port(go, Direction.IN, GO))
            actors[place] = replace(source, ports=widened, clock=None, rate=None)  # now the feedback sets the pace
            outputs[back].append(Port("go", Direction.OUT, GO))
            name = fresh(f"go_{source.name}", fifos)
            added.append(Fifo(name, PortRef(back, "go"), PortRef(source.name, go), delay=1))
    for name, into in inputs.items():
        parameters = () if name == spread else (("frames", str(options.frames)),)
        actors.append(Actor(name, (*into, *outputs[name]), behaviour=behaviour, parameters=parameters))
    rewritten = replace(
        graph, actors=tuple(actors), fifos=(*(moved.get(fifo.name, fifo) for fifo in graph.fifos), *added)
    )
    homes = {spread: sinks[0].name} if spread else {}
    homes.update((back, source) for source, back in returns.items())
    homes.update((sink.name, sources[0].name) for sink in sinks if sink.name not in options.fixed)
    made = replace(
        system,
        graph=rewritten,
        mappings=tuple(_placed(mapping, homes) for mapping in system.mappings),
        interfaces={name: each for name, each in system.interfaces.items() if name not in returns},
    )
    figures = {"returns": returns, "sinks": [sink.name for sink in sinks]}
    return Result(made, Report((f"results return to {', '.join(returns)}",), figures))


def _placed(mapping: PlatformMapping, beside: Mapping[str, str]) -> PlatformMapping:
    """The mapping with each actor of ``beside`` where another one is."""
    places = {placement.actor: placement for placement in mapping.placements}
    placed = {
        actor: replace(places[other], actor=actor, segment=None) for actor, other in beside.items() if other in places
    }
    return replace(mapping, placements=tuple({**places, **placed}.values()))


def _copies(port: Port, count: int) -> list[Port]:
    return [replace(port, name=f"{port.name}_{place}", direction=Direction.OUT) for place in range(1, count + 1)]
