"""Scores of channels are what their definitions say, and the plan made of them uses the memory that is given."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from eprune.formats.model_files import parse_model, read_model
from eprune.formats.tflite.channels import layers
from eprune.formats.tflite.constants import constant
from eprune.measure import scores
from eprune.measure.masks import alive
from eprune.measure.scores import Probabilities, channel_scores, divergence, norms, robust_plan
from eprune.runtime.fire.tflite import choose
from tests.kit import channel_models, tiny_models

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model():
    return parse_model(tiny_models.conv_pool_dense())


@pytest.fixture(scope="module")
def tokens():
    return list(np.random.default_rng(1).random((5, 1, 8, 8, 3), np.float32))


def run(data, token):
    """The answer of a model's bytes."""
    from eprune.runtime.fire.tflite import choose, load

    interpreter = load(choose(), data)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], token)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0].astype(float)


def changed(model, layer, channel, factor):
    """The model's bytes, with the weights and bias of one channel multiplied."""
    data = bytearray(model.data)
    operator = model.operators[layer.first]
    for index in operator.inputs[1:3]:
        values = constant(model, index).astype(np.float32)
        place = bytes(data).find(values.tobytes())
        assert place > 0
        values[channel] *= factor
        data[place : place + values.nbytes] = values.tobytes()
    return bytes(data)


def test_s1_is_the_norm_of_weights_and_bias(model):
    first = layers(model)[0]
    weights, bias = (constant(model, index) for index in model.operators[first.first].inputs[1:3])
    assert norms(model, first) == pytest.approx(np.abs(weights).sum(axis=(1, 2, 3)) + np.abs(bias))


def test_s3_is_the_divergence_of_the_answers_without_the_channel(model, tokens):
    first = layers(model)[0]
    (found,) = channel_scores(model, [first], tokens, ["s3"]).values()
    for channel in range(first.channels):
        without = changed(model, first, channel, 0)
        wanted = np.mean([divergence(run(model.data, token), run(without, token)) for token in tokens])
        assert found[channel, 0] == pytest.approx(wanted, rel=1e-3, abs=1e-7)


def test_without_gradients_s2_is_the_derivative_of_the_loss_by_the_channel(model, tokens, monkeypatch):
    monkeypatch.setattr(scores, "obstacle", lambda _: "a test")
    assert "lower bound of the Taylor score; no gradients: a test" in scores.meanings(model, ["s2"])["s2"]
    first = layers(model)[0]
    classes = [0, 1, 2, 3, 4]
    (found,) = channel_scores(model, [first], tokens, ["s2"], classes).values()
    for channel in range(first.channels):
        slopes = []
        for token, wanted in zip(tokens, classes):
            losses = [-np.log(run(changed(model, first, channel, 1 + step), token)[wanted]) for step in (0.01, -0.01)]
            slopes.append(abs(losses[0] - losses[1]) / 0.02)
        assert found[channel, 0] == pytest.approx(np.mean(slopes), rel=0.05)


def test_rounded_probabilities_of_many_classes_are_probabilities():
    """Of 1001 classes as bytes, the smallest ones are 0, and the others do not add up to 1."""
    model = ROOT.parent / "shared/models/mobilenet_v1_0.25_128_quant.tflite"
    if not model.exists():
        pytest.skip(f"{model} is not there")
    answer = np.zeros((1, 1001), np.uint8)
    answer[0, 5] = 128
    found = Probabilities(read_model(str(model)), choose())(answer)
    assert found[5] == 1 and found.sum() == 1
    answer[0, 5] = 0
    assert Probabilities(read_model(str(model)), choose())(answer) == pytest.approx(np.full(1001, 1 / 1001))


def test_the_divergence_is_between_0_and_log_2():
    one, other = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert divergence(one, one) == 0
    assert divergence(one, other) == divergence(other, one) == pytest.approx(np.log(2))


@pytest.mark.parametrize("linkage", ["hierarchy", "pass"])
def test_the_plan_keeps_to_the_memory_and_says_what_it_did(model, tokens, linkage):
    pytest.importorskip("scipy")
    chosen = layers(model)[:1]
    for memory in (0.88, 0.95, 1.0):
        plan, figures = robust_plan(model, chosen, 2, memory, calibration=tokens, linkage=linkage)
        assert figures["memory"] <= memory + 1e-9
        assert figures["floor"] <= figures["memory"]
        assert set(itertools.chain(*plan.layers[0].parts)) == set(range(chosen[0].channels))
        assert list(figures["scores"]) == ["s1", "s2", "s3"]
    assert alive(plan, {0}) == alive(plan, {1}) == {}, "with all memory, each device has everything"
    assert figures["layers"][0]["lost"] == [0, 0]


def test_what_is_possible_is_said_where_the_memory_is_too_little(model):
    with pytest.raises(ValueError, match=r"a device would have 0.1 of the weights, but 2 devices need at least 0\.\d+"):
        robust_plan(model, layers(model)[:1], 2, 0.1)


def test_without_pictures_the_score_is_the_norm_alone(model):
    _, figures = robust_plan(model, layers(model)[:1], 2, 0.9)
    assert list(figures["scores"]) == ["s1"]
    with pytest.raises(ValueError, match="s2 and s3 are measured on calibration pictures"):
        robust_plan(model, layers(model)[:1], 2, 0.9, scores=["s1", "s3"])
    with pytest.raises(ValueError, match="there is no score 's4'; there are s1, s2, s3"):
        robust_plan(model, layers(model)[:1], 2, 0.9, scores=["s4"])


def test_quantized_weights_count_as_the_numbers_that_they_stand_for():
    model = parse_model(channel_models.per_channel())
    (layer,) = layers(model)
    head = model.operators[layer.heads[0]]
    weights = constant(model, head.inputs[1])
    assert np.abs(weights).max() < 127 * 0.011
    assert norms(model, layer).shape == (8,)
    random = np.random.default_rng(1)
    tokens = [random.integers(-128, 128, (1, 8, 8, 3)).astype(np.int8) for _ in range(2)]
    (found,) = channel_scores(model, [layer], tokens).values()
    assert np.isfinite(found).all()
    assert (found[:, 0] > 0).all()
