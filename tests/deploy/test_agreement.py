"""Which firing sources are asked to agree on, and what becomes of those that refuse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.deploy import agreement
from eprune.deploy.agreement import Proposal, agree, propose
from eprune.deploy.session import Refused
from eprune.model.finding import Failure


def source(index, clock=None, own=False):
    return {"next": index, "clock": clock, "own": own}


def test_sources_that_are_counted_alike_stop_at_the_same_firing():
    before = {"left": {"A": source(100)}, "right": {"B": source(103)}, "server": {}}
    now = {"left": {"A": source(110)}, "right": {"B": source(113)}, "server": {}}
    at = 113 + 1 + 50  # as far as the faster one comes within a second
    assert propose(before, now, 0.2, 1.0) == Proposal({"left": {"A": at}, "right": {"B": at}, "server": {}}, at)


def test_clocks_are_counted_apart_and_so_is_who_numbers_its_own_firings():
    now = {
        "left": {"A": source(1000, clock=30.0), "B": source(70, own=True)},
        "right": {"C": source(1010, clock=30.0), "D": source(500, clock=5.0)},
    }
    assert propose(now, now, 0.2, 1.0) == Proposal({"left": {"A": 1011, "B": 71}, "right": {"C": 1011, "D": 501}}, None)


@given(
    st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 10**5)), min_size=1, max_size=5),
    st.floats(0.05, 5),
    st.floats(0.1, 4),
)
def test_the_firing_is_ahead_of_everybody(sources, seconds, ahead):
    before = {str(number): {"S": source(index)} for number, (index, _) in enumerate(sources)}
    now = {str(number): {"S": source(index + more)} for number, (index, more) in enumerate(sources)}
    proposal = propose(before, now, seconds, ahead)
    assert len({at for each in proposal.at.values() for at in each.values()}) == 1
    assert all(proposal.at[name]["S"] >= now[name]["S"]["next"] + 1 for name in now)


class Device:
    """A program that is ``pace`` firings further with each question, and refuses to hold so many times."""

    def __init__(self, pace, refusals=0):
        self.next, self.pace, self.refusals, self.asked = 0, pace, refusals, []

    def call(self, do, what="", arguments=None):
        self.asked.append(what or do)
        if what == "describe":
            self.next += self.pace
            return {"sources": {"S": source(self.next)}}
        if what == "hold":
            assert arguments["at"]["S"] > self.next
            self.refusals -= 1
            if self.refusals >= 0:
                raise Refused("it is too late")
        if do == "commit":
            self.asked.append("committed")
        return None


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(agreement, "LOOK", 0.01)


def test_everybody_promises_before_anybody_is_told():
    order = []
    devices = {name: Device(5) for name in ("a", "b", "c")}
    for name, device in devices.items():
        call = device.call

        def noted(do, what="", arguments=None, name=name, call=call):
            order.append((what or do, name))
            return call(do, what, arguments)

        device.call = noted
    agree(devices)
    said = [what for what, _ in order]
    assert said.index("commit") > max(place for place, what in enumerate(said) if what == "hold")
    assert said.count("commit") == 3


def test_where_one_refuses_all_go_on_and_a_later_firing_is_proposed():
    devices = {"slow": Device(1), "fast": Device(100, refusals=1)}
    agree(devices)
    assert [each.asked.count("hold") for each in devices.values()] == [2, 2]
    assert [each.asked.count("release") for each in devices.values()] == [1, 1]
    assert [each.asked.count("commit") for each in devices.values()] == [1, 1]


def test_where_one_always_refuses_nobody_is_told():
    devices = {"slow": Device(1), "never": Device(1, refusals=99)}
    with pytest.raises(Failure, match="the sources do not agree on a firing: it is too late"):
        agree(devices)
    for device in devices.values():
        assert device.asked[-1] == "release"
        assert "commit" not in device.asked
