"""What an actor's next firing is made of: what is given up, held, too old, replaced by zeros or over."""

from __future__ import annotations

import pytest

from eprune.runtime.fire.decision import Ended, Fire, Starved, Wait
from eprune.runtime.fire.matched_ports import Inlet, Outlet
from tests.kit.matching import ROOM, Owner, T, late_once, optional

# L6: what is given up


def test_what_is_given_up_is_not_waited_for():
    owner = Owner(optional("a"), optional("b"))
    owner.give("a", 0, 1)
    owner.inlet("b").watermark(0)
    assert owner.fires() == {"a": 0}
    assert owner.fires() is None  # of index 1 nothing is known


def test_an_actor_passes_on_what_it_gives_up():
    owner = Owner(Inlet("a", "drop", 1, True, T), Inlet("b", "drop", 1, True, T))
    owner.give("a", 0, 1, 2)
    owner.inlet("b").watermark(1)
    assert owner.fires() is None
    assert owner.matcher.given_up == 1
    assert [name for name, _ in owner.unused] == ["a", "a"]  # and makes room


def test_a_dead_arm_does_not_keep_an_actor_from_saying_what_it_gives_up():
    owner = Owner(optional("a"), optional("b"))
    late_once(owner)
    owner.inlet("a").watermark(5)
    assert owner.fires(at=2.0) is None
    assert owner.matcher.given_up == 5


def test_tokens_that_were_given_up_are_thrown_away():
    owner = Owner(optional("a"), optional("b"))
    late_once(owner)
    owner.inlet("a").watermark(5)
    owner.fires(at=2.0)
    owner.give("b", 4, at=2.0)
    assert owner.fires(at=2.0) is None
    assert owner.unused[-1][0] == "b"


# L7: hold and age


def test_what_is_held_is_given_again_and_the_newest_that_arrives_replaces_it():
    owner = Owner(Inlet("a"), Inlet("slow", "newest", 1, True, T, hold=True))
    owner.give("a", 0, 1, 2)
    assert owner.fires() is None  # the first firing waits for a first token
    owner.give("slow", 40)
    assert owner.fires() == {"a": 0, "slow": 40}
    second = owner.decide()
    assert isinstance(second, Fire)
    assert second.held == [False, True]
    owner.give("slow", 41, 39)  # whatever its index
    third = owner.decide()
    assert isinstance(third, Fire)
    assert third.indices == [2, 39]
    assert third.held == [False, False]


def test_an_actor_ends_with_its_leads_and_holds_on_what_has_ended():
    owner = Owner(Inlet("a"), Inlet("slow", "newest", 1, True, T, hold=True))
    owner.give("slow", 0)
    owner.inlet("slow").end()
    owner.give("a", 0, 1)
    assert [owner.fires(), owner.fires()] == [{"a": 0, "slow": 0}, {"a": 1, "slow": 0}]
    owner.inlet("a").end()
    assert isinstance(owner.decide(), Ended)


def test_a_token_beyond_its_age_is_missing():
    owner = Owner(Inlet("a"), optional("b", max_age=0.5), Inlet("h", hold=True, required=False, max_age=2.0))
    owner.give("h", 0, at=0.0)
    owner.give("b", 0, at=0.0, age=0.4)
    owner.give("a", 0, 1, at=0.0)
    assert owner.fires(at=0.05) == {"a": 0, "b": 0, "h": 0}
    owner.give("b", 1, at=0.1)
    assert owner.fires(at=0.7) == {"a": 1, "h": 0}
    owner.give("a", 2, at=2.5)
    owner.inlet("b").watermark(2)
    assert owner.fires(at=2.5) == {"a": 2}


# zeros


def zero(name: str, line: int = 0) -> Inlet:
    return Inlet(name, "zero", 1, True, T, line=line)


def test_zeros_take_the_place_of_a_late_token_and_of_a_lost_one_at_once():
    owner = Owner(Inlet("a"), zero("z"))
    owner.give("a", 0, 1)
    assert owner.fires(at=0.0) is None
    decision = owner.decide(at=1.0)
    assert isinstance(decision, Fire)
    assert decision.zeros == [False, True]
    owner.inlet("z").lost(1.0)
    assert owner.fires(at=1.0) == {"a": 1}


def test_zeros_alone_come_at_the_pace_of_what_they_stand_for():
    """A join behind can go on at that pace; a slow source is not overtaken."""
    for period in (0.1, 3.0):
        owner = Owner(zero("z"))
        for index in range(10):
            owner.give("z", index, at=index * period)
            assert owner.fires(at=index * period) == {"z": index}
        last = 9 * period
        times = []
        now = last
        while now < last + 10 * period + T:
            if isinstance(owner.decide(now), Fire):
                times.append(now)
            now += 0.01
        assert times[0] == pytest.approx(last + period + T, abs=0.02)
        assert times[2] - times[1] == pytest.approx(period, abs=0.02)


def test_zeros_alone_are_no_reason_to_go_on_when_the_others_have_ended():
    owner = Owner(zero("y"), zero("z"))
    owner.give("y", 0)
    owner.give("z", 0)
    owner.fires()
    owner.inlet("y").lost(0.0)
    assert isinstance(owner.decide(at=0.1), Wait)
    owner.inlet("z").end()
    assert isinstance(owner.decide(at=0.2), Ended)


def test_an_input_of_zeros_without_a_time_out_is_refused():
    with pytest.raises(ValueError, match="time-out"):
        Inlet("z", "zero")


# Starvation and the end


def test_an_actor_without_a_required_input_starves_and_blocks_nobody():
    owner = Owner(Inlet("a", "drop", 1, True, T), Inlet("b", "drop", 1, True, T), Inlet("w", "wait"))
    owner.give("b", 0, 1)
    owner.give("w", 0)
    owner.inlet("a").lost(0.0)
    decision = owner.decide()
    assert isinstance(decision, Starved)
    assert decision.lacking == [owner.inlet("a")]
    assert [name for name, _ in owner.unused] == ["b", "b"]
    for name in "abw":
        owner.give(name, 2)
    assert owner.fires() == {"a": 2, "b": 2, "w": 2}


def test_below_the_quorum_an_actor_starves():
    owner = Owner(optional("a"), optional("b"), quorum=2)
    owner.inlet("b").lost(0.0)
    owner.give("a", 0)
    assert isinstance(owner.decide(), Starved)


def test_an_actor_ends_with_a_required_input_once_it_has_used_what_came():
    owner = Owner(Inlet("a"), optional("b"))
    owner.give("a", 0)
    owner.give("b", 0, 1)
    owner.inlet("a").end()
    assert owner.fires() == {"a": 0, "b": 0}
    assert isinstance(owner.decide(), Ended)


def test_an_actor_goes_on_when_an_optional_input_ends():
    owner = Owner(optional("a"), optional("b"))
    owner.inlet("a").end()
    owner.give("b", 0, 1)
    assert [owner.fires(), owner.fires()] == [{"b": 0}, {"b": 1}]
    owner.inlet("b").end()
    assert isinstance(owner.decide(), Ended)


def test_a_producer_that_is_gone_is_waited_for_no_longer_than_patience():
    owner = Owner(Inlet("a", "drop", 1, True, T), patience=30.0)
    owner.inlet("a").lost(5.0)
    decision = owner.decide(at=6.0)
    assert isinstance(decision, Starved)
    assert decision.until == 35.0
    assert isinstance(owner.decide(at=35.0), Ended)


def test_a_producer_that_is_only_starved_is_waited_for():
    owner = Owner(Inlet("a", "drop", 1, True, T), patience=30.0)
    owner.inlet("a").lost(5.0, gone=False)
    assert isinstance(owner.decide(at=1000.0), Starved)


def test_who_has_been_gone_for_longer_than_patience_still_counts_when_it_returns():
    owner = Owner(optional("a"), optional("b"), patience=30.0)
    owner.inlet("a").lost(0.0)
    owner.give("b", 0, at=100.0)
    assert owner.fires(at=100.0) == {"b": 0}
    owner.give("a", 1, at=101.0)
    owner.give("b", 1, at=101.0)
    assert owner.fires(at=101.0) == {"a": 1, "b": 1}


def test_an_actor_ends_when_nobody_wants_what_it_makes():
    owner = Owner(Inlet("a"), outlets=(Outlet("x", "drop", 1, ROOM), Outlet("y", "drop", 1, ROOM)))
    owner.give("a", 0, 1)
    owner.outlets[0].end()
    assert owner.fires() == {"a": 0}
    owner.outlets[1].end()
    assert isinstance(owner.decide(), Ended)


def test_the_oldest_tokens_give_way_to_newer_ones():
    owner = Owner(Inlet("a", "newest"), Inlet("b"))
    owner.give("a", 0, 1, 2)
    owner.give("b", 0, 1, 2)
    assert owner.inlet("a").evict() == [1]
    assert owner.fires() == {"a": 1, "b": 1}


def test_of_live_data_an_input_that_is_alone_gives_the_newest():
    for owner in (Owner(Inlet("a", "newest")), Owner(Inlet("a", "newest"), Inlet("b", line=1))):
        owner.give("a", 0, 1, 2)
        if "b" in owner.ports:
            owner.give("b", 7, 8)
        assert owner.fires() == ({"a": 2, "b": 7} if "b" in owner.ports else {"a": 2})
        assert [name for name, _ in owner.unused] == ["a", "a"]


def test_clocks_that_stand_apart_are_noticed():
    owner = Owner(optional("a"), optional("b"))
    owner.give("a", 100)
    owner.give("b", 129)
    assert owner.matcher.apart(clock=30.0) is None
    owner.give("b", 131)
    assert owner.matcher.apart(clock=30.0) == (owner.inlet("a"), owner.inlet("b"))
