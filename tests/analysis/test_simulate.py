"""The simulator itself: what it says of graphs that are small enough to follow by hand."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from sample_graphs import build

from eprune.analysis.simulate import simulate
from eprune.formats.xml.application import read_application
from eprune.model.graph import Row

CASES = Path(__file__).parents[1] / "cases"


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


def test_control_tokens_set_the_rates_and_an_idle_actor_only_takes_its_control_token():
    graph = read_application(str(CASES / "ok-4.xml"))
    result = simulate(graph, 5, random.Random(1), {"Maybe": [0, 1, 0]})  # so 0, 1, 0, 0, 1
    assert result.firings == {"Split": 5, "Deep": 5, "Merge": 5} and not result.deadlocked
    assert result.passed == {"c1": 5, "c2": 5, "d1": 2, "d2": 2}


def test_a_follower_waits_for_its_control_token_and_says_so():
    graph = read_application(str(CASES / "ok-4.xml"))
    deaf = replace(graph.dpgs[0], rows=(Row(1, (1, 1, 0, 1)),))  # Deep takes and gives nothing; D3 would say so
    result = simulate(replace(graph, dpgs=(deaf,)), 4, random.Random(1), {"Maybe": [1]})
    assert result.firings == {"Split": 2, "Deep": 2, "Merge": 0}
    assert result.blocked == {
        "Split": ("c2 has room for 0 of 1 tokens (row 1 of 'Maybe')",),
        "Deep": ("c1 holds no control token",),
        "Merge": ("d2 holds 0 of 1 tokens (row 1 of 'Maybe')",),
    }


def test_rates_above_one_count_in_tokens_and_in_room():
    graph = read_application(str(CASES / "ok-4.xml"))
    wide = replace(
        graph,
        actors=tuple(
            replace(a, ports=tuple(p if p.static else replace(p, url=3, atr=3) for p in a.ports)) for a in graph.actors
        ),
        fifos=tuple(replace(f, capacity=3) for f in graph.fifos),
        dpgs=(replace(graph.dpgs[0], rows=(Row(0, (2, 2, 3, 3)), Row(1, (0, 0, 0, 0)))),),
    )
    result = simulate(wide, 4, random.Random(3), {"Maybe": [0, 1]})
    assert result.passed == {"c1": 4, "c2": 4, "d1": 4, "d2": 6}
    assert result.peak["d1"] == 2 and result.peak["d2"] == 3


def test_values_without_a_row_and_graphs_without_values_are_errors():
    graph = read_application(str(CASES / "ok-4.xml"))
    for control in ({"Maybe": [7]}, {}):
        with pytest.raises(KeyError):
            simulate(graph, 1, first, control)
