"""The committed early exit, and the parts of its fitting that need no scikit-learn."""

from __future__ import annotations

import re

import numpy as np
import pytest
import train_exit
from train_vehicle import vehicle_class

from eprune.formats.model_files import parse_model, read_model
from eprune.formats.models.boundary import boundary
from eprune.runtime.fire.tflite import INTERPRETERS, load

GRAPHS = train_exit.ROOT / "graphs"
PAGE = train_exit.ROOT / "docs" / "how-to" / "early_exit.md"
TABLE = re.findall(r"^ +([0-9.]+) +([0-9.]+) % +(?:[0-9.]+ %)? +([0-9.]+) %$", PAGE.read_text(), re.MULTILINE)


def test_the_exit_takes_what_l2_gives_and_has_three_operators():
    model = read_model(str(GRAPHS / "vehicle_exit.tflite"))
    assert [operator.name for operator in model.operators] == ["AVERAGE_POOL_2D", "FULLY_CONNECTED", "SOFTMAX"]
    inputs, outputs = boundary(model, range(3))
    assert [str(model.tensors[index].token) for index in (*inputs, *outputs)] == [
        "float32[1,24,24,32]",
        "float32[1,4]",
    ]


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_a_written_exit_computes_what_its_regression_says(interpreter):
    rng = np.random.default_rng(7)
    weights = rng.standard_normal((2048, 4), np.float32) / 50, rng.standard_normal(4, np.float32)
    features = rng.random((1, 24, 24, 32), np.float32)
    scores = np.exp(train_exit.averaged(features) @ weights[0] + weights[1])
    model = load(interpreter, train_exit.exit_model(weights))
    assert np.allclose(train_exit.infer(model, features), scores / scores.sum(), atol=1e-5)
    assert parse_model(train_exit.exit_model(weights)) is not None


@pytest.mark.long
@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_shares_and_accuracy_on_fresh_pictures_are_what_the_documentation_states(interpreter):
    assert len(TABLE) == len(train_exit.THRESHOLDS)
    frames = 300
    parts = train_exit.Parts(GRAPHS / "vehicle.tflite", interpreter)
    head = load(interpreter, (GRAPHS / "vehicle_exit.tflite").read_bytes())
    early, late = [], []
    for index in range(frames):
        features = parts.features(78, index)
        early.append(train_exit.infer(head, features)[0])
        late.append(train_exit.infer(parts.upper, features)[0])
    wanted = np.array([vehicle_class(78, index) for index in range(frames)])
    for threshold, share, accuracy in ((float(text) for text in row) for row in TABLE):
        leaves = np.max(early, axis=1) >= threshold
        right = np.where(leaves, np.argmax(early, axis=1), np.argmax(late, axis=1)) == wanted
        for seen, stated in ((leaves.mean(), share / 100), (right.mean(), accuracy / 100)):
            # Four standard deviations of 300 draws.
            assert abs(seen - stated) <= 4 * (stated * (1 - stated) / frames) ** 0.5 + 1e-9
