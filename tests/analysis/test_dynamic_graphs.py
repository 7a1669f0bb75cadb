"""Dynamic processing graphs, analyzer against simulator: what is accepted runs, and what is refused may block."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eprune.analysis.check import check
from eprune.analysis.consistency import consistency
from eprune.analysis.precedence import components, firing_order, precedence
from eprune.analysis.simulate import simulate
from eprune.formats.xml.application import read_application
from eprune.model.finding import Finding, Severity
from eprune.model.graph import Actor, ActorType, Direction, Dpg, Fifo, Graph, Port, PortRef, Row
from eprune.model.system import System
from tests.kit.dpgs import Sketch, control_sequences, dynamic_graphs
from tests.kit.effort import examples

CASES = Path(__file__).parents[1] / "cases"


def errors(graph: Graph) -> list[Finding]:
    return [finding for finding in check(System(graph)) if finding.severity is Severity.ERROR]


def combinations(graph: Graph) -> Iterator[dict[str, list[int]]]:
    """Each choice of a row in every dynamic processing graph, as the values of one iteration."""
    for values in itertools.product(*([row.value for row in dpg.rows] for dpg in graph.dpgs)):
        yield {dpg.name: [value] for dpg, value in zip(graph.dpgs, values)}


def blocks(graph: Graph, control: dict[str, list[int]], iterations: int) -> bool:
    """Whether a run stops, in the order of the file; against the capacities it must not go."""
    result = simulate(graph, iterations, lambda events: events[0], control)
    assert all(result.peak[fifo.name] <= fifo.capacity for fifo in graph.fifos)
    return result.deadlocked


@settings(max_examples=examples(150), derandomize=True, deadline=None, database=None)
@given(st.data())
def test_what_follows_the_rules_is_accepted_and_runs_to_the_end(data):
    graph = data.draw(dynamic_graphs())
    assert not errors(graph)
    control = data.draw(control_sequences(graph, 6))
    for choice in (random.Random(1), lambda events: events[0], lambda events: events[-1]):
        result = simulate(graph, 6, choice, control)
        assert not result.blocked
        assert set(result.firings.values()) == {6}
        assert all(result.peak[fifo.name] <= fifo.capacity for fifo in graph.fifos)
    for dpg in graph.dpgs:
        rates = [dpg.rates(row) for value in control[dpg.name] for row in dpg.rows if row.value == value]
        for fifo in graph.fifos:
            if fifo.source in dpg.ports:
                assert result.passed[fifo.name] == sum(rate[fifo.source] for rate in rates)


# Graphs that somebody has changed.


@st.composite
def changed_graphs(draw: st.DrawFn) -> Graph:
    """A small graph that follows the rules, changed in one to three places."""
    graph = draw(dynamic_graphs(most_dpgs=2, most_members=2))
    for _ in range(draw(st.integers(1, 3))):
        change = draw(st.sampled_from([_other_fifo, _other_end, _other_rate, _other_limits, _other_type, _new_fifo]))
        graph = change(draw, graph)
    return graph


def _other_fifo(draw: st.DrawFn, graph: Graph) -> Graph:
    old = draw(st.sampled_from(graph.fifos))
    new = replace(old, capacity=draw(st.integers(1, 4)), delay=draw(st.integers(0, 3)))
    return replace(graph, fifos=tuple(new if fifo is old else fifo for fifo in graph.fifos))


def _other_end(draw: st.DrawFn, graph: Graph) -> Graph:
    """Two FIFOs exchange their targets."""
    one, other = (draw(st.integers(0, len(graph.fifos) - 1)) for _ in range(2))
    fifos = list(graph.fifos)
    fifos[one], fifos[other] = (
        replace(fifos[one], target=graph.fifos[other].target),
        replace(fifos[other], target=graph.fifos[one].target),
    )
    return replace(graph, fifos=tuple(fifos))


def _other_rate(draw: st.DrawFn, graph: Graph) -> Graph:
    """Another rate of a FIFO in one row, at both ends or at one of them."""
    index = draw(st.integers(0, len(graph.dpgs) - 1))
    dpg = graph.dpgs[index]
    fifos = [fifo for fifo in graph.fifos if fifo.source in dpg.ports]
    if not fifos:
        return graph
    fifo = draw(st.sampled_from(fifos))
    rate, both = draw(st.integers(0, 2)), draw(st.integers(0, 3)) > 0
    ends = {fifo.source, fifo.target} if both else {fifo.source}
    old = draw(st.sampled_from(dpg.rows))
    rates = tuple(rate if ref in ends else was for ref, was in zip(dpg.ports, old.rates))
    rows = tuple(Row(row.value, rates) if row is old else row for row in dpg.rows)
    dpgs = tuple(replace(dpg, rows=rows) if each is dpg else each for each in graph.dpgs)
    return replace(graph, dpgs=dpgs)


def _other_limits(draw: st.DrawFn, graph: Graph) -> Graph:
    """A FIFO's rate limits; the room grows where it must."""
    fifo = draw(st.sampled_from(graph.fifos))
    lrl = draw(st.integers(0, 2))
    url = max(1, lrl + draw(st.integers(0, 1)))
    fifos = tuple(replace(f, capacity=max(f.capacity, f.delay + url)) if f is fifo else f for f in graph.fifos)

    def port(actor: Actor, old: Port) -> Port:
        ends = (fifo.source, fifo.target)
        return replace(old, lrl=lrl, url=url, atr=url) if PortRef(actor.name, old.name) in ends else old

    actors = tuple(replace(actor, ports=tuple(port(actor, old) for old in actor.ports)) for actor in graph.actors)
    return replace(graph, actors=actors, fifos=fifos)


def _other_type(draw: st.DrawFn, graph: Graph) -> Graph:
    """An actor of another type, or a dynamic processing graph of other parts."""
    if draw(st.booleans()):
        old = draw(st.sampled_from(graph.actors))
        new = replace(old, type=draw(st.sampled_from(ActorType)))
        return replace(graph, actors=tuple(new if actor is old else actor for actor in graph.actors))
    dpg = draw(st.sampled_from(graph.dpgs))
    names = st.sampled_from([actor.name for actor in graph.actors])
    part = draw(st.sampled_from(["control", "entry", "exit", "members"]))
    changes = {part: draw(st.lists(names, max_size=3, unique=True).map(tuple)) if part == "members" else draw(names)}
    dpgs = tuple(replace(dpg, **changes) if each is dpg else each for each in graph.dpgs)  # type: ignore[arg-type]
    return replace(graph, dpgs=dpgs)


def _new_fifo(draw: st.DrawFn, graph: Graph) -> Graph:
    """One more static FIFO, from any actor to any."""
    names = st.sampled_from([actor.name for actor in graph.actors])
    number = len(graph.fifos)
    refs = PortRef(draw(names), f"o{number}"), PortRef(draw(names), f"i{number}")
    token = graph.actors[0].ports[0].token
    actors = graph.actors
    for ref, direction in zip(refs, (Direction.OUT, Direction.IN)):
        actors = tuple(
            replace(actor, ports=(*actor.ports, Port(ref.port, direction, token))) if actor.name == ref.actor else actor
            for actor in actors
        )
    delay = draw(st.integers(0, 1))
    fifo = Fifo(f"f{number}", *refs, capacity=draw(st.integers(1, 3)), delay=delay)
    return replace(graph, actors=actors, fifos=(*graph.fifos, fifo))


def check_exactly(graph: Graph) -> None:
    """If only C2 is in question: it is broken if and only if a run blocks.

    Runs are every combination of rows, and where there are few, every sequence of two of them.
    """
    rules = {finding.rule for finding in errors(graph)}
    if rules <= {"C2"}:
        modes = list(combinations(graph))
        runs = [({name: values * 3 for name, values in mode.items()}, 3) for mode in modes]
        if len(modes) <= 4:
            runs += [({name: a[name] + b[name] for name in a}, 4) for a in modes for b in modes]
        blocked = [control for control, iterations in runs if blocks(graph, control, iterations)]
        assert bool(blocked) is (rules == {"C2"})


TANGLED = dynamic_graphs(most_dpgs=2, most_members=2, tangled=True)


@settings(max_examples=examples(400), derandomize=True, deadline=None, database=None)
@given(changed_graphs())
def test_what_is_changed_is_refused_or_runs_in_every_mode(graph):
    check_exactly(graph)


@settings(max_examples=examples(200), derandomize=True, deadline=None, database=None)
@given(TANGLED)
def test_rings_of_rows_and_of_graphs_are_refused_exactly_if_some_run_blocks(graph):
    assert {finding.rule for finding in errors(graph)} <= {"C2"}
    check_exactly(graph)


@pytest.mark.long
@settings(max_examples=examples(3000), deadline=None, database=None)
@given(changed_graphs() | TANGLED | dynamic_graphs(most_dpgs=3, most_members=3, tangled=True))
def test_thousands_more_are_judged_right(graph):
    check_exactly(graph)


# What is told.


def test_a_ring_of_two_graphs_names_both_rows_and_each_fifo():
    """Live in every row of each, as long as the other one is off."""
    graph = read_application(str(CASES / "C2-4.xml"))
    (finding,) = check(System(graph))
    assert finding.message == (
        "deadlock in row 1 of 'A' and row 1 of 'B': "
        "actors 'SplitA', 'MergeA', 'SplitB' and 'MergeB' wait for each other"
    )
    told = " ".join(reason for _, reason in finding.related)
    assert all(name in told for name in ("over d1", "over d2", "over f1", "over f2", "row 1 of 'A'", "row 1 of 'B'"))
    stops = {
        (a, b) for a, b in itertools.product((0, 1), repeat=2) if blocks(graph, {"A": [a], "B": [b]}, iterations=3)
    }
    assert stops == {(1, 1)}
    mended = replace(
        graph,
        fifos=tuple(replace(f, delay=1, capacity=2) if f.name == "f1" else f for f in graph.fifos),
    )
    assert finding.hint == "give f1 a delay of 1" and not check(System(mended))


def test_a_ring_that_no_row_closes_is_live_and_has_an_order():
    """Two members that work in turn, each for the other: a cycle at the upper limits, and in no row."""
    text = (CASES / "C2-3.xml").read_text(encoding="utf-8")
    columns = "Deep.back Deep.forth Deeper.in Deeper.out Split.out Deep.in Deep.out Merge.in"
    assert columns in text
    graph = read_application(str(CASES / "C2-3.xml"))
    (dpg,) = graph.dpgs
    rates = {
        "forth": {"Split.out": 1, "Deep.in": 1, "Deep.forth": 1, "Deeper.in": 1},
        "back": {"Deeper.out": 1, "Deep.back": 1, "Deep.out": 1, "Merge.in": 1},
    }
    rows = tuple(
        Row(value, tuple(rates[which].get(str(ref), 0) for ref in dpg.ports)) for value, which in enumerate(rates)
    )
    graph = replace(graph, dpgs=(replace(dpg, rows=rows),))
    assert components(precedence(graph))
    assert {finding.rule for finding in check(System(graph))} == {"D5"}, (
        "each takes or gives in every row, and not both"
    )
    assert set(firing_order(graph)) == {actor.name for actor in graph.actors}


def test_an_exit_that_makes_room_for_its_entry_counts_in_a_ring_outside():
    """Inside, the entry waits for room that the exit makes; outside, the exit for a token that the entry gives."""
    sketch = Sketch()
    for name, type_ in {"Gate": ActorType.CA, "Entry": ActorType.DA, "Exit": ActorType.DA}.items():
        sketch.actor(name, type_)
    for name in ("Inside", "Outside"):
        sketch.actor(name)
    for pair in (("Entry", "Inside"), ("Inside", "Exit")):
        sketch.join(*pair, delay=1, spare=-1)
    for pair in (("Entry", "Outside"), ("Outside", "Exit")):
        sketch.join(*pair)
    for name in ("Entry", "Exit"):
        sketch.tell("Gate", name, 1)
    columns = sketch.join("Entry", "Exit", (0, 1))
    sketch.dpgs.append(Dpg("D", "Gate", "Entry", "Exit", ("Inside",), columns, (Row(0, (0, 0)),)))
    graph = sketch.graph()
    (finding,) = errors(graph)
    assert finding.rule == "C2" and "'Outside'" in finding.message and "'Inside'" in finding.message
    assert blocks(graph, {"D": [0]}, iterations=1)


def test_a_row_with_other_rates_at_the_ends_of_a_fifo_is_inconsistent():
    """The assertion behind D3, asked without it."""
    graph = read_application(str(CASES / "ok-4.xml"))
    (dpg,) = graph.dpgs
    assert not list(consistency(graph))
    wrong = replace(dpg, rows=(dpg.rows[0], Row(1, (1, 1, 1, 0))))
    (finding,) = consistency(replace(graph, dpgs=(wrong,)))
    assert finding.rule == "C1" and finding.message.startswith("row 1 of 'Maybe', FIFO 'd2': ")


def test_the_work_grows_with_the_sum_of_the_rows():
    """Twenty graphs of eight rows each have 8**20 combinations."""
    count, rows = 20, 8
    sketch = Sketch()
    sketch.actor("Src")
    for number in range(count):
        names = [f"{part}{number}" for part in ("in", "a", "b", "out")]
        for name, type_ in zip(names, (ActorType.DA, ActorType.DPA, ActorType.DPA, ActorType.DA)):
            sketch.actor(name, type_)
        sketch.join("Src", names[0])
        columns: dict[PortRef, tuple[int, ...]] = {}
        # Even rows lead over a, then b; odd ones over b, then a: a ring at the upper limits, and in no row.
        for on, stops in enumerate((names, [names[k] for k in (0, 2, 1, 3)])):
            for pair in zip(stops, stops[1:]):
                for ref in sketch.join(*pair, (0, 1)):
                    columns[ref] = tuple(int(row % 2 == on) for row in range(rows))
        for name in names[1:]:
            sketch.tell(names[0], name, 1)
        table = tuple(Row(row, tuple(column[row] for column in columns.values())) for row in range(rows))
        sketch.dpgs.append(Dpg(f"D{number}", names[0], names[0], names[3], (names[1], names[2]), tuple(columns), table))
    graph = sketch.graph()
    assert len(components(precedence(graph))) == count
    assert not check(System(graph))
