"""The state of a deployed system, folded from what its programs say."""

import dataclasses
import json

from hypothesis import given
from hypothesis import strategies as st

from eprune.watch.state import EVENTS, MOMENTS, OLD, UNREACHABLE, Reported, Said, Silent, State, observe
from tests.kit.watched import SHAPE, report, reported, well


def test_a_system_that_is_well_has_rates_ages_and_fill():
    state = well()
    assert state.frames_per_s == 30
    assert state.rates == {"Camera": 30, "A+B": 30, "Track": 30}
    assert state.ages == {"Track.in": {"tokens": 300, "p50_ms": 21.0, "p99_ms": 34.0}}
    crossing = next(flow for flow in state.flows if flow.crosses)
    assert (crossing.fifo, crossing.source, crossing.target) == ("f2", "A+B", "Track")
    assert (crossing.bytes_per_s, crossing.fill, crossing.capacity, crossing.lost) == (3000, 2, 6, 0)
    assert not state.degraded


def test_nothing_is_known_at_first_and_that_is_not_well():
    state = State(SHAPE)
    assert state.degraded
    assert (state.frames_per_s, state.rates, state.missing) == (None, {}, {})
    assert [flow.tokens_per_s for flow in state.flows] == [None, None]


def test_a_device_that_cannot_be_asked_says_nothing_of_now_and_is_named_once():
    state = well(Silent("pi", 1001, "no route to host"), Silent("pi", 1002, "no route to host"))
    assert state.program("pi").health == UNREACHABLE
    assert state.rates == {"Track": 30}
    assert [(said.level, said.message) for said in state.events] == [("error", "no route to host")]
    assert state.degraded
    state = observe(state, reported("pi", 1003))
    assert [said.message for said in state.events] == ["no route to host", "it can be reached again"]
    assert state.rates["Camera"] == 30


def test_a_program_that_does_not_run_or_is_silent_has_no_rates():
    for seen in (
        reported("server", health="unhealthy", state="failed"),
        dataclasses.replace(reported("server"), age=OLD + 1, health="not yet"),
    ):
        state = well(seen)
        assert (state.frames_per_s, "Track" in state.rates) == (None, False)


def test_losses_at_both_ends_of_a_fifo_are_added_up():
    lossy = {**report("pi")["recent"], "lost": {"f2": 3}}
    late = {**report("server")["recent"], "lost": {"f2": 2}}
    state = well(reported("pi", recent=lossy), reported("server", recent=late))
    assert [flow.lost for flow in state.flows] == [0, 5]


def test_what_is_missing_makes_it_degraded():
    state = well(reported("server", missing=["Track.in"]))
    assert (state.missing, state.degraded) == ({"server": ["Track.in"]}, True)


def test_events_are_in_order_and_bounded_as_moments_are():
    said = [Said("pi", 1000 + (37 * n) % 1000, "info", str(n)) for n in range(1000)]
    state = well(*said)
    assert len(state.events) == EVENTS
    assert [each.at for each in state.events] == sorted(each.at for each in said)[-EVENTS:]
    for second in range(2 * MOMENTS):
        state = observe(state, reported("pi", 1000 + second / 2))
    assert len(state.moments) <= MOMENTS
    assert all(b.at - a.at >= 1 for a, b in zip(state.moments, state.moments[1:]))


keys = st.sampled_from(["recent", "fifos", "peers", "stalled", "missing", "ages", "firings", "state", "machine_load"])


@given(st.sets(keys), st.sampled_from(["pi", "server"]))
def test_programs_of_earlier_versions_say_less_and_are_understood(left_out, platform):
    from eprune.views.metrics import metrics
    from eprune.views.top import plain
    from eprune.views.watching import data

    told = {key: value for key, value in report(platform).items() if key not in left_out - {"peers", "stalled"}}
    told["fifos"] = {name: {"kind": end["kind"], "peer": end["peer"]} for name, end in told.get("fifos", {}).items()}
    told.setdefault("firings", {})
    told.setdefault("state", "running")
    state = well(Reported(platform, 1001, "healthy", "", None, 0, told, 0.1))
    assert json.dumps(data(state))
    assert metrics(state, [])
    assert plain(state)
