"""K(m,n) from a chain: the papers' counts, one definition of the chain, and what it survives."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eprune import face
from eprune.analysis.check import check
from eprune.analysis.failures import FaultModel, Service, minimal_failures
from eprune.codegen.lower import lower
from eprune.formats.system import read_system, write_system
from eprune.formats.xml.application import read_application
from eprune.model.graph import Actor, Direction, FaultPolicy, Fifo, Graph, Port, PortRef
from eprune.model.interface import Interface
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes import fuse, relocate
from eprune.passes.replicate import Options, Sharing, apply

GRAPHS = Path(__file__).resolve().parents[2] / "graphs"
CHAIN = read_application(str(GRAPHS / "vehicle_chain.xml"))
TOKEN = TokenType("float32", (4,))


def replicate(chain: Graph, cut_after: str, endpoints: int, servers: int, tensor: Optional[int] = None, **more: object):
    """K(servers, endpoints) of a chain; the actor that it is cut after carries ``tensor``."""
    ports = [fifo.source.port for fifo in chain.fifos if fifo.source.actor == cut_after]
    facts = {} if tensor is None else {cut_after: Interface(tensors=dict.fromkeys(ports, tensor))}
    return apply(System(chain, interfaces=facts), Options(endpoints, servers, cut_after, **more)).system


def graph(*fifos: str) -> Graph:
    """A graph of actors without behaviour from "a-b" for each FIFO; ports are named after the other end."""
    pairs = [fifo.split("-") for fifo in fifos]
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    actors = tuple(
        Actor(
            name,
            (
                *(Port(source, Direction.IN, TOKEN) for source, target in pairs if target == name),
                *(Port(target, Direction.OUT, TOKEN) for source, target in pairs if source == name),
            ),
        )
        for name in names
    )
    return Graph("g", actors, tuple(Fifo(f"{s}{t}", PortRef(s, t), PortRef(t, s)) for s, t in pairs))


def test_k_2_6_of_the_vehicle_classifier_has_26_actors_and_30_fifos():
    made = replicate(CHAIN, "L3", 6, 2, tensor=11)
    assert (len(made.graph.actors), len(made.graph.fifos), len(made.platforms)) == (26, 30, 8)
    assert not check(made)


@pytest.mark.parametrize(("endpoints", "pairs"), [(4, 13), (6, 19)])
def test_it_survives_every_single_failure_and_as_many_pairs_break_it_as_the_design_says(endpoints, pairs):
    made = replicate(CHAIN, "L3", endpoints, 2, tensor=11)
    system = FaultModel(made)
    failures = minimal_failures(system, 2, Service(tuple(system.sinks)))
    assert [len(outcome.failed) for outcome in failures] == [2] * pairs


def test_what_a_copy_is_of_is_the_chains():
    """Behaviour, parameters, rates, capacities: nothing but names differs, and the ports where it was cut."""
    made = replicate(CHAIN, "L3", 2, 2, tensor=11)
    for actor in made.graph.actors:
        original = CHAIN.actor(actor.name.rpartition("-")[0])
        if original.name not in ("L3", "L4-L5"):
            assert actor == replace(original, name=actor.name)
        assert (actor.behaviour, actor.parameters) == (original.behaviour, original.parameters)
    assert [str(f.source) + " " + str(f.target) for f in made.graph.fifos if f.policy is FaultPolicy.DROP] == [
        "L3-1.out1 L4-L5-1.in1",
        "L3-1.out2 L4-L5-2.in1",
        "L3-2.out1 L4-L5-1.in2",
        "L3-2.out2 L4-L5-2.in2",
    ]
    last, first = made.graph.actor("L3-2"), made.graph.actor("L4-L5-1")
    assert [port.tensor for port in last.outputs] == [11, 11]
    assert not any(port.required for port in first.inputs)


def test_for_live_cameras_each_server_takes_the_newest_of_each_endpoint():
    made = replicate(CHAIN, "L3", 2, 2, policy=FaultPolicy.NEWEST, tensor=11)
    crossing = [fifo for fifo in made.graph.fifos if fifo.policy is FaultPolicy.NEWEST]
    assert len(crossing) == 4 and {fifo.capacity for fifo in crossing} == {3}
    assert not check(made)
    assert [outcome.failed for outcome in minimal_failures(FaultModel(made), 1, Service(("L4-L5-1", "L4-L5-2")))] == []


def test_one_of_each_is_the_chain_again():
    made = replicate(CHAIN, "L3", 1, 1, FaultPolicy.STOP)
    assert [actor.name for actor in made.graph.actors] == [f"{actor.name}-1" for actor in CHAIN.actors]
    assert {port.name for _, port in made.graph.ports()} == {"in", "out"}


@settings(max_examples=20)
@given(st.integers(1, 5), st.integers(1, 5))
def test_every_pair_of_endpoint_and_server_has_a_fifo_and_a_tcp_port(endpoints, servers):
    chain = graph("a-b", "b-c", "b-d", "c-e", "d-e", "e-f", "f-g", "f-h")
    made = replicate(chain, "e", endpoints, servers, port=6000)
    assert not check(made)
    assert len(made.graph.actors) == 5 * endpoints + 3 * servers
    assert len(made.graph.fifos) == 5 * endpoints + 2 * servers + endpoints * servers
    ports = Counter(link.port for platform in made.platforms for link in platform.links)
    assert ports == dict.fromkeys(range(6000, 6000 + endpoints * servers), 2)


@pytest.mark.parametrize(
    ("chain", "cut_after", "message"),
    [
        (graph("a-b"), "c", "there is no actor 'c'"),
        (graph("a-b", "a-c"), "a", "exactly one FIFO must lead on, and from there; here 'ab', 'ac' would"),
        (graph("a-b", "b-c", "a-c"), "b", "here 'bc', 'ac' would"),
        (graph("a-b"), "b", "here no FIFO would"),
    ],
)
def test_a_graph_that_is_not_cut_at_one_fifo_is_refused(chain, cut_after, message):
    with pytest.raises(ValueError, match=message):
        replicate(chain, cut_after, 2, 2)


def test_a_slice_cannot_serve_several_endpoints():
    with pytest.raises(
        ValueError, match="'L3' is a slice of a model, which takes the tokens of one endpoint, not of 2"
    ):
        replicate(CHAIN, "L2", 2, 1)
    made = replicate(CHAIN, "L2", 1, 2, tensor=7)
    assert made.graph.actor("L3-2").inputs[0].required


@pytest.mark.parametrize(("route", "shares"), [("one", 3), ("sticky", 0), ("all", 0)])
def test_a_server_runs_the_slices_of_its_clients_on_one_interpreter_where_they_keep_nothing(route, shares, tmp_path):
    chain = read_system(str(GRAPHS / "vehicle.xml"), [])
    options = Options(3, 2, "L2", "Sink", Sharing(route), timeout="1s")
    made = relocate.apply(apply(chain, options).system, relocate.Options(str(tmp_path))).system
    written = write_system(made, str(tmp_path))
    system = face.load(written.application, written.platforms, written.mappings, allow_outside=True)
    (server,) = [each for each in lower(fuse.apply(system).system) if each.platform == "server1"]
    live = [dict(node.live) for node in server.nodes]
    assert sum(each.get("shares", False) for each in live) == shares
    assert sum(each.get("relays", False) for each in live) == (3 if route != "all" else 0)
