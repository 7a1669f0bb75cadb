"""The best cut is the one that trying all cuts finds; where the search is stopped early, its bound holds."""

from __future__ import annotations

import itertools
import random
import time

import pytest
from flows import CHAIN, make, random_flow

from eprune.explore.cost import Coded, Costs, predict
from eprune.explore.flow import Flow, Stream
from eprune.explore.integer import IntegerProgram, Unsolved
from eprune.explore.plan import LinkFigures, Power
from eprune.explore.search import Search
from eprune.explore.space import Constraints, Roles, partition_points, pinned_ends, violation

ROLES = Roles(("endpoint",), "server")
THREE = Roles(("endpoint",), "cloud", ("edge",))
OBJECTIVES = ("endpoint", "latency", "throughput", "bytes", "energy")
WEIGHTED = (*OBJECTIVES, "endpoint=1,bytes=0.2", "latency=2,throughput=0.5,energy=0.1", "throughput=1,bytes=30")


def both_ways(rng, one, other):
    """A link in both directions, each with figures of its own; now and then with watts."""
    watts = rng.choice((None, 0.5, 9.0))
    return [
        LinkFigures(*ends, "", rng.uniform(5, 50), rng.uniform(0, 1), watts) for ends in ((one, other), (other, one))
    ]


def random_costs(rng, flow, roles=ROLES, direct=False):
    """Times that fall from tier to tier, links from each to the next one, and, if ``direct``, past the edge."""
    speeds = [10, *rng.choices((1, 3, 8), k=len(roles.edges)), 2]
    times = {p: {actor: rng.uniform(0.01, speed) for actor in flow.actors} for p, speed in zip(roles.platforms, speeds)}
    pairs = list(zip(roles.platforms, roles.platforms[1:])) + [(roles.platforms[0], roles.server)] * direct
    power = {roles.platforms[0]: Power(3.0, rng.choice((0.0, 1.0))), roles.server: Power(1.0)}
    links = tuple(link for pair in pairs for link in both_ways(rng, *pair))
    # What varies in rate is not shared.
    rates = {each.name: rng.choice((0.0, 0.3, 1.0)) for each in flow.streams if rng.random() < 0.3 and not each.same}
    coded = {
        each.name: Coded("int8", each.nbytes * rng.random(), each.nbytes, *(rng.uniform(0, 0.5) for _ in "io"))
        for each in flow.streams
        if rng.random() < 0.3 and not each.same
    }
    speeds = {roles.platforms[0]: rng.choice((0.1, 1.0))}
    units = {roles.server: {actor: rng.choice("ab") for actor in flow.actors}} if rng.random() < 0.3 else {}
    return Costs(times, links, power, speeds, rates, coded, fewest=rng.random() < 0.3, units=units)


def random_constraints(rng, flow, roles=ROLES):
    actors = list(flow.actors)
    endpoint, server = roles.platforms[0], roles.server
    choices = [
        Constraints(),
        Constraints(keep_on=((endpoint, actors[0]),)),
        Constraints(keep_on=((endpoint, actors[-1]), (endpoint, actors[0]))),
        Constraints(not_on=((server, rng.choice(actors)),)),
        Constraints(private_until=(rng.choice(actors),)),
        Constraints(must_use=(server,)),
        Constraints(must_use=roles.platforms),
        Constraints(max_bytes=rng.randrange(0, 200)),
    ]
    return rng.choice(choices)


def brute_force(flow, constraints, costs, objective, roles=ROLES):
    """The least value over all closed cuts over links that are there, with the sources on the endpoint."""
    pinned = pinned_ends(flow, roles, constraints)
    links = {(link.origin, link.to) for link in costs.links}
    values = []
    for places in itertools.product(roles.platforms, repeat=len(flow.actors)):
        homes = dict(zip(flow.actors, places))
        comes_back = any(
            roles.platforms.index(homes[stream.source]) > roles.platforms.index(homes[stream.target])
            for stream in flow.streams
            if stream.source not in pinned and stream.target not in pinned
        )
        sensors = all(homes[source] == roles.platforms[0] for source in flow.sources)
        linked = all((homes[each.source], homes[each.target]) in links for each in flow.crossing(homes))
        if sensors and linked and not comes_back and not violation(flow, roles, constraints, homes, costs.most):
            values.append(predict(flow, roles, costs, homes).value(objective))
    return min(values, default=None)


def check(flow, constraints, costs, objective, roles=ROLES):
    best = Search(flow, roles, constraints, costs).best(objective)
    expected = brute_force(flow, constraints, costs, objective, roles)
    assert (best is None) == (expected is None), (constraints, objective)
    if best is not None:
        assert not violation(flow, roles, constraints, best.homes, costs.most)
        assert best.value == pytest.approx(expected, rel=1e-5), (constraints, objective)
        assert best.exact and best.bound <= best.value


@pytest.mark.parametrize("seed", range(100))
def test_no_cut_is_better_than_the_one_that_is_found(seed):
    rng = random.Random(seed)
    flow = random_flow(rng, rng.randrange(2, 9))
    constraints, costs = random_constraints(rng, flow), random_costs(rng, flow)
    for objective in WEIGHTED:
        check(flow, constraints, costs, objective)


@pytest.mark.parametrize("direct", [False, True], ids=["in a line", "with a direct link"])
@pytest.mark.parametrize("seed", range(40))
def test_nor_over_three_tiers(seed, direct):
    rng = random.Random(seed)
    flow = random_flow(rng, rng.randrange(2, 7))
    constraints, costs = random_constraints(rng, flow, THREE), random_costs(rng, flow, THREE, direct)
    for objective in rng.sample(WEIGHTED, 4):
        check(flow, constraints, costs, objective, THREE)


def test_a_tensor_does_not_pass_the_edge_without_a_direct_link():
    """The cloud is by far the fastest, but Input is on the endpoint, and the links cost nothing."""
    times = {p: dict.fromkeys(CHAIN.actors, t) for p, t in (("endpoint", 5.0), ("edge", 4.0), ("cloud", 0.1))}
    pairs = [("endpoint", "edge"), ("edge", "cloud")]
    for direct, home in ((False, "edge"), (True, "cloud")):
        ends = pairs + [("endpoint", "cloud")] * direct
        costs = Costs(times, tuple(LinkFigures(*each) for pair in ends for each in (pair, pair[::-1])))
        best = Search(CHAIN, THREE, Constraints(), costs).best("latency")
        assert (best.homes["L1"], best.homes["L2"]) == (home, "cloud")


def test_a_cut_that_is_no_partition_point_can_be_better():
    """Three cameras, joined late: the order of the file cannot cut all three after their small tokens' actors first."""
    flow = make(*(f"{kind}" for n in "123" for kind in (f"I{n} A{n} 90", f"A{n} J 5")), "J Out 1")
    costs = Costs(
        {
            "endpoint": {actor: 0.1 if actor[0] in "IA" else 9 for actor in flow.actors},
            "server": dict.fromkeys(flow.actors, 0.1),
        },
        (LinkFigures("endpoint", "server", "", 10.0, 0.0), LinkFigures("server", "endpoint", "", 10.0, 0.0)),
    )
    best = Search(flow, ROLES, Constraints(must_use=("server",)), costs).best("latency")
    assert {actor for actor, home in best.homes.items() if home == "endpoint"} == {
        f"{k}{n}" for k in "IA" for n in "123"
    }


def test_two_endpoints_are_searched_together():
    roles = Roles(("e1", "e2"), "server")
    flow = make("I1 A1 90", "A1 J 5", "I2 A2 90", "A2 J 5", "J Out 1")
    times = {p: dict.fromkeys(flow.actors, 1.0) for p in roles.platforms}
    ends = [(p, "server") for p in roles.endpoints] + [("server", p) for p in roles.endpoints]
    links = tuple(LinkFigures(*pair, "", 10.0, 0.0) for pair in ends)
    constraints = Constraints(keep_on=(("e1", "I1"), ("e2", "I2")))
    for objective in ("latency", "bytes", "throughput"):
        best = Search(flow, roles, constraints, Costs(times, links)).best(objective)
        assert best.homes == {"I1": "e1", "A1": "e1", "I2": "e2", "A2": "e2", "J": "server", "Out": "server"}
        assert best.exact


def test_the_server_alone_needs_no_link():
    costs = Costs(
        {"endpoint": dict.fromkeys(CHAIN.actors, 5.0), "server": dict.fromkeys(CHAIN.actors, 1.0)},
        (LinkFigures("endpoint", "server", "", None, 100.0),),
    )
    best = Search(CHAIN, ROLES, Constraints(keep_on=(("server", "Input"),)), costs).best("latency")
    assert set(best.homes.values()) == {"server"}
    assert best.value == 5000.0


def test_contradictions_leave_no_cut():
    constraints = Constraints(private_until=("L2",), not_on=(("endpoint", "L2"),))
    costs = Costs({p: dict.fromkeys(CHAIN.actors, 1.0) for p in ROLES.platforms}, ())
    assert Search(CHAIN, ROLES, constraints, costs).best("latency") is None
    assert partition_points(CHAIN, ROLES, constraints).alternatives == ()


def test_a_link_that_one_platform_s_file_does_not_have_is_none():
    costs = Costs({p: dict.fromkeys(CHAIN.actors, 1.0) for p in ROLES.platforms}, (LinkFigures("endpoint", "server"),))
    assert set(Search(CHAIN, ROLES, Constraints(), costs).best("latency").homes.values()) == {"endpoint"}
    assert Search(CHAIN, ROLES, Constraints(must_use=("server",)), costs).best("latency") is None


def large(actors):
    rng = random.Random(1)
    names = [f"a{n}" for n in range(actors)]
    streams = [
        Stream(f"f{n}", names[max(0, n - rng.randrange(1, 4))], names[n], rng.randrange(1, 99))
        for n in range(1, actors)
    ]
    flow = Flow("large", tuple(names), tuple(streams))
    return flow, random_costs(rng, flow)


@pytest.mark.long
@pytest.mark.parametrize("objective", ["latency", "throughput"])
def test_large_graphs_take_seconds(objective):
    flow, costs = large(2000)
    begin = time.process_time()
    assert Search(flow, ROLES, Constraints(), costs).best(objective).exact
    assert time.process_time() - begin < 40


@pytest.mark.parametrize("constraints", [Constraints(), Constraints(max_bytes=200, must_use=("server",))])
@pytest.mark.parametrize("seed", range(10))
def test_the_bound_of_a_search_that_is_stopped_holds(seed, constraints):
    rng = random.Random(seed)
    flow = random_flow(rng, 40)
    search = Search(flow, ROLES, constraints, random_costs(rng, flow))
    exact = search.best("throughput")
    try:
        best = search.best("throughput", seconds=1e-4)
    except Unsolved:
        return
    assert best.bound <= exact.value * (1 + 1e-6) and exact.value <= best.value * (1 + 1e-6)
    assert not violation(flow, ROLES, constraints, best.homes)


def test_an_integer_program():
    program = IntegerProgram()
    one, other = (program.variable(high=9, whole=True) for _ in range(2))
    program.hold({one: 2.0, other: 1.0}, 4.5)
    terms = {one: 3.0, other: 1.6, program.one: 10.0}
    found, relaxed = program.minimise(terms, 10), program.relaxed(terms)
    assert (found.values[one], found.values[other]) == pytest.approx((2, 1)) and found.bound == pytest.approx(17.6)
    assert relaxed.bound == pytest.approx(16.75) and not program.is_whole(relaxed.values)
    program.hold({one: 1.0}, most=-1)
    assert program.minimise(terms, 10) is None and program.relaxed(terms) is None
