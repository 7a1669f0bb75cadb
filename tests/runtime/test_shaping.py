"""Emulated links and units by arithmetic alone: nothing leaves too early, nothing is lost, nobody stands still."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.runtime.net.shaping import MAX_ROOM, READY, Arrivals, Departures, Figures, Flight, Pacer, SlowUnit

sizes = st.integers(1, 10**6)
gaps = st.floats(0, 0.1)


@given(st.lists(st.tuples(sizes, gaps), min_size=1), st.floats(1e3, 1e9))
def test_a_link_never_sends_faster_than_its_bandwidth(messages, bandwidth):
    pacer, now, total = Pacer(bandwidth), 0.0, 0
    for nbytes, gap in messages:
        now += gap
        total += nbytes
        now = max(now, pacer.leave(nbytes, now)[-1][1])
        pacer.returned(now)
        assert total / bandwidth <= now * (1 + 1e-9) + 1e-9


@given(st.lists(sizes, min_size=1), st.floats(1e3, 1e9), st.floats(0, 0.05))
def test_a_link_with_work_is_never_idle_however_late_its_sender_wakes(messages, bandwidth, late):
    pacer, now = Pacer(bandwidth), 0.0
    for nbytes in messages:
        done = pacer.leave(nbytes, now)[-1][1]
        now = max(now, done + late)
        pacer.returned(now)
        now += READY / 2
    assert done == pytest.approx(sum(messages) / bandwidth)


def test_a_frame_on_an_idle_link_leaves_after_its_own_time():
    pacer = Pacer(1e6)
    pacer.returned(pacer.leave(1000, 0.0)[-1][1])
    assert pacer.leave(1000, 5.0)[-1][1] == pytest.approx(5.001)


@given(st.lists(sizes, min_size=2, max_size=5))
def test_two_senders_share_one_link(messages):
    pacer = Pacer(1e6)
    assert [pacer.leave(nbytes, 0.0)[-1][1] for nbytes in messages] == pytest.approx(
        [sum(messages[: count + 1]) / 1e6 for count in range(len(messages))]
    )


@given(sizes, st.floats(1e3, 1e9))
def test_the_pieces_of_a_message_are_all_of_it_in_order(nbytes, bandwidth):
    pieces = Pacer(bandwidth).leave(nbytes, 0.0)
    ends, times = zip(*pieces)
    assert ends[-1] == nbytes
    assert [*ends] == sorted(set(ends))
    assert list(times) == sorted(times)
    assert all(end / bandwidth <= when * (1 + 1e-9) + 2 / bandwidth for end, when in pieces)


def rules(pacer=None):
    """What a link does to bytes, sending and receiving."""
    return [Departures(pacer or Pacer(1e6)), Arrivals(Figures(None, 0.25))]


@pytest.mark.parametrize("side", [0, 1])
@given(messages=st.lists(st.tuples(st.binary(min_size=1, max_size=5000), gaps), min_size=1), most=st.integers(1, 4000))
def test_what_is_under_way_arrives_whole_in_order_and_not_too_early(side, messages, most):
    rule, flight, now, got, earliest = rules()[side], Flight(), 0.0, b"", []
    for data, gap in messages:
        now += gap
        rule.schedule(flight, memoryview(data), now)
        earliest += [now + (0.25 if side else 1 / 1e6)] * len(data)
    assert flight.nbytes == len(earliest)
    while flight.due() is not None:
        assert flight.due() >= earliest[len(got)]
        part = bytes(flight.first()[:most])
        got += part
        flight.remove(len(part))
        rule.handed(flight.due() or now)
    assert got == b"".join(data for data, _ in messages)
    assert flight.nbytes == 0


def test_a_latency_is_shorter_by_what_the_true_link_took_but_never_below_nothing():
    for excess, expected in ((0.01, 5.04), (0.2, 5.0)):
        flight = Flight()
        Arrivals(Figures(None, 0.05), excess).schedule(flight, memoryview(b"x"), 5.0)
        assert flight.due() == pytest.approx(expected)


@given(st.floats(1e3, 1e10), st.floats(0, 10))
def test_as_much_may_be_under_way_as_the_link_holds(bandwidth, latency):
    assert Figures(bandwidth, latency).room >= min(bandwidth * latency, MAX_ROOM)


def test_a_slow_unit_fires_one_actor_after_the_other():
    unit = SlowUnit(7)
    assert unit.done(10.0, 1.0) == 17
    assert unit.done(11.0, 0.5) == pytest.approx(20.5)  # asked for while the first was still at it
    assert unit.done(30.0, 1.0) == 37
