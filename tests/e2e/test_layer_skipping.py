"""The guide to skipping layers: blocks that gates leave out, against a loop over bare interpreters, bit for bit."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from vehicle_renderer import render_vehicle, vehicle_class

from eprune.formats.model_files import read_model
from eprune.formats.models.slices import slice_model
from eprune.runtime.fire.tflite import choose, load
from tests.kit import pages
from tests.kit.programs import ROOT, environment

APPLICATION = ROOT / "graphs" / "vehicle_skipping.xml"
MODEL = ROOT / "graphs" / "vehicle_skipping.tflite"
PAGE = (ROOT / "docs" / "how-to" / "layer_skipping.md").read_text(encoding="utf-8")
PLATFORMS = {"local": ["endpoint"], "split": ["endpoint", "server"]}
BLOCKS, FRAMES = (1, 2, 3), 120
#: float32[1,12,12,28]
TOKEN = 16128


def eprune(*words, folder=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "eprune", *map(str, words)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def deployment(name):
    files = [ROOT / "graphs" / f"{platform}.xml" for platform in PLATFORMS[name]]
    return ["-p", *files, "-m", ROOT / "mappings" / f"vehicle_skipping_{name}"]


def thresholds(*values):
    return [f"--set=Gate{block}.threshold={value}" for block, value in zip(BLOCKS, values)]


class Bare:
    """A range of the model's operators in an interpreter of its own."""

    def __init__(self, first, last):
        self.loaded = load(choose(), slice_model(read_model(str(MODEL)), range(first, last + 1)))

    def __call__(self, token):
        self.loaded.set_tensor(self.loaded.get_input_details()[0]["index"], token)
        self.loaded.invoke()
        return self.loaded.get_tensor(self.loaded.get_output_details()[0]["index"])


def reference(*least):
    """Scores of each frame, and which blocks ran for it."""
    stem, head = Bare(0, 2), Bare(24, 26)
    gates, inside = [Bare(3, 6), Bare(10, 13), Bare(17, 20)], [Bare(7, 8), Bare(14, 15), Bare(21, 22)]
    scores, ran = [], []
    for frame in range(FRAMES):
        x = stem(render_vehicle(1, frame)[None])
        runs = []
        for gate, block, threshold in zip(gates, inside, least):
            runs.append(float(gate(x)[0, 0]) >= threshold)
            if runs[-1]:
                x = x + block(x)
        scores.append(head(x))
        ran.append(runs)
    return np.array(scores), np.array(ran)


def run_for_scores(folder, name, *least):
    """As eprune runs it: the scores, the records of the platforms."""
    graph = APPLICATION.read_text()
    sink = 'class="accuracy.py:Accuracy">'
    assert sink in graph
    (folder / "app.xml").write_text(
        graph.replace(sink, 'class="tensor_sink.py:TensorSink">\n    <param name="path" value="results"/>').replace(
            '"vehicle_skipping.tflite"', f'"{MODEL}"'
        )
    )
    words = ["run", "app.xml", *deployment(name), "--frames", FRAMES, *thresholds(*least), "--record", "records"]
    done = eprune(*words, "--quiet", folder=folder)
    assert done.returncode == 0, done.stderr
    records = {path.stem: json.loads(path.read_text()) for path in (folder / "records").glob("*.json")}
    return np.load(folder / "results" / "scores.npy"), np.load(folder / "results" / "wanted.npy"), records


@pytest.mark.parametrize("name", PLATFORMS)
def test_it_computes_what_a_loop_over_bare_interpreters_does(name, tmp_path):
    least = (0.08, 0.05, 0.02)
    scores, wanted, records = run_for_scores(tmp_path, name, *least)
    expected, ran = reference(*least)
    assert scores.tobytes() == expected.tobytes()
    assert list(wanted[:, 0]) == [vehicle_class(1, frame) for frame in range(FRAMES)]
    # The gates have a choice, and make it.
    assert len({tuple(runs) for runs in ran}) > 3
    worker = records[PLATFORMS[name][-1]]
    for block, runs in zip(BLOCKS, ran.T):
        count = int(runs.sum())
        assert 0 < count < FRAMES
        assert records["endpoint"]["actors"][f"Gate{block}"]["modes"] == {"0": FRAMES - count, "1": count}
        assert worker["actors"][f"Block{block}"]["modes"] == {"0": FRAMES - count, "1": count}
        # A block that is skipped takes nothing and gives nothing, so that nothing crosses a link.
        for fifo in ("into", "out_of"):
            assert worker["fifos"][f"{fifo}{block}"]["tokens"] == count
            assert worker["fifos"][f"{fifo}{block}"]["bytes"] == count * TOKEN


def test_with_all_blocks_it_is_the_whole_network(tmp_path):
    scores, _, _ = run_for_scores(tmp_path, "local", 0, 0, 0)
    whole = load(choose(), MODEL.read_bytes())
    output = read_model(str(MODEL)).outputs[0]
    expected = []
    for frame in range(FRAMES):
        whole.set_tensor(whole.get_input_details()[0]["index"], render_vehicle(1, frame)[None])
        whole.invoke()
        expected.append(whole.get_tensor(output))
    assert scores.tobytes() == np.array(expected).tobytes()


SESSIONS = re.findall(r"^\$ eprune ([^\n]*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.long
@pytest.mark.parametrize(("command", "shown"), SESSIONS, ids=[command.split()[0] for command, _ in SESSIONS])
def test_the_sessions_of_the_page_are_real(command, shown):
    done = eprune(*command.split())
    assert done.returncode == 0, done.stderr
    assert len(shown.splitlines()) > 3
    assert pages.missing(shown, done.stdout + done.stderr, timed=command.startswith("run")) == []


@pytest.mark.long
def test_the_sweep_of_the_page_is_real():
    [command] = re.findall(r"^    eprune (sweep .*?) -o skipping.svg$", PAGE, re.MULTILINE | re.DOTALL)
    done = eprune(*command.replace("\\\n", "").split(), "--format", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    seen = []
    for point in told["points"]:
        [threshold] = set(point["values"].values())
        shares = [f"{100 * point['shares'][f'Skip{block}']['1']:.1f} %" for block in BLOCKS]
        sent = point["links"]["endpoint -> server"]
        seen.append([threshold, *shares, f"{point['metrics']['accuracy']:g}", f"{sent:.0f}"])
    assert [row.split(" | ") for row in re.findall(r"^\| ([0-9.]+ .*) \|$", PAGE, re.MULTILINE)] == seen
    assert f"`--wish accuracy=0.96` chooses {told['chosen']['Gate1.threshold']}" in PAGE


def test_the_proof_covers_every_row():
    done = eprune("analyze", APPLICATION, *deployment("split"), "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["findings"] == []
    for row in ("0", "1", "0,1"):
        controls = [word for block in BLOCKS for word in ("--control", f"Skip{block}={row}")]
        done = eprune("simulate", APPLICATION, *controls, "--iterations", "6", "--format", "json")
        assert done.returncode == 0, done.stdout


@pytest.mark.long
def test_gates_are_timed_with_the_models_that_they_call(tmp_path):
    platforms = ["-p", ROOT / "graphs" / "endpoint.xml", ROOT / "graphs" / "server.xml"]
    assert eprune("explore", APPLICATION, *platforms, "-o", tmp_path / "cuts").returncode == 0
    done = eprune("profile", tmp_path / "cuts", "--actors", "--no-pin")
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "cuts" / "actors.json").read_text())["platforms"]["endpoint"]["actors"]
    assert {f"{kind}{block}" for kind in ("Gate", "Block", "Sum") for block in BLOCKS} < set(told)
    assert min(told.values()) > 0
