"""The way into a branch that a model's score opens."""

from __future__ import annotations

import numpy as np
import pytest
from skip_gate import SkipGate

from tests.kit.ports import port_type

TOKEN = port_type("float32[2]")


def mean(token):
    """As much of a model as the gate calls."""
    return [token.mean().reshape(1, 1)]


def made(threshold, model=mean, **outputs):
    gate = SkipGate(threshold)
    gate.name, gate.model = "Gate", model
    gate.inputs, gate.outputs = {"in": TOKEN}, outputs or {"around": TOKEN, "block": TOKEN}
    gate.initialize()
    return gate


def test_the_branch_is_taken_where_the_score_reaches_the_threshold():
    gate = made("0.5")
    assert [gate.control({"in": np.float32([0, score])}) for score in (0, 0.99, 1, 3)] == [0, 0, 1, 1]


def test_a_score_that_is_no_number_takes_no_branch():
    assert made("0").control({"in": np.float32([np.nan, 0])}) == 0


def test_what_comes_goes_to_every_output_that_is_active():
    rooms = {port: np.full(2, 77, np.float32) for port in ("around", "block")}
    made("0.5").fire({"in": np.float32([1, 2])}, {"around": rooms["around"]})
    assert [list(room) for room in rooms.values()] == [[1, 2], [77, 77]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: made("high"), "threshold='high': expected a number"),
        (lambda: made("0.5", None), 'needs a model: write model="..." and operators="..." beside the class'),
        (lambda: made("0.5", lambda token: [token]), "the model must have one output of one number"),
        (lambda: made("0.5", lambda token: mean(token) * 2), "the model must have one output of one number"),
        (lambda: made("0.5", out=port_type("float32[3]")), "outputs of the type and rate of its input"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
