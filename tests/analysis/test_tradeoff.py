"""The front of buffers and throughput: against every choice of capacities on small graphs, each run event by event."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from sample_graphs import chain
from self_timed import fifo_rate, period, timed_graphs
from test_buffers import all_capacities, fast_enough, heavier, with_capacities

from eprune.analysis.buffers import least_fast, least_for
from eprune.analysis.lookup import buffer_bytes
from eprune.analysis.tradeoff import front
from tests.kit.effort import examples

MS = Fraction(1, 1000)


@settings(max_examples=examples(100), derandomize=True, deadline=None, database=None)
@given(timed_graphs(actors=4, fifos=4, longest=3))
def test_no_choice_of_capacities_is_less_and_as_fast(drawn):
    graph, times = heavier(drawn[0]), drawn[1]
    enough = with_capacities(graph, [fifo.delay + 9 * fifo_rate(graph, fifo.name) for fifo in graph.fifos])
    assume(period(enough, times) is not None)
    found = front(graph, times)
    assert found.whole
    assert all(point.sizes.least for point in found.points)
    for point in found.points:
        assert period(point.sizes.applied(graph), times) == point.period
    reached = [(point.sizes.nbytes, point.period) for point in found.points]
    assert reached[-1][1] == fast_enough(graph, times)

    room = {fifo.name: fifo.delay + 3 * fifo_rate(graph, fifo.name) for fifo in graph.fifos}
    assume(all(count <= room[name] for point in found.points for name, count in point.sizes.capacities.items()))
    expected: list[tuple[int, Fraction]] = []
    for choice in all_capacities(graph, 3):  # the cheapest first
        pace, nbytes = period(choice, times), sum(buffer_bytes(choice).values())
        if pace is not None and (not expected or pace < expected[-1][1]):
            if expected and expected[-1][0] == nbytes:
                expected.pop()
            expected.append((nbytes, pace))
    assert reached == expected


def test_a_chain_is_faster_with_each_place():
    graph = chain(3)
    times = {actor.name: (2 + number) * MS for number, actor in enumerate(graph.actors)}
    found = front(graph, times)
    assert found.points[0].period > found.points[-1].period == fast_enough(graph, times)
    assert found.points[-1].sizes.nbytes == least_fast(graph, times).nbytes


def test_the_least_for_a_wished_pace_is_a_point_of_the_front():
    graph = chain(4)
    times = {actor.name: (1 + number % 3) * MS for number, actor in enumerate(graph.actors)}
    points = front(graph, times).points
    for slower, faster in zip(points, points[1:]):
        between = (slower.period + faster.period) / 2
        assert least_for(graph, times, between).nbytes == faster.sizes.nbytes
        assert least_for(graph, times, slower.period).nbytes == slower.sizes.nbytes
    with pytest.raises(ValueError, match="an iteration takes"):
        least_for(graph, times, points[-1].period * Fraction(9, 10))


def test_a_front_that_is_cut_short_says_so_and_ends_at_full_speed():
    graph = chain(4)
    times = {actor.name: (1 + number % 3) * MS for number, actor in enumerate(graph.actors)}
    whole = front(graph, times)
    assert len(whole.points) > 2
    cut = front(graph, times, most=1)
    assert not cut.whole
    assert (cut.points[0], cut.points[-1]) == (whole.points[0], whole.points[-1])
