"""The predistorter: filters of which a run-time number runs, against numpy on the whole signal, bit for bit."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from eprune.formats.xml.application import read_application
from tests.kit import pages
from tests.kit.programs import ROOT, environment

APPLICATION = ROOT / "graphs" / "predistorter.xml"
PLATFORMS = {"local": ["endpoint"], "split": ["endpoint", "server"]}
BLOCKS = 200
THRESHOLDS = (0.001, 0.2, 0.4, 0.6)


def eprune(*words, folder=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "eprune", *map(str, words)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def deployment(name):
    files = [ROOT / "graphs" / f"{platform}.xml" for platform in PLATFORMS[name]]
    return ["-p", *files, "-m", ROOT / "mappings" / f"predistorter_{name}"]


def reference(signal, taps):
    """What leaves the amplifier, and how many groups a block has: all filters over the whole signal, then a choice."""
    blocks, size = signal.shape
    groups = [int((np.abs(block).max() >= np.float32(THRESHOLDS)).sum()) for block in signal]
    count = taps.shape[1]
    line = np.concatenate([np.zeros(count - 1, np.float32), signal.reshape(-1)])
    driven = np.zeros(blocks * size, np.float32)
    power = line
    for group, of_group in enumerate(taps):
        part = np.zeros(blocks * size, np.float32)
        for back, tap in enumerate(of_group):
            part += tap * power[count - 1 - back : len(power) - back]
        runs = np.repeat([wanted > group for wanted in groups], size)
        driven[runs] += part[runs]
        power = power * (line * line)
    line = np.concatenate([np.zeros(2), driven])
    stage = line[2:] * 1.0 + 0.15 * line[1:-1] + -0.05 * line[:-2]
    square = stage * stage
    amplified = stage * (1.0 + square * (-0.2 + square * 0.03))
    return amplified.astype(np.float32).reshape(signal.shape), groups


@pytest.mark.parametrize("name", PLATFORMS)
def test_it_computes_what_numpy_does_on_the_whole_signal(name, tmp_path):
    graph = APPLICATION.read_text()
    meter = 'class="error_meter.py:ErrorMeter">\n    <param name="gain" value="0.8"/>'
    assert meter in graph
    (tmp_path / "app.xml").write_text(
        graph.replace(meter, 'class="tensor_sink.py:TensorSink">\n    <param name="path" value="results"/>')
    )
    done = eprune(
        "run", "app.xml", *deployment(name), "--frames", BLOCKS, "--record", "records", "--quiet", folder=tmp_path
    )
    assert done.returncode == 0, done.stderr
    signal, amplified = (np.load(tmp_path / "results" / f"{port}.npy") for port in ("wanted", "in"))
    assert len(signal) == BLOCKS
    text = dict(read_application(str(APPLICATION)).actor("Bank").parameters)["taps"]
    taps = np.array([[float(tap) for tap in group.split(",")] for group in text.split(";")]).astype(np.float32)
    wanted, groups = reference(signal, taps)
    assert set(groups) == {0, 1, 2, 3, 4}
    assert amplified.tobytes() == wanted.tobytes()

    records = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "records").glob("*.json")}
    bank = records[PLATFORMS[name][-1]]
    assert bank["actors"]["Bank"]["modes"] == {str(value): groups.count(value) for value in range(5)}
    assert bank["fifos"]["powers"]["tokens"] == bank["fifos"]["parts"]["tokens"] == sum(groups)


PAGE = ROOT / "docs" / "how-to" / "predistorter.md"
ROW = re.compile(r"^\| `([-\d.,]+)` \|[^|]*\| (\S+) \| (\S+) \|$", re.MULTILINE)


def test_the_session_of_the_page_is_real():
    [(command, shown)] = re.findall(r"^\$ eprune (.*)\n((?:[^`\n].*\n)+)", PAGE.read_text(), re.MULTILINE)
    done = eprune(*command.split())
    assert done.returncode == 0, done.stderr
    assert pages.missing(shown, done.stdout + done.stderr) == []


@pytest.mark.parametrize(("thresholds", "error", "sent"), ROW.findall(PAGE.read_text()))
def test_each_row_of_the_page_s_table_is_real(thresholds, error, sent):
    done = eprune("run", APPLICATION, *deployment("split"), "--set", f"Gate.thresholds={thresholds}")
    assert json.loads(done.stdout) == {"blocks": 200, "error_db": float(error)}
    assert f"endpoint -> server: {sent}," in done.stderr


def test_the_taps_of_the_graph_are_what_the_script_fits():
    done = subprocess.run(
        [sys.executable, "-m", "scripts.fit_predistorter"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    text = dict(read_application(str(APPLICATION)).actor("Bank").parameters)["taps"]
    ours, fitted = (np.array([float(tap) for tap in re.split("[,;]", taps)]) for taps in (text, done.stdout))
    assert np.allclose(ours, fitted, atol=1e-4)


@pytest.mark.long
def test_its_cuts_are_explored_and_its_actors_timed_at_the_rates_that_they_choose(tmp_path):
    platforms = ["-p", ROOT / "graphs" / "endpoint.xml", ROOT / "graphs" / "server.xml"]
    assert eprune("explore", APPLICATION, *platforms, "-o", tmp_path / "cuts").returncode == 0
    done = eprune("profile", tmp_path / "cuts", "--actors", "--validate", "1", "--objective", "bytes", "--no-pin")
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "cuts" / "actors.json").read_text())["platforms"]["endpoint"]["actors"]
    assert set(told) == {"Source", "Gate", "Powers", "Bank", "Sum", "Amplifier", "Meter"}
    assert min(told.values()) > 0
    assert eprune("report", tmp_path / "cuts").returncode == 0
