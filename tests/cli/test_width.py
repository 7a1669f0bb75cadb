"""`eprune apply width`: as many channels of each layer as a frame needs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from eprune.analysis.check import check
from eprune.face import load
from eprune.formats.tflite.channels import layers
from eprune.measure.answers import SystemAnswers, alone
from eprune.measure.data import read_data
from eprune.measure.evaluate import evaluate
from eprune.measure.masks import Case, Stages, alive
from eprune.measure.recovery import missing
from eprune.model.finding import errors
from eprune.model.partition import LayerParts, Plan
from eprune.runtime.fire.tflite import choose
from tests.kit import pages, tiny_models
from tests.kit.programs import ROOT
from tests.kit.vehicles import write

MADE = ("made/application.xml", "-p", "made/platform.xml", "-m", "made/mapping.xml", "--allow-outside")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wide.tflite").write_bytes(tiny_models.two_convolutions())
    (tmp_path / "streams.tflite").write_bytes(tiny_models.two_streams())
    random = np.random.default_rng(1)
    np.savez("pictures.npz", x=random.normal(size=(60, 8, 8, 3)).astype(np.float32))
    return tmp_path


def told(eprune, *more):
    given = ("--data", "pictures.npz", "--wish", "agreement=0.3", *more, "-o", "made", "--format", "json")
    done = eprune("apply", "width", "wide.tflite", *given)
    assert done.code == 0, done.err
    return json.loads(done.out)


def parts_of(system):
    """The plan, by what the slices of the application keep."""
    found = {}
    for actor in system.graph.actors:
        channels = getattr(actor.behaviour, "channels", ())
        if channels:
            found.setdefault(actor.behaviour.operators[0], []).append(channels)
    return found


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_narrow_frame_is_what_the_masks_and_predictions_say(folder, eprune, width):
    told(eprune)
    system = load("made/application.xml", "made/platform.xml", "made/mapping.xml", allow_outside=True)
    assert errors(check(system)) == []
    parts = parts_of(system)
    assert {len(each) for each in parts.values()} == {3}
    plan = Plan(3, "width", tuple(LayerParts(first, tuple(each)) for first, each in parts.items()))
    data = (folder / "wide.tflite").read_bytes()
    from eprune.formats.model_files import parse_model

    model = parse_model(data)
    stages = Stages(model, [each for each in layers(model) if each.first in parts], choose())
    absent = tuple(f"width{number}" for number in range(width + 1, 4))
    read = {
        tensor: missing().read_predictions(str(folder / f"made/recovery_exchange_{tensor}.npz"))
        for tensor in stages.exchanged
    }

    def refill(tensor, masked, there):
        filled = masked.copy()
        filled[..., ~there] = read[tensor][absent](masked[..., there], masked.dtype)
        return filled

    case = Case(alive(plan, range(width, 3)), refill) if absent else Case()
    with SystemAnswers(alone(system)) as answers:
        answers.behaviour("Width").width = width
        for picture in np.load("pictures.npz")["x"][:5]:
            got = answers.frame(picture[None]).answer
            (wanted,) = stages(picture[None], [case])
            assert got.tobytes() == wanted.tobytes()


def test_what_is_evaluated_is_what_was_foretold(folder, eprune):
    figures = told(eprune, "--widths", "2")
    assert [each["macs"] for each in figures["widths"]] == pytest.approx([0.5, 1], abs=0.2)
    assert sum(each["share"] for each in figures["widths"]) == pytest.approx(1)
    system = load("made/application.xml", "made/platform.xml", "made/mapping.xml", allow_outside=True)
    from eprune.formats.model_files import read_model

    found = evaluate(system, read_data("pictures.npz"), model=read_model("wide.tflite"))
    assert found.share.of == figures["pictures"]
    assert found.share.value == pytest.approx(figures["agreement"]["value"])


def test_programs_run_it_and_the_width_can_be_set(folder, eprune):
    told(eprune)
    np.save("tokens.npy", np.load("pictures.npz")["x"][:10, None])
    system = load("made/application.xml", "made/platform.xml", "made/mapping.xml", allow_outside=True)
    source = next(actor.name for actor in system.graph.actors if not actor.inputs)
    fed = (f"--set={source}.path=tokens.npy", "--set=Output.path=got", "--set=Width.width=1")
    done = eprune("run", *MADE, *fed)
    assert done.code == 0, done.err
    (got,) = (folder / "got").glob("*.npy")
    with SystemAnswers(alone(system)) as answers:
        answers.behaviour("Width").width = 1
        wanted = [answers.frame(picture).answer for picture in np.load("tokens.npy")]
    assert np.load(got).tobytes() == np.stack(wanted).tobytes()


def test_parts_are_dealt_by_importance(folder, eprune):
    told(eprune, "--widths", "4")
    system = load("made/application.xml", "made/platform.xml", "made/mapping.xml", allow_outside=True)
    from eprune.formats.model_files import read_model
    from eprune.measure.scores import channel_scores

    model = read_model("wide.tflite")
    scores = channel_scores(model, layers(model), names=("s1",))
    for first, parts in parts_of(system).items():
        means = [scores[first][list(part), 0].mean() for part in parts]
        assert means == sorted(means, reverse=True)


@pytest.mark.parametrize(
    ("model", "more", "code", "words"),
    [
        ("wide.tflite", ("--wish", "accuracy=0.9"), 2, "has no labels"),
        ("wide.tflite", ("--wish", "bytes=3KiB"), 2, "expected accuracy=0.97 or agreement=0.98"),
        ("wide.tflite", ("--widths", "1"), 2, "expected 2 to 8"),
        ("wide.tflite", ("--frames", "0"), 2, "1 or more"),
        ("wide.tflite", ("--data", "none.npz"), 2, "is no file"),
        ("streams.tflite", (), 2, "streams.tflite"),
    ],
)
def test_what_cannot_be_is_said_in_one_message(folder, eprune, model, more, code, words):
    done = eprune("apply", "width", model, "--data", "pictures.npz", *more, "-o", "made")
    assert (done.code, "Traceback" in done.err) == (code, False), done.err
    assert words in done.err
    assert not (folder / "made").exists()


@pytest.mark.long
def test_the_session_of_the_page_is_real(tmp_path):
    for name in ("graphs", "mappings", "actors"):
        (tmp_path / name).symlink_to(ROOT / name)
    write(tmp_path / "vehicles.npz", 60)
    assert pages.differing(ROOT / "docs/how-to/width.md", tmp_path) == (2, [])
