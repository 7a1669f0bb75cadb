"""Taylor scores by gradients are sums of what small changes of single weights do; without TensorFlow, that is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eprune.formats.model_files import parse_model, read_model
from eprune.formats.tflite.channels import HEADS, layers
from eprune.formats.tflite.constants import constant
from eprune.measure import gradients, scores
from eprune.measure.gradients import obstacle, taylor
from eprune.measure.masks import Stages
from eprune.runtime.fire.tflite import choose, load
from tests.kit import channel_models, tiny_models

TENSORFLOW = pytest.mark.skipif(bool(gradients._without_tensorflow()), reason="TensorFlow is not installed")


def test_what_cannot_be_had_is_said():
    assert "has groups" in obstacle(parse_model(channel_models.grouped()))
    assert "SPLIT" in obstacle(parse_model(tiny_models.residual_split()))


def test_without_tensorflow_scores_are_what_they_were(monkeypatch):
    model = parse_model(tiny_models.conv_pool_dense())
    monkeypatch.setattr(gradients, "_without_tensorflow", lambda: "TensorFlow is not installed")
    assert "no gradients: TensorFlow is not installed" in scores.meanings(model, ["s1", "s2"])["s2"]
    token = np.random.default_rng(1).random((1, 8, 8, 3), np.float32)
    found = scores.channel_scores(model, layers(model)[:1], [token], ["s2"])
    assert all(column.max() > 0 for column in found.values())


def by_differences(model, layer, channel, token, wanted):
    """The sum over a channel's weights and bias of |change of the loss / change of the weight x the weight|."""
    total = 0.0
    for number in layer.heads:
        operator = model.operators[number]
        for position, axis in HEADS[operator.name][1].items():
            whole = constant(model, operator.inputs[position]).astype(np.float32)
            place = model.data.find(whole.tobytes())
            for index in np.ndindex(*whole.shape):
                if index[axis] != channel:
                    continue
                losses = []
                for factor in (1.01, 0.99):
                    values = whole.copy()
                    values[index] *= factor
                    data = bytearray(model.data)
                    data[place : place + whole.nbytes] = values.tobytes()
                    losses.append(-np.log(answer(bytes(data), token).astype(float)[wanted]))
                total += abs(losses[0] - losses[1]) / 0.02
    return total


def answer(data, token):
    """The probabilities that a model gives."""
    interpreter = load(choose(), data)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], token)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).reshape(-1)


@TENSORFLOW
def test_the_score_is_the_sum_over_the_weights_of_the_channel():
    model = parse_model(tiny_models.conv_pool_dense())
    for layer in layers(model):
        token = np.random.default_rng(1).random((1, 8, 8, 3), np.float32)
        (found,) = taylor(model, [layer], [token], [2]).values()
        for channel in range(2):
            assert found[channel] == pytest.approx(by_differences(model, layer, channel, token, 2), rel=0.03)


@TENSORFLOW
@pytest.mark.parametrize("name", ["conv_pool_dense", "two_convolutions"])
def test_differences_by_channel_are_a_lower_bound(name, monkeypatch):
    model = parse_model(getattr(tiny_models, name)())
    chosen = layers(model)[:-1]
    tokens = list(np.random.default_rng(2).random((4, 1, 8, 8, 3), np.float32))
    found = scores.channel_scores(model, chosen, tokens, ["s2"])
    monkeypatch.setattr(scores, "obstacle", lambda _: "a test")
    least = scores.channel_scores(model, chosen, tokens, ["s2"])
    for layer in chosen:
        assert (found[layer.first] >= least[layer.first] * 0.97).all()
        assert found[layer.first].sum() > least[layer.first].sum() * 1.05


@TENSORFLOW
def test_a_network_of_its_operators_answers_as_the_interpreter_does():
    for make, near in ((tiny_models.two_convolutions, 1e-5), (channel_models.flattened, 1e-5)):
        model = parse_model(make())
        token = np.random.default_rng(3).random(Stages(model, [], choose()).token.shape, np.float32)
        given = answer(model.data, token)
        made = gradients.Network(model)._answer(token).numpy()
        assert made == pytest.approx(scores.Probabilities(model, choose())(given), abs=near)


@TENSORFLOW
@pytest.mark.long
@pytest.mark.parametrize("name", ["mobilenet_v1_0.25_128_quant", "mobilenet_v2_1.0_224_quant"])
def test_a_quantised_network_answers_alike_but_for_rounding(name):
    file = Path(__file__).parents[3] / f"shared/models/{name}.tflite"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    model = read_model(str(file))
    picture = np.random.default_rng(4).integers(0, 256, Stages(model, [], choose()).token.shape, np.uint8)
    given = scores.Probabilities(model, choose())(answer(model.data, picture))
    made = gradients.Network(model)._answer(picture).numpy()
    assert given.argmax() in np.argsort(-made)[:5]
    assert np.abs(given - made).max() < 0.25
