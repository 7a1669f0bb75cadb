"""Actors anywhere on any graph of platforms: the best placement is the one that trying all finds, by any objective."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from flows import make, random_flow

from eprune.explore import cost
from eprune.explore.cost import Costs, memory_use, predict
from eprune.explore.flow import Stream
from eprune.explore.plan import LinkFigures, Power
from eprune.explore.search import Search
from eprune.explore.space import Constraints, Roles, violation

OBJECTIVES = ("endpoint", "latency", "throughput", "bytes", "energy", "latency=1,throughput=2", "energy=1,bytes=0.5")


def both(one, other, bandwidth=10.0, latency=0.0):
    return [LinkFigures(*ends, "", bandwidth, latency) for ends in ((one, other), (other, one))]


def random_links(rng, platforms, more):
    """A tree, and so many more links, each with figures of its own in each direction; now and then with watts."""
    pairs = {(platforms[rng.randrange(n)], platforms[n]) for n in range(1, len(platforms))}
    others = [pair for pair in itertools.combinations(platforms, 2) if pair not in pairs]
    pairs |= set(rng.sample(others, min(more, len(others))))
    return tuple(
        LinkFigures(*ends, "", rng.uniform(5, 200), rng.uniform(0, 1), rng.choice((None, 0.5, 9.0)))
        for pair in sorted(pairs)
        for ends in (pair, pair[::-1])
    )


def random_costs(rng, flow, platforms, links, several):
    times = {p: {actor: rng.uniform(0.01, 3) for actor in flow.actors} for p in platforms}
    power = {p: Power(rng.uniform(1, 5), rng.choice((0.0, 0.5))) for p in platforms if rng.random() < 0.7}
    on, units = {}, {}
    if several:  # the second unit does not take all
        fast = {actor: rng.uniform(0.01, 1) for actor in flow.actors if rng.random() < 0.7}
        name = rng.choice(platforms)
        on = {name: {"cpu": times[name], "npu": fast}}
        units = {name: dict.fromkeys(flow.actors, "cpu")}
        if name in power:
            power[name] = Power(4.0, 0.5, {"npu": 1.5})
    memory = {p: rng.randrange(200, 2000) for p in platforms if rng.random() < 0.5}
    return Costs(times, links, power, units=units, on=on, memory=memory)


def random_constraints(rng, flow, platforms):
    source, sink = flow.sources[-1], sorted(flow.sinks)[-1]
    choices = [
        Constraints(),
        Constraints(keep_on=((rng.choice(platforms), source),)),
        Constraints(keep_on=((rng.choice(platforms), source), (rng.choice(platforms), sink))),
        Constraints(not_on=((platforms[1], rng.choice(flow.actors)),)),
        Constraints(private_until=(flow.actors[1],)),
        Constraints(must_use=(platforms[-1],)),
        Constraints(max_bytes=rng.randrange(0, 200)),
    ]
    return rng.choice(choices)


def acyclic(pairs):
    left = set(pairs)
    while left:
        last = {to for _, to in left} - {origin for origin, _ in left}
        if not last:
            return False
        left = {pair for pair in left if pair[1] not in last}
    return True


def placements(flow, roles, constraints, costs):
    """Every allowed placement, with its prediction: nothing of the search is used."""
    links = {(link.origin, link.to) for link in costs.links}
    homes_of = dict.fromkeys(flow.sources, roles.platforms[0])
    homes_of.update((actor, home) for home, actor in constraints.keep_on if actor in flow.sources)
    for places in itertools.product(roles.platforms, repeat=len(flow.actors)):
        homes = dict(zip(flow.actors, places))
        if any(homes[source] != home for source, home in homes_of.items()):
            continue
        ends = [(homes[each.source], homes[each.target]) for each in flow.streams]
        if any(a != b and (a, b) not in links for a, b in ends):
            continue
        on = [pair for pair, each in zip(ends, flow.streams) if each.waits and each.target not in flow.sinks]
        if not acyclic({(a, b) for a, b in on if a != b}):
            continue
        use = memory_use(flow, costs, homes)
        if any(use.get(p, 0) > most for p, most in costs.memory.items()):
            continue
        if violation(flow, roles, constraints, homes, costs.most):
            continue
        open_ = [(p, [a for a in flow.actors if homes[a] == p]) for p in costs.on]
        ways = [[[u for u, own in costs.on[p].items() if a in own] for a in actors] for p, actors in open_]
        for chosen in itertools.product(*(itertools.product(*way) for way in ways)):
            units = {p: dict(zip(actors, each)) for (p, actors), each in zip(open_, chosen)}
            yield predict(flow, roles, costs.placed(units), homes)


def roles_for(platforms, constraints, flow):
    kept = [home for home, actor in constraints.keep_on if actor in flow.sources]
    first = platforms[:1] if len(kept) < len(flow.sources) else []
    endpoints = tuple(dict.fromkeys((*first, *kept)))
    others = [p for p in platforms if p not in endpoints]
    if not others:
        endpoints, others = endpoints[:-1], endpoints[-1:]
    return Roles(endpoints, others[-1], tuple(others[:-1]), anywhere=True)


def check(rng, flow, count, more, several):
    platforms = [*"pqrst"[:count]]
    flow = replace(
        flow,
        streams=tuple(replace(each, slot=each.nbytes) for each in flow.streams),
        weights={actor: rng.randrange(200) for actor in flow.actors},
    )
    constraints = random_constraints(rng, flow, platforms)
    costs = random_costs(rng, flow, platforms, random_links(rng, platforms, more), several)
    roles = roles_for(platforms, constraints, flow)
    every = list(placements(flow, roles, constraints, costs))
    for objective in OBJECTIVES:
        if not costs.power and "energy" in objective:
            continue
        best = Search(flow, roles, constraints, costs).best(objective)
        if not every:
            assert best is None, objective
            continue
        expected = min(each.value(objective) for each in every)
        assert best is not None, objective
        assert best.value == pytest.approx(expected, rel=1e-5), (objective, constraints)
        assert best.exact
        again = predict(flow, roles, costs.placed(best.units), best.homes).value(objective)
        assert again == pytest.approx(best.value)
        assert Search(flow, roles, constraints, costs).allows(best.homes)


@pytest.mark.parametrize("seed", range(12))
def test_on_a_tree_of_platforms(seed):
    rng = random.Random(seed)
    check(rng, random_flow(rng, rng.randrange(2, 6)), rng.randrange(2, 5), more=0, several=False)


@pytest.mark.parametrize("seed", range(12))
def test_on_any_graph_of_platforms(seed):
    rng = random.Random(100 + seed)
    check(rng, random_flow(rng, rng.randrange(2, 6)), rng.randrange(3, 5), more=rng.randrange(1, 4), several=False)


@pytest.mark.parametrize("seed", range(12))
def test_with_several_units_on_a_platform(seed, monkeypatch):
    monkeypatch.setattr(cost, "HOP", 0.3)  # as much as the actors, so that it counts
    monkeypatch.setattr(cost, "COPY", 200.0)
    rng = random.Random(200 + seed)
    check(rng, random_flow(rng, rng.randrange(2, 6)), 3, more=rng.randrange(2), several=True)


@pytest.mark.parametrize("seed", range(12))
def test_with_several_sources_and_sinks(seed):
    """Two flows that meet, and part again."""
    rng = random.Random(300 + seed)
    flow = make("S1 A 40", "S2 B 30", "A C 9", "B C 12", "C D 7", "C T1 3", "D T2 5")
    check(rng, flow, 3, more=rng.randrange(2), several=False)


def test_a_frame_also_begins_where_an_actor_has_its_state_from_the_frame_before():
    """B and C exchange what they know of the frame before; only A has a source, at the other end of the line."""
    flow = make("S A 10", "A T 1", "C E 5", "E D 5")
    state = [Stream("x", "B", "C", 8, waits=False), Stream("y", "C", "B", 8, waits=False)]
    flow = replace(flow, actors=(*flow.actors, "B"), streams=(*flow.streams, *state))
    links = (*both("p", "q"), *both("q", "r"))
    times = {p: dict.fromkeys(flow.actors, 1.0) for p in "pqr"}
    roles = Roles(("p",), "r", ("q",), anywhere=True)
    constraints = Constraints(keep_on=(("r", "C"), ("q", "B"), ("q", "E")))
    every = list(placements(flow, roles, constraints, Costs(times, links)))
    for objective in ("latency", "throughput", "bytes"):
        best = Search(flow, roles, constraints, Costs(times, links)).best(objective)
        assert best.value == pytest.approx(min(each.value(objective) for each in every), rel=1e-5)
