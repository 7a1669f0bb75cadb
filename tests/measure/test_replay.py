"""Traces of links and units: what a file may say, what it does to a run, and how ways of offloading are compared."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from eprune.cli.main import cli
from eprune.measure import replay as replaying
from eprune.measure.plans import offload as plan
from eprune.measure.replay import (
    EXITS,
    OFFLOAD,
    ORACLE,
    RANDOM,
    AnsweredFrame,
    Replay,
    WayRun,
    block_times,
    moments,
    read_frames,
)
from eprune.model.graph import Actor, Graph
from eprune.model.platform import Platform, Unit
from eprune.model.system import System
from eprune.passes import offload
from eprune.passes.exits import Exit
from eprune.runtime.kernel.errors import UsageError
from eprune.runtime.main.files import Files
from eprune.runtime.net.conditions import FIELDS, changes_of, read_changes
from eprune.runtime.net.emulation import Emulation
from eprune.runtime.net.shaping import Arrivals, Figures, Flight
from scripts import traces

ROOT = Path(__file__).resolve().parents[2]
HEADER = ",".join(FIELDS)


def changes(*rows):
    return read_changes([HEADER, *rows], "t.csv")


def test_a_trace_says_what_changes_and_when():
    first, second, third = changes("0,a,b,2e6,0.005,", "", "10,b,a,,0.05,", "20.5,b,,,,4")
    assert (first.bandwidth, first.latency, first.slowdown) == (2e6, 0.005, None)
    assert (second.seconds, second.bandwidth, second.latency) == (10, None, 0.05)
    assert (third.platform, third.peer, third.slowdown) == ("b", "", 4)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0,a,b,2e6", "t.csv:2: 4 fields; expected 6"),
        ("x,a,b,2e6,,", "t.csv:2: 'x' is not a number"),
        ("nan,a,b,2e6,,", "t.csv:2: 'nan' is not a number"),
        (",a,b,2e6,,", "t.csv:2: seconds=''"),
        ("-1,a,b,2e6,,", "t.csv:2: seconds='-1'"),
        ("0,,b,2e6,,", "name a platform"),
        ("0,a,a,2e6,,", "name a platform"),
        ("0,a,b,0,,", "bandwidth='0': expected at least 1000 bytes per second"),
        ("0,a,b,,-1,", "latency='-1'"),
        ("0,a,,,,0.5", "slowdown='0.5': expected 1 or more"),
        ("0,a,b,,,3", "a row with a peer has a bandwidth or a latency"),
        ("0,a,,1e6,,", "a row with a peer has a bandwidth or a latency"),
        ("0,a,b,,,", "a row with a peer has a bandwidth or a latency"),
    ],
)
def test_a_row_that_makes_no_sense_is_named(row, message):
    with pytest.raises(UsageError, match=message):
        changes(row)


def test_time_does_not_run_backwards_in_a_trace():
    with pytest.raises(UsageError, match=r"t.csv:3: seconds='4'"):
        changes("5,a,,,,2", "4,a,,,,3")


@given(st.lists(st.text(max_size=30), max_size=5))
def test_noise_is_no_trace_or_one(lines):
    try:
        read_changes(lines, "t.csv")
    except UsageError as error:
        assert str(error).startswith("t.csv")


def test_a_trace_without_rows_or_a_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="the trace has no rows"):
        changes()
    with pytest.raises(UsageError, match="expected seconds,platform"):
        read_changes(["time,link"], "t.csv")
    with pytest.raises(UsageError, match="No such file"):
        changes_of(str(tmp_path / "none.csv"), "a")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"binary.csv"):
        moments(str(tmp_path / "binary.csv"))


def test_each_platform_takes_its_own_rows_whichever_end_is_named_first(tmp_path):
    (tmp_path / "t.csv").write_text("\n".join([HEADER, "0,a,b,2e6,,", "1,b,c,3e6,,", "2,b,,,,2"]))
    assert [(each.peer, each.bandwidth) for each in changes_of(str(tmp_path / "t.csv"), "b")] == [
        ("a", 2e6), ("c", 3e6), ("", None),
    ]  # fmt: skip
    assert [each.peer for each in changes_of(str(tmp_path / "t.csv"), "a")] == ["b"]


def test_a_change_holds_for_what_is_sent_and_what_arrives_from_then_on():
    emulation = Emulation({"peer": Figures(1e6, 0.0)}, {"cpu": 2.0}, changes("0,peer,,,,3", "0,own,peer,5e5,0.2,"))
    link = emulation.links["peer"]
    arrivals = link.arrive(Figures(1e6, 0.0))
    emulation._changes = [each._replace(seconds=0) for each in emulation._changes]
    emulation._follow(0.0)
    assert link.pacer.bandwidth == 5e5
    assert arrivals.latency == 0.2 == link.arrive(Figures(1e6, 0.0)).latency
    flight = Flight()
    Arrivals.schedule(arrivals, flight, memoryview(b"x"), 10.0)
    assert flight.due() == pytest.approx(10.2, abs=0.02)  # but for what the emulation takes itself
    assert emulation._units["cpu"].slowdown == 6.0


def way(name, *frames):
    return WayRun(name, tuple(AnsweredFrame(*frame) for frame in frames), 10.0)


def test_each_part_of_the_trace_counts_the_same_however_many_frames_it_had():
    # A second of ten quick frames, and one of a single slow one.
    quick = [(k / 10, 0, 0.1) for k in range(10)]
    both = way("0", *quick, (1.0, 0, 1.0))
    assert both.mean(2.0) == pytest.approx(0.55)
    assert math.isnan(way("0").mean(2.0)) and math.isnan(way("0").p95)
    assert both.within(0.2) == pytest.approx(10 / 11)


def test_regret_is_over_the_oracle_and_the_frames_after_a_change_are_counted_apart():
    good = way(ORACLE, *[(k / 100, 1, 0.1) for k in range(400)])
    slow = [(2 + k / 100, 1, 0.5 if k < 30 else 0.1) for k in range(200)]
    learner = way(OFFLOAD, *[(k / 100, 0, 0.1) for k in range(200)], *slow)
    fixed = way("1", *[(k / 100, 1, 0.2) for k in range(400)])
    replay = Replay((("A",),), (1.0,), (1.0,), 4.0, (2.0,), (fixed, learner, good))
    assert replay.regret(learner) == pytest.approx(0.3)
    assert replay.regret(learner, settled=True) == pytest.approx(0.0)
    assert replay.regret(fixed) == pytest.approx(1.0)
    assert replay.best_static is fixed
    assert (learner.switches, fixed.switches) == (1, 0)
    assert math.isnan(Replay((), (), (), 4.0, (), (learner,)).regret(learner))


def test_the_log_of_a_decider_is_read():
    columns = "seconds,blocks,latency,exit,bytes,here,link,there"
    rows = [columns, "0.5,2,0.25,1,0,0.25,0,0", "1,4,0.5,0,0,0.5,0,0", "2,3,0.5,0,9,0.1,0.2,0.2"]
    found = read_frames(rows)
    assert found[:2] == (AnsweredFrame(0.5, 2, 0.25, 1), AnsweredFrame(1, 4, 0.5))
    run = WayRun(OFFLOAD, found, 0.0)
    assert (run.left, run.switches) == ((1,), 1)


def test_the_oracle_decides_by_the_trace(tmp_path):
    (tmp_path / "t.csv").write_text(
        "\n".join([HEADER, "0,phone,server,1e9,0.001,", "5,phone,server,1000,0.5,", "9,server,,,,2"])
    )
    oracle = Files(__file__).load_class(f"{ROOT / 'actors/offload_oracle.py'}:OffloadOracle")(
        foretold=str(tmp_path / "t.csv"), between="phone,server", here="1,1", rest="0.2,0.1", bytes="100,100"
    )
    assert oracle.decide() == 0
    for row in oracle.rows[1:]:
        oracle.apply(row)
    assert 1 / oracle.costs.pace == pytest.approx(1000) and oracle.costs.slower == {"here": 1.0, "there": 2.0}
    oracle.next = len(oracle.rows)
    assert oracle.expected() == pytest.approx([1.5, 2.3, 2.0])
    # What frames take teaches it nothing.
    report = np.array([1, 99.0, 98.0, 0, 100, 0.5])
    oracle.control({"report": np.zeros(6)})
    oracle.control({"report": report})
    assert oracle.costs.slower == {"here": 1.0, "there": 2.0}


def test_the_oracle_knows_how_long_the_device_really_takes(tmp_path):
    (tmp_path / "t.csv").write_text("\n".join([HEADER, "0,phone,server,1e9,0.001,"]))
    oracle = Files(__file__).load_class(f"{ROOT / 'actors/offload_oracle.py'}:OffloadOracle")(
        str(tmp_path / "t.csv"), "0.001,0.001", "1.5,0.7", "100,100", near="0.1,1,2", between="phone,server"
    )
    assert oracle.expected() == pytest.approx([1.5, 1.6, 1.9], abs=0.01)


def test_what_a_decider_expects_of_the_other_side_is_taken_from_its_parameters():
    given_ = {"rest": "0.3,0.1", "bytes": "100,50", "bandwidth": "1000", "latency": "0.01"}
    assert replaying.expected_far(given_) == pytest.approx((0.02 + 0.1 + 0.3, 0.02 + 0.05 + 0.1, 0))


def test_blocks_take_what_they_take_on_the_unit_that_is_fastest(monkeypatch):
    """The first unit of a platform may be one that takes no slices at all."""
    asked = []

    def timed(application, unit, interpreter, progress=None, allow_outside=False, pace=None):
        asked.append(unit.name)
        seconds = {"kernels": {}, "core": {"L1": 0.2, "L2": 0.4}, "npu": {"L2": 0.1}, "cpu": {"L1": 0.01, "L2": 0.02}}
        spread = {actor: [each, each] for actor, each in seconds[unit.name].items()}
        return {"actors": seconds[unit.name], "spread": spread, "rested": True, "interpreter": unit.name}

    monkeypatch.setattr("eprune.measure.timing.time_actors", timed)
    units = (Unit("kernels", opencl="0:0", slowdown=2), Unit("core", slowdown=2), Unit("npu", slowdown=3))
    system = System(Graph("g"), (Platform("device", units), Platform("server", (Unit("cpu"),))))
    found = block_times(system, "app.xml", offload.Options("device", ("server",)), [("L1",), ("L1", "L2")], None)
    assert asked == ["kernels", "core", "npu", "cpu"]
    assert found == [pytest.approx([0.4, 0.4 + 0.3]), pytest.approx([0.01, 0.03])]


def test_traces_are_made_for_each_kind_and_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["traces", str(tmp_path), "--seconds", "10", "--device", "phone"])
    traces.main()
    for name in traces.TRACES:
        found = changes_of(str(tmp_path / f"{name}.csv"), "phone")
        assert found and found[-1].seconds <= 10


def call(folder):
    """The command line of a replay of the vehicle classifier."""
    trace = folder / "t.csv"
    trace.write_text("\n".join([HEADER, "0,endpoint,server,1e7,0.001,", "0.5,endpoint,server,2e5,0.02,"]))
    deployed = ["-p", *(str(ROOT / "graphs" / f"{name}.xml") for name in ("endpoint", "server"))]
    deployed += ["-m", str(ROOT / "mappings/vehicle_split"), "--device", "endpoint", "--server", "server"]
    return ["replay", str(trace), str(ROOT / "graphs/vehicle.xml"), *deployed]


def test_what_is_asked_for_reaches_the_runs(tmp_path, monkeypatch):
    """Cuts, the interpreter, settings and the ways, all of them if none is named."""
    asked = {}

    def timed(application, platform, interpreter, allow_outside, emulate):
        asked["timed with"] = interpreter
        return {"actors": dict.fromkeys(("L1", "L2", "L3", "L4-L5"), 0.001), "slowdown": 1}

    def run(system, options, trace, changes, seconds, blocks, times, ways, settings, progress):
        asked.update(blocks=blocks, ways=ways, settings=settings, options=options)
        return Replay(blocks, (), (), seconds, (), (way("0", (0.0, 0, 0.1)),))

    monkeypatch.setattr(replaying, "time_platform", timed)
    monkeypatch.setattr(replaying, "replay", run)
    more = ["--cut", "L2", "--interpreter", "tflite-runtime", "--set", "Input.count=0"]
    done = CliRunner().invoke(cli, [*call(tmp_path), *more], prog_name="eprune")
    assert done.exit_code == 0, done.output
    assert "note: 0 ended after 0.0 of 30 s" in done.stderr
    assert asked["blocks"] == (("L1", "L2"), ("L3", "L4-L5"))
    assert asked["ways"] == ["0", "1", "2", OFFLOAD, ORACLE]
    assert asked["timed with"] == "tflite-runtime"
    assert asked["settings"] == {
        "endpoint": ["--set=Input.count=0", "--interpreter=tflite-runtime"],
        "server": ["--interpreter=tflite-runtime"],
    }
    assert (asked["options"].device, asked["options"].server) == ("endpoint", ("server",))
    failing = CliRunner().invoke(cli, [*call(tmp_path), "--cut", "Input"], prog_name="eprune")
    assert failing.exit_code == 2 and "--cut Input: the network consists of" in failing.output


def test_exits_are_fitted_as_asked_for_and_tried_beside_random_ones(tmp_path, monkeypatch):
    asked = {}

    def fitted(system, options, progress):
        asked["fit"] = options
        return replace(options, made=(Exit("f2", b"", 1, 0.5),), cut=("L1", "L2"))

    def run(system, options, trace, changes, seconds, blocks, times, ways, settings, progress):
        asked.update(blocks=blocks, ways=ways, options=options)
        left = way(EXITS, (0.0, 1, 0.1, 1), (0.1, 2, 0.1))
        return Replay(blocks, (), (), seconds, (), (left,))

    monkeypatch.setattr(plan, "planned", fitted)
    monkeypatch.setattr(replaying, "blocks_of", lambda *_: (("L1",), ("L2",), ("L3", "L4-L5")))
    monkeypatch.setattr(replaying, "block_times", lambda *_: [[1.0] * 3] * 2)
    monkeypatch.setattr(replaying, "replay", run)
    more = ["--cut", "L2", "--data", "some.npz", "--wish", "accuracy=0.9", "--at", "L1", "--exits", "2"]
    done = CliRunner().invoke(cli, [*call(tmp_path), *more], prog_name="eprune")
    assert done.exit_code == 0, done.output
    fit = asked["fit"]
    assert (fit.data, fit.wish, fit.at, fit.exits) == ("some.npz", "accuracy=0.9", ("L1",), 2)
    assert asked["ways"] == ["0", "1", "2", "3", OFFLOAD, EXITS, RANDOM, ORACLE]
    assert "exits, 50 % leave" in done.output
    # Those that leave at random are as many, whichever they are.
    gates = tuple(Actor(f"Exit{number}", (), parameters=(("threshold", "0.9"),)) for number in (1, 2))
    made = replaying._at_random(System(Graph("g", gates)), (0.25, 0.5))
    assert [dict(each.parameters) for each in made.graph.actors] == [
        {"threshold": "0.75", "measure": "random"},
        {"threshold": "0.5", "measure": "random"},
    ]


@pytest.mark.parametrize(("quiet", "shown"), [([], True), (["-q"], False)])
def test_progress_is_shown_unless_it_is_not_wanted(quiet, shown, tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(replaying, "block_times", lambda *_: [[1.0], [1.0]])
    monkeypatch.setattr(
        replaying, "replay", lambda *arguments: found.append(arguments[-1]) or Replay((), (), (), 1, (), ())
    )
    done = CliRunner().invoke(cli, [*call(tmp_path), *quiet], prog_name="eprune")
    assert done.exit_code == 0, done.output
    assert [each._quiet for each in found] == [not shown]


@pytest.mark.long
def test_a_network_is_replayed_and_compared(tmp_path):
    """Two ways over a second: the decider and everything on the device."""
    arguments = [*call(tmp_path), "--seconds", "1", "--way", "4", "--way", "offload", "--set", "Input.count=0"]
    arguments += ["--latency", "1s"]
    done = CliRunner().invoke(cli, [*arguments, "--format", "json"], prog_name="eprune")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [each["way"] for each in told["ways"]] == ["4", "offload"]
    assert told["changes_s"] == [0.5] and told["blocks"] == [["L1"], ["L2"], ["L3"], ["L4-L5"]]
    here, decided = told["ways"]
    assert here["switches"] == 0 and {cut for _, cut, _ in here["frames"]} == {4}
    assert len(decided["frames"]) > 10 and decided["within"] > 0.5
    for bad, message in (
        ("--way=7", "--way 7: there are 0, 1, 2, 3, 4, offload, oracle"),
        ("--latency=x", "--latency"),
    ):
        refused = CliRunner().invoke(cli, [*arguments, bad], prog_name="eprune")
        assert refused.exit_code == 2 and message in refused.output
