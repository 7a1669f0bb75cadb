"""Least buffer sizes: against every choice of capacities on small graphs, and on large ones against their own word."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from sample_graphs import build, chain, layered
from self_timed import fifo_rate, period, timed_graphs

from eprune.analysis.buffers import least_fast, least_live
from eprune.analysis.cycle_ratio import max_cycle_ratio
from eprune.analysis.lookup import buffer_bytes
from eprune.analysis.throughput import Resources, Transfer, timed
from eprune.model.graph import Graph
from eprune.model.token import TokenType
from tests.kit.effort import examples


def with_capacities(graph: Graph, capacities) -> Graph:
    return replace(graph, fifos=tuple(replace(fifo, capacity=c) for fifo, c in zip(graph.fifos, capacities)))


def all_capacities(graph: Graph, firings: int):
    """Every choice that rule G5 allows, with room for up to so many firings beyond the delay, cheapest first."""
    ranges = []
    for fifo in graph.fifos:
        rate = fifo_rate(graph, fifo.name)
        strict = fifo.delay < rate or fifo.source.actor == fifo.target.actor
        ranges.append(range(fifo.delay + rate * strict, fifo.delay + firings * rate + 1))
    choices = [with_capacities(graph, choice) for choice in itertools.product(*ranges)]
    return sorted(choices, key=lambda each: sum(buffer_bytes(each).values()))


def fast_enough(graph: Graph, times) -> Fraction:
    free = timed(graph, times, bounded=False)
    cycle = max_cycle_ratio(free.times, free.edges)
    return cycle.ratio if cycle else Fraction(0)


def heavier(graph: Graph) -> Graph:
    """Tokens of different sizes, so that it matters which FIFO gets the room."""
    sizes = {}
    for number, fifo in enumerate(graph.fifos):
        sizes[fifo.source] = sizes[fifo.target] = TokenType("uint8", (1 + 3 * number % 5,))
    actors = []
    for actor in graph.actors:
        refs = {ref.port: token for ref, token in sizes.items() if ref.actor == actor.name}
        actors.append(replace(actor, ports=tuple(replace(port, token=refs[port.name]) for port in actor.ports)))
    return replace(graph, actors=tuple(actors))


@settings(max_examples=examples(150), derandomize=True, deadline=None, database=None)
@given(timed_graphs(actors=4, fifos=4, longest=3))
def test_no_choice_of_capacities_is_less_and_does_as_well(drawn):
    graph, times = heavier(drawn[0]), drawn[1]
    enough = with_capacities(graph, [fifo.delay + 9 * fifo_rate(graph, fifo.name) for fifo in graph.fifos])
    assume(period(enough, times) is not None)
    choices = all_capacities(graph, 3)
    live = next(each for each in choices if period(each, times) is not None)
    sizes = least_live(graph)
    assert sizes.least
    assert period(sizes.applied(graph), times) is not None
    assert sizes.nbytes == sum(buffer_bytes(sizes.applied(graph)).values()) == sum(buffer_bytes(live).values())

    wanted = fast_enough(graph, times)
    fast = next((each for each in choices if period(each, times) == wanted), None)
    sizes = least_fast(graph, times)
    assert sizes.least
    assert period(sizes.applied(graph), times) == wanted
    if fast is not None:  # else more than three firings' room is needed somewhere
        assert sizes.nbytes == sum(buffer_bytes(fast).values())


@settings(max_examples=examples(150), derandomize=True, deadline=None, database=None)
@given(timed_graphs())
def test_without_the_search_the_sizes_still_do_and_the_bound_still_holds(drawn):
    graph, times = drawn
    try:
        least = least_fast(graph, times)
    except ValueError:
        return
    quick = least_fast(graph, times, budget=0)
    assert quick.bound <= least.nbytes <= quick.nbytes
    assert period(quick.applied(graph), times) == fast_enough(graph, times)


def test_a_pipeline_needs_one_place_to_live_and_two_to_be_fast():
    graph = build([("A", "B", 3, 0, 9), ("B", "C", 1, 0, 9)])
    times = {"A": Fraction(1), "B": Fraction(1), "C": Fraction(1)}
    assert least_live(graph).capacities == {"f0": 3, "f1": 1}
    assert least_fast(graph, times).capacities == {"f0": 6, "f1": 2}
    times["A"] = Fraction(2)  # then B and C may take turns
    assert least_fast(graph, times).capacities == {"f0": 6, "f1": 1}


def test_a_shortcut_waits_for_the_way_round():
    graph = build([("A", "B", 1, 0, 2), ("B", "C", 1, 0, 2), ("A", "C", 1, 0, 2)])
    times = dict.fromkeys("ABC", Fraction(1))
    assert least_fast(graph, times).capacities == {"f0": 2, "f1": 2, "f2": 3}


def test_initial_tokens_need_no_more_than_their_own_room_where_nobody_waits_in_a_ring():
    graph = build([("A", "B", 1, 1, 3), ("A", "B", 1, 0, 2)])
    assert least_live(graph).capacities == {"f0": 2, "f1": 1}  # else A waits for B, and B for A
    assert least_live(build([("A", "B", 1, 1, 3)])).capacities == {"f0": 1}


def test_a_ring_without_a_delay_has_no_answer():
    graph = build([("A", "B", 1, 0, 9), ("B", "A", 1, 0, 9)])
    with pytest.raises(ValueError, match="deadlock"):
        least_live(graph)


def test_a_crossing_fifo_has_a_buffer_on_both_platforms():
    graph = build([("A", "B", 1, 0, 2)])
    deployed = Resources({}, {"f0": Transfer("e -> s", Fraction(1), Fraction(2))})
    assert least_live(graph, deployed).nbytes == 2 * 64
    times = {"A": Fraction(1), "B": Fraction(1)}
    # one that A writes, one on the link, two that are not there yet, one that B reads
    sizes = least_fast(graph, times, deployed)
    assert (sizes.capacities, sizes.windows, sizes.nbytes) == ({"f0": 2}, {"f0": 3}, 2 * 5 * 64)
    (fifo,) = sizes.applied(graph, deployed).fifos
    assert (fifo.capacity, fifo.window) == (2, 3)


def test_large_graphs_take_seconds():
    for graph in (chain(2000), layered(300)):
        times = {actor.name: Fraction(1 + index % 7) for index, actor in enumerate(graph.actors)}
        sizes = least_fast(graph, times, budget=100_000)
        assert sizes.bound <= sizes.nbytes
        applied = sizes.applied(graph)
        model = timed(applied, times)
        assert max_cycle_ratio(model.times, model.edges).ratio == 7
