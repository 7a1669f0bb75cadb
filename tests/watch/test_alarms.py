"""Alarms: what is told of a state, once; and the commands that are run for it."""

import os
from pathlib import Path

import pytest

from eprune.deploy import alarming
from eprune.deploy.alarming import Commands
from eprune.runtime.tell import judge
from eprune.runtime.tell.judge import Required
from eprune.watch.alarms import HOLD, KINDS, Alarm, Limits, Raised, alarms
from eprune.watch.drift import Expected, advice, drifts
from eprune.watch.state import Silent, observe
from tests.kit.programs import ROOT
from tests.kit.waiting import until
from tests.kit.watched import report, reported, well

NONE = Limits()
LOST = Alarm("lost", "pi", "server", "pi has lost server")


def told(state, limits=NONE):
    return [(alarm.kind, alarm.platform, alarm.subject) for alarm in alarms(state, limits)]


def test_a_system_that_is_well_gives_no_alarm():
    assert told(well(), Limits(late_ms=40, expected=Expected("cuts", {"Track": 8.0}, 25.0, 40.0))) == []


def test_lost_is_who_cannot_be_reached_who_is_not_well_and_what_has_no_other_end():
    peers = {"server": {"state": "lost", "since": 1.0}}
    assert told(well(reported("pi", peers=peers))) == [("lost", "pi", "server")]
    assert told(well(Silent("server", 1001, "no route to host"))) == [("lost", "server", "server")]
    assert told(well(reported("server", missing=["Track.in"]))) == [("lost", "server", "Track.in")]
    assert told(well(reported("server", health="unhealthy", why="it has failed"))) == [("lost", "server", "server")]


def test_tokens_that_are_dropped_are_lost():
    lossy = {**report("pi")["recent"], "lost": {"f2": 3}}
    (alarm,) = alarms(well(reported("pi", recent=lossy)), Limits())
    assert (alarm.kind, alarm.message) == ("lost", "FIFO f2 has lost 3 tokens in 10 s")


WAY = "Camera.out -> Track.in"


def judged(within, late, rate=30.0, **required):
    """A system whose sink has taken so many tokens in time and late in the last seconds, and so many per second."""
    asked = Required("Camera.out", "Track.in", **{"latency": 0.1, "rate": 30.0, "share": 0.99, "fifos": (), **required})
    found = judge.judged(asked, judge.Tally(within + late, within, late, 0), rate, 0.0, {}).as_json()
    recent = {**report("server")["recent"], "requirements": {WAY: found}}
    return well(reported("server", recent=recent, requirements={WAY: {**found, "late_by": {"actor Net": 3}}}))


def test_late_is_what_does_not_meet_its_requirement():
    assert told(judged(990, 10)) == []
    (alarm,) = alarms(judged(980, 20), Limits())
    assert alarm.message == (f"{WAY}: 98 % within 100 ms, required are 99 %; most time was taken by actor Net")
    (alarm,) = alarms(judged(100, 0, rate=20.0), Limits())
    assert alarm.message == f"{WAY}: 20 frames/s, required are 30"


def test_a_limit_of_the_command_line_counts_where_no_requirement_has_one():
    assert told(well(), Limits(late_ms=33)) == [("late", "server", "Track.in")]
    assert told(judged(100, 0), Limits(late_ms=33)) == []
    assert told(judged(100, 0, latency=None, share=1), Limits(late_ms=33)) == [("late", "server", "Track.in")]


def test_stalled_is_named_with_its_stage():
    (alarm,) = alarms(well(reported("pi", stalled={"Camera": {"stage": "fire", "seconds": 61.2}})), Limits())
    assert alarm.message == "actor Camera on pi is stalled: 61 s in fire"


def test_what_flaps_is_one_alarm_and_what_comes_back_much_later_is_another():
    raised = Raised()
    assert raised.new([LOST], 0) == [LOST]
    assert raised.new([], 1) == []
    assert raised.new([LOST], HOLD) == [], "it was gone for a moment"
    assert raised.new([LOST], HOLD + 20) == [], "it has lasted"
    assert raised.new([LOST], 3 * HOLD) == [LOST]


def test_a_command_is_run_for_each_new_alarm_and_gets_it_in_its_environment(tmp_path):
    said = []
    out = tmp_path / "out"
    message = 'it\'s `lost`; $(touch hacked) "quoted"'
    commands = Commands(
        {"lost": [f'printf "%s|" "$EPRUNE_ALARM" "$EPRUNE_PLATFORM" "$EPRUNE_MESSAGE" >> {out}']}, said.append
    )
    lost = Alarm("lost", "pi", "server", message)
    commands.look([lost, Alarm("late", "pi", "f", "late")], 0)
    commands.look([lost], 1)
    commands.look([Alarm("lost", "pi", "other", "2")], 2)
    until(lambda: out.exists() and out.read_text().count("|") == 6)
    assert out.read_text() == f"lost|pi|{message}|lost|pi|2|"
    assert (said, (tmp_path / "hacked").exists()) == ([], False)


def test_a_command_that_fails_is_told_and_holds_up_nobody(tmp_path):
    said = []
    os.mkfifo(tmp_path / "gate")
    commands = Commands({"lost": [f"cat {tmp_path}/gate; echo no mail >&2; exit 3"]}, said.append)
    for number in range(150):  # more than may wait: the first hangs
        commands.look([Alarm("lost", "pi", str(number), f"alarm {number}")], number)
    assert any("100 commands wait" in each for each in said)
    said.clear()
    with (tmp_path / "gate").open("w"):  # the first one reads now
        (tmp_path / "gate").unlink()
    until(lambda: said)
    assert said[0] == "warning: --on lost: exit code 3: no mail"


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_has_started(tmp_path, monkeypatch):
    monkeypatch.setattr(alarming, "PATIENCE", 0.5)
    said = []
    commands = Commands({"lost": [f"sleep 1000 & echo $! > {tmp_path}/pid; wait"]}, said.append)
    commands.look([Alarm("lost", "pi", "server", "gone")], 0)
    until(lambda: said, 10)
    assert said == ["warning: --on lost: the command takes longer than 0.5 s and was ended"]
    pid = (tmp_path / "pid").read_text().strip()
    until(lambda: not Path(f"/proc/{pid}").exists() or "zombie" in Path(f"/proc/{pid}/status").read_text(), 10)


@pytest.mark.parametrize(
    ("expected", "drifted"),
    [
        (Expected("cuts", {"Track": 2.0}), [("Track", 4.0)]),
        (Expected("cuts", {"Track": 16.1}), [("Track", 8 / 16.1)]),
        (Expected("cuts", {"Track": 7.0}), []),
        (Expected("cuts", {"A": 1.0, "B": 1.0}), [("A+B", 4.0)]),
        (Expected("cuts", {"A": 1.0}), []),
        (Expected("cuts", {"Camera": 0.1}), []),
        (Expected("cuts", {"Track": 2.0}, latency_ms=1000.0), []),
        (Expected("cuts", latency_ms=10.5), [("Track.in", 2.0)]),
        (Expected("cuts", links={("pi", "server"): 0.1}), [("pi-server", 5.0)]),
        (Expected("cuts", links={("pi", "server"): 5.0}), []),
        (Expected("cuts", frames_per_s=100.0), []),
        (Expected("cuts", frames_per_s=10.0), [("throughput", 3.0)]),
    ],
    ids=[
        *(
            "slower",
            "faster",
            "as predicted",
            "a segment",
            "a part of a segment is unknown",
            "a source waits for a camera",
        ),
        *("too little to matter", "older", "a slow link", "a fast link", "the source gives no more", "more frames"),
    ],
)
def test_drift_is_what_is_far_from_the_prediction(expected, drifted):
    found = drifts(well(), expected)
    assert [(drift.subject, round(drift.factor, 3)) for drift in found] == [(s, round(f, 3)) for s, f in drifted]
    assert bool(advice(found, expected)) == bool(drifted)


def test_fewer_frames_than_predicted_are_drift_where_a_fifo_is_full_and_then_ages_say_nothing():
    fifos = report("pi")["fifos"]
    fifos["f2"]["fill"] = 6
    state = well(reported("pi", fifos=fifos))
    found = drifts(state, Expected("cuts", latency_ms=1.0, frames_per_s=100.0))
    assert [drift.subject for drift in found] == ["throughput"]
    text = advice(found, Expected("cuts"))
    assert "throughput is 0.3 times what was predicted" in text
    assert "eprune cut cuts" in text


def test_each_kind_is_documented():
    text = (ROOT / "docs/how-to/watch_a_run.md").read_text(encoding="utf-8")
    assert all(f"| `{kind}` |" in text for kind in KINDS)


def test_top_shows_how_requirements_are_met_and_which_rows_late_frames_took():
    from eprune.views.top import plain
    from eprune.views.watching import data

    state = judged(980, 20)
    shown = " ".join(plain(state).split())
    assert f"{WAY} 98.0 % 99 % in 100 ms 30.0 30.0 actor Net" in shown
    told = {"Keep": {"row": 0, "taken": 7, "frames": 30}}
    state = observe(state, reported("pi", degraded=told))
    assert "Keep took row 0 for 7 of 30 frames: they were late" in plain(state)
    made = data(state)
    assert (made["requirements"][WAY]["share"], made["degraded_rows"]) == (0.98, told)
