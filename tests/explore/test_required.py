"""Cuts that keep a latency and a rate: the best is the one that trying all finds, and so is the nearest."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from flows import random_flow
from test_anywhere import placements, random_links, roles_for
from test_anywhere import random_costs as costs_anywhere
from test_search import ROLES, THREE, WEIGHTED, random_constraints, random_costs

from eprune.explore.cost import predict
from eprune.explore.required import Required
from eprune.explore.search import Search
from eprune.explore.space import Constraints, pinned_ends, violation


def cuts(flow, roles, constraints, costs):
    """Every allowed cut over a line of tiers, with its prediction."""
    pinned = pinned_ends(flow, roles, constraints)
    links = {(link.origin, link.to) for link in costs.links}
    for places in itertools.product(roles.platforms, repeat=len(flow.actors)):
        homes = dict(zip(flow.actors, places))
        ends = [
            (roles.platforms.index(homes[each.source]), roles.platforms.index(homes[each.target]))
            for each in flow.streams
            if each.source not in pinned and each.target not in pinned
        ]
        sensors = all(homes[source] == roles.platforms[0] for source in flow.sources)
        linked = all((homes[each.source], homes[each.target]) in links for each in flow.crossing(homes))
        onward = all(near <= far for near, far in ends)
        if sensors and linked and onward and not violation(flow, roles, constraints, homes, costs.most):
            yield predict(flow, roles, costs, homes)


def random_required(rng, made):
    """What some of these predictions keep, or none of them."""
    latencies, periods = sorted(each.latency for each in made), sorted(each.period for each in made)
    latency = rng.choice((*latencies, 0.5 * latencies[0], 1.01 * rng.choice(latencies)))
    period = rng.choice((*periods, 0.7 * periods[0], 1.01 * rng.choice(periods)))
    return rng.choice((Required(latency), Required(None, 1 / period), Required(latency, 1 / period)))


def check(rng, every, flow, roles, constraints, costs, objectives):
    if not every:
        return
    required = random_required(rng, every)
    kept = [each for each in every if not required.missed(each.latency, each.period)]
    for objective in objectives:
        search = Search(flow, roles, replace(constraints, required=required), costs)
        best = search.best(objective)
        assert (best is None) == (not kept), (required, objective)
        if best is not None:
            assert best.value == pytest.approx(min(each.value(objective) for each in kept), rel=1e-5), objective
            made = predict(flow, roles, costs.placed(best.units), best.homes)
            assert not required.missed(made.latency, made.period)
    nearest = Search(flow, roles, constraints, costs).best(required)
    assert nearest.value == pytest.approx(min(map(required.of, every)), rel=1e-5), required
    assert nearest.exact


def tight(rng, flow, costs):
    """Some FIFOs and links with so little room that it may set the pace."""
    streams = [replace(each, window=rng.choice((None, 0, 1)), capacity=rng.choice((1, 2))) for each in flow.streams]
    links = tuple(replace(each, window=rng.choice((0, 0, 50))) for each in costs.links)
    return replace(flow, streams=tuple(streams)), replace(costs, links=links)


@pytest.mark.parametrize("seed", range(60))
def test_the_best_cut_of_those_that_keep_what_is_required(seed):
    rng = random.Random(seed)
    roles = rng.choice((ROLES, ROLES, THREE))
    flow = random_flow(rng, rng.randrange(2, 7))
    constraints = random_constraints(rng, flow, roles)
    costs = random_costs(rng, flow, roles, rng.random() < 0.5)
    flow, costs = tight(rng, flow, costs) if seed % 2 else (flow, costs)
    every = list(cuts(flow, roles, constraints, costs))
    check(rng, every, flow, roles, constraints, costs, rng.sample(WEIGHTED, 3))


@pytest.mark.parametrize("seed", range(30))
def test_the_best_placement_of_those_that_keep_what_is_required(seed):
    rng = random.Random(seed)
    flow = random_flow(rng, rng.randrange(2, 6))
    platforms = [*"pqrs"[: rng.randrange(2, 4)]]
    flow = replace(flow, weights={actor: rng.randrange(200) for actor in flow.actors})
    constraints = Constraints(must_use=(platforms[-1],)) if rng.random() < 0.3 else Constraints()
    links = random_links(rng, platforms, more=rng.randrange(2))
    costs = costs_anywhere(rng, flow, platforms, links, several=seed % 3 == 0)
    flow, costs = tight(rng, flow, costs) if seed % 2 else (flow, costs)
    roles = roles_for(platforms, constraints, flow)
    every = list(placements(flow, roles, constraints, costs))
    check(rng, every, flow, roles, constraints, costs, ("latency", "throughput", "bytes"))
