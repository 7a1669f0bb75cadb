import json

import numpy as np
import pytest
from classifier import Classifier
from driver import prepared


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
