"""Routes: what they are, where they may be, and what failures they survive."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from eprune.analysis.check import check
from eprune.analysis.cycle_ratio import max_cycle_ratio
from eprune.analysis.failures import FaultModel, Service, Verdict, minimal_failures
from eprune.analysis.mapping import memory_use
from eprune.analysis.routes import routes
from eprune.analysis.throughput import timed
from eprune.model.finding import has_errors
from eprune.model.graph import FaultPolicy, Fifo, PortRef
from eprune.model.system import System
from eprune.passes.replicate import Options, Sharing, apply
from tests.kit.dynamic import wired

CHAIN = wired(
    dict.fromkeys(("Src", "Near", "Work", "More", "Sink"), "SPA x"),
    "Src.out -> Near.in\nNear.out -> Work.in\nWork.out -> More.in\nMore.out -> Sink.in",
)


def replicated(endpoints=2, servers=2, back="Sink", route=Sharing.ONE, policy=FaultPolicy.WAIT):
    return apply(System(CHAIN), Options(endpoints, servers, "Near", back, route, policy)).system


def moved(system, actor, platform):
    """The system with an actor on another platform."""
    mappings = []
    for mapping in system.mappings:
        places = tuple(
            replace(place, unit="cpu" if mapping.platform == platform else None, platform=platform)
            if place.actor == actor
            else place
            for place in mapping.placements
        )
        places = tuple(replace(p, platform=None) if p.unit is not None else p for p in places)
        mappings.append(replace(mapping, placements=places))
    return replace(system, mappings=tuple(mappings))


def test_a_route_has_a_branch_on_each_server_and_its_answers_come_back():
    first, second = routes(replicated().graph)
    assert (first.source, first.reader) == ("Near-1", "Answer-1")
    assert first.branches == (("Work-1-1", "More-1-1"), ("Work-1-2", "More-1-2"))
    assert [fifo.name for fifo in first.answers] == ["f3-1-1", "f3-1-2"]
    assert second.source == "Near-2" and first.keeps


def test_where_branches_do_not_come_back_servers_are_shared():
    first, second = routes(replicated(back="").graph)
    assert first.branches == second.branches == (("Work-1", "More-1", "Sink-1"), ("Work-2", "More-2", "Sink-2"))
    assert first.reader == ""


@pytest.mark.parametrize(
    ("actor", "platform", "message"),
    [
        ("Work-1-1", "server2", "its branch is like FIFO 'f1-1-1' on platform 'server2'"),
        ("Work-1-1", "endpoint1", "its branch is on its sender's platform 'endpoint1'"),
        ("Answer-1", "server1", "'Answer-1' reads the answers to tokens of 'Near-1', on another platform"),
    ],
)
def test_each_branch_is_on_a_platform_of_its_own_and_the_reader_is_with_the_sender(actor, platform, message):
    findings = [each.message for each in check(moved(replicated(), actor, platform)) if each.rule == "F5"]
    assert len(findings) == 1 and message in findings[0]


@pytest.mark.parametrize("servers", [2, 3])
def test_each_server_has_its_share_of_the_frames(servers):
    """Where room and links do not matter; a sticky route may use one server only."""
    for route, share in ((Sharing.ONE, servers), (Sharing.STICKY, 1)):
        system = replicated(endpoints=1, servers=servers, route=route)
        graph = replace(system.graph, fifos=tuple(replace(fifo, capacity=20) for fifo in system.graph.fifos))
        for work, near in ((12, 1), (1, 7)):
            times = {each.name: Fraction(work if each.name.startswith("Work") else near) for each in graph.actors}
            model = timed(graph, times)
            found = max_cycle_ratio(model.times, model.edges).ratio
            assert found == max(Fraction(work, share), near)


def test_a_server_of_several_devices_has_the_shares_of_all():
    system = replicated(endpoints=3, servers=6, back="")
    graph = replace(system.graph, fifos=tuple(replace(fifo, capacity=20) for fifo in system.graph.fifos))
    model = timed(graph, {each.name: Fraction(12) for each in graph.actors})
    assert {model.times[name] for name in ("Work-1", "Work-6")} == {6}
    few = replicated(endpoints=3, servers=2, back="").graph
    assert timed(few, {each.name: Fraction(12) for each in few.actors}).times["Work-1"] == 12


@pytest.mark.parametrize("policy", [FaultPolicy.WAIT, FaultPolicy.DROP])
@pytest.mark.parametrize("back", ["", "Sink"])
@pytest.mark.parametrize("endpoints", [1, 3])
def test_it_survives_what_sending_to_all_survives(endpoints, back, policy):
    """The attribute only spares copies: the same sets break it, whatever the policy of its FIFOs."""
    found = []
    for route, chosen in ((Sharing.ALL, FaultPolicy.DROP), (Sharing.ONE, policy)):
        system = replicated(endpoints, 2, back, route, chosen)
        assert not has_errors(check(system))
        model = FaultModel(system)
        found.append([o.failed for o in minimal_failures(model, 2, Service(tuple(model.sinks)))])
    assert [[str(thing) for thing in failed] for failed in found[0]] == [
        [str(thing) for thing in failed] for failed in found[1]
    ]


@pytest.mark.parametrize(("policy", "verdict"), [(FaultPolicy.WAIT, Verdict.STALLS), (FaultPolicy.DROP, Verdict.FAILS)])
def test_without_a_server_a_route_waits_or_loses_as_its_policy_says(policy, verdict):
    model = FaultModel(replicated(policy=policy))
    servers = [thing for thing in model.things if thing.name in ("server1", "server2")]
    outcome = model.outcome(servers, Service(tuple(model.sinks)))
    assert outcome.verdict is verdict
    if policy is FaultPolicy.WAIT:
        assert outcome.iterations["Near-1"] == 0 and outcome.culprits == ("f1-1-1", "f1-1-2", "f1-2-1", "f1-2-2")


def test_a_branch_whose_answers_are_lost_is_no_branch():
    """The ways there and back fail together here; were they apart, the way back alone would do."""
    system = replicated(1)
    model = FaultModel(system)
    links = [thing for thing in model.things if thing.kind == "link"]
    assert model.outcome(links[:1], Service(("Sink-1",))).verdict is Verdict.DEGRADED
    assert model.outcome(links, Service(("Sink-1",))).verdict is Verdict.STALLS


def test_a_state_in_the_servers_part_is_not_shared_out():
    loop = Fifo("again", PortRef("Work", "again"), PortRef("Work", "before"), 2, delay=1)
    work = CHAIN.actor("Work")
    ports = (*work.ports, replace(work.outputs[0], name="again"), replace(work.inputs[0], name="before"))
    actors = tuple(replace(work, ports=ports) if actor is work else actor for actor in CHAIN.actors)
    graph = replace(CHAIN, actors=actors, fifos=(*CHAIN.fifos, loop))
    with pytest.raises(ValueError, match="keeps a state, the delay of FIFO 'again'; write --route sticky"):
        apply(System(graph), Options(1, 2, "Near", "Sink", Sharing.ONE))
    apply(System(graph), Options(1, 2, "Near", "Sink", Sharing.STICKY))


def test_what_the_sender_keeps_and_the_reader_puts_aside_counts_as_memory():
    """A slot for each token that may be under way, and one for its answer: 64 bytes each, with capacity 2."""
    use = [memory_use(system.graph, system.mappings[0], {}) for system in (replicated(1), replicated(1, back=""))]
    assert [each["route of 'Near-1'"] for each in use] == [4 * 64 + 4 * 64, 4 * 64]


def test_time_outs_of_a_route_need_not_grow_towards_its_reader():
    """The sender alone decides what is late."""
    system = apply(System(CHAIN), Options(1, 2, "Near", "Sink", Sharing.ONE, timeout="500ms")).system
    assert [each.rule for each in check(system) if each.rule == "F4"] == []
