"""Latency by max-plus is what happens in the timeline of a run, firing by firing, on random systems."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import pytest
from deployed_systems import deployed_systems, mapped
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sample_graphs import build, layered
from self_timed import period, timed_graphs

from eprune.analysis.check import check
from eprune.analysis.latency import Latencies
from eprune.analysis.throughput import resources
from eprune.analysis.timeline import timeline
from eprune.model.finding import has_errors
from eprune.model.graph import Graph
from eprune.model.mapping import Mapping, Placement
from eprune.model.platform import Link, Platform, Unit
from eprune.model.system import System
from tests.kit.dpgs import control_sequences, dynamic_graphs

#: Firings of a run: enough for small systems to repeat themselves.
FIRINGS = 120
#: The last firings, at least a round of them.
ROUND = 24

many = pytest.mark.parametrize(
    "examples", [pytest.param(40, id="some"), pytest.param(3000, id="many", marks=pytest.mark.long)]
)
relaxed = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def seconds(**times: object) -> dict[str, Fraction]:
    return {name: Fraction(str(time)) for name, time in times.items()}


def paced(graph: Graph, **rates: float) -> Graph:
    actors = tuple(replace(actor, rate=rates.get(actor.name)) for actor in graph.actors)
    return replace(graph, actors=actors)


def chain(*capacities: int) -> Graph:
    return build([(f"a{k}", f"a{k + 1}", 1, 0, capacity) for k, capacity in enumerate(capacities)])


@many
def test_it_is_that_of_the_timeline(examples):
    seen: Counter[str] = Counter()

    @settings(max_examples=examples, **relaxed)
    @given(deployed_systems())
    def compare(drawn):
        system, times = drawn
        shared = resources(system)
        asked = Latencies(system.graph, times, shared)
        run = timeline(system.graph, times, shared, FIRINGS)
        assert not run.short
        for source, sink in asked.ways():
            found = asked(source, sink)
            ages = [each.age for each in run.ages if (each.source, each.sink) == (source, sink)]
            assert len(ages) == FIRINGS
            seen[found.kind] += 1
            if found.kind == "exact":
                assert (ages[0], max(ages), max(ages[-ROUND:])) == (found.first, found.most, found.steady)
                assert sum(part.seconds for part in found.parts) == found.steady
            elif found.kind == "bound":
                assert max(ages) <= found.most and max(ages[-ROUND:]) <= found.steady

    compare()
    assert seen["exact"] and (seen["bound"] or examples < 100)


@many
def test_live_data_is_no_older_than_it_says(examples):
    """As long as all sources still fire: later an input on hold has its last token for ever."""
    seen: Counter[str] = Counter()

    @settings(max_examples=examples, **relaxed)
    @given(deployed_systems(live=True))
    def compare(drawn):
        system, times = drawn
        shared = resources(system)
        asked = Latencies(system.graph, times, shared)
        assume(asked.ways())
        run = timeline(system.graph, times, shared, FIRINGS)
        sources = {actor.name for actor in system.graph.actors if not actor.inputs}
        begins = {name: [each.begin for each in run.firings if each.name == name] for name in asked._out}
        over = min(begins[name][-1] for name in sources)
        for source, sink in asked.ways():
            found = asked(source, sink)
            ages = [
                each.age
                for each in run.ages
                if (each.source, each.sink) == (source, sink) and over / 2 <= begins[sink][each.firing] <= over
            ]
            seen[found.kind] += bool(ages)
            if found.kind != "estimate" and ages:
                assert max(ages) <= found.steady

    compare()
    assert seen["bound"] or examples < 100


@many
def test_rates_that_vary_are_within_the_bound(examples):
    """Whatever rows follow each other, alone and on one unit."""
    seen: Counter[str] = Counter()

    @settings(max_examples=examples // 2, **relaxed)
    @given(dynamic_graphs(), st.data())
    def compare(graph, data):
        paces = st.sampled_from([None, 1 / 20, 1 / 100])
        graph = paced(graph, **{actor.name: data.draw(paces) for actor in graph.actors if not actor.inputs})
        times = {actor.name: data.draw(st.fractions(0, 5, max_denominator=2)) for actor in graph.actors}
        system = System(graph)
        if data.draw(st.booleans()):
            placements = tuple(Placement(actor.name, unit="u") for actor in graph.actors)
            system = System(graph, (Platform("p", (Unit("u"),)),), (Mapping(graph.name, "p", placements),))
        assume(not has_errors(check(system)))
        shared = resources(system)
        try:
            asked = Latencies(graph, times, shared)
        except ValueError:  # live, but not with all rates at their upper limits
            assume(False)
        run = timeline(graph, times, shared, 40, data.draw(control_sequences(graph, 40)))
        assert not run.short
        for source, sink in asked.ways():
            found = asked(source, sink)
            ages = [each.age for each in run.ages if (each.source, each.sink) == (source, sink)]
            seen[found.kind] += bool(ages)
            if found.kind == "bound" and ages:
                assert max(ages) <= found.most

    compare()
    assert seen["bound"] or examples < 100


@settings(max_examples=60, **relaxed)
@given(dynamic_graphs(), st.sampled_from([10**-6, 1.0, 3.0, 10.0**6]), st.data())
def test_a_row_for_late_frames_is_taken_for_them_and_for_no_others(graph, after, data):
    """No frame is in time within a microsecond, and none is late within days; else as many are as take another row."""
    paces = st.sampled_from([None, 1 / 5, 1 / 20])
    graph = paced(graph, **{actor.name: data.draw(paces) for actor in graph.actors if not actor.inputs})
    times = {actor.name: data.draw(st.fractions("1/2", 5, max_denominator=2)) for actor in graph.actors}
    rows = {dpg.name: data.draw(st.sampled_from([row.value for row in dpg.rows])) for dpg in graph.dpgs}
    inputs = {actor.name: actor.inputs for actor in graph.actors}
    dpgs = tuple(
        replace(dpg, late=rows[dpg.name], late_after=after) if inputs[dpg.control] else dpg for dpg in graph.dpgs
    )
    late = {dpg.name: dpg.control for dpg in dpgs if dpg.late is not None}
    given_rows = data.draw(control_sequences(graph, 30))
    plain = timeline(graph, times, iterations=30, control=given_rows)
    run = timeline(replace(graph, dpgs=dpgs), times, iterations=30, control=given_rows)
    assert not run.short
    assert run.late.keys() == late.keys()
    if after > 1000:
        assert not any(run.late.values())
        assert (run.firings, run.ages) == (plain.firings, plain.ages)
    for name, control in late.items():
        taken = [span.value for span in run.firings if span.name == control]
        others = sum(value != asked for value, asked in zip(taken, given_rows[name]))
        assert all(value in (asked, rows[name]) for value, asked in zip(taken, given_rows[name]))
        assert others <= run.late[name] <= taken.count(rows[name])
        # What an idle exit makes comes from no source's firing, and is never late.
        if after < 0.001 and all(fifo.source.actor == "Src" for fifo in graph.fifos if fifo.target.actor == control):
            assert run.late[name] == len(taken) == 30


@settings(max_examples=60, **relaxed)
@given(timed_graphs())
def test_the_timeline_is_that_of_self_timed_execution(drawn):
    """Another simulator, which knows of no sources and no mappings: both find the same time between iterations."""
    graph, times = drawn
    expected = period(graph, times)
    run = timeline(graph, times, iterations=60)
    assert (expected is None) == bool(run.short)
    if expected is not None:
        begins = [each.begin for each in run.firings if each.name == graph.actors[0].name]
        assert any(
            all(begins[-1 - k] - begins[-1 - k - length] == length * expected for k in range(5))
            for length in range(1, 40)
        )


def test_a_source_that_keeps_its_period_has_tokens_as_old_as_the_way_is_long():
    found = Latencies(paced(chain(2, 2), a0=10), seconds(a0="0.01", a1="0.05", a2="0.001"))("a0", "a2")
    assert (found.first, found.steady, found.period) == (Fraction("0.06"), Fraction("0.06"), Fraction("0.1"))
    assert [(part.about, part.does) for part in found.parts] == [("a0", "fires"), ("a1", "fires")]
    assert found.keeps_up and found.kind == "exact"


def test_a_source_without_one_fills_the_buffers_before_the_slowest():
    """Four tokens wait, or are written, while a1 takes 50 ms for each."""
    found = Latencies(chain(4, 2), seconds(a0="0.01", a1="0.05", a2="0.001"))("a0", "a2")
    assert found.first == Fraction("0.06")
    assert found.steady == 4 * Fraction("0.05") and not found.keeps_up
    assert max(found.parts, key=lambda part: part.seconds).why == "its firing before"


def test_what_a_token_waits_for_is_named():
    graph = paced(build([("a", "b", 1, 0, 2), ("c", "b", 1, 0, 2)]), a=10, c=10)
    found = Latencies(graph, seconds(a="0.01", c="0.04", b="0.001"))("a", "b")
    assert [tuple(part) for part in found.parts] == [
        ("a", "fires", Fraction("0.01"), ""),
        ("b", "waits", Fraction("0.03"), "tokens in f1"),
    ]


def test_what_is_late_at_first_remains_so_where_a_cycle_is_as_slow_as_the_source():
    """a's token takes 2 s to c; then c takes 1 s, and a may fire again: every 3 s, as b fires, and 2 s later."""
    graph = paced(build([("a", "m", 1, 0, 1), ("m", "c", 1, 0, 1), ("b", "c", 1, 0, 2)]), b=1 / 3)
    found = Latencies(graph, seconds(a=0, m=2, b=0, c=1))("b", "c")
    run = timeline(graph, seconds(a=0, m=2, b=0, c=1), iterations=20)
    assert {each.age for each in run.ages if each.source == "b"} == {found.first} == {found.steady}


def test_what_is_late_at_first_and_catches_up_by_microseconds_is_told_as_it_is():
    """The same, but b fires every 3.000003 s: a way without lateness is 666,666 firings off."""
    graph = paced(build([("a", "m", 1, 0, 1), ("m", "c", 1, 0, 1), ("b", "c", 1, 0, 2)]), b=0.333333)
    found = Latencies(graph, seconds(a=0, m=2, b=0, c=1))("b", "c")
    assert found.kind == "estimate" and 1.9 < found.steady <= 2
    assert sum(part.seconds for part in found.parts) == found.steady


def test_an_actor_that_nobody_waits_for_does_not_keep_the_others_from_being_settled():
    """x's first token comes after half a second, all others before they are wanted; d fires as often as it can."""
    graph = paced(build([("a", "c", 1, 0, 1), ("x", "c", 1, 0, 1)], ("a", "c", "x", "d")), a=1 / 3)
    platforms = (Platform("p", (Unit("u"),), (Link("q", latency=0.5),)), Platform("q", (Unit("u"),)))
    system = System(graph, platforms, mapped("pq", {"a": "q/u", "c": "q/u", "x": "p/u", "d": "p/u"}))
    found = Latencies(graph, seconds(a=0, c=0, x=0, d=0), resources(system))("a", "c")
    assert (found.first, found.steady, found.kind) == (Fraction("1/2"), 0, "exact")
    assert not found.parts


def test_who_sends_to_an_input_on_hold_waits_for_the_link_and_for_no_reader():
    """16 bytes at 16 B/s take a second, and x 100 ms, with room for one token beside what is held; c takes 3 s."""
    graph = build([("a", "c", 1, 0, 2), ("x", "c", 1, 0, 2)])
    hold = tuple(replace(port, hold=port.name == "i1") for port in graph.actors[1].ports)
    graph = replace(graph, actors=tuple(replace(a, ports=hold) if a.name == "c" else a for a in graph.actors))
    platforms = (Platform("p", (Unit("u"),), (Link("q", bandwidth=16.0),)), Platform("q", (Unit("u"),)))
    shared = resources(System(graph, platforms, mapped("pq", {"a": "q/u", "c": "q/u", "x": "p/u"})))
    times = seconds(a=0, c=3, x="0.1")
    asked = Latencies(graph, times, shared)
    found = asked("x", "c")
    run = timeline(graph, times, shared, iterations=60)
    begins = [each.begin for each in run.firings if each.name == "x"]
    assert asked.pace("x")[0] == begins[-1] - begins[-2] == Fraction("1.1")
    assert asked.pace("c")[0] == 3
    ages = [each.age for each in run.ages if each.source == "x" and each.firing < 20]
    assert 1 < max(ages) <= found.steady < 5


def test_there_is_none_over_a_delay():
    graph = build([("a", "b", 1, 1, 2)])
    with pytest.raises(ValueError, match="without a delay"):
        Latencies(graph, seconds(a=1, b=1))("a", "b")


def test_ten_thousand_actors_are_no_matter():
    graph = layered(10_000)
    sources = {actor.name: 20.0 for actor in graph.actors if not actor.inputs}
    times = {actor.name: Fraction(1, 1000) for actor in graph.actors}
    asked = Latencies(paced(graph, **sources), times)
    source, sink = asked.ways()[-1]
    assert asked(source, sink).kind == "exact"
