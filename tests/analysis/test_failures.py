"""What survives which failures: the papers' reference cases, and the closure against simulated failures in mid-run."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sample_graphs import build

from eprune.analysis.check import check
from eprune.analysis.failures import FaultModel, Service, Verdict, minimal_failures, survived
from eprune.analysis.faults import not_survived
from eprune.model.finding import has_errors
from eprune.model.graph import FaultPolicy, Graph
from eprune.model.mapping import Mapping, Placement
from eprune.model.platform import Link, Platform, Unit
from eprune.model.system import System
from tests.kit.effort import examples
from tests.kit.fault_simulator import FaultSimulator

DROP, STOP, WAIT, ZERO = FaultPolicy.DROP, FaultPolicy.STOP, FaultPolicy.WAIT, FaultPolicy.ZERO
NEWEST = FaultPolicy.NEWEST


def deploy(
    graph: Graph,
    places: dict[str, str],
    policies: dict[str, FaultPolicy] | None = None,
    optional: tuple[str, ...] = (),
    groups: dict[str, str] | None = None,
) -> FaultModel:
    """The graph on platforms: actor -> "platform/unit"; all are linked. ``optional``: FIFOs whose consumer can do
    without; ``groups``: platform or unit -> group."""
    policies, groups = policies or {}, groups or {}
    into = {(fifo.target.actor, fifo.target.port) for fifo in graph.fifos if fifo.name in optional}
    graph = replace(
        graph,
        fifos=tuple(replace(fifo, policy=policies.get(fifo.name, STOP)) for fifo in graph.fifos),
        actors=tuple(
            replace(
                actor,
                ports=tuple(replace(port, required=(actor.name, port.name) not in into) for port in actor.ports),
            )
            for actor in graph.actors
        ),
    )
    homes = {actor: place.split("/")[0] for actor, place in places.items()}
    names = sorted(set(homes.values()))

    def group(thing: str) -> tuple[str, ...]:
        return tuple(groups[thing].split()) if thing in groups else ()

    platforms = [
        Platform(
            name,
            tuple(
                Unit(place.split("/")[1], groups=group(place))
                for place in sorted({place for place in places.values() if place.startswith(f"{name}/")})
            ),
            tuple(Link(other) for other in names if other != name),
            groups=group(name),
        )
        for name in names
    ]
    mappings = [
        Mapping(
            graph.name,
            name,
            tuple(
                Placement(actor, unit=place.split("/")[1])
                if homes[actor] == name
                else Placement(actor, platform=homes[actor])
                for actor, place in places.items()
            ),
        )
        for name in names
    ]
    return FaultModel(System(graph, tuple(platforms), tuple(mappings)))


def k(servers: int, endpoints: int, policy: FaultPolicy = DROP) -> FaultModel:
    """K(servers, endpoints): a chain of two on each endpoint, which sends to every server; one actor on each server."""
    fifos = [(f"in{n}", f"net{n}", 1, 0, 2) for n in range(endpoints)]
    fifos += [(f"net{n}", f"head{m}", 1, 0, 2) for n in range(endpoints) for m in range(servers)]
    places = {f"{name}{n}": f"e{n}/cpu" for n in range(endpoints) for name in ("in", "net")}
    places.update({f"head{m}": f"s{m}/cpu" for m in range(servers)})
    crossing = [f"f{number}" for number in range(endpoints, len(fifos))]
    return deploy(build(fifos), places, dict.fromkeys(crossing, policy), tuple(crossing))


def service(system: FaultModel, sources: str | int = "every") -> Service:
    return Service(tuple(system.sinks), sources)


def failing(system: FaultModel, most: int, sources: str | int = "every") -> list[set[str]]:
    """The minimal sets, as names."""
    return [
        {thing.name for thing in found.failed} for found in minimal_failures(system, most, service(system, sources))
    ]


# The reference cases.


@pytest.mark.parametrize("endpoints", [1, 2, 6])
def test_one_server_is_what_everything_hangs_on(endpoints):
    assert {"s0"} in failing(k(1, endpoints), 1)


@pytest.mark.parametrize(("endpoints", "pairs"), [(4, 13), (6, 19)])
def test_two_servers_survive_every_single_failure_and_so_many_pairs_break_them(endpoints, pairs):
    system = k(2, endpoints)
    found = failing(system, 2)
    assert len(system.things) == endpoints + 2 + 2 * endpoints
    assert all(len(names) == 2 for names in found) and len(found) == pairs
    # Both servers; a server and a link to the other one; both links of an endpoint.
    assert {"s0", "s1"} in found
    assert sum(any(" - " in name for name in names) and bool(names & {"s0", "s1"}) for names in found) == 2 * endpoints
    assert sum(all(" - " in name for name in names) for names in found) == endpoints
    assert survived(2, minimal_failures(system, 2, service(system))) == 1


@pytest.mark.parametrize("policy", [DROP, FaultPolicy.STOP])
def test_the_hint_names_service_some_where_that_is_what_helps(policy):
    """With both links of an endpoint gone, its frames reach nobody, and those of the other one do."""
    system = k(2, 2, policy)
    for asked in ("every", "some"):
        for outcome in minimal_failures(system, 2, service(system, asked)):
            hint = not_survived(system, outcome, service(system, asked)).hint
            still = system.outcome(outcome.failed, service(system, "some")).verdict is Verdict.DEGRADED
            assert hint.startswith("some source still reaches an essential sink: ask with --service some") is still
            if asked == "some":
                assert "--service" not in hint
    links = [thing for thing in system.things if thing.name in ("e0 - s0", "e0 - s1")]
    outcome = system.outcome(links, service(system))
    hint = not_survived(system, outcome, service(system)).hint
    if policy is DROP:
        assert hint.startswith("some source still reaches") and "no policy helps: let one more platform" in hint
    else:
        assert hint.startswith('write policy="drop" for') and "and ask with --service some if it is enough" in hint


def dual(policy: FaultPolicy, optional: bool) -> FaultModel:
    """Two endpoints, joined by an actor with two inputs, as in the dual-input classifier."""
    graph = build([("a", "join", 1, 0, 2), ("b", "join", 1, 0, 2), ("join", "sink", 1, 0, 2)])
    places = {"a": "e1/cpu", "b": "e2/cpu", "join": "s/cpu", "sink": "s/cpu"}
    return deploy(graph, places, {"f0": policy, "f1": policy}, ("f0", "f1") if optional else ())


@pytest.mark.parametrize("policy", [STOP, WAIT, DROP])
def test_an_actor_that_requires_both_its_inputs_survives_nothing(policy):
    system = dual(policy, optional=False)
    assert failing(system, 1) == [{thing.name} for thing in system.things]


def test_optional_or_zero_inputs_let_it_survive_an_endpoint():
    lone = [{"s"}, {"e1 - s"}, {"e2 - s"}]
    assert failing(dual(DROP, optional=True), 1) == lone
    assert failing(dual(ZERO, optional=False), 1) == lone
    assert failing(dual(DROP, optional=True), 1, "some") == [{"s"}]
    assert {"e1"} in failing(dual(DROP, optional=True), 1, 2)


def test_a_quorum_is_the_least_number_of_inputs():
    system = k(1, 3)
    head = system.graph.actor("head0")
    strict = system.like(
        replace(system.graph, actors=tuple(replace(a, quorum=3) if a is head else a for a in system.graph.actors))
    )
    assert {"e0"} not in failing(system, 1, "some") and {"e0"} in failing(strict, 1, "some")
    (outcome,) = [found for found in minimal_failures(strict, 1, service(strict)) if found.failed[0].name == "e0"]
    assert outcome.verdict is Verdict.FAILS and outcome.starved == ("head0",)


# What fails, and what becomes of it.


def test_a_platforms_only_unit_and_a_group_of_one_are_not_counted_twice():
    places = {"a": "p/u1", "b": "p/u2", "c": "q/cpu"}
    graph = build([("a", "b", 1, 0, 2), ("b", "c", 1, 0, 2)])
    system = deploy(graph, places, groups={"p": "rack", "q": "rack", "p/u1": "ups"})
    assert [str(thing) for thing in system.things] == [
        "platform 'p'",
        "platform 'q'",
        "unit 'p/u1'",
        "unit 'p/u2'",
        "link 'p - q'",
        "group 'rack'",
    ]


def test_a_common_cause_makes_two_servers_as_weak_as_one():
    system = k(2, 2)
    platforms = tuple(replace(p, groups=("rack",)) if p.name in ("s0", "s1") else p for p in system.system.platforms)
    assert failing(FaultModel(replace(system.system, platforms=platforms)), 1) == [{"rack"}]


def test_a_unit_that_fails_ends_the_process_of_its_platform():
    graph = build([("a", "b", 1, 0, 2), ("b", "c", 1, 0, 2)])
    system = deploy(graph, {"a": "p/u1", "b": "p/u2", "c": "q/cpu"}, {"f1": DROP})
    (unit,) = [thing for thing in system.things if thing.name == "p/u1"]
    outcome = system.outcome([unit], service(system))
    assert (outcome.verdict, outcome.ended, outcome.starved) == (Verdict.FAILS, ("p",), ("c",))
    stopping = system.like(replace(graph, fifos=tuple(replace(f, policy=STOP) for f in graph.fifos)))
    outcome = stopping.outcome([unit], service(system))
    assert (outcome.verdict, outcome.ended, outcome.culprits) == (Verdict.STOPS, ("p", "q"), ("f0",))


def test_a_stall_comes_after_as_many_iterations_as_delays_and_room_allow():
    graph = build([("a", "b", 1, 0, 2), ("b", "c", 1, 1, 4), ("c", "d", 1, 0, 2)])
    places = {"a": "p/cpu", "b": "p/cpu", "c": "q/cpu", "d": "q/cpu"}
    system = deploy(graph, places, {"f1": WAIT})
    outcome = {thing.name: system.outcome([thing], service(system)) for thing in system.things}
    assert {found.verdict for found in outcome.values()} == {Verdict.STALLS}
    assert outcome["q"].iterations == {"a": 5, "b": 3}
    assert outcome["p"].iterations == {"c": 1, "d": 1}
    assert outcome["p - q"].iterations == {"a": 5, "b": 3, "c": 1, "d": 1}


def test_a_stop_fifo_ends_processes_and_not_the_run():
    """A stands between two arms: S beside it, which is what matters, and L1, L2, the tail, on two platforms."""
    graph = build([("A", "S", 1, 0, 2), ("A", "L1", 1, 0, 2), ("L1", "L2", 1, 0, 2)])
    system = deploy(graph, {"A": "p0/u", "S": "p0/u", "L1": "p1/u", "L2": "p2/u"}, {"f1": DROP})
    found = {thing.name: system.outcome([thing], Service(("S",))) for thing in system.things}
    assert (found["p2"].verdict, found["p2"].ended, found["p2"].broken) == (Verdict.DEGRADED, ("p1",), ("f1", "f2"))
    assert found["p1"].verdict is Verdict.DEGRADED and found["p1"].ended == ("p2",)
    # An actor that starves says so, and no process ends.
    assert (found["p0"].verdict, found["p0"].ended, found["p0"].starved) == (Verdict.FAILS, (), ("L1", "L2"))
    # What matters is on the platform whose process ends.
    (far,) = [thing for thing in system.things if thing.name == "p2"]
    tail = system.outcome([far], Service(("L1",)))
    assert tail.verdict is Verdict.STOPS
    message = not_survived(system, tail, Service(("L1",))).message
    assert message == "platform 'p2' fails: the process of 'L1' ends because FIFO 'f2' breaks"
    assert system.outcome([far], Service(("L2",))).missing == "no essential sink is left ('L2')"
    stopping = deploy(graph, {"A": "p0/u", "S": "p0/u", "L1": "p1/u", "L2": "p2/u"})
    outcome = stopping.outcome([far], Service(("S",)))
    assert (outcome.verdict, outcome.ended, outcome.culprits) == (Verdict.STOPS, ("p0", "p1"), ("f2",))


def test_a_zero_fifo_does_not_hand_a_stall_on():
    """A sends to B, which waits, and to C, which computes on with zeros."""
    graph = build([("A", "B", 1, 0, 2), ("A", "C", 1, 0, 2)])
    places = {"A": "p0/u", "B": "p1/u", "C": "p2/u"}
    system = deploy(graph, places, {"f0": WAIT, "f1": ZERO})
    outcome = system.outcome([system.things[1]], service(system))
    assert (outcome.verdict, outcome.iterations, outcome.zeros) == (Verdict.STALLS, {"A": 2}, ("C",))
    assert (
        "platform 'p1' fails: FIFO 'f0' waits; standing still: 'A' after 2 iterations; 'C' goes on with zeros"
        in not_survived(system, outcome, service(system)).message
    )


@pytest.mark.parametrize(("optional", "starved"), [((), ("C",)), (("f1",), ())])
def test_over_drop_a_stall_is_a_lost_input(optional, starved):
    """A stands still, so that C has only the tokens of D."""
    graph = build([("A", "B", 1, 0, 2), ("A", "C", 1, 0, 2), ("D", "C", 1, 0, 2)])
    places = {"A": "p0/u", "B": "p1/u", "C": "p2/u", "D": "p2/u"}
    system = deploy(graph, places, {"f0": WAIT, "f1": DROP}, optional)
    outcome = system.outcome([system.things[1]], Service(("C",), "some"))
    assert (outcome.iterations, outcome.starved) == ({"A": 2}, starved)
    assert outcome.verdict is (Verdict.STALLS if starved else Verdict.DEGRADED)


def held(system: FaultModel, fifo: str, max_age: float | None = None) -> FaultModel:
    """With the input of that FIFO on hold."""
    target = system.fifos[fifo].target

    def port(actor, each):
        return replace(each, hold=True, max_age=max_age) if (actor, each.name) == (target.actor, target.port) else each

    actors = tuple(replace(a, ports=tuple(port(a.name, p) for p in a.ports)) for a in system.graph.actors)
    return system.like(replace(system.graph, actors=actors))


@pytest.mark.parametrize("policy", [DROP, WAIT, NEWEST])
def test_what_is_held_is_lost_only_where_it_grows_too_old(policy):
    graph = build([("slow", "join", 1, 0, 3), ("fast", "join", 1, 0, 3)])
    system = deploy(graph, {"slow": "p/u", "fast": "q/u", "join": "r/u"}, {"f0": policy, "f1": DROP}, ("f1",))
    slow, fast = (next(thing for thing in system.things if thing.name == name) for name in "pq")
    asked = Service(("join",), "some")
    assert held(system, "f0").outcome([slow], asked).verdict is Verdict.DEGRADED
    assert held(system, "f0", max_age=1.0).outcome([slow], asked).starved == ("join",)
    # Nothing leads any more.
    assert held(system, "f0").outcome([fast], asked).starved == ("join",)


def test_a_stall_is_not_handed_on_to_or_by_an_input_on_hold():
    graph = build([("slow", "dead", 1, 0, 2), ("slow", "join", 1, 0, 2), ("fast", "join", 1, 0, 2)])
    system = deploy(graph, {"slow": "p/u", "dead": "q/u", "join": "p/u", "fast": "p/u"}, {"f0": WAIT})
    (far,) = [thing for thing in system.things if thing.name == "q"]
    assert held(system, "f1").outcome([far], service(system)).iterations == {"slow": 2}
    assert system.outcome([far], service(system)).iterations == {"slow": 2, "join": 2, "fast": 4}


def test_where_a_part_stands_still_that_the_service_does_not_need_it_goes_on():
    graph = build([("A", "B", 1, 0, 2), ("C", "D", 1, 0, 2)])
    system = deploy(graph, {"A": "p/u", "B": "q/u", "C": "p/u", "D": "p/u"}, {"f0": WAIT})
    (far,) = [thing for thing in system.things if thing.name == "q"]
    assert system.outcome([far], Service(("D",), "some")).verdict is Verdict.DEGRADED
    assert system.outcome([far], Service(("B", "D"))).verdict is Verdict.STALLS


def test_what_may_be_under_way_rides_through_an_outage_too():
    graph = build([("a", "b", 1, 0, 2)])
    system = deploy(graph, {"a": "p/cpu", "b": "q/cpu"}, {"f0": WAIT})
    (far,) = [thing for thing in system.things if thing.name == "q"]
    assert system.outcome([far], service(system)).iterations == {"a": 2}
    (fifo,) = system.graph.fifos
    wider = system.like(replace(system.graph, fifos=(replace(fifo, window=3),)))
    assert wider.outcome([far], service(wider)).iterations == {"a": 5}


def test_a_service_that_is_not_there_is_told_without_any_failure():
    system = k(1, 2)
    assert failing(system, 1, 3) == [set()]
    assert survived(1, minimal_failures(system, 1, service(system, 3))) is None


# Against the simulator.


SEEDS = st.integers(0, 2**32)


def random_system(rng: random.Random, policies: tuple[FaultPolicy, ...] = tuple(FaultPolicy)) -> FaultModel:
    """A live graph on up to three platforms, one of two units, with policies, optional inputs and quorums.

    FIFOs run forward, or back with a delay, and have the room that they need: so nothing can deadlock.
    """
    count = rng.randint(2, 7)
    fifos = []
    for target in range(1, count):
        for source in rng.sample(range(target), min(target, rng.randint(0, 2))):
            rate, delay = rng.randint(1, 2), rng.choice((0, 0, 1, 3))
            fifos.append((f"a{source}", f"a{target}", rate, delay, delay + rate + rng.randint(0, 3)))
    for _ in range(rng.randint(0, 1)):
        source = rng.randrange(1, count)
        rate = rng.randint(1, 2)
        delay = rate + rng.randint(0, 2)
        fifos.append((f"a{source}", f"a{rng.randrange(source)}", rate, delay, delay + rate + rng.randint(0, 2)))
    graph = build(fifos, tuple(f"a{number}" for number in range(count)))
    assert not has_errors(check(System(graph)))
    quorums = {a.name: rng.randint(1, len(a.inputs)) for a in graph.actors if a.inputs and rng.random() < 0.5}
    graph = replace(graph, actors=tuple(replace(a, quorum=quorums.get(a.name)) for a in graph.actors))
    return deploy(
        graph,
        {actor.name: rng.choice(("p/1", "p/2", "q/1", "q/1", "r/1", "r/1")) for actor in graph.actors},
        {fifo.name: rng.choice(policies) for fifo in graph.fifos},
        tuple(fifo.name for fifo in graph.fifos if rng.random() < 0.6),
        {"p": "rack", "q/1": "rack"},
    )


def fail_in_simulation(system, failed, rng, boundary=False):
    """The run's state in the end, the firings when things failed, and the target that nobody reached who stalls."""
    run = FaultSimulator(system.graph, system.homes, rng)
    if boundary:
        run.run(rng.randrange(4))
    else:
        run.run(1000, events=rng.randrange(60))
    before = dict(run.firings)
    links = frozenset().union(*(thing.fifos for thing in failed if thing.kind == "link"))
    run.fail(frozenset().union(*(thing.actors for thing in failed)), links)
    target = reach(system, before) + sum(fifo.capacity for fifo in system.graph.fifos) + 5
    run.run(target)
    return run, before, target


def reach(system, before):
    """More firings than who comes to a stand can do."""
    return max(before.values()) + sum(fifo.capacity for fifo in system.graph.fifos)


def serves(run, system, asked, before):
    """Whether the service is seen to go on: what the firings of the sinks come from, long after the failure."""
    reached = [
        {source for source, firing in run.last[sink].items() if firing > reach(system, before)}
        for sink in asked.essential
        if sink in run.left
    ]
    sources = set(system.sources) & run.left
    if asked.sources == "every":
        return bool(reached) and bool(sources) and sources <= set().union(*reached)
    needed = 1 if asked.sources == "some" else asked.sources
    return any(len(tokens & sources) >= needed for tokens in reached)


def verdict_of(system, asked, run, before, target):
    if run.ended and (run.ended & set(asked.essential) or run.ended | run.gone == run.firings.keys()):
        return Verdict.STOPS
    if serves(run, system, asked, before):
        return Verdict.DEGRADED
    return Verdict.STALLS if run.blocked(target) else Verdict.FAILS


def choose(system, rng):
    """A set of up to two failing things, and a service."""
    failed = rng.sample(system.things, min(len(system.things), rng.randint(0, 2)))
    return failed, service(system, rng.choice(("every", "some", 2)))


@settings(max_examples=examples(200))
@given(SEEDS)
def test_without_wait_simulated_failures_end_as_predicted(seed):
    rng = random.Random(seed)
    system = random_system(rng, (STOP, DROP, DROP, NEWEST, ZERO))
    failed, asked = choose(system, rng)
    run, before, target = fail_in_simulation(system, failed, rng)
    outcome = system.outcome(failed, asked)
    assert verdict_of(system, asked, run, before, target) is outcome.verdict
    assert {system.homes[actor] for actor in run.ended} == set(outcome.ended)
    assert run.starved - run.ended == set(outcome.starved) - run.ended


@settings(max_examples=examples(200))
@given(SEEDS)
def test_stalls_come_after_the_predicted_iterations(seed):
    rng = random.Random(seed)
    system = random_system(rng, (WAIT, WAIT, ZERO))
    failed, asked = choose(system, rng)
    outcome = system.outcome(failed, asked)
    assume(not outcome.starved)
    run, before, target = fail_in_simulation(system, failed, rng)
    assert verdict_of(system, asked, run, before, target) is outcome.verdict
    if outcome.iterations:
        assert run.blocked(target) == set(outcome.iterations)
        for actor, count in outcome.iterations.items():
            assert min(before.values()) + count <= run.firings[actor] <= max(before.values()) + count


@settings(max_examples=examples(200))
@given(SEEDS)
def test_after_a_failure_between_two_iterations_they_come_after_exactly_as_many(seed):
    rng = random.Random(seed)
    system = random_system(rng, (WAIT, WAIT, ZERO))
    failed, asked = choose(system, rng)
    outcome = system.outcome(failed, asked)
    assume(not outcome.starved)
    run, before, _ = fail_in_simulation(system, failed, rng, boundary=True)
    assert {actor: run.firings[actor] - before[actor] for actor in outcome.iterations} == outcome.iterations


@settings(max_examples=examples(200))
@given(SEEDS)
def test_what_was_predicted_to_go_on_goes_on(seed):
    """With all policies mixed. A starving actor that also waits may be seen to do either, hence not the other way."""
    rng = random.Random(seed)
    system = random_system(rng)
    failed, asked = choose(system, rng)
    run, before, target = fail_in_simulation(system, failed, rng)
    outcome = system.outcome(failed, asked)
    seen = verdict_of(system, asked, run, before, target)
    if outcome.verdict is Verdict.DEGRADED or not outcome.starved:
        assert seen is outcome.verdict
    elif outcome.verdict is Verdict.FAILS:
        assert seen in (Verdict.FAILS, Verdict.STALLS)


@given(SEEDS)
def test_minimal_sets_are_those_of_all_sets_without_a_bad_part(seed):
    rng = random.Random(seed)
    system = random_system(rng)
    _, asked = choose(system, rng)
    sets = [set(chosen) for size in range(3) for chosen in combinations(system.things, size)]
    bad = [chosen for chosen in sets if system.outcome(list(chosen), asked).verdict is not Verdict.DEGRADED]
    minimal = [chosen for chosen in bad if not any(part < chosen for part in bad)]
    assert [set(found.failed) for found in minimal_failures(system, 2, asked)] == minimal
