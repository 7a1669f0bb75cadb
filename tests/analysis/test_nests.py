"""Dynamic processing graphs inside of others: rules N1 to N4, and liveness against brute force."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from eprune.analysis.check import check
from eprune.analysis.liveness import deadlocks, diagnose
from eprune.analysis.modes import Modes
from eprune.analysis.nests import Nests
from eprune.analysis.simulate import simulate
from eprune.formats.xml.application import read_application, write_application
from eprune.model.finding import Severity
from eprune.model.graph import ActorType, Dpg, PortRef, Row
from eprune.model.system import System
from tests.kit.dpgs import Sketch
from tests.kit.nests import random_nest

#: combinations of rows that are tried one by one, of a nest that has more
MOST = 200


def blocks(graph, rng):
    """Whether some combination of rows blocks: all that there are, or many; and some sequences of rows."""
    combinations = list(itertools.product(*[[row.value for row in dpg.rows] for dpg in graph.dpgs]))
    for values in rng.sample(combinations, min(len(combinations), MOST)):
        control = {dpg.name: [value] for dpg, value in zip(graph.dpgs, values)}
        if simulate(graph, 1, rng, control).deadlocked:
            return True
    for _ in range(5):
        control = {dpg.name: [rng.choice(dpg.rows).value for _ in range(3)] for dpg in graph.dpgs}
        if simulate(graph, 3, rng, control).deadlocked:
            return True
    return False


@pytest.mark.parametrize(
    "seeds",
    [pytest.param(range(60), id="some"), pytest.param(range(60, 3600), id="many", marks=pytest.mark.long)],
)
def test_a_nest_is_live_exactly_if_no_combination_of_rows_blocks(seeds):
    dead = 0
    for seed in seeds:
        rng = random.Random(seed)
        graph = random_nest(rng, rng.choice([2, 2, 3, 4]))
        rules = {finding.rule for finding in check(System(graph)) if finding.severity is Severity.ERROR}
        assert rules <= {"C2"}, seed
        assert Modes(graph).live({}) is not blocks(graph, rng), seed
        dead += bool(rules)
    assert 0 < dead < len(seeds)


def test_all_hints_together_make_a_nest_live_or_it_is_said_that_none_can():
    for seed in range(150):
        graph = random_nest(random.Random(seed), 2)
        found = list(diagnose(graph))
        changes = {fifo.name: fifo for _, repair in found if repair for fifo in repair.changes}
        mended = replace(graph, fifos=tuple(changes.get(fifo.name, fifo) for fifo in graph.fifos))
        assert Modes(mended).live({}) is all(repair is not None for _, repair in found), seed


def nest(rows_of_inner, ring=False, names=("A",)):
    """An outer graph D of an entry, inner graphs A and perhaps B with a CA each, and an exit; ``ring``: B also gives A
    something, and A gives B something.

    ``rows_of_inner``: whether a row of an inner graph leads its entry's tokens to its exit.
    """
    sketch = Sketch()
    sketch.actor("Src")
    for name in ("D", *names):
        sketch.actor(f"{name}in", ActorType.DA)
        sketch.actor(f"{name}out", ActorType.DA)
    sketch.actor("Sink")
    sketch.join("Src", "Din", spare=1)
    sketch.tell("Din", "Dout", 2)
    columns = {}
    for name in names:
        sketch.actor(f"{name}ca", ActorType.CA)
        sketch.tell(f"{name}ca", f"{name}in", 2)
        sketch.tell(f"{name}ca", f"{name}out", 2)
        way = sketch.join(f"{name}in", f"{name}out", (0, 1), spare=1)
        rows = tuple(Row(value, (int(leads), int(leads))) for value, leads in enumerate(rows_of_inner))
        sketch.dpgs.append(Dpg(name, f"{name}ca", f"{name}in", f"{name}out", (), way, rows, "D"))
        for pair in (("Din", f"{name}ca"), ("Din", f"{name}in"), (f"{name}out", "Dout")):
            columns.update(dict.fromkeys(sketch.join(*pair, (0, 1), spare=1), (0, 1)))
    if ring:
        for pair in ((f"{names[0]}out", f"{names[1]}in"), (f"{names[1]}out", f"{names[0]}in")):
            columns.update(dict.fromkeys(sketch.join(*pair, (0, 1), spare=1), (0, 1)))
    columns.update(dict.fromkeys(sketch.join("Din", "Dout", (0, 1), spare=1), (1, 0)))
    table = tuple(Row(value, tuple(column[value] for column in columns.values())) for value in (0, 1))
    sketch.dpgs.append(Dpg("D", "Din", "Din", "Dout", (), tuple(columns), table))
    sketch.join("Dout", "Sink", spare=1)
    return sketch.graph()


def found(graph):
    return [(finding.rule, finding.message) for finding in check(System(graph))]


def test_an_inner_graph_whose_entry_and_exit_no_row_joins_is_live():
    """As one node it would close a ring with itself; its entry does not wait for its exit, nor that for it."""
    graph = nest([False, False], ring=True, names=("A", "B"))
    assert "C2" not in {rule for rule, _ in found(graph)}


def test_two_inner_graphs_in_a_ring_are_each_live_and_dead_together_in_the_rows_that_close_it():
    graph = nest([False, True], ring=True, names=("A", "B"))
    assert "C2" not in {rule for rule, _ in found(nest([False, True], names=("A", "B")))}
    (finding,) = deadlocks(graph)
    assert finding.message == (
        "deadlock in row 1 of 'A' and row 1 of 'B' and row 1 of 'D': actors 'Ain', 'Aout', 'Bin' and 'Bout' wait for "
        "each other"
    )


def test_a_dormant_graph_gets_nothing_and_no_control_token_of_either_level_goes_to_it():
    graph = nest([True, True])
    run = simulate(graph, 10, random.Random(1), {"D": [0, 1, 0], "A": [0, 1]})
    assert not run.deadlocked
    assert {run.firings[name] for name in ("Din", "Dout", "Sink")} == {10}
    assert {run.firings[name] for name in ("Aca", "Ain", "Aout")} == {3}


def changed_border(graph, change):
    """The graph with other rates in the outer row in which the inner one works."""
    outer = graph.dpgs[-1]
    rows = tuple(replace(row, rates=tuple(change(outer.ports, row))) for row in outer.rows)
    return replace(graph, dpgs=(*graph.dpgs[:-1], replace(outer, rows=rows)))


def test_an_inner_graph_works_whole_or_not_at_all():
    def leave_out(ports, row):
        return [0 if "Aout" in (port.actor, *ends[port]) else rate for port, rate in zip(ports, row.rates)]

    graph = nest([True, True])
    ends = {}
    for fifo in graph.fifos:
        ends[fifo.source], ends[fifo.target] = (fifo.target.actor,), (fifo.source.actor,)
    messages = found(changed_border(graph, leave_out))
    assert [rule for rule, _ in messages if rule == "N2"] == ["N2"]
    assert "neither all idle nor all at their limits" in dict(messages)["N2"]


def test_some_row_activates_an_inner_graph():
    graph = nest([True, True])
    dormant = changed_border(graph, lambda ports, row: [int("Ain" not in str(port)) * 0 for port in ports])
    assert "no row of 'D' activates 'A', which is inside of it" in dict(found(dormant))["N3"]


def test_what_would_run_free_while_its_graph_is_dormant_is_found():
    graph = nest([True, True])
    sketchy = replace(graph.dpgs[0], members=("Free",))
    free = replace(graph.actors[0], name="Free")
    port = replace(free.ports[0], name="out")
    exit_ = next(actor for actor in graph.actors if actor.name == "Aout")
    wider = replace(exit_, ports=(*exit_.ports, replace(exit_.ports[0], name="more", control=False, token=port.token)))
    fifo = replace(graph.fifos[0], name="f99", source=PortRef("Free", "out"), target=PortRef("Aout", "more"))
    actors = (*(wider if actor is exit_ else actor for actor in graph.actors), replace(free, ports=(port,)))
    graph = replace(graph, actors=actors, fifos=(*graph.fifos, fifo), dpgs=(sketchy, *graph.dpgs[1:]))
    assert "'Free' of 'A' would fire although it is dormant" in dict(found(graph))["N4"]


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        (("Ain", "Dout"), "FIFO 'f99' leaves 'A', which is inside of 'D', at 'Ain'"),
        (("Din", "Aout"), "FIFO 'f99' enters 'A', which is inside of 'D', at 'Aout'"),
        (("Aout", "Sink"), "FIFO 'f99' crosses the borders of 'A' and 'D' at once"),
    ],
)
def test_data_crosses_one_border_at_a_time_and_through_its_door(ends, message):
    sketch = Sketch()
    graph = nest([True, True])
    sketch.ports = {actor.name: list(actor.ports) for actor in graph.actors}
    sketch.types = {actor.name: actor.type for actor in graph.actors}
    sketch.fifos, sketch.dpgs = list(graph.fifos), list(graph.dpgs)
    sketch.join(*ends, spare=1)
    sketch.fifos[-1] = replace(sketch.fifos[-1], name="f99")
    assert dict(found(sketch.graph()))["N1"] == message


def test_a_static_border_could_never_be_dormant():
    sketch = Sketch()
    graph = nest([True, True])
    sketch.ports = {actor.name: list(actor.ports) for actor in graph.actors}
    sketch.types = {actor.name: actor.type for actor in graph.actors}
    sketch.fifos, sketch.dpgs = list(graph.fifos), list(graph.dpgs)
    sketch.join("Din", "Ain", spare=1)
    assert "at its border is static, so it could never be dormant" in dict(found(sketch.graph()))["N1"]


def test_a_graph_inside_of_itself_or_of_nothing_is_refused():
    graph = nest([True, True])
    inner, outer = graph.dpgs
    ring = replace(graph, dpgs=(inner, replace(outer, inside="A")))
    assert dict(found(ring))["N1"] == "a dynamic processing graph is inside of itself: 'D' inside of 'A' inside of 'D'"
    lost = replace(graph, dpgs=(replace(inner, inside="E"), outer))
    assert "there is no dynamic processing graph 'E', which it is to be inside of" in dict(found(lost))["G1"]


def test_a_nest_survives_the_journey_through_a_file(tmp_path):
    graph = random_nest(random.Random(3), 3, tangled=False)
    assert any(dpg.inside for dpg in graph.dpgs)
    (tmp_path / "app.xml").write_text(write_application(graph))
    assert read_application(str(tmp_path / "app.xml")).dpgs == graph.dpgs


def test_the_rows_of_each_graph_are_looked_at_once():
    """Ten levels of ten rows: a sum of a hundred rows, not 10 ** 10."""
    rng = random.Random(5)
    graph = None
    while graph is None or len(graph.dpgs) < 10:
        graph = random_nest(rng, 10, tangled=False)
    assert max(len(Nests(graph).chain(dpg)) for dpg in graph.dpgs) == 10
    modes = Modes(graph)
    assert modes.live({})
    assert modes.size < 40 * len(graph.fifos)
