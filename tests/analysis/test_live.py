"""F3 and F4: what live data lacks where ways meet again, and time-outs and room that do not fit."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from sample_graphs import build, on

from eprune.analysis.check import check
from eprune.formats.xml.application import read_application
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


def sensors(fast: str, slow: str, **changes: object) -> list[str]:
    """A fast and a slow source and an actor that takes one token of each; what is found, with its hint."""
    file = "<application name='a'>"
    for name, says in (("Fast", fast), ("Slow", slow)):
        file += f"<actor name='{name}' {says}><out name='o' token='float32'/></actor>"
    file += f"<actor name='Fuse' {changes.get('fuse', '')}><in name='a' token='float32' {changes.get('a', '')}/>"
    file += f"<in name='b' token='float32' {changes.get('b', '')}/></actor>"
    file += (
        f"<fifo name='f' from='Fast.o' to='Fuse.a' {changes.get('f', '')}/><fifo name='g' from='Slow.o' to='Fuse.b'/>"
    )
    path = changes["folder"] / "app.xml"
    path.write_text(file + "</application>", encoding="utf-8")
    return [f"{finding} ({finding.hint})" for finding in check(System(read_application(str(path))))]


def test_sensors_of_unlike_rates_that_meet_are_told_the_rate_that_results(tmp_path):
    (line,) = sensors("rate='100/s'", "rate='5/s'", folder=tmp_path)
    assert "warning[F4]: actor 'Fuse': 'Fast' with 100/s and 'Slow' with 5/s meet at its inputs 'a' and 'b'" in line
    assert "all of these run at 5/s" in line
    assert "write hold=\"true\" at Fuse.b for the pace of 'Fast', or policy=\"newest\" on FIFO 'f'" in line
    (line,) = sensors("time='10ms'", "time='200ms'", fuse="time='400ms'", folder=tmp_path)
    assert "'Fast' with 100/s and 'Slow' with 5/s" in line and "all of these run at 2.5/s" in line


def test_sensors_of_like_or_unknown_rates_or_with_hold_or_newest_are_not(tmp_path):
    assert sensors("rate='30/s'", "rate='30.1/s'", folder=tmp_path) == []
    assert sensors("rate='100/s'", "", folder=tmp_path) == []
    assert sensors("rate='100/s'", "rate='5/s'", b="hold='true'", folder=tmp_path) == []
    assert sensors("rate='100/s'", "rate='5/s'", f="policy='newest' capacity='3'", folder=tmp_path) == []


def test_arms_of_one_source_are_no_sensors_of_unlike_rates():
    graph = build(DIAMOND)
    times = {"camera": Fraction(1, 100), "arm": Fraction(1, 5)}
    actors = tuple(replace(actor, time=times.get(actor.name)) for actor in graph.actors)
    assert rules(replace(graph, actors=actors)) == []
