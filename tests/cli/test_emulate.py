"""`--emulate`: runs and profiles as slow as the platform files say, and no output that hides it."""

from __future__ import annotations

import json

import pytest

ENDPOINT = """<platform name="endpoint"><unit name="cpu0" core="0" slowdown="4"/>
  <link to="server" port="5100" bandwidth="1MB/s" latency="5ms"/></platform>
"""
SERVER = """<platform name="server"><unit name="cpu0" core="0"/>
  <link to="endpoint" port="5100" bandwidth="1MB/s" latency="5ms"/></platform>
"""
CUTS = ("explore", "app.xml", "-p", "platforms/endpoint.xml", "platforms/server.xml", "-o", "cuts", "--frames", "30")
PROFILE = ("profile", "cuts", "--no-pin", "--point", "1", "--emulate")


@pytest.fixture
def slow(app):
    """The small application, its endpoint four times slower, behind a link of 1 MB/s and 5 ms."""
    (app / "platforms/endpoint.xml").write_text(ENDPOINT)
    (app / "platforms/server.xml").write_text(SERVER)
    return app


def lines(folder):
    return [json.loads(line) for line in (folder / "cuts/results.jsonl").read_text().splitlines()]


def test_a_run_says_that_it_was_emulated(slow, eprune):
    run = ("run", "app.xml", "-p", "platforms", "-m", "split", "--no-pin", "--summary", "told.json", "--record", ".")
    done = eprune(*run, "--emulate")
    assert done.code == 0, done.err
    assert "endpoint: note: emulated: cpu0 4 times slower; link to server: 1 MB/s, 5 ms" in done.err
    assert "frames/s, emulated links and units" in done.err
    assert json.loads((slow / "told.json").read_text())["emulated"] is True
    record = json.loads((slow / "endpoint.json").read_text())
    assert record["emulated"]["links"]["server"] == {"bandwidth": 1e6, "latency": pytest.approx(0.005)}
    assert record["emulated"]["units"] == {"cpu0": 4.0}
    plain = eprune(*run)
    assert "emulated" not in plain.err
    assert json.loads((slow / "told.json").read_text())["emulated"] is False


def test_a_measurement_is_labelled_in_every_output(slow, eprune):
    assert eprune(*CUTS).code == 0
    assert eprune(*PROFILE).code == 0
    (line,) = lines(slow)
    assert line["emulated"] is True
    assert line["platforms"]["endpoint"]["emulated"]["units"] == {"cpu0": 4.0}
    told = eprune("report", "cuts", "--chart", "chart.svg")
    assert "Measured over emulated links and on emulated units: 1." in told.out
    assert "emulated" in (slow / "chart.svg").read_text()
    assert "emulated links" in eprune("report", "cuts", "--format", "html").out
    assert json.loads(eprune("report", "cuts", "--format", "json").out)["points"][0]["measured"]["emulated"] is True
    header, first, *_ = eprune("report", "cuts", "--format", "csv").out.splitlines()
    assert header.endswith(",emulated") and first.endswith(",measured")


@pytest.mark.long
def test_what_was_measured_without_emulation_is_measured_again_with_it(slow, eprune):
    assert eprune(*CUTS).code == 0
    assert eprune("profile", "cuts", "--no-pin", "--point", "4").code == 0
    assert eprune(*PROFILE).code == 0
    assert "3 measured now, 4 of 4 in all" in eprune("profile", "cuts", "--no-pin", "--emulate").err
    assert "3 measured now, 4 of 4 in all" in eprune("profile", "cuts", "--no-pin").err
    assert [line["emulated"] for line in lines(slow)] == [False, *[True] * 4, *[False] * 3]


def test_predictions_are_for_the_slower_unit(slow, eprune):
    assert eprune(*CUTS).code == 0
    assert eprune("profile", "cuts", "--actors", "--emulate", "--validate", "1", "--no-pin").code == 0
    actors = json.loads((slow / "cuts/actors.json").read_text())["platforms"]
    assert (actors["endpoint"]["slowdown"], actors["server"]["slowdown"]) == (4, 1)
    told = eprune("report", "cuts")
    assert "Emulated speeds: endpoint=0.25." in told.out
    points = json.loads(eprune("report", "cuts", "--format", "json").out)["points"]
    alone = 4 * sum(actors["endpoint"]["actors"].values())
    assert points[3]["predicted"]["endpoint"] == pytest.approx(alone)
