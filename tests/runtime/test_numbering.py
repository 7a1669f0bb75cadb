"""Indices: never twice, never back, ahead after a restart, and by the clock where there is one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eprune.runtime.fire.numbering import COUNT_BITS, Numbering, incarnation
from eprune.runtime.net.wire import MAX_INDEX

YEAR_2100 = 130 * 365.25 * 86400
NOW = 1.8e9


def test_indices_fit_into_a_frame_header_for_long():
    assert Numbering(YEAR_2100).next(YEAR_2100) < MAX_INDEX
    assert Numbering(YEAR_2100, clock=1e6).next(YEAR_2100) < MAX_INDEX


def test_the_lower_bits_count_firings():
    numbering = Numbering(NOW)
    indices = [numbering.next(NOW) for _ in range(5)]
    assert [index % (1 << COUNT_BITS) for index in indices if index is not None] == list(range(5))


@given(st.floats(0.1, 1e6), st.integers(1, 10**7))
def test_a_restarted_actor_is_ahead_of_all_that_it_made_before(lived, rate):
    before = Numbering(NOW)
    before.last += int(lived * min(rate, (1 << COUNT_BITS)))
    last = before.next(NOW + lived)
    assert Numbering(NOW + lived + 0.1).next(NOW + lived + 0.1) > last


def test_a_restart_on_a_host_whose_clock_was_set_back_can_be_told_what_was_used():
    last = Numbering(NOW).next(NOW)
    assert Numbering(NOW - 3600, ahead_of=last).next(NOW - 3600) == last + 1


def test_an_actor_that_stalled_is_ahead_of_what_others_went_on_with():
    numbering = Numbering(NOW, stall=0.5)
    first = numbering.next(NOW + 0.1)
    assert numbering.next(NOW + 0.5) == first + 1
    later = numbering.next(NOW + 60)
    assert later > first + 10**6
    assert later % (1 << COUNT_BITS) == 2  # it still counts its firings
    assert numbering.next(NOW + 60.1) == later + 1


@given(
    clock=st.sampled_from([None, 1.0, 30.0, 1000.0]),
    rate=st.sampled_from([None, 0.3, 10.0, 29.97]),
    times=st.lists(st.floats(-2, 5), max_size=60),
)
def test_indices_only_grow_whatever_the_clock_does(clock, rate, times):
    numbering = Numbering(NOW, clock, rate, stall=0.5)
    now, last = NOW, -1
    for step in times:
        now += step
        promised = numbering.given_up
        index = numbering.next(now)
        if index is not None:
            assert last <= promised < index
            last = index


@given(st.lists(st.floats(-0.4, 0.4), min_size=2, max_size=100))
def test_two_cameras_on_one_clock_agree(jitter):
    """Both take a frame per period, at times of their own within it."""
    one, other = Numbering(NOW, clock=30.0), Numbering(NOW + 0.01, clock=30.0)
    for frame, shift in enumerate(jitter, 1):
        first = one.next(NOW + frame / 30)
        second = other.next(NOW + (frame + shift) / 30)
        assert first is not None
        assert second is not None
        assert abs(first - second) <= 1


def test_after_a_freeze_a_clocked_source_is_where_the_clock_is():
    numbering = Numbering(NOW, clock=30.0)
    first = numbering.next(NOW)
    assert first == NOW * 30
    assert numbering.next(NOW + 10) == first + 300


def test_a_source_that_is_faster_than_its_clock_drops_frames():
    numbering = Numbering(NOW, clock=10.0)
    indices = [numbering.next(NOW + count / 11) for count in range(111)]
    assert 9 <= indices.count(None) == numbering.early <= 11
    last = indices[-1] or indices[-2]
    assert last is not None
    assert abs(last - (NOW + 10) * 10) <= 1


def test_a_clock_that_is_set_back_stops_no_source():
    numbering = Numbering(NOW, clock=10.0)
    first = numbering.next(NOW)
    assert [numbering.next(NOW - 3600 + count / 10) for count in range(3)] == [first + 1, first + 2, first + 3]


def test_a_source_that_is_slower_than_its_clock_says_which_indices_it_leaves_out():
    numbering = Numbering(NOW, clock=30.0, rate=10.0)
    first = numbering.next(NOW)
    assert numbering.given_up == first + 2
    assert numbering.next(NOW + 0.1) == first + 3


def test_an_incarnation_is_a_sixteenth_of_a_second():
    assert incarnation(NOW + 1 / 16) == incarnation(NOW) + (1 << COUNT_BITS)
