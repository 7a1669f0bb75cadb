"""``eprune analyze --latency`` and ``eprune simulate --time`` as a user sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kit import pages
from tests.kit.commands import call

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/keep_up.md").read_text(encoding="utf-8")
EXIT = str(ROOT / "graphs/vehicle_exit.xml")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, body in pages.files(PAGE).items():
        (tmp_path / name).write_text(body, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_sessions_of_the_page_are_real(folder):
    commands = pages.sessions(PAGE)
    assert len(commands) == 3
    for (command, shown), code in zip(commands, (1, 0, 0)):
        done = pages.run(command, folder)
        assert done.returncode == code, done.stdout
        assert pages.missing(shown, done.stdout, timed=False) == [], f"$ {command}\n{done.stdout}"


def test_a_trace_has_each_firing_as_run_writes_it(folder):
    assert call("simulate", "app.xml", "--time", "--iterations", "5", "--trace", "time.json").code in (0, 1)
    events = json.loads(Path("time.json").read_text())["traceEvents"]
    bars = [each for each in events if each["ph"] == "X"]
    assert sorted((each["name"], each["args"]["firing"]) for each in bars) == sorted(
        (name, firing) for name in ("Camera", "Detect", "Show") for firing in range(5)
    )
    first = next(each for each in bars if each["name"] == "Detect")
    assert (first["ts"], first["args"]["firing"]) == (1000.0, 0)


def test_predicted_and_measured_are_in_one_picture(folder):
    for name in ("time.json", "again.json"):
        call("simulate", "app.xml", "--time", "--trace", name)
    alone = call("simulate", "app.xml", "--time", "--gantt", "alone.svg")
    both = call("simulate", "app.xml", "--time", "--gantt", "both.svg", "--beside", "time.json")
    assert alone.out == both.out
    assert "measured" not in Path("alone.svg").read_text() and "Detect, measured" in Path("both.svg").read_text()
    wrong = call("simulate", "app.xml", "--time", "--gantt", "both.svg", "--beside", "app.xml")
    assert wrong.code == 2 and "app.xml is no trace of eprune run --trace" in wrong.err


def test_rows_are_drawn_by_their_chances(tmp_path):
    times = {"actors": dict.fromkeys(("Input", "L1", "L2", "Head", "Exit", "L3", "L4-L5", "Sink"), "1ms")}
    (tmp_path / "times.json").write_text(json.dumps(times))
    asked = ("simulate", EXIT, "--time", "--times", str(tmp_path / "times.json"), "--format", "json")
    values = json.loads(call(*asked, "--chances", "Deep=0:0.9,1:0.1").out)["control"]["Deep"]
    assert 0.8 < values.count(0) / len(values) < 0.97
    for wrong, message in (
        ("Deep=0:0.5", "probabilities that add up to 1"),
        ("Deep=0:0.5,7:0.5", "has no row 7"),
        ("Shallow=0:1", "there is no dynamic processing graph 'Shallow'"),
        ("Deep=x", "is not of the form"),
    ):
        done = call(*asked, "--chances", wrong)
        assert done.code == 2 and message in done.err, done.err
    done = call(*asked, "--chances", "Deep=0:1", "--control", "Deep=0")
    assert done.code == 2 and "--control and --chances are both given for Deep" in done.err


def test_a_requirement_is_reported_where_there_is_no_text(folder):
    done = call("analyze", "app.xml", "--format", "sarif")
    assert done.code == 1
    results = json.loads(done.out)["runs"][0]["results"]
    assert [each["ruleId"] for each in results] == ["T2"]
    junit = call("analyze", "app.xml", "--format", "junit").out
    assert 'failures="1"' in junit and "requirement from Camera.out to Show.in: 25/s, not 30/s" in junit


def test_without_times_it_is_said_what_lacks_one(folder):
    text = Path("app.xml").read_text().replace(' time="1ms"', "", 1)
    Path("app.xml").write_text(text)
    done = call("analyze", "app.xml")
    assert done.code == 0 and "for these actors have none: Camera" in done.out
    done = call("simulate", "app.xml", "--time")
    assert done.code == 2 and "--times Camera=1ms" in done.err
    assert call("analyze", "app.xml", "--times", "Camera=3ms..2ms..1ms").code == 2


def test_measured_times_are_those_of_the_platform_with_what_they_vary(folder):
    """As ``profile --actors`` writes them for a platform that is emulated, twice as slow, and was timed with rests."""
    timed = {
        "actors": {"Camera": 0.001, "Detect": 0.01, "Show": 0.001},
        "spread": {"Camera": [0.001, 0.001], "Detect": [0.008, 0.015], "Show": [0.001, 0.001]},
        "rested": True,
        "slowdown": 2,
    }
    Path("actors.json").write_text(json.dumps({"platforms": {"pi": timed}}))
    done = call("analyze", "app.xml", "--times", "actors.json", "--format", "json")
    (answer,) = json.loads(done.out)["timing"]["requirements"]
    assert answer["latency_s"] == pytest.approx({"least": 0.018, "typical": 0.022, "most": 0.032})


def test_the_record_of_a_run_has_times_of_the_firings_that_were_not_idle(tmp_path):
    """L3 and L4-L5 are one segment, and idle in row 0: 90 of 100 frames leave at the exit."""
    names = ("Input", "L1", "L2", "Head", "Exit", "Sink")
    actors = {name: {"firings": 100, "busy_s": 0.1} for name in names}
    deep = {"firings": 100, "busy_s": 0.08, "members": ["L3", "L4-L5"], "modes": {"0": 90, "1": 10}}
    record = {"digest": "0", "platform": "pi", "actors": {**actors, "L3+L4-L5": deep}}
    (tmp_path / "pi.json").write_text(json.dumps(record))
    done = call("analyze", EXIT, "--latency", "--times", str(tmp_path / "pi.json"), "--format", "json")
    (early, deep) = (row["ways"][0]["first_s"] for row in json.loads(done.out)["timing"]["rows"])
    assert deep - early == pytest.approx(0.008)
    record["actors"]["Input"]["busy_s"] = -1
    (tmp_path / "pi.json").write_text(json.dumps(record))
    done = call("analyze", EXIT, "--latency", "--times", str(tmp_path / "pi.json"))
    assert done.code == 2 and "the time of Input is below 0" in done.err
