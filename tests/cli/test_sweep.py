"""``eprune sweep``: runs at several values of a parameter, as a table and a chart, with what is chosen."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from application import ROOT

from eprune.face import load
from tests.kit.programs import environment

FILTER = [str(ROOT / "graphs" / "predistorter.xml"), "--frames", "20", "--no-pin"]
SPLIT = ["-p", *(str(ROOT / "graphs" / f"{name}.xml") for name in ("endpoint", "server"))]
SPLIT += ["-m", str(ROOT / "mappings" / "predistorter_split")]
#: Sources stop after 20 blocks, which have 0 to 4 groups of taps by the file's thresholds.
ALWAYS = {1: "0,9,10,11", 2: "-2,-1,9,10", 4: "-4,-3,-2,-1"}


def vary(*values):
    return ["--vary", "Gate.thresholds=" + ";".join(values) + ";"]


def swept(eprune, *arguments, code=0):
    done = eprune("sweep", *FILTER, *SPLIT, "--format", "json", *arguments)
    assert done.code == code, done.err
    return json.loads(done.out)


def test_what_is_gained_and_what_it_costs(eprune):
    told = swept(eprune, *vary(ALWAYS[4], ALWAYS[1], ALWAYS[2]))
    assert [point["values"]["Gate.thresholds"] for point in told["points"]] == [ALWAYS[4], ALWAYS[1], ALWAYS[2]]
    four, one, two = told["points"]
    assert four["metrics"]["error_db"] < two["metrics"]["error_db"] < one["metrics"]["error_db"] < 0
    assert four["shares"] == {"Filter": {"0": 0.0, "1": 0.0, "2": 0.0, "3": 0.0, "4": 1.0}}
    # A token of the bank is 1024 float32, 4096 bytes.
    assert [point["links"]["server -> endpoint"] for point in (one, two, four)] == [4096, 8192, 4 * 4096]
    assert all(
        point["frames"] == 20 and point["ms"] > 0 and set(point["busy"]) == {"endpoint", "server"}
        for point in (one, two)
    )
    assert told["axes"] == ["error_db", "bytes"]
    assert all(point["front"] for point in told["points"])


def test_the_table_marks_the_front_and_names_the_run_that_is_wished_for(eprune):
    done = eprune("sweep", *FILTER, *SPLIT, *vary(*ALWAYS.values()), "--wish", "error_db=-30")
    assert done.code == 0, done.err
    assert done.out.startswith("predistorter: 3 runs of 20 frames\n")
    assert done.out.endswith(f"Least bytes with error_db <= -30: --set Gate.thresholds={ALWAYS[2]}\n")
    assert sum(line.startswith("  *") for line in done.out.splitlines()) == 3


def test_a_wish_that_no_run_grants_says_what_there_is(eprune):
    done = eprune("sweep", *FILTER, *SPLIT, *vary(ALWAYS[1]), "--wish", "error_db=-500")
    assert done.code == 1
    assert "error: no run has error_db <= -500: the best is -" in done.err
    assert f"at Gate.thresholds={ALWAYS[1]}" in done.err
    done = eprune("sweep", *FILTER, *SPLIT, *vary(ALWAYS[1]), "--wish", "acuracy=1")
    assert done.code == 1
    assert "no run has a figure 'acuracy'; there are blocks, error_db, Filter.0" in done.err


@pytest.mark.parametrize("arguments", [["--axes", "acuracy,bytes"], ["--smaller", "acuracy"]])
def test_a_figure_that_no_run_tells_is_named(eprune, arguments):
    done = eprune("sweep", *FILTER, *SPLIT, *vary(ALWAYS[1]), *arguments)
    assert done.code == 1
    assert "error: no run has a figure 'acuracy'; there are blocks, error_db, Filter.0" in done.err


def test_where_every_run_fails_there_is_no_table(eprune):
    done = eprune("sweep", *FILTER, *SPLIT, *vary("bad"))
    assert (done.code, done.err) == (1, "1 of 1 runs failed\n")
    assert done.out.startswith("predistorter: 1 run\n\nGate.thresholds=bad failed: ")


def test_accuracy_on_ones_own_pictures_is_a_figure_like_any_other(eprune, tmp_path, monkeypatch):
    """What evaluate says of the same application with that value."""
    np.savez(tmp_path / "noise.npz", x=np.random.default_rng(2).integers(0, 256, (12, 96, 96, 3), np.uint8))
    exits = str(ROOT / "graphs" / "vehicle_exit.xml")
    where = [*SPLIT[:3], "-m", str(ROOT / "mappings" / "vehicle_exit_split")]
    data = ["--data", str(tmp_path / "noise.npz")]
    wanted = ["--vary", "Exit.threshold=0,2", "--frames", "3", "--no-pin", "--format", "json"]
    done = eprune("sweep", exits, *where, *wanted, *data, "--wish", "agreement=1", "--results", str(tmp_path / "runs"))
    assert done.code == 0, done.err
    points = json.loads(done.out)["points"]
    early, late = (point["metrics"]["agreement"] for point in points)
    assert late == 1 >= early
    system = load(exits)
    actors = tuple(
        replace(each, parameters=(*each.parameters, ("threshold", "0"))) if each.name == "Exit" else each
        for each in system.graph.actors
    )
    told = replace(system, graph=replace(system.graph, actors=actors)).evaluate(str(tmp_path / "noise.npz"))
    assert early == pytest.approx(told.share.value, abs=1e-6)
    assert eprune("sweep", exits, *where, *wanted, "--data", "nowhere.npz").code == 2


def test_several_parameters_and_csv(eprune):
    arguments = [*vary(ALWAYS[1], ALWAYS[2]), "--vary", "Meter.gain=0.8,0.7", "--format", "csv"]
    done = eprune("sweep", *FILTER, *SPLIT, *arguments)
    assert done.code == 0, done.err
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [(row["Gate.thresholds"], row["Meter.gain"]) for row in rows] == [
        (thresholds, gain) for thresholds in (ALWAYS[1], ALWAYS[2]) for gain in ("0.8", "0.7")
    ]
    assert float(rows[0]["error_db"]) < float(rows[1]["error_db"])
    assert {row["front"] for row in rows} == {"*", ""}


def test_parameters_that_vary_together_have_one_value_in_each_run(eprune):
    told = swept(eprune, "--vary", "Source.seed,Source.count=3,5", "--vary", "Meter.gain=0.8")
    assert [point["values"] for point in told["points"]] == [
        {"Source.seed": value, "Source.count": value, "Meter.gain": "0.8"} for value in ("3", "5")
    ]
    assert [point["metrics"]["blocks"] for point in told["points"]] == [3, 5]
    done = eprune("sweep", *FILTER, *SPLIT, "--vary", "Source.seed,Source.count=3,5", "--wish", "blocks=4")
    assert done.out.endswith("with blocks >= 4: --set Source.seed=5 --set Source.count=5\n")


def test_a_run_that_fails_is_told_and_the_next_one_goes_on(eprune):
    done = eprune("sweep", *FILTER, *SPLIT, *vary("bad", ALWAYS[1]))
    assert done.code == 1
    assert "Gate.thresholds=bad failed: endpoint: error: actor 'Gate': thresholds='bad': expected a number" in done.out
    [row] = [line.split() for line in done.out.splitlines() if line.startswith("  *")]
    assert row[1] == ALWAYS[1]
    assert done.err == "1 of 2 runs failed\n"


@pytest.mark.long
def test_what_is_measured_is_not_measured_again(eprune, tmp_path):
    results = ["--results", str(tmp_path / "runs.jsonl")]
    first = swept(eprune, *vary(ALWAYS[1], "bad"), *results, code=1)
    again = swept(eprune, *vary(ALWAYS[1], ALWAYS[2]), *results)
    assert again["points"][0]["ms"] == first["points"][0]["ms"]
    # What failed is tried again, and other options make another application.
    swept(eprune, *vary("bad"), *results, code=1)
    other = swept(eprune, *vary(ALWAYS[1]), *results, "--set", "Meter.gain=0.7")
    assert other["points"][0]["metrics"] != again["points"][0]["metrics"]
    lines = (tmp_path / "runs.jsonl").read_text().splitlines()
    assert [json.loads(line)["problem"] == "" for line in lines] == [True, False, True, False, True]


def test_emulated_runs_count_for_their_links_and_torn_lines_for_nothing(eprune, tmp_path):
    results = tmp_path / "runs.jsonl"
    slow = []
    for bandwidth in ("1Mbit/s", "1Mbit/s", "2Mbit/s"):
        platforms = []
        for name in ("endpoint", "server"):
            text = (ROOT / "graphs" / f"{name}.xml").read_text()
            (tmp_path / f"{name}.xml").write_text(re.sub('bandwidth="[^"]*"', f'bandwidth="{bandwidth}"', text))
            platforms += ["-p", str(tmp_path / f"{name}.xml")]
        done = eprune(
            *("sweep", *FILTER, *platforms, *SPLIT[3:], *vary(ALWAYS[1])),
            *("--emulate", "--results", str(results), "--format", "json"),
        )
        assert done.code == 0, done.err
        slow.append(json.loads(done.out)["points"][0]["ms"])
        results.write_text(results.read_text() + '{"sweep": "' + "[]\n")
    assert slow[0] == slow[1] > slow[2]


@pytest.mark.parametrize("name", ["front.svg", "front.png"])
def test_the_trade_off_as_a_chart(eprune, tmp_path, name):
    pytest.importorskip("matplotlib")
    swept(eprune, *vary(ALWAYS[1], ALWAYS[2]), "-o", str(tmp_path / name))
    picture = (tmp_path / name).read_bytes()
    if name.endswith(".svg"):
        for text in ("Pareto front", "error_db", "bytes per frame over links", ALWAYS[2]):
            assert text in picture.decode()
    else:
        assert picture.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vary", "Gat.thresholds=1"], "there is no actor 'Gat'; did you mean 'Gate'?"),
        (["--vary", "Gate.treshold=1"], "actor 'Gate' takes no parameter 'treshold'; did you mean 'thresholds'?"),
        (["--vary", "Amplifier.gain=1"], "actor 'Amplifier' takes no parameter 'gain'"),
        (["--vary", "Gate=1"], "'Gate=1' is not of the form ACTOR.PARAM=VALUES"),
        (["--vary", "Gate.thresholds=0:1:0"], "Gate.thresholds: '0:1:0': expected LOW:HIGH:STEP"),
        (["--vary", "Gate.thresholds,Meter.gian=1,2"], "actor 'Meter' takes no parameter 'gian'; did you mean 'gain'?"),
        (["--vary", "Gate.thresholds,Meter=1"], "is not of the form ACTOR.PARAM=VALUES"),
        (["--vary", "Meter.gain,Meter.gain=1"], "Meter.gain is given twice"),
        (["--vary", "Gate.thresholds=bins:x"], "'bins:x': expected for example bins:10"),
        (["--vary", "Meter.gain=1", "--vary", "Meter.gain=2"], "Meter.gain is given twice"),
        (["--vary", "Meter.gain=1", "--set", "Meter.gain=2"], "Meter.gain is given twice"),
        (["--vary", "Meter.gain=1", "--set", "Meter.gian=2"], "did you mean 'gain'?"),
        (["--vary", "Meter.gain=0:9:0.1", "--vary", "Source.count=1:99:1"], "9009 combinations are more than 1000"),
        (["--vary", "Meter.gain=1", "--wish", "error_db"], "'error_db' is not of the form METRIC=NUMBER"),
        (["--vary", "Meter.gain=1", "--axes", "error_db"], "expected two figures"),
        (["--vary", "Meter.gain=1", "-o", "chart.pdf"], "ends in neither .svg nor .png"),
        (["--vary", "Meter.gain=1", "--results", "no/such/runs"], "no/such/runs: No such file"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_runs(eprune, arguments, message):
    done = eprune("sweep", *FILTER, *SPLIT, *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in " ".join(done.err.split())


def test_bins_need_a_sink_that_tells_how_confident_it_is(eprune):
    done = eprune("sweep", *FILTER, *SPLIT, "--vary", "Gate.thresholds=bins:4")
    assert done.code == 2
    assert 'bins need lines like {"frame": 0, "confidence": 0.9} from a sink' in " ".join(done.err.split())


def test_a_run_that_takes_too_long_is_a_failed_one(eprune):
    done = eprune(
        "sweep", *FILTER[:1], *SPLIT, "--vary", "Source.count=1000000,3", "--limit", "2", "--no-pin", "--format", "json"
    )
    assert done.code == 1
    slow, quick = json.loads(done.out)["points"]
    assert (slow["problem"], quick["problem"]) == ("not done after 2 s", "")


def test_an_interrupted_sweep_shows_what_it_has(tmp_path):
    arguments = [*FILTER[:1], *SPLIT, "--vary", "Source.count=3,100000000", "--results", str(tmp_path / "runs.jsonl")]
    process = subprocess.Popen(
        [sys.executable, "-m", "eprune", "sweep", *arguments],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "runs.jsonl").exists() or not (tmp_path / "runs.jsonl").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)  # into the second run, or on the way to it: both count
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out.startswith("predistorter: 1 run of 3 frames\n")
    assert "interrupted after 1 of 2 runs; --results" in err
