"""The best cut is the one that trying all cuts finds; where it is only bounded, the bound holds."""

from __future__ import annotations

import itertools
import random
import time

import pytest
from flows import CHAIN, make, random_flow

from eprune.explore import search as search_module
from eprune.explore.cost import Costs, predict
from eprune.explore.flow import Flow, Stream
from eprune.explore.mincut import Network
from eprune.explore.plan import LinkFigures
from eprune.explore.search import Search
from eprune.explore.space import Constraints, Roles, partition_points, pinned_ends, violation

ROLES = Roles(("endpoint",), "server")
OBJECTIVES = ("endpoint", "latency", "throughput", "bytes", "energy")


def random_costs(rng, flow):
    times = {
        "endpoint": {actor: rng.uniform(0.1, 10) for actor in flow.actors},
        "server": {actor: rng.uniform(0.01, 2) for actor in flow.actors},
    }
    links = tuple(LinkFigures(a, b, "", rng.uniform(5, 50), rng.uniform(0, 1)) for a, b in (("endpoint", "server"),))
    back = LinkFigures("server", "endpoint", "", rng.uniform(5, 50), links[0].latency)
    return Costs(times, (*links, back), {"endpoint": 3.0, "server": 1.0})


def random_constraints(rng, flow):
    actors = list(flow.actors)
    choices = [
        Constraints(),
        Constraints(keep_on=(("endpoint", actors[0]),)),
        Constraints(keep_on=(("endpoint", actors[-1]), ("endpoint", actors[0]))),
        Constraints(not_on=(("server", rng.choice(actors)),)),
        Constraints(private_until=(rng.choice(actors),)),
        Constraints(must_use=("server",)),
        Constraints(must_use=("endpoint", "server")),
        Constraints(max_bytes=rng.randrange(0, 200)),
    ]
    return rng.choice(choices)


def brute_force(flow, constraints, costs, objective):
    """The least value over all closed cuts that are allowed, with the sources on the endpoint."""
    pinned = pinned_ends(flow, ROLES, constraints)
    values = []
    for places in itertools.product(("endpoint", "server"), repeat=len(flow.actors)):
        homes = dict(zip(flow.actors, places))
        comes_back = any(
            homes[stream.source] == "server" and homes[stream.target] == "endpoint"
            for stream in flow.streams
            if stream.source not in pinned and stream.target not in pinned
        )
        sensors = all(homes[source] == "endpoint" for source in flow.sources)
        if sensors and not comes_back and not violation(flow, ROLES, constraints, homes):
            values.append(predict(flow, ROLES, costs, homes).value(objective))
    return min(values, default=None)


@pytest.mark.parametrize("seed", range(120))
def test_no_cut_is_better_than_the_one_that_is_found(seed):
    rng = random.Random(seed)
    flow = random_flow(rng, rng.randrange(2, 9))
    constraints, costs = random_constraints(rng, flow), random_costs(rng, flow)
    for objective in OBJECTIVES:
        best = Search(flow, ROLES, constraints, costs).best(objective)
        expected = brute_force(flow, constraints, costs, objective)
        assert (best is None) == (expected is None), (constraints, objective)
        if best is not None:
            assert not violation(flow, ROLES, constraints, best.homes)
            assert best.value == pytest.approx(expected, rel=1e-6), (constraints, objective)
            assert best.exact


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("objective", ["throughput", "latency"])
def test_with_too_many_cuts_to_try_the_bound_holds(monkeypatch, seed, objective):
    monkeypatch.setattr(search_module, "FEW", 0)
    rng = random.Random(seed)
    flow = random_flow(rng, 8)
    constraints = Constraints() if objective == "throughput" else Constraints(max_bytes=rng.randrange(50, 400))
    costs = random_costs(rng, flow)
    best = Search(flow, ROLES, constraints, costs).best(objective)
    expected = brute_force(flow, constraints, costs, objective)
    assert best.bound <= expected * (1 + 1e-6) <= best.value * (1 + 2e-6)
    assert not violation(flow, ROLES, constraints, best.homes)


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
    links = tuple(LinkFigures(p, "server", "", 10.0, 0.0) for p in roles.endpoints)
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


def test_large_graphs_take_seconds():
    rng = random.Random(1)
    names = [f"a{n}" for n in range(2000)]
    streams = [
        Stream(f"f{n}", names[max(0, n - rng.randrange(1, 4))], names[n], rng.randrange(1, 99)) for n in range(1, 2000)
    ]
    flow = Flow("large", tuple(names), tuple(streams))
    begin = time.monotonic()
    best = Search(flow, ROLES, Constraints(), random_costs(rng, flow)).best("latency")
    assert best.exact
    assert time.monotonic() - begin < 20


def test_a_minimum_cut():
    network = Network()
    for source, target, capacity in (("s", "a", 3), ("s", "b", 2), ("a", "b", 1), ("a", "t", 2), ("b", "t", 3)):
        ends = {"s": Network.SOURCE, "t": Network.SINK}
        network.add(ends.get(source, source), ends.get(target, target), capacity)
    assert network.cut() == (5, set())
