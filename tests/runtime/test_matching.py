"""What an actor's next firing is made of: what is late, what belongs together, who is waited for again."""

from __future__ import annotations

import pytest

from eprune.runtime.fire.decision import Fire, Wait
from eprune.runtime.fire.matched_ports import Inlet, Outlet, Standing
from eprune.runtime.fire.matching import Matcher
from tests.kit.matching import ROOM, Owner, T, late_once, optional

# L1: lateness


def test_a_firing_goes_on_without_an_input_that_is_late():
    owner = Owner(optional("a"), optional("b"))
    owner.give("a", 0)
    assert owner.fires(at=10.0) is None
    assert owner.fires(at=10.9) is None
    assert owner.fires(at=11.0) == {"a": 0}


def test_a_token_of_a_firing_that_went_without_it_is_thrown_away():
    owner = Owner(optional("a"), optional("b"))
    owner.give("a", 0, 1)
    owner.fires(at=10.0)
    assert owner.fires(at=11.0) == {"a": 0}
    owner.give("b", 0, 1, at=11.1)
    assert owner.fires(at=11.1) == {"a": 1, "b": 1}
    assert [name for name, _ in owner.unused] == ["b"]


def test_nothing_is_late_before_a_look_at_all_sockets_found_nothing():
    owner = Owner(optional("a"), optional("b"))
    owner.give("a", 0)
    assert isinstance(owner.matcher.decide(0.0), Wait)
    decision = owner.matcher.decide(1.2)
    assert isinstance(decision, Wait)
    assert decision.until is not None and decision.until <= 1.2
    owner.give("b", 0, at=1.2)  # it was in the kernel
    assert owner.fires(at=1.2) == {"a": 0, "b": 0}


def test_tokens_are_not_late_while_there_is_no_room():
    owner = Owner(optional("a"), optional("b"))
    owner.outlets[0].free = 0
    owner.give("a", 0)
    for at in (0.0, 1.0, 5.0):
        assert owner.fires(at) is None
    owner.outlets[0].free = 1
    assert owner.fires(at=5.1) is None
    owner.give("b", 0, at=5.2)
    assert owner.fires(at=5.2) == {"a": 0, "b": 0}


def test_who_slept_itself_does_not_blame_others():
    owner = Owner(optional("a"), optional("b"))
    owner.give("a", 0)
    owner.decide(at=0.0)
    assert owner.fires(at=60.0) is None  # it was to come back after a second
    owner.give("b", 0, at=60.5)
    assert owner.fires(at=60.5) == {"a": 0, "b": 0}


def test_an_owner_that_is_always_a_little_late_still_declares_others_late():
    owner = Owner(optional("a"), optional("b"))
    owner.give("a", 0)
    owner.decide(at=0.0)
    assert owner.fires(at=60.0) is None
    assert owner.fires(at=120.0) == {"a": 0}


def test_room_is_not_late_before_a_look_at_all_sockets_found_nothing():
    owner = Owner(Inlet("a"), outlets=(Outlet("x", "drop", 1, ROOM), Outlet("y", "drop", 1, ROOM)))
    owner.outlets[0].free = 0
    owner.give("a", 0)
    owner.matcher.decide(0.0)
    assert isinstance(owner.matcher.decide(0.25), Wait)
    owner.outlets[0].free = 1  # a credit was in the kernel
    decision = owner.matcher.decide(0.25, looked=True)
    assert isinstance(decision, Fire)
    assert decision.use == [True, True]


def test_late_tokens_give_their_room_back_at_once():
    owner = Owner(optional("a"), optional("b"))
    owner.give("a", 0)
    owner.fires(at=0.0)
    owner.fires(at=1.0)
    owner.give("b", 0, at=1.1)
    assert [inlet.name for inlet, _ in owner.matcher.unused] == ["b"]


def test_tokens_that_come_twice_are_used_once():
    owner = Owner(Inlet("a"), Inlet("b"))
    owner.give("a", 0, 1, 1, 0, 2)
    owner.give("b", 0, 1, 2)
    assert [owner.fires(), owner.fires(), owner.fires()] == [{"a": k, "b": k} for k in range(3)]
    assert len(owner.unused) == 2


def test_a_required_input_is_waited_for_however_late_it_is():
    owner = Owner(Inlet("a", "drop", 1, True, T), optional("b"))
    owner.give("b", 0)
    assert owner.fires(at=0.0) is None
    assert owner.fires(at=50.0) is None
    owner.give("a", 0, at=51.0)
    assert owner.fires(at=51.0) == {"a": 0, "b": 0}


def test_by_arrival_a_late_port_gives_its_newest_token():
    owner = Owner(optional("a", 0), optional("b", 1))
    owner.give("a", 0)
    owner.fires(at=0.0)
    assert owner.fires(at=1.0) == {"a": 0}
    owner.give("a", 1, at=2.0)
    owner.give("b", 7, 8, 9, at=2.0)
    assert owner.fires(at=2.0) == {"a": 1, "b": 9}
    assert [name for name, _ in owner.unused] == ["b", "b"]


# L2: room


def test_an_output_without_room_drops_after_its_time_out_and_is_then_dead_until_there_is_room():
    hung, other = Outlet("hung", "drop", 1, ROOM), Outlet("other", "drop", 1, ROOM)
    owner = Owner(Inlet("a"), outlets=(hung, other))
    hung.free = 0
    owner.give("a", 0, 1, 2)
    assert owner.fires(at=0.0) is None
    assert owner.fires(at=0.2) == {"a": 0}
    decision = owner.decide(at=0.2)
    assert isinstance(decision, Fire)
    assert decision.use == [False, True]
    hung.free = 4
    decision = owner.decide(at=9.0)
    assert isinstance(decision, Fire)
    assert decision.use == [True, True]


def test_an_output_that_may_not_lose_tokens_is_waited_for():
    owner = Owner(Inlet("a"), outlets=(Outlet("out", "wait"),))
    owner.outlets[0].free = 0
    owner.give("a", 0)
    decision = owner.decide(at=100.0)
    assert isinstance(decision, Wait)
    assert decision.until is None


def test_a_consumer_that_cannot_be_reached_is_not_waited_for():
    owner = Owner(Inlet("a"), outlets=(Outlet("out", "drop", 1, ROOM), Outlet("other", "drop", 1, ROOM)))
    owner.outlets[0].free = 0
    owner.outlets[0].reachable = False
    owner.outlets[1].free = 1
    owner.give("a", 0)
    assert owner.fires() == {"a": 0}


def test_a_producer_of_live_data_never_waits():
    owner = Owner(Inlet("a"), outlets=(Outlet("out", "newest", 1, ROOM),))
    owner.outlets[0].free = 0
    owner.give("a", 0)
    decision = owner.decide()
    assert isinstance(decision, Fire)
    assert decision.use == [True]


# L3: matching


def test_inputs_of_one_line_are_in_step():
    owner = Owner(Inlet("a"), optional("b"))
    owner.give("a", 0, 1, 2, 3)
    owner.give("b", 1, 3)
    assert [owner.fires() for _ in range(4)] == [{"a": 0}, {"a": 1, "b": 1}, {"a": 2}, {"a": 3, "b": 3}]


def test_inputs_of_different_lines_give_their_next_token_and_the_actor_numbers_its_firings():
    owner = Owner(optional("a", 0), optional("b", 1))
    owner.give("a", 5, 6)
    owner.give("b", 1000, 2000)
    first = owner.decide()
    assert isinstance(first, Fire)
    index = first.index
    assert index is not None
    assert first.indices == [5, 1000]
    assert owner.fires() == {"a": 6, "b": 2000}
    assert owner.matcher.given_up == index + 1


def test_after_a_loss_all_lines_go_on_with_their_newest():
    """Else what the others have would wait for good, and keep their producers waiting for room."""
    owner = Owner(optional("a", 0), optional("b", 1), Inlet("w", "wait", 1, True, line=2))
    for index in (0, 1):
        for name in "abw":
            owner.give(name, index)
        assert owner.fires() == {"a": index, "b": index, "w": index}
    owner.give("b", 2, 3, 4)
    owner.give("w", 2, 3, 4)
    assert owner.fires() is None
    owner.give("a", 5)  # 2 to 4 are lost
    assert owner.fires() == {"a": 5, "b": 4, "w": 2}  # what may not be lost is not thrown away
    assert [name for name, _ in owner.unused] == ["b", "b"]


def test_a_source_that_always_leaves_out_indices_has_lost_nothing():
    owner = Owner(optional("a", 0), optional("b", 1))
    owner.give("a", 0, 3, 6, 9)
    owner.give("b", 0, 1, 2, 3)
    got = [owner.fires() for _ in range(4)]
    assert got == [{"a": 3 * count, "b": count} for count in range(4)]


def test_two_lines_of_two_inputs_each_are_in_step_within_the_lines():
    owner = Owner(optional("a", 0), optional("b", 0), optional("c", 1), optional("d", 1))
    owner.give("a", 0, 1)
    owner.give("b", 1)
    owner.give("c", 70)
    owner.give("d", 70)
    assert owner.fires() == {"a": 0, "c": 70, "d": 70}
    owner.give("c", 71)
    owner.give("d", 72)
    assert owner.fires() == {"a": 1, "b": 1, "c": 71}


def test_a_fifo_with_a_delay_is_taken_in_order():
    owner = Owner(Inlet("a"), Inlet("back", ordered=True))
    owner.give("back", -1)
    owner.give("a", 10, 11)
    assert owner.fires() == {"a": 10, "back": -1}
    assert owner.fires() is None
    owner.give("back", 10)
    assert owner.fires() == {"a": 11, "back": 10}


def test_an_actor_that_needs_a_numbering_says_so():
    with pytest.raises(ValueError, match="numbering"):
        Matcher([optional("a", 0), optional("b", 1)], [])


def test_a_firing_of_which_a_part_is_lost_does_not_shift_the_next_ones():
    owner = Owner(Inlet("a", "drop", 2, True, T))
    owner.give("a", 4, 4, 5, 6, 6)
    assert [owner.fires(), owner.fires(), owner.fires()] == [{"a": 4}, {"a": 6}, None]
    assert owner.inlet("a").discarded == 1


def test_a_firing_has_at_least_a_quorum_of_inputs():
    owner = Owner(optional("a"), optional("b"), optional("c"), quorum=2)
    owner.give("a", 0, 2)
    owner.give("b", 1, 2)
    owner.give("c", 1, 2)
    assert owner.fires() == {"b": 1, "c": 1}
    assert owner.fires() == {"a": 2, "b": 2, "c": 2}
    assert owner.matcher.given_up == 2


def test_below_the_quorum_there_is_no_firing_however_late_the_others_are():
    owner = Owner(optional("a"), optional("b"), optional("c"), quorum=2)
    owner.give("a", 0)
    assert [owner.fires(at) for at in (0.0, 1.0, 9.0)] == [None] * 3
    owner.give("b", 0, at=9.0)
    assert owner.fires(at=9.0) is None
    assert owner.fires(at=10.0) == {"a": 0, "b": 0}


# L5: who was late


def test_a_late_port_is_used_but_not_waited_for_until_two_successive_firings_had_it_in_time():
    owner = Owner(optional("a"), optional("b"))
    late_once(owner)
    owner.give("a", 1, at=2.0)
    assert owner.fires(at=2.0) == {"a": 1}  # no waiting
    for index, at in ((2, 3.0), (3, 4.0)):
        owner.give("b", index, at=at)
        owner.give("a", index, at=at)
        assert owner.fires(at) == {"a": index, "b": index}
    owner.give("a", 4, at=5.0)
    assert owner.fires(at=5.0) is None  # it is waited for again


def test_an_arm_that_is_always_a_little_behind_is_not_lost():
    owner = Owner(optional("a"), optional("b"))
    late_once(owner)
    for index in (1, 2):
        owner.give("a", index, at=float(index))
        assert owner.fires(at=float(index)) == {"a": index}
        owner.give("b", index, at=index + 0.3)  # in time, if it had been waited for
    owner.give("a", 3, at=3.0)
    assert owner.fires(at=3.0) == {"a": 3}
    owner.give("a", 4, at=4.0)
    assert owner.fires(at=4.0) is None
    owner.give("b", 4, at=4.3)
    assert owner.fires(at=4.3) == {"a": 4, "b": 4}


def test_each_token_counts_for_one_firing_only():
    """A camera of half the rate is in time for each second firing, never for two successive ones."""
    owner = Owner(optional("a", 0), optional("b", 1))
    late_once(owner)
    got = []
    for count in range(1, 20):
        at = 2.0 + 2 * T * count
        owner.give("a", count, at=at)
        if count % 2:
            owner.give("b", count, at=at)
        got.append(owner.fires(at))
    assert all(firing is not None for firing in got)
    assert sum("b" in firing for firing in got if firing) == 10
    assert owner.matcher.timeouts == 1


def test_who_relapses_is_not_waited_for_during_twenty_time_outs():
    owner = Owner(optional("a"), optional("b"))
    late_once(owner)
    index, at = 1, 2.0
    pauses = 0
    while at < 42.0:  # b comes for two firings, then fails for one, and so on
        owner.give("a", index, at=at)
        if index % 3:
            owner.give("b", index, at=at)
        if owner.fires(at) is None:
            pauses += 1
            at += T
            assert owner.fires(at) == {"a": index}
        index, at = index + 1, at + 0.1
    assert pauses <= 4


def test_one_failure_that_makes_two_ports_late_is_no_relapse():
    owner = Owner(optional("a"), optional("b"), Inlet("c", "drop", 1, False, 3 * T))
    owner.give("a", 0)
    for at in (0.0, 1.0):
        assert owner.fires(at) is None
    assert owner.fires(at=3.0) == {"a": 0}
    for index, at in ((1, 4.0), (2, 5.0)):
        for name in "abc":
            owner.give(name, index, at=at)
        assert owner.fires(at) == {"a": index, "b": index, "c": index}
    owner.give("a", 3, at=6.0)
    assert owner.fires(at=6.0) is None


def test_a_token_that_comes_after_the_time_out_is_no_proof():
    owner = Owner(optional("a"), optional("b"))
    late_once(owner)
    for index in (1, 2, 3):
        owner.give("a", index, at=10.0 * index)
        assert owner.fires(at=10.0 * index) == {"a": index}
        owner.give("b", index, at=10.0 * index + 1.5)
    owner.give("a", 4, at=40.0)
    assert owner.fires(at=40.0) == {"a": 4}


def test_a_token_that_has_proven_one_firing_does_not_prove_the_next():
    """Both come half a time-out after their firing; the first of them is used in the second firing."""
    owner = Owner(optional("a", 0), optional("b", 1))
    late_once(owner)
    owner.give("a", 1, at=10.0)
    assert owner.fires(at=10.0) == {"a": 1}
    owner.give("b", 1, at=10.5)
    owner.give("a", 2, at=20.0)
    assert owner.fires(at=20.0) == {"a": 2, "b": 1}
    owner.give("a", 3, at=30.0)
    assert owner.fires(at=30.0) == {"a": 3}


def test_room_that_has_proven_one_firing_does_not_prove_the_next():
    owner = Owner(Inlet("a"), outlets=(Outlet("x", "drop", 1, ROOM), Outlet("y", "drop", 1, ROOM)))
    x = owner.outlets[0]
    x.free = 0
    owner.give("a", 0)
    owner.fires(at=0.0)
    owner.fires(at=0.2)
    owner.decide(at=0.2)
    owner.give("a", 1, at=1.0)
    assert owner.fires(at=1.0) == {"a": 1}  # without x
    x.free = 1
    owner.decide(at=1.1)  # in time for the firing at 1.0
    owner.give("a", 2, at=2.0)
    assert owner.fires(at=2.0) == {"a": 2}  # with x, by the same room
    x.free = 0
    owner.give("a", 3, at=3.0)
    assert owner.fires(at=3.0) == {"a": 3}


def test_a_producer_that_was_lost_is_not_waited_for_at_once():
    owner = Owner(optional("a"), optional("b"))
    owner.inlet("b").lost(0.0)
    owner.give("b", 0, at=1.0)
    owner.give("a", 0, 1, at=1.0)
    assert owner.fires(at=1.0) == {"a": 0, "b": 0}
    assert owner.fires(at=1.0) == {"a": 1}


def test_ports_of_one_peer_that_are_late_together_are_late_once():
    peer = Standing()
    owner = Owner(optional("a"), optional("b", standing=peer), optional("c", standing=peer))
    owner.give("a", 0)
    owner.fires(at=0.0)
    assert owner.fires(at=1.0) == {"a": 0}
    for index, at in ((1, 2.0), (2, 3.0)):
        for name in "abc":
            owner.give(name, index, at=at)
        assert owner.fires(at) == {"a": index, "b": index, "c": index}
    owner.give("a", 3, at=4.0)
    assert owner.fires(at=4.0) is None


def test_inputs_of_one_peer_share_the_verdict():
    peer = Standing()
    owner = Owner(optional("a"), optional("b", standing=peer), Inlet("c", "drop", 1, False, 5 * T, standing=peer))
    owner.give("a", 0)
    owner.fires(at=0.0)
    assert owner.fires(at=1.0) == {"a": 0}  # c is not waited for any longer than b
    for index, at in ((1, 2.0), (2, 3.0), (3, 4.0)):
        owner.give("a", index, at=at)
        owner.give("b", index, at=at)
        assert owner.fires(at) == {"a": index, "b": index}  # nor is b, before c is back, too


def test_room_that_came_too_late_is_trusted_again_after_two_firings_in_time():
    owner = Owner(Inlet("a"), outlets=(Outlet("x", "drop", 1, ROOM), Outlet("y", "drop", 1, ROOM)))
    x = owner.outlets[0]
    x.free = 0
    owner.give("a", 0)
    owner.fires(at=0.0)
    assert owner.fires(at=0.2) == {"a": 0}
    for index, at in ((1, 1.0), (2, 2.0)):
        x.free = 1
        owner.give("a", index, at=at)
        assert owner.fires(at) == {"a": index}
    x.free = 0
    owner.give("a", 3, at=3.0)
    assert owner.fires(at=3.0) is None


def test_where_nobody_is_trusted_one_line_leads():
    """Else there would be a firing for each token, none with both, and nobody would ever be in time for two of them."""
    owner = Owner(optional("a", 0), optional("b", 1))
    for port in "ab":
        owner.inlet(port).lost(0.0)
    got = []
    for count in range(5):
        owner.give("a", count, at=10.0 + count)
        got.append(owner.fires(at=10.0 + count))
        owner.give("b", count, at=10.1 + count)
        got.append(owner.fires(at=10.1 + count))
    assert [firing for firing in got if firing][:2] == [{"a": 0}, {"a": 1, "b": 0}]
    assert len([firing for firing in got if firing]) == 5
    assert owner.inlet("b").standing.trusted


def test_another_line_leads_if_the_one_that_led_is_late():
    owner = Owner(optional("a", 0), optional("b", 1))
    for port in "ab":
        owner.inlet(port).lost(0.0)
    owner.give("a", 0, at=1.0)
    assert owner.fires(at=1.0) == {"a": 0}
    owner.give("b", 0, 1, at=2.0)
    assert owner.fires(at=2.0) is None
    assert owner.fires(at=3.0) == {"b": 1}
    owner.give("b", 2, at=4.0)
    assert owner.fires(at=4.0) == {"b": 2}
