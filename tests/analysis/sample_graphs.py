"""Graphs for the tests: from one line of text, and at random."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import strategies as st

from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.model.finding import Location
from eprune.model.graph import Actor, Direction, Fifo, Graph, Port, PortRef
from eprune.model.interface import Interface
from eprune.model.mapping import Mapping, Placement
from eprune.model.token import TokenType

TOKEN = TokenType("float32", (4,))


def build(fifos: list[tuple[str, str, int, int, int]], actors: tuple[str, ...] = ()) -> Graph:
    """A graph from (source, target, rate, delay, capacity); FIFO k is ``f<k>``, actors are in order of appearance."""
    ports: dict[str, list[Port]] = {name: [] for name in actors}
    made = []
    for number, (source, target, rate, delay, capacity) in enumerate(fifos):
        out = f"o{number}"
        ports.setdefault(source, []).append(Port(out, Direction.OUT, TOKEN, rate, rate, rate, where=at(number)))
        into = f"i{number}"
        ports.setdefault(target, []).append(Port(into, Direction.IN, TOKEN, rate, rate, rate, where=at(number)))
        ends = PortRef(source, out), PortRef(target, into)
        made.append(Fifo(f"f{number}", *ends, capacity=capacity, delay=delay, where=at(1000 + number)))
    members = tuple(
        Actor(name, tuple(own), where=at(index)) for index, (name, own) in enumerate(ports.items(), start=1)
    )
    return Graph("random", members, tuple(made), where=at(0))


def at(line: int) -> Location:
    return Location("graph.xml", line)


def chain(length: int) -> Graph:
    return build([(f"a{k}", f"a{k + 1}", 1, 0, 2) for k in range(length - 1)])


def layered(actors: int, seed: int = 1, width: int = 20) -> Graph:
    """A random graph in which each actor reads from one to three actors of the layer above it."""
    rng = random.Random(seed)
    fifos = []
    for index in range(width, actors):
        layer = index - index % width
        fifos += [(f"a{rng.randrange(layer - width, layer)}", f"a{index}", 1, 0, 2) for _ in range(rng.randint(1, 3))]
    return build(fifos, tuple(f"a{index}" for index in range(actors)))


@st.composite
def random_graphs(draw: st.DrawFn) -> Graph:
    """Up to six actors, any FIFOs between them, self-loops too, each with capacity for its delay at least."""
    count = draw(st.integers(1, 6))
    actor = st.integers(0, count - 1)
    small = st.integers(0, 3)
    fifos = []
    for source, target, rate, delay, room in draw(
        st.lists(st.tuples(actor, actor, st.integers(1, 3), small, small), max_size=9)
    ):
        # Half of the FIFOs that run against the actors' order, and all self-loops, get a delay that lets them live.
        ahead = rate if source >= target and room % 2 else 0
        fifos.append((f"a{source}", f"a{target}", rate, delay + ahead, max(delay + ahead + room, 1)))
    return build(fifos, tuple(f"a{index}" for index in range(count)))


def fifos_like(graph: Graph, **changes: object) -> Graph:
    """The graph with some attributes of every FIFO replaced."""
    return replace(graph, fifos=tuple(replace(fifo, **changes) for fifo in graph.fifos))  # type: ignore[arg-type]


def sliced(
    fifos: list[tuple[str, str]],
    slices: dict[str, tuple[int, int]],
    file: str = "m.tflite",
    delays: tuple[str, ...] = (),
    fed: dict[str, int] | None = None,
) -> tuple[Graph, dict[str, Interface]]:
    """A graph of model slices (name -> first and last operator) and other actors, joined as the model's tensors are.

    An operator writes the tensor of its number; an output port of a slice carries the tensor of its last operator, and
    an input port that of its feeder, or tensor 1000 + k if FIFO k comes from another actor. ``fed`` are the FIFOs that
    feed something back: they have a delay, and their reader takes that tensor.
    """
    fed = fed or {}
    delays = (*delays, *fed)
    graph = build([(source, target, 1, int(f"f{k}" in delays), 3) for k, (source, target) in enumerate(fifos)])
    actors = tuple(
        replace(actor, behaviour=ModelSlice(file, *slices[actor.name])) if actor.name in slices else actor
        for actor in graph.actors
    )
    tensors: dict[str, dict[str, int]] = {name: {} for name in slices}
    for number, (source, target) in enumerate(fifos):
        tensor = slices[source][1] if source in slices else 1000 + number
        if source in slices:
            tensors[source][f"o{number}"] = tensor
        if target in slices:
            tensors[target][f"i{number}"] = fed.get(f"f{number}", tensor)
    return replace(graph, actors=actors), {name: Interface(tensors=ports) for name, ports in tensors.items()}


def on(platform: str, places: dict[str, str], segments: dict[str, str] | None = None) -> Mapping:
    """A mapping of ``random`` from actor -> unit, or ``@platform`` for another platform."""
    return Mapping(
        "random",
        platform,
        tuple(
            Placement(actor, platform=place[1:], where=Location(f"{platform}.xml", line))
            if place.startswith("@")
            else Placement(actor, place, segment=(segments or {}).get(actor), where=Location(f"{platform}.xml", line))
            for line, (actor, place) in enumerate(places.items(), start=2)
        ),
        where=Location(f"{platform}.xml", 1),
    )
