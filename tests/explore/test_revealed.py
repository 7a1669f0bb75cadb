"""What cuts reveal, and the cuts that a bound on it leaves."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.explore.flow import Flow, Stream
from eprune.explore.revealed import of_cut, private_until, read_revealed
from eprune.explore.space import Constraints, Roles, partition_points

ACTORS = ("In", "Scale", "L1", "L2", "L3", "Decode", "Out")
CHAIN = Flow("net", ACTORS, tuple(Stream(f"f{n}", *pair, 100) for n, pair in enumerate(zip(ACTORS, ACTORS[1:]))))
ROLES = Roles(("endpoint",), "server")


def text(figures, application="net"):
    cuts = [{"from": f"{actor}.out", "ssim": ssim} for actor, ssim in figures]
    return json.dumps({"application": application, "cuts": cuts})


def test_the_best_attack_counts_and_what_was_not_attacked_reveals_what_came_in():
    found = read_revealed(text([("L1", 0.9), ("L1", 0.95), ("L2", 0.6), ("L3", 0.3)]), CHAIN)
    assert found == {"In": 1, "Scale": 1, "L1": 0.95, "L2": 0.6, "L3": 0.3, "Decode": 0.3, "Out": 0.3}


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(0, 1))
def test_no_token_leaves_that_reveals_more_than_the_bound(figures, bound):
    revealed = read_revealed(text(zip(("L1", "L2", "L3"), figures)), CHAIN)
    space = partition_points(CHAIN, ROLES, Constraints(private_until=private_until(CHAIN, revealed, bound)))
    for point in space.alternatives:
        assert of_cut(CHAIN, point.homes, ROLES.endpoints, revealed) <= bound
    # Where deeper tokens reveal no more, as they do as a rule, all that is left out reveals more.
    every = partition_points(CHAIN, ROLES, Constraints()).alternatives
    if sorted(figures, reverse=True) == figures:
        allowed = [each.name for each in every if of_cut(CHAIN, each.homes, ("endpoint",), revealed) <= bound]
        assert [each.name for each in space.alternatives] == allowed


@pytest.mark.parametrize(
    ("given_text", "said"),
    [
        ("{", "is not what eprune privacy"),
        ("[1]", "is not what eprune privacy"),
        (text([("L1", 0.5)], "other"), "is about 'other', not about 'net'"),
        (text([("Nobody", 0.5)]), "is about 'net'"),
    ],
)
def test_another_file_is_refused(given_text, said):
    with pytest.raises(ValueError, match=said):
        read_revealed(given_text, CHAIN)
