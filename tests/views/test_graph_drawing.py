"""The graph in a page: actors do not hide each other, FIFOs end at their actors, whatever the graph is."""

from __future__ import annotations

import random

import pytest

from eprune.formats.xml.application import read_application
from eprune.model.graph import Actor, Fifo, Graph, PortRef
from eprune.views.graph import drawing
from tests.kit.programs import ROOT

EXAMPLES = sorted((ROOT / "graphs").glob("*.xml"))


def random_graph(rng):
    """Actors and FIFOs between any two of them, some with a delay, some from an actor to itself."""
    names = [f"a{place}" for place in range(rng.randrange(1, 60))]
    fifos = []
    for place in range(rng.randrange(2 * len(names))):
        source, target = rng.choice(names), rng.choice(names)
        forward = names.index(source) < names.index(target)
        ends = PortRef(source, f"o{place}"), PortRef(target, f"i{place}")
        fifos.append(Fifo(f"f{place}", *ends, delay=0 if forward else 1))
    homes = {name: rng.choice(("here", "there")) for name in names if rng.random() < 0.9}
    return Graph("random", tuple(map(Actor, names)), tuple(fifos)), homes


def checked(graph, homes):
    made = drawing(graph, homes)
    boxes = {box.actor: box for box in made.boxes}
    assert list(boxes) == [actor.name for actor in graph.actors]
    for box in boxes.values():
        assert box.x >= 0 and box.x + box.width <= made.width and box.y >= 0 and box.y + box.height <= made.height
    rows = {}
    for box in boxes.values():
        rows.setdefault(box.y, []).append((box.x, box.x + box.width))
    for row in map(sorted, rows.values()):
        assert all(right <= left for (_, right), (left, _) in zip(row, row[1:])), "one hides another"
    for fifo, wire in zip(graph.fifos, made.wires):
        assert wire.fifo == fifo.name
        numbers = [float(word) for word in wire.path.translate(str.maketrans("MLCQ", "    ")).split()]
        source, target = boxes[fifo.source.actor], boxes[fifo.target.actor]
        assert numbers[:2] == pytest.approx([source.x + source.width / 2, source.y + source.height], abs=0.1)
        assert numbers[-2:] == pytest.approx([target.x + target.width / 2, target.y], abs=0.1)
        assert all(0 <= x <= made.width for x in numbers[::2]) and all(0 <= y <= made.height for y in numbers[1::2])
        assert ("crossing" in wire.kind) == (homes.get(fifo.source.actor) != homes.get(fifo.target.actor))
    return made


@pytest.mark.parametrize("seed", range(60))
def test_any_graph_is_drawn_whole(seed):
    checked(*random_graph(random.Random(seed)))


@pytest.mark.parametrize(
    "path", [path for path in EXAMPLES if "<application" in path.read_text()], ids=lambda p: p.stem
)
def test_the_examples_are_drawn_whole_and_alike_each_time(path):
    graph = read_application(str(path))
    homes = {actor.name: ("endpoint", "server")[place > 2] for place, actor in enumerate(graph.actors)}
    assert checked(graph, homes) == drawing(graph, homes)


def test_fifos_say_the_bytes_of_a_firing_or_what_they_are_given():
    graph = read_application(str(ROOT / "graphs/vehicle.xml"))
    assert [wire.label for wire in drawing(graph, {}).wires] == ["108KiB", "288KiB", "72KiB", "400B", "16B"]
    assert [wire.label for wire in drawing(graph, {}, {"f3": "30/s"}).wires] == ["", "", "30/s", "", ""]


def test_a_chain_that_is_long_is_folded():
    names = [f"a{place}" for place in range(187)]
    fifos = [
        Fifo(f"f{k}", PortRef(one, "o"), PortRef(other, "i")) for k, (one, other) in enumerate(zip(names, names[1:]))
    ]
    made = checked(Graph("long", tuple(map(Actor, names)), tuple(fifos)), {})
    assert 0.3 < made.width / made.height < 3
