"""Feedback: the result of a frame is back at its source before the next one is taken, in any order of events."""

from __future__ import annotations

import random
from dataclasses import replace
from types import SimpleNamespace

import pytest

from eprune.analysis.check import check
from eprune.analysis.simulate import simulate
from eprune.formats.system import read_system
from eprune.formats.xml.application import read_application
from eprune.model.finding import Severity
from eprune.model.graph import Actor, ActorType, Direction, Port
from eprune.model.system import System
from eprune.model.token import parse_token
from eprune.passes.feedback import Options, apply
from tests.kit.programs import ROOT

GRAPHS = ("vehicle", "vehicle_dual", "ssd_mobilenet")


def feedback(graph, frames):
    """The graph with feedback, who takes the results for each source, and the sinks."""
    made, report = apply(System(graph), Options(frames))
    return SimpleNamespace(graph=made.graph, **report.figures)


def read(name):
    return read_application(str(ROOT / f"graphs/{name}.xml"))


@pytest.mark.parametrize("name", GRAPHS)
def test_it_breaks_no_rule_and_takes_nothing_away(name):
    graph = read(name)
    fed = feedback(graph, 9)
    wrong = [finding for finding in check(System(fed.graph)) if finding.severity is Severity.ERROR]
    assert wrong == []
    kept = {fifo.name for fifo in fed.graph.fifos}
    assert {fifo.name for fifo in graph.fifos} <= kept
    assert [actor.name for actor in fed.graph.actors][: len(graph.actors)] == [actor.name for actor in graph.actors]


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("seed", range(3))
def test_one_frame_at_a_time_is_in_the_application(name, seed):
    fed = feedback(read(name), 9)
    source_of = {back: source for source, back in fed.returns.items()}
    flying = dict.fromkeys(fed.returns, 0)
    most = dict(flying)
    pick = random.Random(seed)

    def choose(events):
        event = pick.choice(events)
        if event[0] == "start" and event[1] in flying:
            flying[event[1]] += 1
            most[event[1]] = max(most[event[1]], flying[event[1]])
        if event[0] == "finish" and event[1] in source_of:
            flying[source_of[event[1]]] -= 1
        return event

    assert not simulate(fed.graph, 4, choose).deadlocked
    assert set(most.values()) == {1}


def test_the_result_goes_to_every_source_and_on_to_the_sink():
    fed = feedback(read("vehicle_dual"), 9)
    assert fed.returns == {"Input-1": "Return-Input-1", "Input-2": "Return-Input-2"}
    assert fed.sinks == ["Sink"]
    ends = {(fifo.source.actor, fifo.target.actor) for fifo in fed.graph.fifos}
    assert {("L4-L5", "Spread"), ("Spread", "Return-Input-1"), ("Spread", "Return-Input-2")} <= ends
    assert {("Return-Input-1", "Sink"), ("Return-Input-1", "Input-1"), ("Return-Input-2", "Input-2")} <= ends


def test_what_only_sends_control_tokens_takes_no_frames():
    graph = read("vehicle")
    control = Actor("C", (Port("c", Direction.OUT, parse_token("int32"), control=True),), ActorType.CA)
    fed = feedback(replace(graph, actors=(control, *graph.actors)), 9)
    assert fed.returns == {"Input": "Return-Input"}


def test_names_that_are_taken_are_avoided():
    graph = read("vehicle")
    actors = [replace(actor, name="Return-Input") if actor.name == "L1" else actor for actor in graph.actors]
    fifos = [
        replace(
            fifo,
            source=replace(fifo.source, actor=fifo.source.actor.replace("L1", "Return-Input")),
            target=replace(fifo.target, actor=fifo.target.actor.replace("L1", "Return-Input")),
        )
        for fifo in graph.fifos
    ]
    fed = feedback(replace(graph, actors=tuple(actors), fifos=tuple(fifos)), 9)
    assert fed.returns == {"Input": "Return-Input_"}


def test_a_graph_without_an_end_has_no_result():
    graph = read("vehicle")
    with pytest.raises(ValueError, match="has no sink"):
        feedback(replace(graph, actors=graph.actors[:1], fifos=()), 9)


def test_a_result_that_not_every_frame_has_is_refused():
    graph = read("vehicle")
    sink = graph.actors[-1]
    dynamic = replace(sink, ports=(replace(sink.ports[0], lrl=0),))
    with pytest.raises(ValueError, match=r"Sink\.in, whose rate changes"):
        feedback(replace(graph, actors=(*graph.actors[:-1], dynamic)), 9)


def test_in_a_mapped_system_results_are_taken_where_the_frames_were():
    system = read_system(
        str(ROOT / "graphs/vehicle.xml"),
        [str(ROOT / f"graphs/{name}.xml") for name in ("endpoint", "server")],
        [str(ROOT / f"mappings/vehicle_split/{name}.xml") for name in ("endpoint", "server")],
    )
    fed = apply(system).system
    assert (fed.homes["Return-Input"], fed.homes["Sink"], fed.homes["L3"]) == ("endpoint", "endpoint", "server")
    assert not [finding for finding in check(fed) if finding.severity is Severity.ERROR]
    assert apply(system, Options(fixed=("Sink",))).system.homes["Sink"] == "server"
