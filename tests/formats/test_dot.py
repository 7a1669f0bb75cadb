"""Drawings of graphs, as DOT text."""

from __future__ import annotations

from dataclasses import replace

from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.dot import write_dot
from eprune.model.graph import Actor, ActorType, Direction, Fifo, Graph, Port, PortRef
from eprune.model.token import TokenType

TOKEN = TokenType("float32", (1, 256))


def chain(length, delay=0):
    """A chain of actors a0, a1, ..."""
    ports = (Port("in", Direction.IN, TOKEN), Port("out", Direction.OUT, TOKEN))
    actors = tuple(Actor(f"a{place}", ports, behaviour=ModelSlice("m.tflite", place, place)) for place in range(length))
    fifos = tuple(
        Fifo(f"f{place}", PortRef(f"a{place}", "out"), PortRef(f"a{place + 1}", "in"), delay=delay)
        for place in range(length - 1)
    )
    return Graph("chain", actors, fifos)


def line(text, start):
    (found,) = [each for each in text.splitlines() if each.strip().startswith(start)]
    return found


def test_a_fifo_shows_its_size_and_a_cut_is_red():
    text = write_dot(chain(3), {"a0": "endpoint", "a1": "endpoint", "a2": "server"})
    inside, cut = line(text, '"a0" -> "a1"'), line(text, '"a1" -> "a2"')
    assert 'label=" 1KiB"' in inside and "c00000" not in inside
    assert 'label=" 1KiB"' in cut and 'color="#c00000"' in cut


def test_platforms_have_colours_and_a_legend():
    text = write_dot(chain(3), {"a0": "endpoint", "a1": "endpoint", "a2": "server"})
    fill = [line(text, f'"a{place}" [').partition("fillcolor=")[2] for place in range(3)]
    assert fill[0] == fill[1] != fill[2]
    assert ">endpoint</td>" in line(text, "label=") and ">server</td>" in line(text, "label=")
    assert "<td bgcolor" not in write_dot(chain(3))


def test_a_delay_is_shown_and_does_not_bend_the_layout():
    fifo = line(write_dot(chain(2, delay=1)), '"a0" -> "a1"')
    assert "delay 1" in fifo and 'style="dashed"' in fifo and 'constraint="false"' in fifo


def test_a_deep_graph_is_folded_into_columns():
    flat, deep = write_dot(chain(14)), write_dot(chain(53))
    assert "constraint" not in flat
    folds = [each for each in deep.splitlines() if "constraint" in each]
    assert 2 <= len(folds) <= 4
    tops = line(deep, "{rank=min")
    assert tops.count('"') == 2 * len(folds)


def test_actors_say_what_they_run():
    python = Actor("In", (), behaviour=PythonBehaviour("a.py", "Camera"))
    text = write_dot(Graph("g", (python, Actor("Bare"), Actor("L", (), behaviour=ModelSlice("m", 2, 5)))))
    assert "Camera" in line(text, '"In"') and "operators 2-5" in line(text, '"L"')
    assert "font" not in line(text, '"Bare"')


def test_broken_graphs_and_strange_names_are_drawn_too():
    ring = chain(2)
    back = Fifo("back", PortRef("a1", "out"), PortRef("a0", "in"))
    nowhere = Fifo("n", PortRef("ghost", "x"), PortRef("a0", "in"))
    text = write_dot(Graph('a "<b>\\', ring.actors, (*ring.fifos, back, nowhere)))
    assert line(text, "digraph") == 'digraph "a \\"<b>\\\\" {'
    assert "&lt;b&gt;" in text
    assert 'label=" ?"' in line(text, '"ghost" -> "a0"')


def test_dynamic_actors_and_control_fifos_look_different():
    control, dynamic = TokenType("int32"), Port("out", Direction.OUT, TOKEN, lrl=0, url=2, atr=0)
    gate = Actor("Gate", (Port("mode", Direction.OUT, control, control=True),), ActorType.CA)
    split = Actor("Split", (Port("mode", Direction.IN, control, control=True), dynamic), ActorType.DA)
    deep = Actor("Deep", (replace(dynamic, name="in", direction=Direction.IN),), ActorType.DPA)
    fifos = (
        Fifo("c", PortRef("Gate", "mode"), PortRef("Split", "mode")),
        Fifo("d", PortRef("Split", "out"), PortRef("Deep", "in")),
    )
    text = write_dot(Graph("g", (gate, split, deep, Actor("Plain")), fifos))
    looks = {
        line(text, f'"{name}" [').partition("]")[0].partition("fillcolor")[2]
        for name in ("Gate", "Split", "Deep", "Plain")
    }
    assert len(looks) == 4
    assert 'style="dotted"' in line(text, '"Gate" -> "Split"')
    between = line(text, '"Split" -> "Deep"')
    assert 'label=" 0B to 2KiB"' in between and 'arrowhead="empty"' in between
