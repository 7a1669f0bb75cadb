import json
from pathlib import Path

import numpy as np
import pytest
from classifier import Classifier
from driver import prepared

from eprune.formats.model_files import read_model
from eprune.formats.models.slices import slice_model
from eprune.runtime.fire.engines import ModelEngine
from eprune.runtime.fire.segment import Model

ROOT = Path(__file__).resolve().parents[2]


class Doubling:
    """A model whose scores are twice its input; it counts its calls."""

    calls = 0

    def __call__(self, token):
        self.calls += 1
        return [2 * token]


@pytest.fixture
def classifier(tmp_path):
    """A classifier with two inputs, and what it has written so far."""
    path = tmp_path / "out.jsonl"
    actor = Classifier(labels="car,bus", path=str(path))
    actor.model = Doubling()
    prepared(actor, {"in1": "float32[1,2]", "in2": "float32[1,2]"}, {})
    yield actor, lambda: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    actor.finalize()


CAR, BUS = np.array([[0.5, 0.25]], np.float32), np.array([[0.0, 1.0]], np.float32)


def test_each_input_has_an_answer_of_its_own(classifier):
    actor, written = classifier
    actor.fire({"in1": CAR, "in2": BUS}, {})
    assert written() == [
        {"frame": 0, "input": "in1", "class": "car", "score": 1.0},
        {"frame": 0, "input": "in2", "class": "bus", "score": 2.0},
    ]


@pytest.mark.parametrize("lost", [{}, {"in1": None}])
def test_an_input_that_is_lost_has_none(classifier, lost):
    actor, written = classifier
    actor.fire({"in2": BUS, **lost}, {})
    actor.fire({"in1": CAR, "in2": BUS}, {})
    assert [(line["frame"], line["input"]) for line in written()] == [(0, "in2"), (1, "in1"), (1, "in2")]


def test_what_does_not_fit_is_told_before_the_first_frame(tmp_path):
    with pytest.raises(ValueError, match="needs a model"):
        prepared(Classifier(), {"in": "float32[1,2]"}, {})
    actor = Classifier(labels="car,bus,truck", path=str(tmp_path / "out"))
    actor.model = Doubling()
    with pytest.raises(ValueError, match="3 labels for 2 scores"):
        prepared(actor, {"in": "float32[1,2]"}, {})
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def head():
    """The fully connected layers of the vehicle classifier, as an interpreter runs them."""
    model = read_model(str(ROOT / "graphs" / "vehicle.tflite"))
    data = slice_model(model, range(4, 9))
    return Model(lambda: data, ModelEngine())


def lines(head, folder, batch, tokens):
    path = folder / f"{batch}.jsonl"
    actor = Classifier(path=str(path), batch=batch)
    actor.model = head
    prepared(actor, {f"in{n}": "float32[1,24,24,32]" for n in range(1, 6)}, {})
    for each in tokens:
        actor.fire(each, {})
    actor.finalize()
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_several_inputs_at_once_have_the_answers_that_each_has_alone(head, tmp_path):
    """Whether they fill the batch, exceed it, or are one; but for the last bits of the scores."""
    random = np.random.default_rng(1)
    token = lambda: random.random((1, 24, 24, 32), np.float32)  # noqa: E731
    tokens = [{f"in{n}": token() for n in chosen} for chosen in ((1, 2, 3, 4, 5), (2,), (1, 4), (3, 4, 5))]
    alone = lines(head, tmp_path, "1", tokens)
    for batch in ("2", "4"):
        together = lines(head, tmp_path, batch, tokens)
        assert [{**line, "score": 0} for line in together] == [{**line, "score": 0} for line in alone]
        assert [line["score"] for line in together] == pytest.approx([line["score"] for line in alone], rel=1e-4)


def test_a_model_that_takes_one_token_is_refused_before_the_first_frame(head, tmp_path):
    flat = Classifier(path=str(tmp_path / "out"), batch="2")
    flat.model = Doubling()
    with pytest.raises(ValueError, match="port 'in': batch=2 needs tokens whose first dimension is 1"):
        prepared(flat, {"in": "float32[2]"}, {})
