"""Windows for FIFOs over links: enough of a window for any times of the actors, and none where one is stated."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Optional

from hypothesis import given, settings
from hypothesis import strategies as st
from sample_graphs import build, on

from eprune.analysis.cycle_ratio import max_cycle_ratio
from eprune.analysis.links import over_links, widened
from eprune.analysis.throughput import resources, timed
from eprune.model.graph import FaultPolicy, Graph
from eprune.model.platform import Link, Platform
from eprune.model.system import System
from tests.kit.effort import examples


def split(graph: Graph, bandwidth: Optional[float] = 16.0, latency: float = 0.0, window: int = 0) -> System:
    """A on e, all others on s; a token has 16 bytes."""
    homes = {actor.name: "es"[actor.name != "A"] for actor in graph.actors}
    mappings = [
        on(own, {name: "cpu" if home == own else f"@{home}" for name, home in homes.items()}) for own in ("e", "s")
    ]
    links = [Link(to, bandwidth=bandwidth, latency=latency, window=window) for to in ("s", "e")]
    platforms = tuple(Platform(name, links=(link,)) for name, link in zip("es", links))
    return System(graph, platforms, tuple(mappings))


def windows(system: System) -> list[Optional[int]]:
    return [fifo.window for fifo in widened(system).graph.fifos]


PAIR = build([("A", "B", 1, 0, 2)])


@settings(max_examples=examples(200), derandomize=True, deadline=None, database=None)
@given(st.data())
def test_no_times_of_the_actors_make_the_window_a_limit(data):
    rate, delay, spare = data.draw(st.tuples(st.integers(1, 3), st.integers(0, 3), st.integers(0, 3)))
    latency = data.draw(st.integers(0, 9)) / 2
    graph = build([("A", "B", rate, delay, delay + rate + spare), ("A", "C", 1, 0, 2)])
    system = widened(split(graph, data.draw(st.sampled_from([4.0, 16.0, 64.0])), latency))
    times = {name: data.draw(st.fractions(0, 9, max_denominator=3)) for name in "ABC"}
    shared = resources(system)
    model = timed(system.graph, times, shared)
    cycle = max_cycle_ratio(model.times, model.edges)
    link = sum((transfer.busy for transfer in shared.transfers.values()), Fraction(0))
    assert cycle is not None
    # B and C make a thread each, which share a unit
    assert cycle.ratio == max(link, times["A"], times["B"] + times["C"])


def test_what_is_under_way_needs_a_window():
    assert windows(split(PAIR)) == [1]  # one is written, one is on the link, one is read
    assert windows(split(PAIR, latency=3.5)) == [8]  # and seven are on the way, or their news
    assert windows(split(build([("A", "B", 1, 0, 10)]), latency=3.5)) == [None]
    # tokens of other FIFOs keep the link busy as well
    assert windows(split(build([("A", "B", 1, 0, 2), ("A", "C", 3, 0, 6)]), latency=3.5)) == [2, 9]


def test_a_window_that_is_stated_stays_and_an_unknown_link_gets_none():
    stated = replace(PAIR, fifos=tuple(replace(fifo, window=0) for fifo in PAIR.fifos))
    assert windows(split(stated, latency=3.5)) == [0]
    assert windows(split(PAIR, latency=3.5, window=40)) == [None]
    assert windows(split(PAIR, None, latency=3.5)) == [None]
    assert windows(split(PAIR, None)) == [None]
    newest = replace(PAIR, fifos=tuple(replace(fifo, policy=FaultPolicy.NEWEST) for fifo in PAIR.fifos))
    assert windows(split(newest, latency=3.5)) == [None]


def test_without_times_the_window_is_still_known():
    system = split(PAIR, latency=3.5)
    (link,) = over_links(system.graph, resources(system), {}, None)
    assert (link.round_trip, link.period, link.enough) == (8, None, 8)
    system = split(PAIR, None, latency=3.5)
    (link,) = over_links(system.graph, resources(system), {}, None)
    assert (link.round_trip, link.enough) == (7, None)
