"""Cuts that keep a latency and a rate: the best is the one that trying all finds, and so is the nearest."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from functools import partial

import pytest
from flows import CHAIN, random_flow
from test_anywhere import placements, random_links, roles_for
from test_anywhere import random_costs as costs_anywhere
from test_search import ROLES, THREE, WEIGHTED, random_constraints, random_costs

from eprune.explore.cost import Coded, Costs, predict
from eprune.explore.plan import LinkFigures
from eprune.explore.required import ANYTHING, Required, parse_required
from eprune.explore.search import Search
from eprune.explore.space import Constraints, pinned_ends, violation
from eprune.explore.unmet import MOST, faster_links, faster_units, unmet


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


def costs_of(endpoint, server, bandwidth, latency=0.0):
    """The chain's actors take these seconds each."""
    times = {"endpoint": dict.fromkeys(CHAIN.actors, endpoint), "server": dict.fromkeys(CHAIN.actors, server)}
    links = tuple(
        LinkFigures(*ends, "", bandwidth, latency) for ends in (("endpoint", "server"), ("server", "endpoint"))
    )
    return Costs(times, links)


def test_what_would_meet_a_requirement_is_the_least_that_does():
    """Each factor does, with the cut that is told, and 1 % less of it with no cut at all, as trying all shows."""
    for seed in range(12):
        rng = random.Random(seed)
        roles = rng.choice((ROLES, THREE))
        flow = random_flow(rng, rng.randrange(2, 6))
        costs = random_costs(rng, flow, roles)
        made = list(cuts(flow, roles, Constraints(), costs))
        latency, period = (min(getattr(each, name) for each in made) for name in ("latency", "period"))
        required = rng.choice((Required(0.6 * latency), Required(None, 1.5 / period)))
        found = unmet(flow, roles, Constraints(required=required), costs)
        assert found.nearest.value == pytest.approx(min(map(required.of, made)), rel=1e-5)
        changes = [partial(faster_links, costs), *(partial(faster_units, costs, tier) for tier in roles.tiers)]
        assert [each.platforms for each in found.remedies] == [(), *roles.tiers]
        for remedy, change in zip(found.remedies, changes):
            factor = remedy.factor or MOST
            least, less = (
                min(map(required.of, cuts(flow, roles, Constraints(), change(each))))
                for each in (factor, 0.98 * factor)
            )
            assert (least <= 1 + 1e-5) == (remedy.factor is not None)
            assert less > 1
            if remedy.best:
                assert required.of(predict(flow, roles, change(factor), remedy.best.homes)) <= 1 + 1e-5


def test_the_nearest_cut_and_what_would_help_are_told():
    """All on the endpoint takes 5 s, the raw input 3.3 s: the link's latency is what no bandwidth helps against."""
    costs = costs_of(1.0, 0.1, 500.0, 0.5)
    found = unmet(CHAIN, ROLES, Constraints(required=Required(3.0)), costs)
    assert found.nearest.homes["L1"] == "server" and found.predicted.latency == pytest.approx(1 + 2 + 0.5 + 0.4)
    links, endpoint, server = found.remedies
    assert links.factor == pytest.approx(2 / 1.1, rel=0.01) and links.best.homes["L1"] == "server"
    assert endpoint.factor == pytest.approx(5 / 3, rel=0.01) and set(endpoint.best.homes.values()) == {"endpoint"}
    assert server.factor is None, "without any time on the server it is 3.5 s"
    assert unmet(CHAIN, ROLES, Constraints(required=Required(4.0)), costs) is None, "there is a cut"
    never = Constraints(required=Required(1.0), not_on=(("endpoint", "L1"), ("server", "L1")))
    assert unmet(CHAIN, ROLES, never, costs) is None, "what is required is not why there is none"
    assert unmet(CHAIN, ROLES, Constraints(required=Required(0.4)), costs).remedies[0].factor is None


def test_coded_tokens_can_be_what_is_missing():
    costs = costs_of(1.0, 0.1, 500.0)
    coded = replace(costs, coded={"f1": Coded("int8", 250, 250, 0.0, 0.0)})
    found = unmet(CHAIN, ROLES, Constraints(required=Required(2.5)), costs, coded=coded)
    assert found.coded.homes["L1"] == "server"
    assert unmet(CHAIN, ROLES, Constraints(required=Required(0.5)), costs, coded=coded).coded is None


@pytest.mark.parametrize(
    ("text", "required"),
    [
        ("rate=30/s", Required(None, 30.0)),
        ("latency=100ms", Required(0.1)),
        ("rate=30/s,latency=0.1s", Required(0.1, 30.0)),
        ("latency=0.1s, rate=.5/s", Required(0.1, 0.5)),
    ],
)
def test_a_requirement_as_text(text, required):
    assert parse_required(text) == required


@pytest.mark.parametrize(
    "text", ["", "30/s", "rate", "rate=30", "rate=0/s", "latency=0ms", "latency=1ms,latency=2ms", "share=0.9"]
)
def test_what_is_no_requirement_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_required(text)


def test_the_strictest_counts():
    both = Required(0.1, 20.0).and_(Required(0.2, 30.0))
    assert both == Required(0.1, 30.0)
    assert both.and_(ANYTHING) == both
    assert both.ratio(0.2, 1 / 60) == pytest.approx(2)
    assert both.missed(0.15, 1 / 15) == "15 of 30 frames/s, 50 ms late"
    assert both.missed(0.1, 1 / 30) == "" == ANYTHING.missed(9.0, 9.0)
