"""Partition points are those of the papers, and constraints leave out what they say, for the reason that is told."""

from __future__ import annotations

import pytest
from flows import CHAIN, make

from eprune.explore.space import AmbiguousSources, Constraints, Roles, partition_points

ROLES = Roles(("endpoint",), "server")
TWO = Roles(("e1", "e2"), "server")
DUAL = make("I1 A1 10", "A1 J 2", "I2 A2 10", "A2 J 2", "J Out 1")


def points(flow=CHAIN, roles=ROLES, **constraints):
    return partition_points(flow, roles, Constraints(**constraints))


def test_n_actors_have_n_partition_points_and_the_last_needs_no_server():
    space = points()
    assert [alternative.name for alternative in space.alternatives] == ["1", "2", "3", "4", "5"]
    for number, alternative in enumerate(space.alternatives, 1):
        here = [actor for actor, home in alternative.homes.items() if home == "endpoint"]
        assert here == list(CHAIN.actors[:number])
    assert [alternative.after for alternative in space.alternatives] == [
        "after Input",
        "after L1",
        "after L2",
        "after L3",
        "endpoint only",
    ]


@pytest.mark.parametrize(
    ("constraints", "left"),
    [
        ({"keep_on": (("endpoint", "L1"),)}, "2345"),
        ({"keep_on": (("server", "L2"),)}, "12"),
        ({"not_on": (("endpoint", "L2"),)}, "12"),
        ({"must_use": ("server",)}, "1234"),
        ({"must_not_use": ("server",)}, "5"),
        ({"max_bytes": 700}, "345"),
        ({"max_bytes": 0}, "5"),
        ({"private_until": ("L2",)}, "345"),
        ({"private_until": ("L1",), "must_use": ("server",), "max_bytes": 1000}, "34"),
        ({"private_until": ("L2",), "not_on": (("endpoint", "L2"),)}, ""),
    ],
)
def test_constraints_leave_partition_points_out(constraints, left):
    space = points(**constraints)
    assert "".join(alternative.name for alternative in space.alternatives) == left
    assert set(space.excluded) == set("12345") - set(left)
    assert all(space.excluded.values())


def test_a_sink_that_is_kept_on_the_endpoint_stays_there_and_its_tokens_come_back():
    space = points(keep_on=(("endpoint", "Sink"),))
    assert [alternative.name for alternative in space.alternatives] == ["1", "2", "3", "4"]
    assert all(alternative.homes["Sink"] == "endpoint" for alternative in space.alternatives)
    assert [CHAIN.nbytes(alternative.homes) for alternative in space.alternatives] == [1004, 3004, 704, 0]
    assert space.excluded == {"5": "the same cut as 4"}


def test_each_of_two_endpoints_runs_the_first_actors_of_its_own():
    space = points(DUAL, TWO, keep_on=(("e1", "I1"), ("e2", "I2")))
    assert space.orders == {"e1": ("I1", "A1"), "e2": ("I2", "A2")}
    assert [dict(alternative.homes) for alternative in space.alternatives] == [
        {"I1": "e1", "A1": "server", "J": "server", "I2": "e2", "A2": "server", "Out": "server"},
        {"I1": "e1", "A1": "e1", "J": "server", "I2": "e2", "A2": "e2", "Out": "server"},
    ]


def test_with_two_endpoints_it_must_be_said_where_the_sources_are():
    with pytest.raises(AmbiguousSources) as error:
        points(DUAL, TWO, keep_on=(("e1", "I1"),))
    assert error.value.sources == ("I2",)


def test_private_tokens_do_not_leave_by_another_way():
    flow = make("Camera Net 100", "Camera Display 100", "Net Sink 1")
    space = points(flow, private_until=("Net",), keep_on=(("server", "Display"),))
    assert space.alternatives == ()
    assert "tokens of Camera, which are private, leave endpoint" in space.excluded.values()


def test_many_actors_before_a_cut_are_counted():
    flow = make(*(f"I{n} J {n}" for n in range(1, 6)), "J Out 1")
    assert points(flow).alternatives[4].after == "after I5 and 4 others"
    assert points(flow).alternatives[2].after == "after I1, I2, I3"
