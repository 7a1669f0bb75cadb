"""The simulator itself: what it says of graphs that are small enough to follow by hand."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_graphs import build

from eprune.analysis.simulate import simulate
from eprune.formats.xml.application import read_application
from eprune.model.graph import FaultPolicy, Graph, Row

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


def live(graph: Graph, newest: tuple[str, ...] = (), held: tuple[str, ...] = ()) -> Graph:
    """Those FIFOs newest, and the inputs of those FIFOs on hold."""
    into = {fifo.target for fifo in graph.fifos if fifo.name in held}

    def ports(actor):
        return tuple(
            replace(p, hold=(actor.name, p.name) in {(ref.actor, ref.port) for ref in into}) for p in actor.ports
        )

    fifos = (replace(f, policy=FaultPolicy.NEWEST) if f.name in newest else f for f in graph.fifos)
    return replace(
        graph, fifos=tuple(fifos), actors=tuple(replace(actor, ports=ports(actor)) for actor in graph.actors)
    )


def test_a_camera_does_not_wait_for_who_takes_its_newest():
    result = simulate(live(build([("camera", "slow", 1, 0, 3)]), newest=("f0",)), 10, first)
    assert result.firings == {"camera": 10, "slow": 3}, "it makes all, and the last three are left"
    assert (result.dropped, result.peak, result.blocked) == ({"f0": 7}, {"f0": 3}, {})


def test_what_is_held_is_given_again_and_only_the_newest_is_taken():
    graph = live(build([("slow", "join", 1, 0, 3), ("fast", "join", 1, 0, 3)]), held=("f0",))

    def slow_once(events):
        """The slow sensor fires only when nothing else can, so once."""
        return next((event for event in events if event[1] != "slow"), events[0])

    result = simulate(graph, 10, slow_once)
    assert result.firings["join"] == 10 and result.passed["f0"] < 10 and not result.blocked
    result = simulate(graph, 10, last)  # the sensor comes last in no order: it runs ahead
    assert result.firings == {"slow": 10, "join": 10, "fast": 10}


def test_the_first_firing_waits_for_a_token_to_hold():
    graph = live(build([("join", "slow", 1, 0, 3), ("slow", "join", 1, 0, 3), ("fast", "join", 1, 0, 3)]), held=("f1",))
    result = simulate(graph, 3, random.Random(1))
    assert result.firings["join"] == 0 and "f1 holds 0 of 1 tokens" in result.blocked["join"]
    early = replace(graph, fifos=tuple(replace(f, delay=int(f.name == "f1")) for f in graph.fifos))
    assert not simulate(early, 3, random.Random(1)).blocked


@given(st.integers(0, 2**32))
def test_live_data_neither_deadlocks_nor_overflows(seed):
    """Random layers of FIFOs, some newest, some held, where something leads: with any order of events."""
    rng = random.Random(seed)
    fifos = []
    for target in range(1, rng.randint(2, 6)):
        for source in rng.sample(range(target), rng.randint(0, min(2, target))):
            rate = rng.randint(1, 2)
            fifos.append((f"a{source}", f"a{target}", rate, 0, rng.randint(2, 4) * rate))
    graph = build(fifos)
    names = [fifo.name for fifo in graph.fifos]
    leading = {fifo.target.actor: fifo.name for fifo in graph.fifos}
    held = tuple(name for name in names if name not in leading.values() and rng.random() < 0.5)
    graph = live(graph, tuple(name for name in names if rng.random() < 0.5), held)
    result = simulate(graph, 8, rng)
    assert not result.blocked
    for fifo in graph.fifos:
        assert result.peak[fifo.name] <= fifo.capacity
        made = result.firings[fifo.source.actor] * dict(graph.ports())[fifo.source].url
        assert result.passed[fifo.name] + result.dropped.get(fifo.name, 0) <= made
    sources = [actor.name for actor in graph.actors if not actor.inputs]
    behind = {fifo.source.actor for fifo in graph.fifos if fifo.policy is not FaultPolicy.NEWEST}
    assert all(result.firings[source] == 8 for source in sources if source not in behind)
