"""How late 5 of 100 frames are: platforms vary each by itself, and what does not count does not vary."""

from __future__ import annotations

import math

import pytest
from flows import CHAIN

from eprune.explore.cost import Costs, predict
from eprune.explore.late import deviations, p95
from eprune.explore.plan import LinkFigures
from eprune.explore.space import Roles

ROLES = Roles(("endpoint",), "server")
LINKS = tuple(LinkFigures(*ends, "", 1000.0, 0.1) for ends in (("endpoint", "server"), ("server", "endpoint")))


def costs(late):
    return Costs({p: dict.fromkeys(CHAIN.actors, 1.0) for p in ROLES.platforms}, LINKS, late=late)


def homes(number):
    return {actor: "endpoint" if place < number else "server" for place, actor in enumerate(CHAIN.actors)}


def test_the_deviations_of_platforms_add_up_as_those_of_independent_parts_do():
    varied = costs({"endpoint": dict.fromkeys(CHAIN.actors, 1.3), "server": dict.fromkeys(CHAIN.actors, 1.2)})
    typical = predict(CHAIN, ROLES, varied, homes(2)).latency
    assert deviations(CHAIN, ROLES, varied, homes(2)) == pytest.approx({"endpoint": 2 * 0.3, "server": 3 * 0.2})
    assert p95(CHAIN, ROLES, varied, homes(2)) == pytest.approx(typical + math.hypot(0.6, 0.6))
    assert p95(CHAIN, ROLES, varied, homes(2), links=0.5) == pytest.approx(typical + math.hypot(0.6, 0.6, 0.5))
    alone = predict(CHAIN, ROLES, varied, homes(5)).latency
    assert p95(CHAIN, ROLES, varied, homes(5)) == pytest.approx(alone + 5 * 0.3), "one platform is late as a whole"


def test_it_is_not_known_where_nobody_has_looked():
    only = costs({"endpoint": dict.fromkeys(CHAIN.actors, 1.3)})
    assert p95(CHAIN, ROLES, only, homes(2)) is None
    assert p95(CHAIN, ROLES, only, homes(5)) == pytest.approx(5 * 1.3)


def test_what_is_faster_than_typical_is_not_late():
    """Percentiles of prefixes are disturbed, so that an actor may add less to the 95th than to the median."""
    varied = costs({"endpoint": dict.fromkeys(CHAIN.actors, 0.9), "server": dict.fromkeys(CHAIN.actors, 1.0)})
    assert p95(CHAIN, ROLES, varied, homes(2)) == predict(CHAIN, ROLES, varied, homes(2)).latency
