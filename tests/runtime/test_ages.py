"""How old tokens are: within a platform, over links, on hosts whose clocks differ; what becomes of those too old."""

import json
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.deploy.ports import free_base_port
from eprune.runtime.kernel.ages import UNBORN, Ages
from eprune.runtime.net import clocks
from tests.kit import stamps
from tests.kit.programs import finish, start, write_program

TYPE = "'float64', (2,)"


@pytest.fixture
def port():
    return free_base_port(4)


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=300))
def test_percentiles_are_those_of_the_ages_to_within_two_percent(nanoseconds):
    ages = Ages()
    for age in nanoseconds:
        ages.add(age)
    summary = ages.summary()
    ordered = sorted(nanoseconds)
    assert summary.tokens == len(ordered)
    for found, share in ((summary.p50_ms, 0.5), (summary.p99_ms, 0.99)):
        right = ordered[int(np.ceil(share * len(ordered) - 1e-9)) - 1] / 1e6
        assert found == pytest.approx(right, rel=0.02, abs=0.001)


def test_a_token_that_comes_from_no_source_has_no_age():
    ages = Ages()
    ages.add(10**15 - UNBORN)
    assert ages.summary() is None


@given(
    st.integers(-(10**13), 10**13),
    st.lists(st.tuples(st.integers(10, 10**6), st.integers(10, 10**6)), min_size=1, max_size=20),
)
def test_the_offset_of_two_clocks_is_known_as_well_as_is_said(offset, delays):
    """Heartbeats go back and forth, each under way for as long as it likes."""
    here, there = clocks.Comparison(), clocks.Comparison()
    now = 10**15
    for number, (out, back) in enumerate(delays):
        sent, least = now, here.least
        now += out
        there.heard(number, now + offset, sent, least)
        sent, least = now + offset, there.least
        now += back
        here.heard(number, now, sent, least)
    assert abs(here.offset - offset) <= here.uncertainty + 1
    assert here.uncertainty <= max(min(out for out, _ in delays), min(back for _, back in delays))


def test_clocks_that_drift_are_compared_anew():
    """A part in ten thousand, for an hour."""
    here, there = clocks.Comparison(), clocks.Comparison()
    for second in range(3600):
        now = 10**15 + second * 10**6
        skew = second * 100
        there.heard(second, now + skew + 500, now, here.least)
        here.heard(second, now + 1000, now + skew + 500, there.least)
    assert abs(here.offset - 3599 * 100) < 2 * clocks.WINDOW * 100 + 1000


@given(st.integers(0, 3_000_000_000), st.one_of(st.integers(-(10**15), 10**15)))
def test_a_birth_survives_the_wire_whatever_the_clocks(age, offset):
    """The ages are in microseconds, up to fifty minutes; the sender's clock is ``offset`` ahead."""
    import time

    birth = time.perf_counter_ns() - 1000 * age
    sent = (clocks.to_wire(birth) + offset) % 2**32 or 1
    assert abs(clocks.from_wire(sent, offset) - birth) < 50_000_000
    several = np.array([sent, 0, sent], ">u4")
    for found, right in zip(clocks.all_from_wire(several, offset), (birth, UNBORN, birth)):
        assert abs(found - right) < 50_000_000
    assert abs(clocks.all_from_wire(several[:1], offset)[0] - birth) < 50_000_000
    assert clocks.from_wire(sent, None) == clocks.from_wire(0, offset) == UNBORN


def run_all(tmp_path, *programs):
    running = [start(program, "--record", f"{program}.json", "--status", f"{program}.status") for program in programs]
    for process in running:
        code, _, err = finish(process)
        assert code == 0, err
    return [json.loads((tmp_path / f"{program.name}.json").read_text()) for program in programs]


def stage(tmp_path, name, seconds, more=""):
    parameters = {"file": str(tmp_path / name), "seconds": str(seconds)}
    return f"actor({name!r}, 'ACTORS:Stamps', 'cpu', {parameters}{more})"


def source(kind="Paced", n=20):
    return f"actor('C', 'ACTORS:{kind}', 'cpu', {{'n': '{n}', 'period': '0.05'}})"


def assert_age(record, tmp_path, name="S", port="in", off=0.0):
    """The age in the record is that which the sink has seen, plus what the source took until it had its token."""
    seen = 1e3 * statistics.median(stamps.read(tmp_path / name).ages(port))
    age = record["actors"][name]["inputs"][port]
    assert seen - 1 - off <= 1.02 * age["age_p50_ms"]
    assert age["age_p50_ms"] <= 1.05 * (seen + 51) + 20 + off
    assert age["age_p50_ms"] <= age["age_p99_ms"]


def test_the_age_of_a_token_is_the_time_since_its_source_fired(tmp_path):
    """Through an actor that takes 40 ms, and with a state that is fed back, which does not age the tokens."""
    program = write_program(
        tmp_path,
        "one",
        source(),
        stage(tmp_path, "D", 0.04),
        stage(tmp_path, "S", 0),
        f"fifo('f', 'C.out', 'D.in', {TYPE}, capacity=1)",
        f"fifo('g', 'D.out', 'S.in', {TYPE}, capacity=1)",
        f"fifo('state', 'D.state', 'D.before', {TYPE}, capacity=2, delay=1)",
    )
    (record,) = run_all(tmp_path, program)
    assert_age(record, tmp_path)
    status = json.loads((tmp_path / "one.py.status").read_text())
    age = record["actors"]["S"]["inputs"]["in"]
    assert status["ages"] == {"S.in": {"tokens": 20, "p50_ms": age["age_p50_ms"], "p99_ms": age["age_p99_ms"]}}


@pytest.mark.parametrize("policy", ["stop", "drop"])
def test_what_a_source_waits_for_does_not_age_its_tokens(tmp_path, policy):
    """It waits for 50 ms in each firing, and says when that is over; nobody else takes any time."""
    fifo = f"fifo('f', 'C.out', 'S.in', {TYPE}, capacity=3, policy='{policy}')"
    (record,) = run_all(tmp_path, write_program(tmp_path, "one", source("Awaited"), stage(tmp_path, "S", 0), fifo))
    camera = record["actors"]["C"]
    assert record["actors"]["S"]["inputs"]["in"]["age_p50_ms"] < 25
    assert camera["waiting_s"] > 0.5 > camera["busy_s"]


@pytest.mark.parametrize("policy", ["stop", "drop", "newest"])
@pytest.mark.parametrize("kind", ["Paced", "PacedAhead"])
def test_over_a_link_too_whatever_the_clocks_of_the_hosts(tmp_path, port, policy, kind):
    link = f"{TYPE}, capacity=3, port={port}, policy='{policy}'"
    aligned = policy != "stop"
    near = write_program(
        tmp_path, "near", source(kind), f"tx('f', 'C.out', {link}, to='far', address='127.0.0.1')", aligned=aligned
    )
    far = write_program(
        tmp_path, "far", stage(tmp_path, "S", 0), f"rx('f', 'S.in', {link}, frm='near')", aligned=aligned
    )
    first, second = run_all(tmp_path, near, far)
    clock = second["peers"]["near"]
    assert_age(second, tmp_path, off=clock["clock_uncertainty_ms"])
    ahead = 3_600_000 if kind == "PacedAhead" else 0
    for offset, peer in ((ahead, clock), (-ahead, first["peers"]["far"])):
        # The two processes read the time of day and their steady clock one after the other.
        assert peer["clock_offset_ms"] == pytest.approx(offset, abs=peer["clock_uncertainty_ms"] + 5)
    status = json.loads((tmp_path / "far.py.status").read_text())
    assert status["peers"]["near"].items() >= clock.items()


@pytest.mark.long
@pytest.mark.parametrize(("limit", "used"), [(0.1, False), (60, True)])
def test_a_token_older_than_max_age_is_missing(tmp_path, port, limit, used):
    link = f"{TYPE}, capacity=1, port={port}, policy='drop'"
    near = write_program(
        tmp_path,
        "near",
        source(n=10),
        stage(tmp_path, "D", 0.2),
        f"fifo('f', 'C.out', 'D.in', {TYPE}, capacity=1)",
        f"tx('g', 'D.out', {link}, to='far', address='127.0.0.1')",
        aligned=True,
    )
    more = f", optional=('old',), max_age={{'old': {limit}}}, groups=(('old',), ('new',))"
    far = write_program(
        tmp_path,
        "far",
        source(n=60),
        stage(tmp_path, "S", 0, more),
        f"fifo('h', 'C.out', 'S.new', {TYPE}, capacity=1)",
        f"rx('g', 'S.old', {link}, frm='near')",
        aligned=True,
    )
    _, record = run_all(tmp_path, near, far)
    seen = stamps.read(tmp_path / "S")
    assert bool(seen.of("old")) == used
    inputs = record["actors"]["S"]["inputs"]
    assert inputs["new"].items() >= {"with_token": 60, "held": 0, "zeros": 0, "missing": 0}.items()
    assert inputs["old"]["with_token"] == len(seen.of("old"))
    assert inputs["old"]["missing"] == len(seen) - len(seen.of("old"))
