"""F3 and F4: what live data lacks where ways meet again, and time-outs and room that do not fit."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from sample_graphs import build, on

from eprune.analysis.check import check
from eprune.model.graph import FaultPolicy, Graph
from eprune.model.platform import Link, Platform, Unit
from eprune.model.system import System

#: a camera, a fork, two arms and a join
DIAMOND = [("camera", "fork", 1, 0, 3), ("fork", "join", 1, 0, 3), ("fork", "arm", 1, 0, 3), ("arm", "join", 1, 0, 3)]


def with_newest(name: str, **hold: bool) -> Graph:
    """The diamond with that FIFO newest, and inputs of the join on hold."""
    graph = build(DIAMOND)
    join = graph.actors[2]
    ports = tuple(replace(port, hold=hold.get(port.name, False)) for port in join.ports)
    fifos = (replace(f, policy=FaultPolicy.NEWEST) if f.name == name else f for f in graph.fifos)
    return replace(
        graph, fifos=tuple(fifos), actors=tuple(replace(a, ports=ports) if a is join else a for a in graph.actors)
    )


def rules(graph: Graph) -> list[str]:
    return [finding.rule for finding in check(System(graph))]


def test_newest_is_missed_behind_the_fork_and_not_before_it():
    assert rules(with_newest("f0")) == []
    for name in ("f1", "f2", "f3"):
        assert rules(with_newest(name)) == ["F3"]


def test_what_is_held_is_not_missed():
    assert rules(with_newest("f3", i3=True)) == []
    assert rules(with_newest("f2", i3=True)) == []
    assert rules(with_newest("f3", i1=True)) == [], "the other way is held, and the arm leads"


def test_what_comes_back_with_a_delay_is_no_way_that_meets_again():
    graph = build([("camera", "slow", 1, 0, 3), ("slow", "sink", 1, 0, 2), ("sink", "slow", 1, 1, 3)])
    newest = tuple(replace(f, policy=FaultPolicy.NEWEST) if f.name == "f0" else f for f in graph.fifos)
    assert rules(replace(graph, fifos=newest)) == []


def test_a_fifo_over_a_slow_link_needs_room_for_a_round_trip():
    """100 tokens a second, 50 ms there and 50 ms back: ten are under way."""
    graph = build([("camera", "sink", 1, 0, 2)])
    camera, sink = graph.actors
    (fifo,) = graph.fifos

    def found(latency: float, window: int | None, policy: FaultPolicy = FaultPolicy.DROP) -> list[str]:
        platforms = tuple(
            Platform(name, (Unit("cpu"),), (Link(to, latency=latency),)) for name, to in (("p", "q"), ("q", "p"))
        )
        mappings = on("p", {"camera": "cpu", "sink": "@q"}), on("q", {"camera": "@p", "sink": "cpu"})
        fifos = (replace(fifo, policy=policy, window=window, capacity=3),)
        changed = replace(graph, actors=(replace(camera, rate=100.0, time=Fraction(1, 100)), sink), fifos=fifos)
        return [f"{each.rule} {each.hint}" for each in check(System(changed, platforms, mappings))]

    assert found(0.05, None) == ['F4 write window="7"']
    assert found(0.05, 7) == []
    assert found(0.001, None) == []
    assert found(0.05, None, FaultPolicy.NEWEST) == [], "it drops by design"
