"""The committed vehicle classifier, and the parts of its training that need no TensorFlow."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import train_vehicle

from eprune.formats.model_files import parse_model, read_model
from eprune.formats.models.boundary import boundary
from eprune.runtime.fire.tflite import INTERPRETERS, load

ROOT = Path(__file__).resolve().parents[2]
SINGLE, DUAL = ROOT / "graphs" / "vehicle.tflite", ROOT / "graphs" / "vehicle_dual_head.tflite"
INSTALLED = [name for name, module in INTERPRETERS.items() if importlib.util.find_spec(module.partition(".")[0])]


def tensors(model, indices):
    return [(str(model.tensors[index].token), model.tensors[index].token.nbytes) for index in indices]


def test_the_classifier_has_the_operators_of_the_papers():
    model = read_model(str(SINGLE))
    conv_pool, dense = ["CONV_2D", "MAX_POOL_2D"], "FULLY_CONNECTED"
    assert [o.name for o in model.operators] == [*conv_pool, *conv_pool, dense, "RELU", dense, dense, "SOFTMAX"]
    # Everything is float32; L3 ends before its activation, so that its token is what the papers send.
    tokens = {
        "L1": (range(2), "float32[1,96,96,3]", 110592, "float32[1,48,48,32]", 294912),
        "L2": (range(2, 4), "float32[1,48,48,32]", 294912, "float32[1,24,24,32]", 73728),
        "L3": (range(4, 5), "float32[1,24,24,32]", 73728, "float32[1,100]", 400),
        "L4-L5": (range(5, 9), "float32[1,100]", 400, "float32[1,4]", 16),
    }
    for operators, came, came_bytes, went, went_bytes in tokens.values():
        inputs, outputs = boundary(model, operators)
        assert tensors(model, inputs) == [(came, came_bytes)]
        assert tensors(model, outputs) == [(went, went_bytes)]


def test_the_dual_head_joins_two_feature_vectors():
    model = read_model(str(DUAL))
    assert [o.name for o in model.operators] == [
        "CONCATENATION",
        "RELU",
        "FULLY_CONNECTED",
        "FULLY_CONNECTED",
        "SOFTMAX",
    ]
    assert tensors(model, model.inputs) == [("float32[1,100]", 400)] * 2
    assert tensors(model, model.outputs) == [("float32[1,4]", 16)]


@pytest.mark.long
@pytest.mark.parametrize("interpreter", INSTALLED)
def test_accuracy_on_fresh_pictures_is_what_the_documentation_states(interpreter):
    text = (ROOT / "docs" / "reference" / "vehicle.md").read_text(encoding="utf-8")
    stated = [float(number) for number in re.findall(r"^vehicle\S*\.tflite: ([0-9.]+) % of", text, re.MULTILINE)]
    assert len(stated) == 2
    frames = 300
    for matrix, percent in zip(train_vehicle.confusion(SINGLE, DUAL, 77, frames, interpreter), stated):
        # Three standard deviations of 300 draws.
        tolerance = 3 * (percent / 100 * (1 - percent / 100) / frames) ** 0.5
        assert np.trace(matrix) / matrix.sum() >= percent / 100 - tolerance


def test_weights_are_bfloat16_so_that_they_compress():
    for path in (SINGLE, DUAL):
        model = read_model(str(path))
        interpreter = load(INSTALLED[0], path.read_bytes())
        constants = [tensor for tensor in model.tensors if tensor.constant]
        assert len(constants) % 2 == 0
        for tensor in constants:
            values = interpreter.get_tensor(tensor.index)
            assert np.array_equal(train_vehicle.to_bfloat16(values), values)


@pytest.mark.parametrize(
    ("value", "nearest"),
    [
        (1.0, 1.0),
        (1.0 + 2**-8, 1.0),  # a tie goes to the even one
        (1.0 + 3 * 2**-8, 1.0 + 2**-6),
        (1.0 + 2**-8 + 2**-20, 1.0 + 2**-7),
        (-1.0 - 2**-8 - 2**-20, -1.0 - 2**-7),
        (0.0, 0.0),
    ],
)
def test_rounding_to_bfloat16(value, nearest):
    assert train_vehicle.to_bfloat16(np.float32([value])) == np.float32(nearest)


class Layer:
    """As much of a Keras layer as folding looks at."""

    epsilon = 0.25

    def __init__(self, *weights):
        self.weights = [np.float32(values) for values in weights]

    def get_weights(self):
        return self.weights


def test_batch_normalisation_is_folded_into_the_layer_before_it():
    class Model:
        layers = (
            Layer([[1.0, 2.0]]),
            Layer([4.0, 4.0], [1.0, 2.0], [0.5, 1.0], [0.75, 3.75]),  # gamma, beta, mean, variance
            Layer(),
            Layer([[3.0], [5.0]], [7.0]),
        )

    first, second = train_vehicle.folded(Model)
    x = 1.5
    assert (x * first[0] + first[1] == [[4 * (x * 1 - 0.5) + 1, 2 * (x * 2 - 1) + 2]]).all()
    assert [values.tolist() for values in second] == [[[3.0], [5.0]], [7.0]]


def random_weights(*shapes):
    rng = np.random.default_rng(5)
    return [(rng.standard_normal(s, np.float32) / 10, rng.standard_normal(s[-1:], np.float32)) for s in shapes]


@pytest.mark.parametrize("interpreter", INSTALLED)
def test_a_written_model_computes_what_its_layers_say(interpreter):
    weights = random_weights((200, 100), (100, 4))
    model = load(interpreter, train_vehicle.dual_model(weights))
    views = np.random.default_rng(6).standard_normal((2, 1, 100), np.float32)
    hidden = np.maximum(np.maximum(np.concatenate(views, axis=1), 0) @ weights[0][0] + weights[0][1], 0)
    scores = np.exp(hidden @ weights[1][0] + weights[1][1])
    assert np.allclose(train_vehicle.infer(model, *views), scores / scores.sum(), atol=1e-6)


def test_the_convolutions_are_written_in_the_interpreters_order():
    # A picture that is one impulse shows the kernel: with TensorFlow's layout (height, width, in, out).
    weights = random_weights((5, 5, 3, 32), (5, 5, 32, 32), (18432, 100), (100, 100), (100, 4))
    weights[0][1][:] = 0
    model = parse_model(train_vehicle.single_model(weights))
    first = load(INSTALLED[0], train_vehicle.slice_model(model, [0]))
    image = np.zeros((1, 96, 96, 3), np.float32)
    image[0, 50, 40, 2] = 1
    response = train_vehicle.infer(first, image)[0, 48:53, 38:43]
    assert np.allclose(response, np.maximum(weights[0][0][::-1, ::-1, 2], 0), atol=1e-6)


def test_equal_weights_give_equal_bytes():
    assert train_vehicle.dual_model(random_weights((200, 100), (100, 4))) == train_vehicle.dual_model(
        random_weights((200, 100), (100, 4))
    )
