"""An exploration reads back as it was written."""

from __future__ import annotations

import pytest
from flows import CHAIN

from eprune.explore.plan import LinkFigures, Plan, Power, read_plan, script, write_plan
from eprune.explore.space import Constraints, Roles, partition_points

ROLES = Roles(("endpoint",), "server")
CONSTRAINTS = Constraints(keep_on=(("endpoint", "L1"),), max_bytes=3000, private_until=("L1",))


def plan():
    space = partition_points(CHAIN, ROLES, CONSTRAINTS)
    links = (LinkFigures("endpoint", "server", "192.168.1.10", 11.2e6, 1.49e-3), LinkFigures("server", "endpoint"))
    power = {"endpoint": Power(3.5, 1.2)}
    return Plan(
        "id",
        CHAIN,
        ROLES,
        9,
        CONSTRAINTS,
        space.alternatives,
        space.excluded,
        links,
        power,
        ("a",),
        "eprune explore",
        units={"endpoint": {"L1": "npu"}},
    )


def test_round_trip():
    assert read_plan(write_plan(plan())) == plan()


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"platforms": []}', '{"platforms": ["a", "b"]}'])
def test_what_is_no_plan_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        read_plan(text)


@pytest.mark.parametrize("name", ["..", "../1", "/etc", "1/2", "", "-1", ".1"])
def test_names_that_would_leave_their_folder_are_refused(name):
    told = write_plan(plan())
    assert '"name": "2"' in told
    with pytest.raises(ValueError, match="is not a name"):
        read_plan(told.replace('"name": "2"', f'"name": "{name}"'))


def test_the_first_endpoint_leads():
    assert "It leads" in script(plan(), "endpoint")
    assert "waits for endpoint" in script(plan(), "server")
