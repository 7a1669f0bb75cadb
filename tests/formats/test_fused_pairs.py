"""Operators that a delegate computes as one: import keeps them together, and knows all that there are."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from eprune.formats.model_files import parse_model
from eprune.formats.models.boundary import boundary
from eprune.formats.models.cuts import cut_after, pieces, why_not
from eprune.formats.models.flow import flow
from eprune.formats.models.slices import slice_model
from eprune.formats.tflite.fused import fused_pairs
from eprune.model.finding import EpruneError
from eprune.runtime.fire.tflite import INTERPRETERS, load
from tests.kit.tiny_models import ModelBuilder

SHAPE = (1, 4, 4, 64)
UNARY = (
    *("ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH", "L2_NORMALIZATION", "LEAKY_RELU", "LOG"),
    *("LOGISTIC", "LOG_SOFTMAX", "NEG", "RELU", "RELU6", "RELU_N1_TO_1", "ROUND", "RSQRT", "SIGN", "SIN", "SOFTMAX"),
    *("SQRT", "SQUARE", "TANH"),
)
BINARY = ("ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "POW", "PRELU", "SQUARED_DIFFERENCE", "SUB")
SUMS = ("MEAN", "REDUCE_MAX", "REDUCE_MIN", "SUM")
OTHER = {"same": "itself", "constant": "a vector", "scalar": "a number", "input": "another input"}
ELEMENTWISE = [(name, "") for name in UNARY] + list(itertools.product(BINARY, OTHER))
LAST = [(name, axes) for name in SUMS for axes in ((3,), (1, 2))]
WEIGHTED = [("FULLY_CONNECTED", ""), ("CONV_2D", ""), ("DEPTHWISE_CONV_2D", "")]
FIRST = [*ELEMENTWISE, *WEIGHTED]
SECOND = [*ELEMENTWISE, *WEIGHTED, *LAST, ("BATCH_MATMUL", ""), ("AVERAGE_POOL_2D", ""), ("CONCATENATION", "")]


def add(m: ModelBuilder, what: tuple[str, Any], x: int, y: int) -> int:
    """Add one operator on x; its result."""
    name, detail = what
    options: dict[str, Any] = {}
    shape = SHAPE
    inputs = [x]
    table = ""
    if name in SUMS:
        shape = tuple(1 if axis in detail else size for axis, size in enumerate(SHAPE))
        inputs.append(m.constant(np.array(detail, np.int32)))
        table, options = "ReducerOptions", {"keepDims": True}
    elif name in BINARY:
        others = {"same": lambda: x, "scalar": lambda: m.constant(np.float32(0.7)), "input": lambda: y}
        constant = others.get(detail, lambda: m.weights(1, 1, 64))
        inputs.append(m.weights(1, 1, 64) if name == "PRELU" else constant())
        tables = {"MAXIMUM": "MaximumMinimum", "MINIMUM": "MaximumMinimum", "SQUARED_DIFFERENCE": "SquaredDifference"}
        table = "" if name == "PRELU" else tables.get(name, name.capitalize()) + "Options"
    elif name == "FULLY_CONNECTED":
        inputs += [m.weights(64, 64), m.weights(64)]
        table, options = "FullyConnectedOptions", {"keepNumDims": True}
    elif name == "CONV_2D":
        inputs += [m.weights(64, 3, 3, 64), m.weights(64)]
        table, options = "Conv2DOptions", {"strideW": 1, "strideH": 1}
    elif name == "DEPTHWISE_CONV_2D":
        inputs += [m.weights(1, 3, 3, 64), m.weights(64)]
        table, options = "DepthwiseConv2DOptions", {"strideW": 1, "strideH": 1, "depthMultiplier": 1}
    elif name == "BATCH_MATMUL":
        inputs.append(y)
        shape, table, options = (1, 4, 4, 4), "BatchMatMulOptions", {"adjY": True}
    elif name == "AVERAGE_POOL_2D":
        shape, table = (1, 2, 2, 64), "Pool2DOptions"
        options = {"strideW": 2, "strideH": 2, "filterWidth": 2, "filterHeight": 2}
    elif name == "CONCATENATION":
        inputs.append(y)
        shape, table, options = (1, 4, 4, 128), "ConcatenationOptions", {"axis": 3}
    elif name in ("SOFTMAX", "LEAKY_RELU"):
        table, options = {
            "SOFTMAX": ("SoftmaxOptions", {"beta": 1.0}),
            "LEAKY_RELU": ("LeakyReluOptions", {"alpha": 0.1}),
        }[name]
    out = m.tensor(shape)
    m.operator(name, inputs, [out], table, **options)
    return out


def pair(first: tuple[str, Any], second: tuple[str, Any]) -> Any:
    """A model of two operators, one behind the other."""
    m = ModelBuilder(3)
    x, y = m.tensor(SHAPE), m.tensor(SHAPE)
    return parse_model(m.build([x, y], [add(m, second, add(m, first, x, y), y)]), "pair.tflite")


def run(interpreter: str, data: bytes, values: list[np.ndarray]) -> list[np.ndarray]:
    made = load(interpreter, data)
    for detail, value in zip(made.get_input_details(), values):
        made.set_tensor(detail["index"], value)
    made.invoke()
    return [made.get_tensor(detail["index"]) for detail in made.get_output_details()]


def is_exact(interpreter: str, model: Any) -> bool:
    """Whether two slices, one behind the other, compute what the whole model does."""
    generator = np.random.default_rng(1)
    values = {index: np.abs(generator.standard_normal(SHAPE)).astype(np.float32) + 0.1 for index in model.inputs}
    whole = run(interpreter, model.data, list(values.values()))[0]
    for operator in (0, 1):
        inputs, outputs = boundary(model, [operator])
        found = run(interpreter, slice_model(model, [operator]), [values[index] for index in inputs])
        values.update(zip(outputs, found))
    return values[model.outputs[0]].tobytes() == whole.tobytes()


@pytest.mark.parametrize("interpreter", INTERPRETERS)
@pytest.mark.parametrize("second", [("SUM", (1, 2)), ("MEAN", (3,)), ("TANH", ""), ("BATCH_MATMUL", "")])
@pytest.mark.parametrize("first", [("SQUARE", ""), ("MUL", "same"), ("MUL", "input"), ("FULLY_CONNECTED", "")])
def test_what_may_be_cut_is_exact(interpreter, first, second):
    """The few pairs that matter; the next test tries all."""
    model = pair(first, second)
    squares = first in (("SQUARE", ""), ("MUL", "same")) and second[0] in ("SUM", "MEAN")
    assert list(fused_pairs(model)) == ([(0, 1)] if squares else [])
    assert squares or is_exact(interpreter, model)


@pytest.mark.long
@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_no_other_pair_of_operators_is_fused(interpreter):
    wrong, fused = [], 0
    for first, second in itertools.product(FIRST, SECOND):
        model = pair(first, second)
        exact = is_exact(interpreter, model)
        if list(fused_pairs(model)):
            fused += not exact
        elif not exact:
            wrong.append((first, second))
    assert wrong == []
    assert fused or interpreter == "tflite-runtime", "if no pair differs any more, none needs to be kept together"


@pytest.mark.parametrize("others", ["none", "output", "reader", "sum"])
def test_who_else_sees_the_squares_does_not_matter(others):
    m = ModelBuilder(3)
    x = m.tensor(SHAPE)
    squares = add(m, ("SQUARE", ""), x, x)
    outputs = [add(m, ("SUM", (1, 2)), squares, x)]
    more = {"output": lambda: squares, "reader": lambda: add(m, ("NEG", ""), squares, x)}
    more["sum"] = lambda: add(m, ("MEAN", (1, 2)), squares, x)
    outputs += [more[others]()] if others in more else []
    model = parse_model(m.build([x], outputs), "m.tflite")
    assert (0, 1) in fused_pairs(model)
    values = [np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)]
    whole = run("ai-edge-litert", model.data, values)[0]
    together = run("ai-edge-litert", slice_model(model, [0, 1], [x], outputs[:1]), values)[0]
    assert together.tobytes() == whole.tobytes()
    apart = run("ai-edge-litert", slice_model(model, [0]), values)
    apart = run("ai-edge-litert", slice_model(model, [1], [squares], outputs[:1]), apart)
    assert apart[0].tobytes() != whole.tobytes(), "if they do not differ any more, nothing needs to be kept together"


def test_import_keeps_the_pair_in_one_piece_and_says_why():
    m = ModelBuilder()
    x = m.tensor(SHAPE)
    first = add(m, ("TANH", ""), x, x)
    squares = add(m, ("MUL", "same"), first, first)
    total = add(m, ("SUM", (3,)), squares, squares)
    last = m.tensor((1, 4, 4, 1))
    m.operator("SQRT", [total], [last])
    model = parse_model(m.build([x], [last]), "norm.tflite")
    facts = flow(model)
    smallest = pieces(model, facts)
    assert [list(piece) for piece in smallest] == [[0], [1, 2], [3]]
    reason = "operators 1 and 2 (MUL, SUM) are one kernel in XNNPACK, and cut apart round otherwise"
    assert why_not(model, facts, smallest)[1] == reason
    with pytest.raises(EpruneError) as error:
        cut_after(model, facts, smallest, ["1"])
    assert reason in str(error.value)


def test_the_square_of_a_constant_ties_nothing():
    m = ModelBuilder()
    x, squares, total, out = m.tensor((4,)), m.tensor((4,)), m.tensor((1,)), m.tensor((4,))
    weights = m.weights(4)
    m.operator("MUL", [weights, weights], [squares], "MulOptions")
    m.operator("SUM", [squares, m.constant(np.array([0], np.int32))], [total], "ReducerOptions", keepDims=True)
    m.operator("ADD", [x, total], [out], "AddOptions")
    model = parse_model(m.build([x], [out]), "m.tflite")
    assert [piece[-1] for piece in pieces(model, flow(model))] == [2]
