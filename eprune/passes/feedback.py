"""The result comes back to where the frame was taken, and only then is the next frame taken.

So one frame at a time is in the application, as in the Edge-PRUNE papers' measurement of end-to-end latency: it is the
time from a source's firing to the firing that gets the result. Nothing in the runtime is needed for that. Each source
has an input for a token that the result's arrival makes; its FIFO starts with one such token, and so never holds more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from eprune.model.graph import Actor, Direction, Fifo, Graph, Port, PortRef, PythonBehaviour
from eprune.model.token import TokenType

#: What a source waits for.
GO = TokenType("uint8", (1,))


@dataclass(frozen=True)
class Feedback:
    """The rewritten graph.

    ``returns`` maps each source to the actor that gets the result for it, which belongs on the source's platform, as
    the sinks do on the first source's. With several sources ``spread`` sends the result to all of them, and belongs on
    the platform where the result is made; else it is "".
    """

    graph: Graph
    returns: dict[str, str]
    sinks: tuple[str, ...]
    spread: str


def feedback(graph: Graph, behaviour: PythonBehaviour, frames: int) -> Feedback:
    """Let every result return to every source, ``frames`` times; then the run ends, unless the sources end it before.

    ``behaviour`` is ``actors/feedback.py:Feedback``, which copies input ``NAME`` to the outputs ``NAME_1``, ``NAME_2``.
    Raises ValueError for a graph without sources or sinks, and where a sink has a dynamic or a control port.
    """
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
    names = {actor.name for actor in graph.actors}
    returns = {source.name: _fresh(f"Return-{source.name}", names) for source in sources}
    spread = _fresh("Spread", names) if len(sources) > 1 else ""
    results = [fifo for fifo in graph.fifos if fifo.target.actor in {sink.name for sink in sinks}]
    ports = dict(graph.ports())
    fifos = {fifo.name for fifo in graph.fifos}
    first = next(iter(returns.values()))
    inputs: dict[str, list[Port]] = {name: [] for name in (*returns.values(), *filter(None, [spread]))}
    outputs: dict[str, list[Port]] = {name: [] for name in inputs}
    added: list[Fifo] = []
    moved: dict[str, Fifo] = {}

    def join(result: Fifo, origin: PortRef, target: PortRef) -> None:
        added.append(Fifo(_fresh(f"{result.name}_back", fifos), origin, target, result.capacity, where=result.where))

    for number, result in enumerate(results, 1):
        name = f"result{number}"
        told = ports[result.target]
        port = replace(told, name=name, tensor=None, required=True)
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
            go = _fresh("go", {port.name for port in source.ports})
            actors[place] = replace(source, ports=(*source.ports, Port(go, Direction.IN, GO)))
            outputs[back].append(Port("go", Direction.OUT, GO))
            name = _fresh(f"go_{source.name}", fifos)
            added.append(Fifo(name, PortRef(back, "go"), PortRef(source.name, go), delay=1))
    for name, into in inputs.items():
        parameters = () if name == spread else (("frames", str(frames)),)
        actors.append(Actor(name, (*into, *outputs[name]), behaviour=behaviour, parameters=parameters))
    rewritten = replace(
        graph, actors=tuple(actors), fifos=(*(moved.get(fifo.name, fifo) for fifo in graph.fifos), *added)
    )
    return Feedback(rewritten, returns, tuple(sink.name for sink in sinks), spread)


def _copies(port: Port, count: int) -> list[Port]:
    return [replace(port, name=f"{port.name}_{place}", direction=Direction.OUT) for place in range(1, count + 1)]


def _fresh(name: str, taken: set[str]) -> str:
    """The name, or one like it that nobody has; it is taken from now on."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name
