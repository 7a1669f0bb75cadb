"""What is left out, skipped, assumed or cut short is said once, on stderr and in the record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from application import ENDPOINT, SERVER, mapping

import eprune as library

APPLICATION = """<application name="tiny">
  <actor name="In" class="mine.py:Gaps"><out name="out" token="float32[4]"/></actor>
  <actor name="Out" class="mine.py:Take"><in name="in" token="float32[4]"/></actor>
  <fifo name="f1" from="In.out" to="Out.in"/>
</application>
"""
MINE = """
from eprune.runtime import Actor, EndOfStream


class Gaps(Actor):
    def __init__(self, count="3"):
        self.count, self.frame = int(count), 0

    def fire(self, inputs, outputs):
        if self.frame == self.count:
            self.note("7 files were skipped")
            raise EndOfStream
        outputs["out"][...] = self.frame
        self.frame += 1


class Take(Actor):
    def fire(self, inputs, outputs):
        pass
"""
NOTE = "endpoint: actor 'In': 7 files were skipped"
SPLIT = ("app.xml", "-p", "platforms", "-m", "split")


@pytest.fixture
def noting(tmp_path, monkeypatch):
    """An application whose source notes something at its end."""
    monkeypatch.chdir(tmp_path)
    homes = {"In": "endpoint", "Out": "server"}
    for name, text in {
        "app.xml": APPLICATION,
        "mine.py": MINE,
        "platforms/endpoint.xml": ENDPOINT,
        "platforms/server.xml": SERVER,
        **{f"split/{platform}.xml": mapping(platform, homes) for platform in ("endpoint", "server")},
    }.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)


def test_of_a_run(noting, eprune_process):
    done = eprune_process("run", *SPLIT, "--summary", "summary.json", "--record", "records")
    assert done.code == 0, done.err
    assert done.err.count("7 files were skipped") == 1
    assert json.loads(Path("summary.json").read_text())["notes"] == [NOTE]
    events = json.loads(Path("records/endpoint.json").read_text())["events"]
    assert [event["actor"] for event in events if event["event"] == "note"] == ["In"]


def test_of_a_run_of_the_library(noting, capfd):
    run = library.run(library.load("app.xml", "platforms", "split"))
    assert run.notes == (NOTE,)
    assert capfd.readouterr().err.count("7 files were skipped") == 1


def test_of_the_runs_of_a_sweep(noting, eprune_process):
    done = eprune_process("sweep", *SPLIT, "--vary", "In.count=1,2", "--format", "json", "--results", "results.jsonl")
    assert done.code == 0, done.err
    assert [point["notes"] for point in json.loads(done.out)["points"]] == [[NOTE], [NOTE]]
    assert done.err.count("7 files were skipped") == 1
    with Path("results.jsonl").open("a") as stream:
        stream.write('{"sweep": "torn')
    again = eprune_process("sweep", *SPLIT, "--vary", "In.count=1,2", "--results", "results.jsonl")
    assert "note: results.jsonl: lines that cannot be read, and are passed over: 1" in again.err


@pytest.mark.long
def test_of_measured_points_and_of_results_that_do_not_count(noting, eprune_process):
    explore = ("explore", "app.xml", "-p", "platforms/endpoint.xml", "platforms/server.xml", "-o", "cuts")
    assert eprune_process(*explore, "--frames", "5").code == 0
    done = eprune_process("profile", "cuts")
    assert done.code == 0, done.err
    assert done.err.count("7 files were skipped") <= 2  # once on either platform
    lines = [json.loads(text) for text in Path("cuts/results.jsonl").read_text().splitlines()]
    assert NOTE in [note for line in lines for note in line["notes"]]
    clean = eprune_process("report", "cuts")
    assert "do not count" not in clean.err
    with Path("cuts/results.jsonl").open("a") as stream:
        stream.write(json.dumps({**lines[0], "plan": "other"}) + '\n{"plan": "to')
    for command in (("report", "cuts"), ("profile", "cuts")):
        said = eprune_process(*command).err
        count = len(lines) + 2
        assert f"note: cuts/results.jsonl: of {count} lines, 1 of another exploration and 1 torn do not count" in said


def test_what_a_prediction_assumes_of_links(noting, eprune, eprune_process):
    explore = ("explore", "app.xml", "-p", "platforms/endpoint.xml", "platforms/server.xml", "-o", "cuts")
    assert eprune_process(*explore, "--frames", "5").code == 0
    assert eprune_process("profile", "cuts", "--actors", "-q").code == 0
    said = "Assumed, as the platform files do not say: no time for its bytes on endpoint -> server"
    assert eprune("report", "cuts").out.count(said) == 1
    assert said in json.loads(eprune("report", "cuts", "--format", "json").out)["note"]
    assert "Assumed" not in eprune("report", "cuts", "--link", "wifi=2MB/s,1ms").out


def test_what_cuts_assume_of_links_is_said_for_people_and_for_scripts(noting, eprune):
    for platform in ("endpoint", "server"):
        path = Path(f"platforms/{platform}.xml")
        path.write_text(path.read_text().replace('port="5100"', 'port="5100" bandwidth="1MB/s" latency="20ms"'))
    explore = ("explore", "app.xml", "-p", "platforms/endpoint.xml", "platforms/server.xml", "-o")
    shown, data = eprune(*explore, "one"), eprune(*explore, "two", "--format", "json")
    assert shown.err.count("note: the link endpoint -> server states no window") == 1
    assert data.err.count("note: the link endpoint -> server states no window") == 1
    assert any("states no window" in note for note in json.loads(data.out)["notes"])


def test_times_of_actors_that_are_not_here(noting, eprune):
    timed = {"platforms": {"endpoint": {"actors": {"In": 1e-3, "Out": 1e-3, "Gone": 1e-3}}}}
    Path("actors.json").write_text(json.dumps(timed))
    done = eprune("analyze", "app.xml", "--buffers", "--times", "actors.json")
    assert done.code == 0
    assert done.err.splitlines() == ["note: actors.json also has times of Gone: no actors here"]
