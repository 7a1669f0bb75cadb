"""`eprune apply cascade` with detectors: a small one answers frames that it is sure of, a large one all others."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eprune.analysis.check import check
from eprune.face import load
from eprune.measure.answers import SystemAnswers, alone
from eprune.measure.data import read_data
from eprune.model.finding import errors
from eprune.model.graph import Graph
from eprune.model.system import System
from eprune.model.token import parse_token
from eprune.passes import _detectors, cascade
from eprune.runtime import PortType
from eprune.runtime.fire.tflite import choose
from eprune.runtime.fire.tflite import load as interpreter
from eprune.runtime.main import imports
from tests.kit import ends, tiny_models
from tests.kit.programs import ROOT

SMALL, LARGE = (str(ROOT / f"graphs/{name}.tflite") for name in ("ssd_small", "ssd_mobilenet"))
CLASSES = str(ROOT / "graphs/vehicle.tflite")
HALVES = ("--mean", "0.5", "--std", "0.5")
OBJECT = 0.4
PORTS = [f"{what}{number}" for number in range(1, 7) for what in ("boxes", "scores")]


def library(name):
    """A module of the library of actors."""
    return imports.load(str(ROOT / f"actors/{name}.py"))


BoxDecoder, NonMaximumSuppression = library("box_decoder").BoxDecoder, library("nms").NonMaximumSuppression
resized, scaled = library("resize").resized, library("resize").scaled


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Frames of rendered traffic, one of each scene."""
    path = tmp_path_factory.mktemp("scenes") / "scenes.npz"
    np.savez(
        path, x=np.stack([library("traffic_renderer").TrafficScene(40_000 + seed).frame(45)[0] for seed in range(12)])
    )
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fired(behaviour, inputs, **types):
    """What an actor makes of its inputs."""
    behaviour.inputs = {name: PortType(str(each.dtype), each.shape, 1) for name, each in inputs.items()}
    behaviour.outputs = {name: PortType(dtype, shape, 1) for name, (dtype, shape) in types.items()}
    behaviour.initialize()
    outputs = {name: np.empty(shape, dtype) for name, (dtype, shape) in types.items()}
    behaviour.fire(inputs, outputs)
    return outputs


class Detector:
    """A model, its decoder, and what selects boxes, in plain Python: rows of box, score and class."""

    def __init__(self, path):
        self.model = interpreter(choose(), Path(path).read_bytes())

    def __call__(self, pixels):
        self.model.set_tensor(self.model.get_input_details()[0]["index"], scaled(pixels, 0.5, 0.5)[None])
        self.model.invoke()
        tensors = [self.model.get_tensor(each["index"]) for each in self.model.get_output_details()]
        heads = dict(zip(PORTS, tensors))
        boxes = fired(BoxDecoder(), heads, boxes=("float32", (1917, 4)), scores=("float32", (1917, 4)))
        kept = {"kept_boxes": (32, 4), "kept_scores": (32,)}
        types = {name: ("float32", shape) for name, shape in kept.items()}
        found = fired(NonMaximumSuppression("0.05", "0.4"), boxes, **types, kept_classes=("int32", (32,)))
        beside = np.stack([found["kept_scores"], found["kept_classes"].astype(np.float32)], 1)
        return np.concatenate([found["kept_boxes"], beside], 1)


def certainty(rows):
    """The F1 to be expected if scores are chances: of n objects, and of as many as the scores of all rows add up to."""
    scores = [float(score) for score in rows[:, 4] if score > 0]
    sure = [score for score in scores if score >= OBJECT]
    return 2 * sum(sure) / (len(sure) + sum(scores)) if scores else 1


@pytest.mark.long
def test_it_decides_and_answers_as_plain_python_does(folder, eprune, scenes):
    given = ("--data", str(scenes), *HALVES, "--quality", "60", "--wish", "bytes=4KiB")
    done = eprune("apply", "cascade", SMALL, LARGE, *given, "-o", "made", "--format", "json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    system = load("made/application.xml", "made/platforms", "made/mappings", allow_outside=True)
    assert not errors(check(system))
    homes = system.homes
    assert {name for name, home in homes.items() if home == "server"} == {
        *("Decode", "ToLarge", "Large", "LargeBoxes", "LargeNms", "LargeObjects")
    }
    small, large = Detector(SMALL), Detector(LARGE)
    early, sent = [], 0
    with SystemAnswers(alone(system)) as answers:
        for example in read_data(str(scenes)).part("test"):
            picture = resized(np.asarray(example.content), 300, 300)
            expected = small(picture)
            early.append(np.float32(certainty(expected)) >= told["threshold"])
            if not early[-1]:
                stream = io.BytesIO()
                Image.fromarray(picture).save(stream, "JPEG", quality=60)
                sent += len(stream.getvalue()) + 1
                expected = large(np.asarray(Image.open(stream)))
            np.testing.assert_array_equal(answers.frame(picture[None]).answer, expected)
    assert told["share"] == np.mean(early)
    where = ("made/application.xml", "-p", "made/platforms", "-m", "made/mappings", "--allow-outside")
    done = eprune("evaluate", *where, "--data", str(scenes), "--format", "json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["model"] == "ssd_mobilenet.tflite"
    assert found["value"] == pytest.approx(told["agreement"]["cascade"]["value"], abs=1e-6)
    assert found["links"][0]["bytes_per_frame"] == pytest.approx(told["bytes_per_frame"])
    assert told["bytes_per_frame"] == pytest.approx(sent / len(early))
    assert 0 < np.mean(early) < 1


def test_detectors_that_select_boxes_by_tflites_own_operator(folder, eprune):
    for name in ("small", "large"):
        (folder / f"{name}.tflite").write_bytes(ends.selecting_detector())
    np.savez("noise.npz", x=np.random.default_rng(1).integers(0, 255, (6, 8, 8, 3), np.uint8))
    given = ("--data", "noise.npz", "--mean", "0", "--std", "1", "--wish", "agreement=1", "--audit", "0.5")
    done = eprune("apply", "cascade", "small.tflite", "large.tflite", *given, "-o", "made")
    assert done.code == 0, done.err
    assert "threshold 0.4444: the small model answers 100.0 %" in done.err, "half of 2 * (0.9 + 0.7) / (2 + 0.9 + 0.7)"
    system = load("made/application.xml", "made/platforms", "made/mappings", allow_outside=True)
    assert not errors(check(system))
    with SystemAnswers(alone(system)) as answers:
        rows = answers.frame(np.zeros((1, 8, 8, 3), np.uint8)).answer
    done = eprune("evaluate", "made/application.xml", "--data", "noise.npz", "--allow-outside")
    assert done.code == 0, done.err
    assert "agreement with large.tflite: 100.00 %" in done.out, "both find the same"
    done = eprune("evaluate", "made/application.xml", "--data", "noise.npz", "--model", CLASSES, "--allow-outside")
    assert (done.code, "is no detector" in done.err) == (2, True), done.err
    assert rows[:3, 4:] == pytest.approx(np.array([[0.9, 0], [0.7, 1], [0, 0]]))


@pytest.mark.parametrize(
    ("small", "large", "more", "words"),
    [
        ("ssd", "large", ("--wish", "accuracy=0.9"), "where objects are is not known"),
        ("ssd", "classes", (), "a cascade is of two of a kind"),
        ("ssd", "streams", (), "or of detectors"),
    ],
)
def test_what_cannot_be_is_said_in_one_message(folder, eprune, scenes, small, large, more, words):
    (folder / "selects.tflite").write_bytes(ends.selecting_detector())
    (folder / "classes.tflite").write_bytes((ROOT / "graphs/vehicle.tflite").read_bytes())
    (folder / "streams.tflite").write_bytes(tiny_models.two_streams())
    files = {"ssd": SMALL, "large": LARGE}
    first, second = (files.get(each, f"{each}.tflite") for each in (small, large))
    np.savez("y.npz", x=np.random.default_rng(1).integers(0, 255, (4, 8, 8, 3), np.uint8), y=np.arange(4))
    done = eprune("apply", "cascade", first, second, "--data", "y.npz", *HALVES, *more, "-o", "made")
    assert done.code in (1, 2)
    assert words in done.err
    assert "Traceback" not in done.err
    assert not (folder / "made").exists()


def test_two_detectors_know_the_same_classes():
    picture = parse_token("uint8[1,8,8,3]")
    stages = [
        cascade.Stage(f"{n}.tflite", b"", 1, picture, _detectors.OBJECTS, detector=_detectors.Detector({}, {}, True, n))
        for n in (3, 4)
    ]
    with pytest.raises(ValueError, match=r"3.tflite knows 3 classes of objects, and 4.tflite 4"):
        cascade.apply(System(Graph("cascade")), cascade.Options("4.tflite", "data", stages=tuple(stages)))
