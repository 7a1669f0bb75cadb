"""`eprune apply cascade`: a small model answers what it is sure of, a large one on a server all else."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from eprune.analysis.check import check
from eprune.face import load
from eprune.formats.models.quantization import Quantization
from eprune.formats.tflite.head import head_model, pool_of
from eprune.measure.data import read_data
from eprune.measure.evaluate import evaluate
from eprune.measure.exits import Head, fitted, values_of
from eprune.model.finding import errors
from eprune.model.token import parse_token
from eprune.runtime.fire.tflite import choose
from eprune.runtime.fire.tflite import load as interpreter
from tests.kit import pages, tiny_models
from tests.kit.programs import ROOT
from tests.kit.vehicles import write

LARGE = str(ROOT / "graphs/vehicle.tflite")
SCALING = ("--mean", "0", "--std", "1")
MADE = ("made/application.xml", "-p", "made/platforms", "-m", "made/mappings", "--allow-outside")
PICTURE = parse_token("float32[1,96,96,3]")
SMALL_PICTURE = parse_token("uint8[1,48,48,3]")
ANSWER = parse_token("float32[1,4]")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Rendered vehicles as pictures, and two small models for them: one of floats, one of bytes and half the size."""
    folder = tmp_path_factory.mktemp("data")
    pixels, classes = write(folder / "vehicles.npz", 120, pixels=True)
    pool = pool_of(PICTURE.shape, 12)
    blank = Head(pool, np.empty((0, 0)), np.empty(0))
    values = np.stack([values_of(each[None].astype(np.float32) / 255, blank) for each in pixels])
    weights, biases = fitted(values[:80], classes[:80], 4)
    (folder / "small.tflite").write_bytes(head_model(PICTURE, pool, weights, biases, ANSWER))
    bytes_in, bytes_out = Quantization(1 / 255, 0), Quantization(1 / 256, 0)
    pool = pool_of(SMALL_PICTURE.shape, 12)
    made = parse_token("uint8[1,4]")
    quantized = head_model(SMALL_PICTURE, pool, weights, biases, made, bytes_in, bytes_out)
    (folder / "quantized.tflite").write_bytes(quantized)
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cascade(eprune, small, pictures, *more):
    data = ("--data", str(pictures / "vehicles.npz"))
    done = eprune(
        "apply", "cascade", str(pictures / small), LARGE, *data, *SCALING, *more, "-o", "made", "--format", "json"
    )
    assert done.code == 0, done.err
    return json.loads(done.out)


class Reference:
    """The same decisions in plain Python."""

    def __init__(self, pictures, small, quality):
        self.small = interpreter(choose(), (pictures / small).read_bytes())
        self.large = interpreter(choose(), (ROOT / "graphs/vehicle.tflite").read_bytes())
        self.quality = quality

    @staticmethod
    def _run(model, token):
        (given,), (made,) = model.get_input_details(), model.get_output_details()
        model.set_tensor(given["index"], token)
        model.invoke()
        return model.get_tensor(made["index"])[0]

    def __call__(self, pixels, threshold):
        """Whether the small model answers, the class, and the bytes that are sent."""
        (given,) = self.small.get_input_details()
        if given["dtype"] is np.uint8:
            picture = np.asarray(Image.fromarray(pixels).resize((48, 48), Image.BILINEAR))[None]
            scores = self._run(self.small, picture).astype(np.float32) / 256
        else:
            scores = self._run(self.small, (pixels * np.float32(1 / 255))[None])
        if np.float32(scores.max()) >= np.float32(threshold):
            return True, int(scores.argmax()), 0
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=self.quality)
        decoded = np.asarray(Image.open(stream)) * np.float32(1 / 255)
        return False, int(self._run(self.large, decoded[None]).argmax()), len(stream.getvalue()) + 1


@pytest.mark.parametrize("small", ["small.tflite", pytest.param("quantized.tflite", marks=pytest.mark.long)])
def test_it_decides_and_answers_as_plain_python_does(folder, eprune, pictures, small):
    told = cascade(eprune, small, pictures, "--wish", "accuracy=0.9", "--quality", "80")
    system = load("made/application.xml", "made/platforms", "made/mappings", allow_outside=True)
    assert not errors(check(system))
    assert 0.2 < told["share"] < 1
    data = read_data(str(pictures / "vehicles.npz"))
    reference = Reference(pictures, small, 80)
    gone = [reference(np.asarray(each.content), told["threshold"]) for each in data.part("test")]
    right = [answer == int(each.label) for (_, answer, _), each in zip(gone, data.part("test"))]
    assert told["share"] == np.mean([early for early, _, _ in gone])
    assert told["accuracy"]["cascade"]["value"] == pytest.approx(np.mean(right))
    assert told["bytes_per_frame"] == pytest.approx(np.mean([nbytes for _, _, nbytes in gone]))
    found = evaluate(system, data)
    assert found.share.right == sum(right)
    sent = found.bytes_per_frame["endpoint", "server"]
    assert told["bytes_per_frame"] <= sent < told["bytes_per_frame"] + 40, "tokens, and control tokens"


@pytest.mark.long
def test_two_processes_answer_as_was_foretold(folder, eprune, pictures):
    told = cascade(eprune, "quantized.tflite", pictures, "--wish", "accuracy=0.9", "--audit", "0.5")
    shown = folder / "shown"
    shown.mkdir()
    data = read_data(str(pictures / "vehicles.npz")).part("test")
    for place, example in enumerate(data):
        Image.fromarray(np.asarray(example.content)).save(shown / f"{place:03}.png")
    done = eprune("run", *MADE, "--set", "Camera.path=shown", "--set", "Output.path=lines.jsonl")
    assert done.code == 0, done.err
    *lines, last = map(json.loads, (folder / "lines.jsonl").read_text().splitlines())
    reference = Reference(pictures, "quantized.tflite", 90)
    assert len(lines) == len(data)
    for line, example in zip(lines, data):
        early, answer, _ = reference(np.asarray(example.content), told["threshold"])
        assert (line["exit"] != "late") == early
        if line["exit"] != "audit":
            assert line["class"] == str(answer)
    assert last["audits"] == sum(line["exit"] != "late" for line in lines) // 2


def test_without_labels_it_agrees_with_the_large_model_on_the_picture_itself(folder, eprune, pictures):
    told = cascade(eprune, "small.tflite", pictures, "--wish", "agreement=0.8", "--quality", "30")
    assert 0.6 < told["agreement"]["cascade"]["value"] <= 1
    assert told["agreement"]["large"]["value"] > told["agreement"]["small"]["value"]
    system = load("made/application.xml", "made/platforms", "made/mappings", allow_outside=True)
    from eprune.formats.model_files import read_model

    found = evaluate(system, read_data(str(pictures / "vehicles.npz")), model=read_model(LARGE))
    assert found.share.value == pytest.approx(told["agreement"]["cascade"]["value"])


def test_a_budget_of_bytes_is_kept(folder, eprune, pictures):
    told = cascade(eprune, "small.tflite", pictures, "--wish", "bytes=1KiB")
    assert told["bytes_per_frame"] < 1.3 * 1024 < told["bytes_without"]


def test_what_the_user_should_know_is_said(folder, eprune, pictures):
    given = ("--data", str(pictures / "vehicles.npz"), "--wish", "agreement=0.5", "-o", "made")
    done = eprune("apply", "cascade", str(pictures / "small.tflite"), LARGE, *given)
    assert done.code == 0, done.err
    assert "the small model answers" in done.err
    assert "the camera shows the folder 'pictures'" in done.err
    assert '<param name="path" value="pictures"/>' in (folder / "made/application.xml").read_text()
    assert "does not say how pixels become numbers" in done.err


@pytest.mark.parametrize(
    ("small", "large", "more", "words"),
    [
        ("small.tflite", LARGE, ("--wish", "accuracy=2"), "expected accuracy=0.97"),
        ("small.tflite", LARGE, ("--wish", "agreement=1", "--quality", "5"), "out of reach"),
        ("small.tflite", LARGE, ("--quality", "100"), "expected 0 to 95"),
        ("small.tflite", LARGE, ("--audit", "2"), "expected a share"),
        ("small.tflite", LARGE, ("--frames", "0"), "1 or more"),
        ("small.tflite", "small.tflite", (), "both models are called"),
        ("small.tflite", "wide.tflite", (), "with the same classes"),
        ("small.tflite", "streams.tflite", (), "a cascade is of classifiers"),
        ("small.tflite", "none.tflite", (), "none.tflite"),
        (str(ROOT / "graphs/vehicle.xml"), LARGE, (), "give SMALL.tflite and LARGE.tflite"),
        ("small.tflite", LARGE, ("--mean", "half"), "mean"),
    ],
)
def test_what_cannot_be_is_said_in_one_message(folder, eprune, pictures, small, large, more, words):
    (pictures / "wide.tflite").write_bytes(tiny_models.two_convolutions())
    (pictures / "streams.tflite").write_bytes(tiny_models.two_streams())
    data = ("--data", str(pictures / "vehicles.npz"), *SCALING)
    first = small if small.endswith(".xml") else str(pictures / small)
    second = large if large == LARGE else str(pictures / large)
    done = eprune("apply", "cascade", first, second, *data, *more, "-o", "made")
    assert done.code in (1, 2)
    assert words in done.err
    assert "Traceback" not in done.err
    assert not (folder / "made").exists()


@pytest.mark.long
def test_the_session_of_the_page_is_real(tmp_path, pictures):
    for name in ("graphs", "mappings", "actors"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copy(pictures / "vehicles.npz", tmp_path / "vehicles.npz")
    assert pages.differing(ROOT / "docs/how-to/cascade.md", tmp_path) == (2, [])
