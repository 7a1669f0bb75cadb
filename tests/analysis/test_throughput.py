"""The maximum cycle ratio is the time between two iterations, and its cycle says what to do about it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sample_graphs import build, chain, layered, on
from self_timed import Link as SlowLink
from self_timed import period, timed_graphs

from eprune.analysis.buffers import least_fast
from eprune.analysis.clusters import clusters
from eprune.analysis.cycle_ratio import TimedEdge, longest_paths, max_cycle_ratio
from eprune.analysis.domains import rate_domains
from eprune.analysis.precedence import components, firing_order, precedence
from eprune.analysis.sizing import sizing
from eprune.analysis.throughput import Resources, Transfer, advice, resources, timed
from eprune.model.graph import FaultPolicy, Graph
from eprune.model.platform import Link, Platform, Unit
from eprune.model.system import System
from tests.kit.effort import examples


def seconds(**times: object) -> dict[str, Fraction]:
    return {actor: Fraction(str(time)) for actor, time in times.items()}


def bottleneck(graph: Graph, times: dict[str, Fraction], *deployed: object):
    model = timed(graph, times, *deployed)
    return max_cycle_ratio(model.times, model.edges)


@settings(max_examples=examples(300), derandomize=True, deadline=None, database=None)
@given(timed_graphs())
def test_it_is_what_self_timed_execution_settles_to(drawn):
    graph, times = drawn
    simulated = period(graph, times)
    if simulated is None:
        with pytest.raises(ValueError, match="deadlocks"):
            bottleneck(graph, times)
        return
    cycle = bottleneck(graph, times)
    assert (cycle.ratio if cycle else 0) == simulated


@settings(max_examples=examples(300), derandomize=True, deadline=None, database=None)
@given(timed_graphs())
def test_the_cycle_it_names_is_one_of_the_graph_and_has_that_ratio(drawn):
    graph, times = drawn
    model = timed(graph, times)
    try:
        cycle = max_cycle_ratio(model.times, model.edges)
    except ValueError:
        return
    if cycle is None:
        assert not any(times.values())
        return
    assert set(cycle.edges) <= set(model.edges)
    assert [edge.target for edge in cycle.edges] == [edge.source for edge in (*cycle.edges[1:], cycle.edges[0])]
    assert len({edge.source for edge in cycle.edges}) == len(cycle.edges)
    assert cycle.time == sum(model.times[edge.source] for edge in cycle.edges)
    assert cycle.tokens == sum(edge.tokens for edge in cycle.edges)


def test_a_pipeline_is_as_fast_as_its_slowest_actor():
    graph = build([("A", "B", 1, 0, 2), ("B", "C", 1, 0, 2)])
    cycle = bottleneck(graph, seconds(A=2, B=5, C=3))
    assert (cycle.ratio, [edge.kind for edge in cycle.edges]) == (5, ["self"])
    assert advice(cycle, graph) == ["make 'B' faster, or cut it into several"]


def test_a_fifo_with_room_for_one_firing_makes_its_actors_take_turns():
    graph = build([("A", "B", 2, 0, 3), ("B", "C", 1, 0, 2)])
    cycle = bottleneck(graph, seconds(A=2, B=5, C=3))
    assert (cycle.ratio, {edge.about for edge in cycle.edges}) == (7, {"f0"})
    assert advice(cycle, graph) == ["make one of 'A' and 'B' faster", "give f0 a capacity of 4"]


def test_a_loop_is_as_fast_as_its_delay_allows():
    graph = build([("A", "B", 1, 0, 9), ("B", "A", 1, 2, 9)])
    cycle = bottleneck(graph, seconds(A=2, B="2.5"))
    assert (cycle.ratio, cycle.tokens) == (Fraction(5, 2), 1)
    assert bottleneck(build([("A", "B", 1, 0, 9), ("B", "A", 1, 1, 9)]), seconds(A=2, B=3)).ratio == 5


def test_nothing_that_takes_time_bounds_nothing():
    assert bottleneck(chain(3), seconds(a0=0, a1=0, a2=0)) is None


def test_every_actor_needs_a_time():
    with pytest.raises(KeyError):
        timed(chain(2), seconds(a0=1))


def test_actors_of_one_unit_take_turns_and_a_link_takes_its_time():
    # 16 bytes a token over 8 bytes per second: 2 s a transfer, and a third until it is there
    graph = build([("A", "B", 1, 0, 4), ("B", "C", 1, 0, 4), ("A", "C", 1, 0, 4)])
    platforms = (
        Platform("e", (Unit("cpu"),), (Link("s", bandwidth=8.0, latency=1.0),)),
        Platform("s", (Unit("cpu"),), (Link("e", bandwidth=8.0, latency=1.0),)),
    )
    mappings = (
        on("e", {"A": "cpu", "B": "cpu", "C": "@s"}),
        on("s", {"A": "@e", "B": "@e", "C": "cpu"}),
    )
    deployed = resources(System(graph, tuple(platforms), tuple(mappings)))
    assert deployed.units == {"e/cpu": [("A", "B")], "s/cpu": [("C",)]}
    cycle = bottleneck(graph, seconds(A=3, B=2, C=1), deployed)
    assert (cycle.ratio, {edge.about for edge in cycle.edges}) == (5, {"e/cpu"})
    assert "move an actor from e/cpu to another unit" in advice(cycle, graph)
    cycle = bottleneck(graph, seconds(A=1, B=1, C=9), deployed)  # alone on its unit: nothing to move
    assert (cycle.ratio, advice(cycle, graph)) == (9, ["make 'C' faster, or cut it into several"])
    cycle = bottleneck(graph, seconds(A=1, B=1, C=1), deployed)
    assert (cycle.ratio, {edge.about for edge in cycle.edges}) == (4, {"e -> s"})
    assert sorted(advice(cycle, graph)) == [
        "make the tokens of f1 fewer or smaller, or the link faster",
        "make the tokens of f2 fewer or smaller, or the link faster",
    ]


def test_a_slow_answer_over_a_link_holds_up_a_short_buffer():
    graph = build([("A", "B", 1, 0, 1)])
    platforms = (Platform("e", links=(Link("s", bandwidth=8.0, latency=1.0),)), Platform("s"))
    mappings = (on("e", {"A": "cpu", "B": "@s"}), on("s", {"A": "@e", "B": "cpu"}))
    deployed = resources(System(graph, tuple(platforms), tuple(mappings)))
    cycle = bottleneck(graph, seconds(A=1, B=1), deployed)
    # The one token's room is taken from the beginning of A until A knows that B has ended.
    assert cycle.ratio == 1 + 2 + 1 + 1 + 1
    assert "give f0 a window of 1" in advice(cycle, graph, deployed)
    wider = replace(graph, fifos=tuple(replace(fifo, window=1) for fifo in graph.fifos))
    assert bottleneck(wider, seconds(A=1, B=1), deployed).ratio == 3


def test_a_window_of_the_link_counts_where_the_fifo_states_none():
    graph = build([("A", "B", 1, 0, 1)])  # 16 bytes a token
    ends = Link("s", latency=1.0, window=20), Link("e", latency=3.0, window=20)
    platforms = (Platform("e", links=(ends[0],)), Platform("s", links=(ends[1],)))
    mappings = (on("e", {"A": "cpu", "B": "@s"}), on("s", {"A": "@e", "B": "cpu"}))
    system = System(graph, platforms, mappings)
    assert bottleneck(graph, seconds(A=1, B=1), resources(system)).ratio == Fraction(1 + 1 + 1 + 3, 3)
    none = replace(graph, fifos=tuple(replace(fifo, window=0) for fifo in graph.fifos))
    assert bottleneck(none, seconds(A=1, B=1), resources(replace(system, graph=none))).ratio == 6


@st.composite
def deployed_graphs(draw: st.DrawFn) -> tuple[Graph, dict[str, Fraction], Resources, list[SlowLink]]:
    """A live graph on two platforms with two units each; its times; clusters, each on a unit of its own; and links."""
    graph, times = draw(timed_graphs(longest=3))
    assume(not components(precedence(graph)))
    windows = [draw(st.none() | st.integers(0, 2)) for _ in graph.fifos]
    graph = replace(graph, fifos=tuple(replace(f, window=window) for f, window in zip(graph.fifos, windows)))
    units = {actor.name: draw(st.tuples(st.sampled_from("es"), st.integers(0, 1))) for actor in graph.actors}
    mappings = [
        on(home, {name: f"u{unit[1]}" if unit[0] == home else f"@{unit[0]}" for name, unit in units.items()})
        for home in "es"
    ]
    parts = [part for own in clusters(System(graph, mappings=tuple(mappings))).values() for part in own]
    position = {name: place for place, name in enumerate(firing_order(graph))}
    crossing: dict[str, list[str]] = {}
    for fifo in sorted(graph.fifos, key=lambda each: position[each.source.actor]):
        ends = units[fifo.source.actor][0], units[fifo.target.actor][0]
        if ends[0] != ends[1]:
            crossing.setdefault(" -> ".join(ends), []).append(fifo.name)
    length = st.fractions(0, 3, max_denominator=2)
    links, transfers = [], {}
    for link, names in crossing.items():
        busy, latency, back = {name: draw(length) for name in names}, draw(length), draw(length)
        links.append(SlowLink(tuple(names), busy, latency, back))
        transfers.update({name: Transfer(link, busy[name], latency, back) for name in names})
    return graph, times, Resources({str(index): [part] for index, part in enumerate(parts)}, transfers), links


@settings(max_examples=120, derandomize=True, deadline=None, database=None)
@given(deployed_graphs())
def test_clusters_and_links_are_as_fast_as_self_timed_execution(drawn):
    graph, times, deployed, links = drawn
    cycle = bottleneck(graph, times, deployed)
    parts = [part for own in deployed.units.values() for part in own]
    assert (cycle.ratio if cycle else 0) == period(graph, times, parts, links)


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(deployed_graphs())
def test_the_least_sizes_are_enough_over_links_too(drawn):
    graph, times, deployed, links = drawn
    model = timed(graph, times, deployed, bounded=False)
    cycle = max_cycle_ratio(model.times, model.edges)
    sizes = least_fast(graph, times, deployed, budget=100_000)
    sized = sizes.applied(graph, deployed)
    assert not components(precedence(sized))  # the capacities alone keep it live
    parts = [part for own in deployed.units.values() for part in own]
    assert period(sized, times, parts, links) == (cycle.ratio if cycle else 0)


def test_clusters_that_share_a_unit_share_its_time_in_any_order():
    # A and C are on e, but C waits for what comes back from s: two threads
    graph = build([("A", "B", 1, 0, 9), ("B", "C", 1, 0, 9), ("A", "C", 1, 0, 9)])
    mappings = (on("e", {"A": "cpu", "B": "@s", "C": "cpu"}), on("s", {"A": "@e", "B": "cpu", "C": "@e"}))
    deployed = resources(System(graph, mappings=mappings))
    assert deployed.units == {"e/cpu": [("A",), ("C",)], "s/cpu": [("B",)]}
    cycle = bottleneck(graph, seconds(A=2, B=4, C=3), deployed)
    assert (cycle.ratio, {edge.about for edge in cycle.edges}) == (5, {"e/cpu"})  # not 9, as in one thread
    assert advice(cycle, graph, deployed) == [
        "make one of 'A' and 'C' faster",
        "move an actor from e/cpu to another unit",
    ]


@settings(max_examples=examples(300), derandomize=True, deadline=None, database=None)
@given(st.data())
def test_other_ways_round_are_found_too(data):
    """Against all simple cycles of small graphs of any kind."""
    count = data.draw(st.integers(1, 4))
    node = st.integers(0, count - 1)
    edges = [
        TimedEdge(f"n{u}", f"n{v}", tokens, "token", str(number))
        for number, (u, v, tokens) in enumerate(
            data.draw(st.lists(st.tuples(node, node, st.integers(1, 3)), min_size=1, max_size=8))
        )
    ]
    times = {f"n{index}": data.draw(st.fractions(0, 3, max_denominator=3)) for index in range(count)}
    ratios = [cycle_time / tokens for cycle_time, tokens in simple_cycles(times, edges)]
    found = max_cycle_ratio(times, edges)
    assert (found.ratio if found else 0) == max(ratios, default=0)


def simple_cycles(times, edges):
    def walk(path, seen):
        for edge in edges:
            if edge.source == path[-1].target:
                if edge.target == path[0].source:
                    whole = [*path, edge]
                    yield sum(times[each.source] for each in whole), sum(each.tokens for each in whole)
                elif edge.target not in seen:
                    yield from walk([*path, edge], seen | {edge.target})

    for edge in edges:
        if edge.source == edge.target:
            yield times[edge.source], edge.tokens
        else:
            yield from walk([edge], {edge.source, edge.target})


@settings(max_examples=examples(300), derandomize=True, deadline=None, database=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(-4, 3)), max_size=10))
def test_longest_paths_end_in_potentials_or_positive_cycles(arcs):
    found = longest_paths(5, arcs)
    if found.potentials is not None:
        assert all(found.potentials[v] >= found.potentials[u] + weight for u, v, weight in arcs)
    else:
        assert found.cycles
    for cycle in found.cycles:
        path = [arcs[number] for number in cycle]
        assert sum(weight for _, _, weight in path) > 0
        assert [arc[1] for arc in path] == [arc[0] for arc in (*path[1:], path[0])]


def test_thousands_of_actors_are_no_matter():
    graph = layered(4000)
    times = {actor.name: Fraction(index % 97, 7) for index, actor in enumerate(graph.actors)}
    assert bottleneck(graph, times).ratio >= Fraction(96, 7)


def test_rates_that_vary_count_with_their_upper_limits():
    graph = build([("A", "B", 2, 0, 3)])
    actors = (replace(actor, ports=tuple(replace(port, lrl=0) for port in actor.ports)) for actor in graph.actors)
    assert bottleneck(replace(graph, actors=tuple(actors)), seconds(A=2, B=5)).ratio == 7


def test_newest_and_hold_divide_a_graph_into_parts_with_a_pace_each():
    """A camera of 10 ms, an actor of 100 ms on the newest of its frames, its sink, and a slow sensor that is held."""
    graph = build([("cam", "slow", 1, 0, 3), ("slow", "sink", 1, 0, 2), ("sensor", "sink", 1, 0, 2)])
    newest = tuple(replace(f, policy=FaultPolicy.NEWEST) if f.name == "f0" else f for f in graph.fifos)
    sink = graph.actors[2]
    held = replace(sink, ports=tuple(replace(port, hold=port.name == "i2") for port in sink.ports))
    graph = replace(graph, fifos=newest, actors=(*graph.actors[:2], held, graph.actors[3]))
    times = seconds(cam="0.01", slow="0.1", sink="0.001", sensor="0.2")
    assert rate_domains(graph) == (("cam",), ("slow", "sink"), ("sensor",))
    answer = sizing(System(graph), times)
    assert [(pace.actors, pace.period) for pace in answer.paces] == [
        (("cam",), Fraction(1, 100)),
        (("slow", "sink"), Fraction(1, 10)),
        (("sensor",), Fraction(1, 5)),
    ]
    assert answer.fast.capacities["f0"] == 3, "one is read, one is written, one is ready"
    assert answer.live.capacities["f0"] == 2
    # Of a faster consumer, the newest comes no more often than the camera makes it.
    assert sizing(System(graph), {**times, "slow": Fraction(1, 1000)}).paces[1].period == Fraction(1, 100)
    assert not sizing(System(build([("A", "B", 1, 0, 2)])), seconds(A=1, B=1)).paces
