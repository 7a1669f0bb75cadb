"""C2 says exactly which graphs deadlock, why, and what mends them: held against the simulator."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from sample_graphs import build, random_graphs

from eprune.analysis.graph import capacities
from eprune.analysis.liveness import connections, deadlocks, diagnose
from eprune.analysis.precedence import Precedence, components, find_cycle, order, precedence
from eprune.analysis.repair import Repair, apply
from eprune.analysis.simulate import Simulation, simulate
from eprune.model.finding import Severity
from eprune.model.graph import Fifo, Graph
from tests.kit.effort import examples


def interleavings(graph: Graph, iterations: int, count: int) -> list[Simulation]:
    """Runs in ``count`` random orders, and in the two most one-sided ones: the first and the last actor that can."""
    choices = [*(random.Random(seed) for seed in range(count)), lambda events: events[0], lambda events: events[-1]]
    return [simulate(graph, iterations, choice) for choice in choices]


def repairs(graph: Graph) -> list[Repair]:
    return [repair for _, repair in diagnose(graph) if repair is not None]


def repaired(graph: Graph) -> Graph:
    fifos = graph.fifos
    for repair in repairs(graph):
        fifos = apply(repair.changes, fifos)
    return replace(graph, fifos=fifos)


def is_live(graph: Graph) -> bool:
    return find_cycle(precedence(graph)) is None


@settings(max_examples=examples(1500), derandomize=True, deadline=None, database=None)
@given(random_graphs())
def test_a_graph_is_accepted_exactly_if_it_runs_in_every_interleaving(graph):
    accepted = not list(deadlocks(graph))
    assert not (accepted and list(capacities(graph))), "what the capacity rule refuses never runs"
    for result in interleavings(graph, 4, 2):
        assert result.deadlocked is not accepted
        assert all(result.peak[fifo.name] <= fifo.capacity for fifo in graph.fifos)
        if accepted:
            assert set(result.firings.values()) == {4}


@settings(max_examples=examples(1000), derandomize=True, deadline=None, database=None)
@given(random_graphs())
def test_the_suggested_repair_is_enough_and_obeys_the_capacity_rule(graph):
    mended = repaired(graph)
    assert not list(deadlocks(mended)) and not list(capacities(mended))
    assert not simulate(mended, 3, random.Random(1)).deadlocked


@settings(max_examples=examples(600), derandomize=True, deadline=None, database=None)
@given(random_graphs())
def test_no_repair_changes_fewer_fifos(graph):
    suggested = {fifo.name for repair in repairs(graph) for fifo in repair.changes}
    assert all(repair.smallest for repair in repairs(graph))
    edges = precedence(graph).edges
    for fewer in itertools.combinations([fifo.name for fifo in graph.fifos], max(len(suggested) - 1, 0)):
        rest = Precedence(precedence(graph).nodes, tuple(edge for edge in edges if edge.fifo not in fewer))
        assert find_cycle(rest) is not None or not suggested


@settings(max_examples=examples(600), derandomize=True, deadline=None, database=None)
@given(random_graphs())
def test_no_repair_of_one_fifo_is_cheaper(graph):
    suggested = repairs(graph)
    if len(suggested) != 1 or len(suggested[0].changes) != 1:
        return
    fifos = {fifo.name: fifo for fifo in graph.fifos}

    def added(changed: Fifo) -> int:
        return changed.delay + changed.capacity - fifos[changed.name].delay - fifos[changed.name].capacity

    working = [
        added(changed)
        for fifo in graph.fifos
        for delay, capacity in itertools.product(range(4), range(7))
        for changed in [replace(fifo, delay=fifo.delay + delay, capacity=fifo.capacity + capacity)]
        for mended in [replace(graph, fifos=apply((changed,), graph.fifos))]
        if is_live(mended) and not list(capacities(mended))
    ]
    assert added(suggested[0].changes[0]) == min(working)


@settings(max_examples=examples(600), derandomize=True, deadline=None, database=None)
@given(random_graphs())
def test_the_witness_is_a_shortest_cycle_and_the_order_fits_every_edge(graph):
    whole = precedence(graph)
    cycle = find_cycle(whole)
    if cycle is None:
        position = {name: index for index, name in enumerate(order(whole))}
        assert all(position[edge.source] < position[edge.target] for edge in whole.edges)
        return
    assert set(cycle) <= set(whole.edges)
    assert all(edge.target == after.source for edge, after in zip(cycle, (*cycle[1:], cycle[0])))
    part = components(whole)[0]
    shortest = min(len(path) for path in (_cycle_by_force(part, root) for root in part.nodes) if path)
    assert len(cycle) == shortest
    with pytest.raises(ValueError, match="cyclic"):
        order(whole)


def _cycle_by_force(part: Precedence, root: str) -> list[str]:
    """The nodes of a shortest closed walk from ``root``, by growing all walks together."""
    walks = [[root]]
    for _ in part.nodes:
        walks = [[*walk, edge.target] for walk in walks for edge in set(part.edges) if edge.source == walk[-1]]
        closed = [walk for walk in walks if walk[-1] == root]
        if closed:
            return closed[0][1:]
        walks = list({walk[-1]: walk for walk in walks}.values())
    return []


def test_a_finding_names_each_edge_with_its_reason_and_the_repair():
    # u -> v -> w, and the reader w gives back to u over a FIFO that is full from the start.
    graph = build([("u", "v", 1, 0, 2), ("v", "w", 1, 0, 2), ("u", "w", 1, 1, 1)])
    (finding,) = deadlocks(graph)
    assert finding.rule == "C2" and finding.where == graph.fifos[0].where
    assert finding.message == "deadlock: actors 'u', 'v' and 'w' wait for each other"
    assert [reason for _, reason in finding.related] == [
        "v first needs a token of u over f0: rate 1, delay 0",
        "w first needs a token of v over f1: rate 1, delay 0",
        "u first needs room in f2 that w makes: capacity 1 < delay 1 + rate 1",
    ]
    assert [where for where, _ in finding.related] == [fifo.where for fifo in graph.fifos]
    assert finding.hint == "give f0 a delay of 1, or f2 a capacity of 2"


def test_a_loop_without_a_delay_gets_one():
    (finding,) = deadlocks(build([("a", "b", 2, 0, 2), ("b", "a", 2, 0, 4)]))
    assert finding.hint == "give f0 a delay of 2"


def test_a_repair_raises_the_capacity_where_the_delay_needs_it():
    (finding,) = deadlocks(build([("a", "a", 2, 0, 2)]))
    assert finding.message == "deadlock: actor 'a' waits for itself"
    assert finding.hint == "give f0 a delay of 2 and a capacity of 4"


def test_one_change_is_suggested_for_two_loops_that_share_a_fifo():
    graph = build([("a", "b", 1, 0, 2), ("b", "a", 1, 0, 2), ("b", "c", 1, 0, 2), ("c", "a", 1, 0, 2)])
    (finding,) = deadlocks(graph)
    assert finding.hint == "give f0 a delay of 1"


def test_several_changes_are_suggested_where_one_is_not_enough():
    graph = build([("a", "b", 1, 0, 2), ("b", "a", 1, 0, 2), ("b", "c", 1, 0, 2), ("c", "b", 1, 0, 2)])
    (finding,) = deadlocks(graph)
    assert finding.hint == "give f0 a delay of 1; f2 a delay of 1"
    assert is_live(repaired(graph))


def test_each_deadlock_of_its_own_is_reported():
    graph = build(
        [("a", "b", 1, 0, 2), ("b", "a", 1, 0, 2), ("b", "c", 1, 0, 2), ("c", "d", 1, 0, 2), ("d", "c", 1, 0, 2)]
    )
    assert [finding.message for finding in deadlocks(graph)] == [
        "deadlock: actors 'a' and 'b' wait for each other",
        "deadlock: actors 'c' and 'd' wait for each other",
    ]


@pytest.mark.parametrize("actors", [30, 200])
def test_a_large_tangle_gets_a_repair_that_is_enough(actors):
    rng = random.Random(7)
    pairs = [rng.sample(range(actors), 2) for _ in range(3 * actors)]
    graph = build([(f"a{a}", f"a{b}", 1, 0, 2) for a, b in pairs])
    assert not is_live(graph) and is_live(repaired(graph))
    assert not repairs(graph)[0].smallest
    assert all("enough, though there may be less" in finding.hint for finding in deadlocks(graph))


def test_the_rates_of_a_mode_decide():
    graph = build([("a", "b", 2, 1, 3), ("b", "a", 2, 1, 3)])
    assert components(precedence(graph))
    assert not components(precedence(graph, {"f0": 1, "f1": 1}))
    assert not components(precedence(graph, {"f0": 0}))


def test_parts_and_actors_without_a_source_are_warned_of():
    graph = build([("a", "b", 1, 0, 2), ("c", "d", 1, 1, 3), ("d", "c", 1, 1, 3)])
    unreached, parts = connections(graph)
    assert unreached.severity is parts.severity is Severity.WARNING
    assert unreached.message == "actors 'c' and 'd' are reached from no source (an actor without inputs)"
    assert parts.message == "the graph falls into 2 parts that no FIFO joins; they begin at 'a' and 'c'"
    assert not list(connections(build([("a", "b", 1, 0, 2)])))
