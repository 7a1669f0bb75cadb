"""`eprune apply exits`: early exits for a model, fitted on one's own pictures."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from eprune.analysis.check import check
from eprune.face import load
from eprune.formats.model_files import read_model
from eprune.measure.data import read_data
from eprune.measure.evaluate import evaluate
from tests.kit import pages, tiny_models
from tests.kit.programs import ROOT
from tests.kit.vehicles import write

VEHICLE = str(ROOT / "graphs/vehicle.xml")
SPLIT = (
    *("-p", str(ROOT / "graphs/endpoint.xml"), str(ROOT / "graphs/server.xml")),
    *("-m", str(ROOT / "mappings/vehicle_split"), "--allow-outside"),
)
MADE = ("made/application.xml", "-p", "made/platforms", "-m", "made/mappings", "--allow-outside")


@pytest.fixture(scope="module")
def vehicles(tmp_path_factory):
    """Rendered vehicles, a third of them for testing."""
    path = tmp_path_factory.mktemp("data") / "vehicles.npz"
    write(path, 150)
    return str(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wide.tflite").write_bytes(tiny_models.two_convolutions())
    random = np.random.default_rng(1)
    np.savez("pictures.npz", x=random.normal(size=(80, 8, 8, 3)).astype(np.float32))
    return tmp_path


def exits(eprune, *more):
    done = eprune("apply", "exits", *more, "-o", "made", "--format", "json")
    assert done.code == 0, done.err
    return json.loads(done.out)


@pytest.mark.parametrize("at", [pytest.param(("L2",), marks=pytest.mark.long), ("L1", "L2")])
def test_what_is_evaluated_is_what_was_foretold(folder, eprune, vehicles, at):
    places = [text for each in at for text in ("--at", each)]
    told = exits(eprune, VEHICLE, *SPLIT, "--data", vehicles, "--wish", "accuracy=0.85", *places)
    assert 0 < told["exits"][-1]["share"] <= 1
    assert told["bytes_per_frame"] < told["bytes_without_exits"] == 73728
    system = load("made/application.xml", "made/platforms", "made/mappings", allow_outside=True)
    assert not [finding for finding in check(system) if finding.severity == "error"]
    found = evaluate(system, read_data(vehicles))
    assert found.share.of == told["pictures"]
    assert found.share.right == round(told["accuracy"]["value"] * told["pictures"])
    # Beside tensors, control tokens cross.
    sent = found.bytes_per_frame["endpoint", "server"]
    assert told["bytes_per_frame"] <= sent < told["bytes_per_frame"] + 100


def test_audited_frames_are_answered_in_full_and_compared(folder, eprune, vehicles):
    exits(eprune, VEHICLE, *SPLIT, "--data", vehicles, "--wish", "accuracy=0.5", "--at", "L2", "--audit", "0.5")
    done = eprune("run", *MADE, "--frames", "10", "--set", "Sink.path=lines.jsonl")
    assert done.code == 0, done.err
    *lines, last = map(json.loads, (folder / "lines.jsonl").read_text().splitlines())
    audited = [line for line in lines if line["exit"] == "audit"]
    assert len(lines) == 10
    assert len(audited) == last["audits"] == sum(line["exit"] != "late" for line in lines) // 2
    assert last["agreement"] == pytest.approx(sum(line["agree"] for line in audited) / len(audited))
    assert last["agreement_low"] < last["agreement"]


def test_a_budget_of_bytes_is_kept(folder, eprune, vehicles):
    told = exits(eprune, VEHICLE, *SPLIT, "--data", vehicles, "--wish", "bytes=40KiB")
    # on held-out calibration pictures; these are others
    assert told["bytes_per_frame"] < 1.3 * 40960
    assert told["accuracy"]["value"] > 0.8


def test_a_model_without_labels_agrees_with_itself(folder, eprune):
    told = exits(eprune, "wide.tflite", "--data", "pictures.npz", "--wish", "agreement=0.5")
    assert told["agreement"]["of"] == 40
    system = load("made/application.xml", "made/platform.xml", "made/mapping.xml")
    found = evaluate(system, read_data("pictures.npz"), model=read_model("wide.tflite"))
    assert found.share.value == pytest.approx(told["agreement"]["value"])


def test_a_sink_of_ones_own_stays_as_it_is(folder, eprune, vehicles):
    (folder / "own.py").write_text(
        "from eprune.runtime import Actor\n\n\nclass Own(Actor):\n    def fire(self, inputs, outputs):\n        pass\n"
    )
    text = (ROOT / "graphs/vehicle.xml").read_text().replace("json_lines.py:JsonLines", "own.py:Own")
    text = text.replace('<param name="labels" value="car,bus,truck,motorcycle"/>', "")
    (folder / "app.xml").write_text(text)
    for name in ("vehicle.tflite",):
        (folder / name).write_bytes((ROOT / "graphs" / name).read_bytes())
    exits(eprune, "app.xml", *SPLIT, "--data", vehicles, "--at", "L2", "--wish", "accuracy=0.6")
    graph = load("made/application.xml", allow_outside=True).graph
    sink, merge = graph.actor("Sink"), graph.actor("Answer")
    assert (sink.behaviour.class_name, sink.type.value) == ("Own", "SPA")
    assert (merge.behaviour.class_name, merge.type.value) == ("Merge", "DA")


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (("--wish", "accuracy=0.9"), 2, "has no labels"),
        (("--wish", "speed=3"), 2, "expected accuracy=0.97"),
        (("--at", "softmax_5"), 2, "places are"),
        (("--audit", "2"), 2, "expected a share"),
        (("--exits", "0"), 2, "1 or more"),
        (("--exits", "2", "--audit", "0.1"), 2, "goes with one exit"),
        (("--wish", "bytes=20KiB"), 0, ""),
        (("--data", "none.npz"), 2, "is no file"),
    ],
)
def test_what_cannot_be_is_said_in_one_message(folder, eprune, more, code, words):
    done = eprune("apply", "exits", "wide.tflite", "--data", "pictures.npz", *more, "-o", "made")
    assert (done.code, "Traceback" in done.err) == (code, False), done.err
    assert words in done.err
    assert (folder / "made").exists() == (code == 0)


def test_a_wish_out_of_reach_is_a_finding(folder, eprune, vehicles):
    done = eprune("apply", "exits", VEHICLE, *SPLIT, "--data", vehicles, "--wish", "accuracy=1", "-o", "made")
    assert done.code == 1
    assert "accuracy 1 is out of reach" in done.err
    assert not (folder / "made").exists()


def test_pictures_of_one_class_are_no_use(folder, eprune):
    np.savez("black.npz", x=np.zeros((20, 8, 8, 3), np.uint8), source=list(range(20)), y=[1] * 20)
    done = eprune("apply", "exits", "wide.tflite", "--data", "black.npz", "-o", "made")
    assert done.code == 2
    assert "Traceback" not in done.err


@pytest.mark.long
def test_the_session_of_the_page_is_real(tmp_path, vehicles):
    for name in ("graphs", "mappings", "actors"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copy(vehicles, tmp_path / "vehicles.npz")
    commands = pages.sessions((ROOT / "docs/how-to/add_exits.md").read_text(encoding="utf-8"))
    for command, shown in commands:
        done = pages.run(command, tmp_path)
        assert done.returncode == 0, done.stdout
        shown = "\n".join(line for line in shown.splitlines() if "over links" not in line)  # may differ by a picture
        assert pages.missing(shown, done.stdout) == [], f"$ {command}\n{done.stdout}"
    assert len(commands) == 3
    assert done.stdout.count('"frame": ') == 20
