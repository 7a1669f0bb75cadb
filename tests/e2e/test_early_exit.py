"""The guide to an early exit: a classifier with one, frame by frame what plain Python decides; and its page."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest

from actors.vehicle_renderer import CLASSES, render_vehicle, vehicle_class
from eprune.formats.model_files import read_model
from eprune.formats.models.slices import slice_model
from eprune.runtime.fire.tflite import choose, load
from tests.kit.programs import ROOT, environment

APPLICATION = ROOT / "graphs" / "vehicle_exit.xml"
PLATFORMS = {"local": ["endpoint"], "split": ["endpoint", "server"]}
FRAMES = 60
#: Bytes of what goes to the server for a frame that goes on; and of the control tokens that go for each.
DEEP, CONTROL = 73728, 8


def eprune(*words, folder=ROOT, timeout=100):
    return subprocess.run(
        [sys.executable, "-m", "eprune", *map(str, words)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def deployment(name):
    files = [ROOT / "graphs" / f"{platform}.xml" for platform in PLATFORMS[name]]
    return ["-p", *files, "-m", ROOT / "mappings" / f"vehicle_exit_{name}"]


def run(interpreter, value):
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], value)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.fixture(scope="module")
def scores():
    """Of each frame the scores of both exits, by two interpreters in turn."""
    model = read_model(str(ROOT / "graphs" / "vehicle.tflite"))
    lower, upper = (load(choose(), slice_model(model, operators)) for operators in (range(4), range(4, 9)))
    head = load(choose(), (ROOT / "graphs" / "vehicle_exit.tflite").read_bytes())
    found = []
    for index in range(FRAMES):
        features = run(lower, render_vehicle(1, index)[None])
        found.append((run(head, features)[0], run(upper, features)[0]))
    return found


def sure(early, measure):
    """How sure the early exit is, in plain Python."""
    if measure == "probability":
        return max(map(float, early))
    return 1 + sum(p * math.log(p) for p in map(float, early) if p) / math.log(len(early))


def reference(scores, threshold, measure):
    """The lines that the application should write."""
    lines, right = [], {"early": [], "late": []}
    for index, (early, late) in enumerate(scores):
        certainty = sure(early, measure)
        leaves = np.float32(certainty) >= threshold
        chosen = early if leaves else late
        best = max(range(len(CLASSES)), key=lambda number: chosen[number])
        wanted = vehicle_class(1, index)
        exit_ = "early" if leaves else "late"
        right[exit_].append(best == wanted)
        line = {"frame": index, "exit": exit_, "class": CLASSES[best]}
        line.update(score=float(str(chosen[best])), confidence=float(str(np.float32(certainty))))
        lines.append({**line, "wanted": CLASSES[wanted]})
    total = {"frames": FRAMES, "accuracy": sum(map(sum, right.values())) / FRAMES}
    total.update((f"{name}_accuracy", round(sum(each) / len(each), 6)) for name, each in right.items())
    return [*lines, total]


@pytest.mark.parametrize(
    ("name", "threshold", "measure"),
    [("local", 0.9, "probability"), ("split", 0.9, "probability"), ("split", 0.8, "entropy")],
)
def test_each_frame_is_what_plain_python_decides(name, threshold, measure, scores, tmp_path):
    settings = ["--set", f"Exit.threshold={threshold}", "--set", f"Exit.measure={measure}"]
    done = eprune("run", APPLICATION, *deployment(name), "--frames", FRAMES, *settings, "--record", tmp_path, "-q")
    assert done.returncode == 0, done.stderr
    wanted = reference(scores, threshold, measure)
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    if measure == "entropy":  # numpy adds up in another order
        pairs = list(zip(seen, wanted))
        assert all(math.isclose(a.pop("confidence", 0), b.pop("confidence", 0), abs_tol=1e-6) for a, b in pairs)
    assert seen == wanted

    deep = sum(line.get("exit") == "late" for line in wanted)
    assert 0 < deep < FRAMES
    records = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert records["endpoint"]["actors"]["Exit"]["modes"] == {"0": FRAMES - deep, "1": deep}
    assert records["endpoint"]["fifos"]["f3"]["tokens"] == deep
    if name == "split":
        sent = sum(fifo["bytes"] for fifo in records["endpoint"]["fifos"].values() if fifo["kind"] == "tx")
        assert sent == deep * DEEP + FRAMES * CONTROL
        answers = [fifo["bytes"] for fifo in records["server"]["fifos"].values() if fifo["kind"] == "tx"]
        assert answers == [deep * 16]


@pytest.mark.parametrize(("threshold", "deep"), [("0", 0), ("1.1", FRAMES)])
def test_all_leave_or_none_does(threshold, deep):
    done = eprune("run", APPLICATION, *deployment("split"), "--frames", FRAMES, "--set", f"Exit.threshold={threshold}")
    assert done.returncode == 0, done.stderr
    exits = [line.get("exit") for line in map(json.loads, done.stdout.splitlines())]
    assert exits.count("late") == deep
    assert exits.count("early") == FRAMES - deep


@pytest.mark.long
def test_where_none_leaves_the_answers_are_those_of_the_classifier_without_an_exit():
    mine = eprune("run", APPLICATION, *deployment("split"), "--frames", FRAMES, "--set", "Exit.threshold=1.1", "-q")
    graphs = [ROOT / "graphs" / name for name in ("vehicle.xml", "endpoint.xml")]
    whole = eprune(
        "run", graphs[0], "-p", graphs[1], "-m", ROOT / "mappings" / "vehicle_local", "--frames", FRAMES, "-q"
    )
    names = ("frame", "class", "score")
    lines = [json.loads(line) for line in mine.stdout.splitlines()[:-1]]
    assert [{name: line[name] for name in names} for line in lines] == [
        json.loads(line) for line in whole.stdout.splitlines()
    ]
    assert len(lines) == FRAMES


def swept(count, bins, *more):
    return eprune(
        "sweep",
        *(APPLICATION, *deployment("split"), "--vary", f"Exit.threshold=bins:{bins}", "--format", "json"),
        *("--set", f"Input.count={count}", "--set", "Input.seed=1005", *more),
    )


@pytest.mark.long
def test_thresholds_come_from_the_confidence_of_the_frames_and_the_cheapest_is_chosen():
    done = swept(60, 3, "--wish", "accuracy=0.9")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    points = told["points"]
    assert [point["shares"]["Deep"]["1"] for point in points] == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=0.04)
    assert [point["links"]["endpoint -> server"] for point in points] == [
        pytest.approx(CONTROL + DEEP * point["shares"]["Deep"]["1"]) for point in points
    ]
    good = [point for point in points if point["metrics"]["accuracy"] >= 0.9]
    assert told["chosen"] == good[0]["values"]


@pytest.mark.long
def test_a_wish_that_is_more_than_the_network_can_do_is_not_granted():
    done = swept(20, 1, "--wish", "accuracy=1.01")
    assert done.returncode == 1
    assert re.search(r"error: no run has accuracy >= 1.01: the best is \S+, at Exit.threshold=", done.stderr)
    assert json.loads(done.stdout)["chosen"] is None


PAGE = (ROOT / "docs" / "how-to" / "early_exit.md").read_text()
SESSIONS = re.findall(r"^\$ eprune (.*)\n((?:[^`\n].*\n|\n(?!```))+)", PAGE, re.MULTILINE)
NUMBER = re.compile(r"\d+\.?\d*")


def alike(shown, seen):
    """Whether a line is as the page shows it: its words; accuracies, confidences and shares nearly."""
    pairs = list(zip(shown.replace("...", "").split(), seen.split()))
    return len(pairs) == len(shown.replace("...", "").split()) and all(
        NUMBER.sub("#", one) == NUMBER.sub("#", other) and all(map(close, NUMBER.findall(one), NUMBER.findall(other)))
        for one, other in pairs
    )


def close(one, other):
    """A share or an accuracy may differ a little between processors, bytes per frame by as much."""
    return abs(float(one) - float(other)) <= 0.02 * max(1, abs(float(one)))


@pytest.mark.long
def test_the_run_of_the_page_is_real():
    [(command, shown)] = [each for each in SESSIONS if each[0].startswith("run") and "tail" not in each[0]]
    done = eprune(*command.split())
    assert done.returncode == 0, done.stderr
    lines = shown.splitlines()
    for line in (line for line in lines if line.startswith("{")):
        assert any(alike(line, seen) for seen in done.stdout.splitlines()), line
    last = [line for line in lines if "->" in line]
    assert last == [line for line in done.stderr.splitlines() if "->" in line]


@pytest.mark.long
def test_the_threshold_of_the_page_is_chosen_and_tried_on_other_pictures():
    [(sweep, table)] = [each for each in SESSIONS if each[0].startswith("sweep")]
    done = eprune(*sweep.split(), timeout=600)
    assert done.returncode == 0, done.stderr
    shown = [line for line in table.splitlines() if re.match(r"  [ *]  +[01]\.", line)]
    seen = [line for line in done.stdout.splitlines() if re.match(r"  [ *]  +[01]\.", line)]
    assert len(shown) == len(seen) == 11
    for one, other in zip(shown, seen):
        assert alike(one.replace("*", " "), other.replace("*", " ")), (one, other)
    [(check, line)] = [each for each in SESSIONS if "tail" in each[0]]
    assert alike(line.strip(), eprune(*check.partition(" |")[0].split()).stdout.splitlines()[-1])


PLATFORM_FILES = [ROOT / "graphs" / f"{name}.xml" for name in ("endpoint", "server")]


@pytest.mark.long
def test_wherever_it_is_cut_the_answers_are_the_same(tmp_path):
    done = eprune("explore", APPLICATION, "-p", *PLATFORM_FILES, "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    answers = {}
    for point in sorted(path for path in tmp_path.iterdir() if (path / "endpoint.xml").exists()):
        done = eprune("run", APPLICATION, "-p", *PLATFORM_FILES, "-m", point, "--frames", 20, "-q")
        assert done.returncode == 0, done.stderr
        answers[point.name] = done.stdout
    assert len(answers) == 8
    assert len(set(answers.values())) == 1


@pytest.mark.long
def test_its_cuts_are_explored_and_measured_but_not_by_lone_frames(tmp_path):
    assert eprune("explore", APPLICATION, "-p", *PLATFORM_FILES, "-o", tmp_path, "--frames", 20).returncode == 0
    for what in (("--actors",), ("--point", 5)):
        done = eprune("profile", tmp_path, *what)
        assert done.returncode == 0, done.stderr
    # Predicted are the bytes of the frames that go on, as the endpoint sampled them among the file's 100 pictures.
    report = json.loads(eprune("report", tmp_path, "--format", "json").stdout)
    point = next(each for each in report["points"] if each["point"] == "5")
    shares = json.loads((tmp_path / "actors.json").read_text())["platforms"]["endpoint"]["rates"]
    assert shares["f3"] == shares["f4"] == shares["late"] == pytest.approx(1 - shares["early"])
    assert 0.1 < shares["f3"] < 0.3
    beside = CONTROL + 3 * 4 + 16 * shares["early"]  # Sink is on the server: control, confidence, class, early answers
    assert point["predicted"]["nbytes"] == pytest.approx(DEEP * shares["f3"] + beside)
    done = eprune("profile", tmp_path, "--point", 5, "--latency")
    assert done.returncode == 1
    assert "Sink.early, whose rate changes: not every frame has one" in done.stderr
