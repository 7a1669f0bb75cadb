"""The simulator itself: what it says of graphs that are small enough to follow by hand."""

from __future__ import annotations

import random

import pytest
from sample_graphs import build

from eprune.analysis.simulate import simulate


def first(events):
    return events[0]


def last(events):
    return events[-1]


def test_a_writer_may_run_ahead_as_far_as_there_is_room():
    graph = build([("a", "b", 1, 0, 3)])
    assert simulate(graph, 5, first).peak == {"f0": 3}
    assert simulate(graph, 5, last).peak == {"f0": 1}


def test_a_firing_holds_its_inputs_until_it_ends():
    # b's firing holds the only slot; so a cannot start while b runs, but both fire as often as asked.
    graph = build([("a", "b", 1, 0, 1)])
    events = []

    def choose(possible):
        events.append(possible)
        return possible[0]

    result = simulate(graph, 2, choose)
    assert events == [[("start", "a")], [("finish", "a")], [("start", "b")], [("finish", "b")]] * 2
    assert result.firings == {"a": 2, "b": 2} and not result.deadlocked


def test_the_papers_blocking_fifo_blocks():
    result = simulate(build([("a", "b", 2, 1, 2)]), 1, random.Random(1))
    assert result.deadlocked and result.firings == {"a": 0, "b": 0}
    assert result.blocked == {"a": ("f0 has room for 1 of 2 tokens",), "b": ("f0 holds 1 of 2 tokens",)}


@pytest.mark.parametrize(("delay", "capacity", "lives"), [(1, 2, True), (0, 2, False), (1, 1, False)])
def test_a_self_loop_needs_its_token_and_room_at_once(delay, capacity, lives):
    assert simulate(build([("a", "a", 1, delay, capacity)]), 3, random.Random(1)).deadlocked is not lives


def test_a_run_that_stops_says_who_is_short():
    # b fires once from the delay of f0; a waits for c, and c for a.
    result = simulate(
        build([("a", "b", 1, 2, 3), ("b", "a", 1, 0, 1), ("c", "a", 1, 0, 1), ("a", "c", 1, 0, 1)]), 4, first
    )
    assert result.deadlocked and result.firings == {"a": 0, "b": 1, "c": 0}
    assert set(result.blocked) == {"a", "b", "c"}
