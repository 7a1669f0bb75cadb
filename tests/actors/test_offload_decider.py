"""The actor that decides where a network runs: what it expects, what it learns, and what it withstands."""

from __future__ import annotations

import math
import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from offload_costs import Costs, Figures, Gate
from offload_decider import OffloadDecider

from eprune.measure.replay import AnsweredFrame, WayRun
from eprune.runtime.net.conditions import read_changes
from scripts import traces
from tests.actors.driver import fired, prepared


def decider(kind=OffloadDecider, ready=True, **parameters):
    given_ = {"here": "1,1,1", "rest": "0.3,0.2,0.1", "bytes": "300,100,10", "bandwidth": "100", **parameters}
    made = kind(**given_)
    token = "float32[4]"
    outputs = {"local": token, "raw": token}
    if parameters.get("exits"):
        outputs["plan"] = f"float64[{2 + len(parameters['exits'].split(','))}]"
    return prepared(made, {"in": token, "report": "float64[6]"}, outputs)


class World:
    """A device, a link and a server in simulated time; ``deep`` frames are under way at once.

    ``own`` and ``other``: seconds of each block; what happens to the next frame is what the attributes then say.
    """

    def __init__(self, each, own, other, bandwidth, latency, deep=1):
        self.each, self.own, self.other = each, own, other
        self.bandwidth, self.latency, self.deep = bandwidth, latency, deep
        self.now = 100.0
        self.count = 0
        self.notes = []
        self.waiting = []
        self.shaken = lambda: 1.0
        each.clock = lambda: self.now
        each.tell = self.notes.append

    def latency_of(self, cut, padding=0):
        """The parts of what a frame takes."""
        away = cut < len(self.own)
        nbytes = self.each.costs.stated.nbytes[cut] + padding if away else 0
        link = 2 * self.latency + nbytes / self.bandwidth if away else 0.0
        return sum(self.own[:cut]), link, sum(self.other[cut:]) if away else 0.0

    def total(self, cut):
        return sum(self.latency_of(cut))

    @property
    def best(self):
        return min(map(self.total, range(len(self.own) + 1)))

    def frame(self):
        """One frame; its cut."""
        report = np.zeros(6)
        if len(self.waiting) >= self.deep:
            report = self.waiting.pop(0)
            self.now = max(self.now, report[1])
        cut = self.each.control({"in": np.zeros(4, np.float32), "report": report})
        padding = self.each.under_way[-1].padding
        near, link, there = (each * self.shaken() for each in self.latency_of(cut, padding))
        self.count += 1
        away = cut < len(self.own)
        sent = (self.now + near if away else 0.0, cut, self.each.costs.stated.nbytes[cut] + padding if away else 0)
        self.waiting.append(np.array([self.count, self.now + near + link + there, *sent, there]))
        return cut

    def frames(self, count):
        return [self.frame() for _ in range(count)]


# What is expected.


def test_the_cheapest_cut_is_chosen_for_each_objective():
    # Seconds: 0 + 3 + .3, 1 + 1 + .2, 2 + .1 + .1, 3.
    assert decider().expected() == pytest.approx([3.3, 2.2, 2.2, 3])
    assert decider(latency="0.1").decide() in (1, 2)
    assert decider(bandwidth="1e9").decide() == 0
    assert decider(bandwidth="1").decide() == 3
    assert decider(objective="endpoint").decide() == 0
    assert decider(objective="bytes").decide() == 3


def test_energy_counts_computing_waiting_and_sending():
    # 5 W while it computes, 1 W while it waits, 10 W more while it sends.
    each = decider(objective="energy", watts="5,1,10")
    assert each.expected() == pytest.approx([3.3 + 30, 5 + 1.2 + 10, 10 + 0.2 + 1, 15])


figures = st.integers(1, 5).flatmap(
    lambda count: st.tuples(
        st.lists(st.floats(0.001, 1), min_size=count, max_size=count),
        st.lists(st.floats(0, 1), min_size=count, max_size=count),
        st.lists(st.integers(1, 1000), min_size=count, max_size=count),
        st.floats(100, 1e5),
        st.floats(0, 0.5),
        st.dictionaries(
            st.integers(1, max(count - 1, 1)), st.builds(Gate, st.floats(0, 1), st.floats(0, 0.1)), max_size=count - 1
        ),
    )
)


@given(figures, st.sampled_from(["latency", "endpoint", "bytes", "energy"]))
def test_with_exits_the_choice_is_optimal_stopping(stated, objective):
    """The recursion, and every policy there is: go on or send after each block, whatever happened before."""
    costs = Costs(Figures(*stated))
    here, gates, count = stated[0], stated[5], len(stated[0])
    watts = (3.0, 0.5, 2.0)
    own, away, sending, size = {
        "latency": (1, 1, 0, 0), "endpoint": (1, 0, 0, 0), "bytes": (0, 0, 0, 1), "energy": (*watts, 0),
    }[objective]  # fmt: skip

    def sent(cut):
        return away * costs.far(cut) + (sending / stated[3] + size) * stated[2][cut]

    def step(cut):
        gate = gates.get(cut + 1, Gate(0, 0))
        return own * (here[cut] + gate.seconds), 1 - gate.share

    value = 0.0
    for cut in reversed(range(count)):
        spent, stays = step(cut)
        value = min(sent(cut), spent + stays * value)
    found = costs.expected(objective, watts)
    assert min(found) == pytest.approx(value)
    policies = []
    for goes in product([False, True], repeat=count):
        total, coming = 0.0, 1.0
        for cut in range(count):
            if not goes[cut]:
                total += coming * sent(cut)
                break
            spent, stays = step(cut)
            total, coming = total + coming * spent, coming * stays
        policies.append(total)
    assert min(found) == pytest.approx(min(policies))


def test_frames_that_leave_make_going_on_cheaper():
    plain, leaving = decider(bandwidth="1e9"), decider(bandwidth="1e9", exits="1", shares="0.9", rest="2,2,2")
    assert plain.decide() == 0
    assert leaving.expected() == pytest.approx([2, 1.2, 1.3, 1.2], abs=1e-3)


def test_before_a_frame_has_been_there_heartbeats_say_how_long_the_way_is():
    """And after a second in which none was; what a frame took counts for more."""
    each = decider(here="0.1,0.1,0.1", bandwidth="1e9", latency="0.05", rest="0.02,0.02,0.02", probe="0")
    world = World(each, [0.1, 0.1, 0.1], [0.01, 0.005, 0.005], 1e9, 0.05)
    heard = {"there": 4.0}
    each.round_trip = heard.get
    assert world.frame() == 3
    heard["there"] = 0.001
    assert [world.frame() for _ in range(6)][-1] == 0
    assert each.costs.delay == pytest.approx(0.1, rel=0.1)  # as frames say, not heartbeats
    heard["there"] = 3.0
    world.frame()
    assert each.costs.delay == pytest.approx(0.1, rel=0.1)
    each.fixed = 3
    for told in (3.1, 3.2, 3.3, 3.4, 3.5):
        heard["there"] = told
        world.frame()
    assert each.costs.delay == 3.5


def test_a_plan_says_what_becomes_of_a_frame_behind_each_exit():
    each = decider(exits="1,2", bandwidth="1e9", within="60", fixed="3")
    each.clock = lambda: 50.0
    outputs = {"local": np.zeros(4, np.float32), "plan": np.zeros(4)}
    inputs = {"in": np.zeros(4, np.float32), "report": np.zeros(6)}
    assert each.control(inputs) == 1
    each.fire(inputs, outputs)
    # From the first exit it is one second to the second one, from there one to the answer.
    assert outputs["plan"].tolist() == [3, 110, 1, 1]


def test_a_limit_leaves_the_objective_the_cuts_that_keep_it():
    each = decider(objective="bytes", within="2.5")
    assert each.expected() == [math.inf, 100, 10, math.inf]
    assert each.decide() == 2
    # Where none keeps it, the fastest.
    assert decider(objective="bytes", within="0.1", latency="0.1").decide() == 1


def test_where_no_cut_keeps_the_limit_the_last_exit_in_time_is_taken():
    slow = {"exits": "1,2", "latency": "5"}
    assert decider(within="2.5", **slow).decide() == 2
    assert decider(within="1.5", **slow).decide() == 1
    # None is: the first one, for the rest would take longer still.
    assert decider(within="0.5", **slow).decide() == 1


# Changing its mind.


def test_a_new_choice_must_be_better_by_a_margin_for_some_frames():
    each = decider(bandwidth="1e9")
    assert each.decide() == 0
    each.costs.slower["there"] = 10.3  # 3.09 seconds there, 3 here
    assert each.decide() == 0
    each.costs.slower["there"] = 12.0
    assert [each.decide() for _ in range(4)] == [0, 0, 3, 3]
    # What is far worse is left at once.
    each.costs.slower["there"] = 1.0
    assert each.decide() == 0
    stubborn = decider(bandwidth="1e9", margin="0.5", patience="2")
    assert stubborn.decide() == 0
    stubborn.costs.slower["there"] = 12.0
    assert [stubborn.decide() for _ in range(4)] == [0] * 4
    stubborn.margin = 0.1
    assert [stubborn.decide() for _ in range(2)] == [0, 3]


def world(deep=1, wrong=(1, 1, 1, 1), **parameters):
    """Four blocks of 10 ms, 1 ms there; ``wrong``: how many times more than is true, what is stated of blocks here and
    there, bandwidth and latency.
    """
    own, other, nbytes = [0.01] * 4, [0.001] * 4, (100_000, 50_000, 20_000, 500)
    here = ",".join(str(each * wrong[0]) for each in own)
    rest = ",".join(str(sum(other[cut:]) * wrong[1]) for cut in range(4))
    given_ = {
        "here": here, "rest": rest, "bytes": ",".join(map(str, nbytes)), "bandwidth": str(1e7 * wrong[2]),
        "latency": str(0.001 * wrong[3]), **parameters,
    }  # fmt: skip
    return World(decider(**given_), own, other, 1e7, 0.001, deep)


@pytest.mark.parametrize("wrong", list(product((0.1, 1, 10), repeat=4)))
def test_a_profile_of_another_machine_is_said_and_corrected_within_30_frames(wrong):
    each = world(wrong=wrong)
    each.frames(30)
    settled = [each.total(cut) for cut in each.frames(60)]
    assert np.median(settled) <= 1.1 * each.best
    assert len(each.notes) <= 3 and (each.notes or wrong[0] == wrong[1] == 1 or 1 in wrong[:2])
    assert all("times what was stated" in note for note in each.notes)


def test_bandwidth_and_latency_are_told_apart():
    each = world(wrong=(1, 1, 5, 0.2), probe="5")
    for cut in (0, 3, 1, 3, 0, 3, 2, 3, 0, 3) * 3:
        each.each.fixed = cut
        each.frame()
    costs = each.each.costs
    assert 1 / costs.pace == pytest.approx(1e7, rel=0.05)
    assert costs.delay == pytest.approx(0.002, rel=0.1)
    assert costs.slower == pytest.approx({"here": 1, "there": 1}, rel=0.05)


@pytest.mark.parametrize("what", ["bandwidth", "latency", "server", "device"])
def test_what_gets_worse_and_better_again_is_followed(what):
    each = world()
    each.frames(50)
    before = each.total(each.frame())
    usual = each.own, each.other, each.bandwidth, each.latency
    if what == "bandwidth":
        each.bandwidth /= 100
    elif what == "latency":
        each.latency *= 100
    elif what == "server":
        each.other = [10 * each_ for each_ in each.other]
    else:
        each.own = [10 * each_ for each_ in each.own]
    # Three frames tell that it is so, not many more.
    worse = each.frames(100)
    assert np.mean([each.total(cut) for cut in worse[10:]]) <= 1.15 * each.best
    each.own, each.other, each.bandwidth, each.latency = usual
    each.frames(400)
    better = [each.total(cut) for cut in each.frames(50)]
    assert np.median(better) <= 1.1 * before


def test_what_another_decider_expects_takes_the_place_of_what_is_stated():
    each = decider(bandwidth="1e9")
    each.control({"in": np.zeros(4, np.float32), "report": np.zeros(9)})
    now = each.under_way[0].begun
    # The frame was sent as it is; the other side took as long as it expected, much longer than stated.
    each.control({"in": np.zeros(4, np.float32), "report": np.array([1, now + 5, now, 0, 300, 5, 5, 4, 0.05])})
    assert each.costs.rest == [5, 4, 0.05, 0] and each.costs.slower["there"] == 1
    assert each.decide() == 2


def test_how_large_tokens_really_are_is_learned():
    costs = Costs(Figures([1, 1], [2, 1], [1000, 500], 100.0, 0.0))
    for _ in range(30):
        costs.learn_far(1, 2.0, 1.0, 100)
    assert costs.nbytes == [1000, pytest.approx(100, abs=1), 0]


def test_what_is_expected_from_each_block_on_is_the_least_of_all_ways():
    costs = Costs(Figures([1, 1, 5], [0.5, 0.4, 0.3], [1000, 10, 10], 100.0, 0.25))
    # Sent: 0.5 + 10 + 0.5, 0.5 + 0.1 + 0.4, 0.5 + 0.1 + 0.3; computed: 7, 6, 5.
    assert costs.values() == pytest.approx([2.0, 1.0, 0.9])


def test_trying_costs_little_of_the_time_and_nothing_where_it_could_change_nothing():
    each = world()
    each.bandwidth = 2e4
    each.frames(20)
    begin, chosen = each.now, each.frames(1000)
    best = each.best
    spent = each.now - begin - 1000 * best
    assert any(cut < 4 for cut in chosen)
    assert spent <= 0.11 * (each.now - begin)
    # A link that is slow, as is stated: were it twice as fast, it would be too slow still.
    for more in ({"bandwidth": "2e4"}, {"probe": "0"}):
        quiet = world(**more)
        quiet.bandwidth = 2e4
        quiet.frames(20)
        assert set(quiet.frames(300)) == {4}


def test_nothing_is_sent_to_try_it_where_only_bytes_count():
    each = world(objective="bytes")
    assert set(each.frames(300)) == {4}


def test_a_link_that_goes_dead_holds_up_what_was_sent_and_no_more():
    each = world(deep=4)
    each.frames(40)
    assert each.frame() == 0
    each.bandwidth = 1000.0  # a hundred seconds for a frame
    sent = each.frames(1)
    # Frames come every 30 ms, and nothing is heard of the first one.
    following = []
    for _ in range(3):
        each.now += 0.03
        following.append(each.frame())
    assert sent == [0]
    assert following[-1] == 4 or following[-1] == 3


def test_a_server_that_is_ten_times_slower_in_mid_frame():
    each = world(bandwidth="1e9")
    each.bandwidth = 1e9
    each.frames(40)
    each.other = [0.05] * 4
    assert len([cut for cut in each.frames(30) if cut < 3]) <= 5


# What it withstands.


class Raising(OffloadDecider):
    def decide(self):
        raise ZeroDivisionError("oh")


class Absurd(OffloadDecider):
    def decide(self):
        return 17


class Slow(OffloadDecider):
    asked = 0

    def decide(self):
        self.asked += 1
        self.world.now += 0.5
        return 2


@pytest.mark.parametrize(("kind", "words"), [(Raising, "ZeroDivisionError: oh"), (Absurd, "17 is no cut")])
def test_where_deciding_fails_everything_runs_here(kind, words):
    each = World(decider(kind, probe="0"), [1.0] * 3, [0.1] * 3, 100.0, 0.0)
    assert each.frames(5) == [3] * 5
    assert len(each.notes) == 1 and words in each.notes[0] and "all blocks run here" in each.notes[0]


def test_a_slow_decision_holds_for_several_frames():
    each = World(decider(Slow, probe="0", bandwidth="1e9"), [1.0] * 3, [0.1] * 3, 1e9, 0.0)
    each.each.world = each
    assert each.frames(100) == [2] * 100
    assert each.each.asked < 30
    assert "deciding takes 500 ms" in each.notes[0]


def test_a_frame_goes_to_the_first_block_or_as_it_is():
    outputs = fired(decider(), **{"in": [1, 2, 3, 4], "report": [0] * 6})
    assert outputs["local"].tolist() == outputs["raw"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "parameters",
    [
        {"here": "1,2"},
        {"bandwidth": "0"},
        {"objective": "speed"},
        {"watts": "1,2"},
        {"objective": "energy"},
        {"fixed": "4"},
        {"probe": "-1"},
        {"rest": "a,b,c"},
        {"exits": "3"},
        {"exits": "2,1"},
        {"exits": "1", "shares": "2"},
        {"exits": "1", "shares": "0.5,0.5"},
        {"between": "one"},
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters):
    with pytest.raises(ValueError, match="watts" if parameters == {"objective": "energy"} else next(iter(parameters))):
        decider(**parameters)


def test_what_was_learned_is_a_trace(tmp_path):
    each = world(trace=str(tmp_path / "t.csv"), log=str(tmp_path / "log.csv"), between="phone,server")
    each.frames(50)
    each.bandwidth /= 50
    each.frames(200)
    each.own = [5 * each_ for each_ in each.own]
    each.frames(200)
    each.each.finalize()
    changes = read_changes((tmp_path / "t.csv").read_text().splitlines(), "t.csv")
    assert (changes[0].seconds, changes[0].bandwidth, changes[0].latency) == (0, 1e7, 0.001)
    links = [change.bandwidth for change in changes if change.peer]
    assert min(links) == pytest.approx(2e5, rel=0.3)
    loads = {change.platform: change.slowdown for change in changes if not change.peer}
    assert loads["phone"] == pytest.approx(5, rel=0.1)
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert rows[0] == "seconds,blocks,latency,exit,bytes,here,link,there" and len(rows) > 400


# On whole traces.

ORACLE = "oracle"


def mean_over(kind, seed, way):
    """The mean latency over a trace in simulated time, all parts of frames noisy; ``way``: a cut, ORACLE, or None."""
    own = [0.012, 0.022, 0.004, 0.002]
    usual = [seconds / 7 for seconds in own]
    draw = random.Random(seed)
    due = list(traces.TRACES[kind](20.0, "endpoint", "server"))
    # What is stated of the blocks is three times too fast.
    stated = {
        "here": ",".join(str(seconds / 3) for seconds in own),
        "rest": ",".join(str(sum(usual[cut:]) / 3) for cut in range(4)),
        "bytes": "110600,294920,73736,408",
    }
    bandwidth, latency = traces.ETHERNET
    each = World(decider(**stated, bandwidth=str(bandwidth), latency=str(latency)), own, usual, bandwidth, latency)
    each.shaken = lambda: math.exp(draw.gauss(0, 0.1))
    each.each.fixed = None if way == ORACLE else way
    begin, frames = each.now, []
    while True:
        now = (each.waiting[0][1] if each.waiting else each.now) - begin
        while due and float(due[0][0]) <= now:
            _, _, peer, *figures, slowdown = due.pop(0)
            if peer:
                each.bandwidth, each.latency = map(float, figures)
            else:
                each.other = [float(slowdown) * seconds for seconds in usual]
        if now >= 20:
            return WayRun("", tuple(frames), 0.0).mean(20.0)
        if way == ORACLE:
            each.each.fixed = min(range(5), key=each.total)
        cut = each.frame()
        frames.append(AnsweredFrame(each.now - begin, cut, each.waiting[-1][1] - each.now))


@pytest.mark.parametrize(("kind", "most"), [("steps", 0.2), ("walk", 0.1), ("load", 0.14)])
def test_on_a_trace_it_is_near_to_the_oracle_and_better_than_any_fixed_cut(kind, most):
    oracle, found = (np.array([mean_over(kind, seed, way) for seed in range(1, 6)]) for way in (ORACLE, None))
    assert np.mean(found / oracle - 1) <= most, found / oracle - 1
    assert np.mean(found) < min(mean_over(kind, 1, cut) for cut in range(5))
