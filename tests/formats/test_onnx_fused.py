"""Where onnxruntime joins operators that are cut apart otherwise: import never cuts where that changes a bit."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import helper  # noqa: E402

from eprune.formats.model_files import parse_model  # noqa: E402
from tests.kit import onnx_models  # noqa: E402
from tests.kit.onnx_cuts import differences  # noqa: E402
from tests.kit.onnx_models import Builder  # noqa: E402

F = np.float32


def unary(kind: str, **attributes: Any) -> Callable[[Builder, str], str]:
    return lambda b, x: b.node(kind, [x], **attributes)


def binary(kind: str, *shape: int, first: bool = False) -> Callable[[Builder, str], str]:
    def make(b: Builder, x: str) -> str:
        other = b.normal(*shape) if shape else b.constant(F(2.5))
        return str(b.node(kind, [other, x] if first else [x, other]))

    return make


#: name -> what adds an operator behind a tensor of 1x8x8x8
OPERATORS: dict[str, Callable[[Builder, str], str]] = {
    **{
        kind: unary(kind)
        for kind in (
            *("Abs", "Ceil", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Neg"),
            *("Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Tanh"),
            *("GlobalAveragePool", "GlobalMaxPool"),
        )
    },
    "Conv": lambda b, x: b.conv(x, 8, 8),
    "Conv 1x1": lambda b, x: b.conv(x, 8, 8, 1),
    "depthwise Conv": lambda b, x: b.conv(x, 8, 8, group=8),
    "Conv without bias": lambda b, x: b.node("Conv", [x, b.normal(8, 8, 3, 3)], pads=[1] * 4),
    "ConvTranspose": lambda b, x: b.node("ConvTranspose", [x, b.normal(8, 8, 3, 3), b.normal(8)], pads=[1] * 4),
    "BatchNormalization": lambda b, x: b.normalization(x, 8),
    "InstanceNormalization": lambda b, x: b.node("InstanceNormalization", [x, b.normal(8), b.normal(8)]),
    "Clip": lambda b, x: b.node("Clip", [x, b.constant(F(0)), b.constant(F(6))]),
    **{f"{kind} of channels": binary(kind, 1, 8, 1, 1) for kind in ("Add", "Mul", "Sub", "Div")},
    **{f"{kind} of channels, no batch": binary(kind, 8, 1, 1) for kind in ("Add", "Mul")},
    **{f"{kind} of a number": binary(kind) for kind in ("Add", "Mul", "Div", "Pow")},
    **{f"{kind} of columns": binary(kind, 8) for kind in ("Add", "Mul")},
    "a number by": binary("Div", first=True),
    "square": lambda b, x: b.node("Mul", [x, x]),
    "double": lambda b, x: b.node("Add", [x, x]),
    "MaxPool": unary("MaxPool", kernel_shape=[2, 2]),
    "AveragePool": unary("AveragePool", kernel_shape=[2, 2]),
    "Pad": lambda b, x: b.node("Pad", [x, b.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))]),
    "Softmax": unary("Softmax", axis=-1),
    "LogSoftmax": unary("LogSoftmax", axis=-1),
    "Transpose": unary("Transpose", perm=[0, 1, 3, 2]),
    "MatMul": lambda b, x: b.node("MatMul", [x, b.normal(8, 8)]),
    "ReduceMean": unary("ReduceMean", axes=[2, 3]),
    "ReduceSum": lambda b, x: b.node("ReduceSum", [x, b.constant(np.array([2, 3], np.int64))]),
    "Resize": lambda b, x: b.node("Resize", [x, "", b.constant(np.array([1, 1, 2, 2], F))], mode="linear"),
    "PRelu": lambda b, x: b.node("PRelu", [x, b.normal(8, 1, 1)]),
}
#: Those of which a pair was seen to round otherwise; the others are tried in the long run.
FOLDING = [
    *("Conv", "depthwise Conv", "ConvTranspose", "BatchNormalization", "Add of channels", "Mul of channels"),
    *("MatMul", "Mul of a number", "Div of a number", "a number by", "Transpose", "ReduceMean", "ReduceSum", "Relu"),
]


def built(*kinds: str) -> Any:
    """A model of these operators, one behind the other; None where they do not fit together."""
    b, data = Builder(), "x"
    for kind in kinds:
        data = OPERATORS[kind](b, data)
    b.nodes.append(helper.make_node("Identity", [data], ["y"]))
    try:
        model = parse_model(b.build([("x", [1, 8, 8, 8])], [("y", None)]), "m.onnx")
    except onnx.shape_inference.InferenceError:
        return None
    return model if all(model.tensors[index].token for each in model.operators for index in each.outputs) else None


def spoiled(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs that are cut by import, and then differ."""
    models = ((pair, built(*pair)) for pair in pairs)
    return [pair for pair, model in models if model is not None and any(d for _, d in differences(model))]


def test_no_cut_between_two_operators_changes_a_bit() -> None:
    assert spoiled(list(itertools.product(FOLDING, FOLDING))) == []


@pytest.mark.long
def test_no_cut_between_any_two_operators_changes_a_bit() -> None:
    assert spoiled(list(itertools.product(OPERATORS, OPERATORS))) == []


def test_cuts_that_import_avoids_would_change_bits() -> None:
    """So the test above can fail, and what is kept together is kept for a reason."""
    model = built("Conv", "BatchNormalization")
    assert dict(differences(model, everywhere=True))[0]
    assert 0 not in dict(differences(model))


def layer_norm(b: Builder, x: str) -> str:
    moved = b.node("Sub", [x, b.node("ReduceMean", [x], axes=[-1])])
    variance = b.node("ReduceMean", [b.node("Pow", [moved, b.constant(F(2))])], axes=[-1])
    root = b.node("Sqrt", [b.node("Add", [variance, b.constant(F(1e-5))])])
    return str(b.node("Add", [b.node("Mul", [b.node("Div", [moved, root]), b.normal(16)]), b.normal(16)]))


def rms_norm(b: Builder, x: str) -> str:
    square = b.node("ReduceMean", [b.node("Pow", [x, b.constant(F(2))])], axes=[-1])
    root = b.node("Sqrt", [b.node("Add", [square, b.constant(F(1e-5))])])
    return str(b.node("Mul", [b.node("Div", [x, root]), b.normal(16)]))


def gelu(b: Builder, x: str) -> str:
    erf = b.node("Erf", [b.node("Div", [x, b.constant(F(2**0.5))])])
    return str(b.node("Mul", [b.node("Mul", [x, b.node("Add", [erf, b.constant(F(1))])]), b.constant(F(0.5))]))


def gelu_of_halves(b: Builder, x: str) -> str:
    half = b.node("Mul", [x, b.constant(F(0.5))])
    erf = b.node("Erf", [b.node("Div", [x, b.constant(F(2**0.5))])])
    return str(b.node("Mul", [half, b.node("Add", [erf, b.constant(F(1))])]))


def dense(b: Builder, x: str, given: int = 16, made: int = 16) -> str:
    return str(b.node("Add", [b.node("MatMul", [x, b.normal(given, made)]), b.normal(made)]))


def attention(b: Builder, x: str) -> str:
    def head(*order: int) -> Any:
        split = b.node("Reshape", [dense(b, x), b.constant(np.array([1, 8, 2, 8], np.int64))])
        return b.node("Transpose", [split], perm=order)

    scores = b.node("Div", [b.node("MatMul", [head(0, 2, 1, 3), head(0, 2, 3, 1)]), b.constant(F(8**0.5))])
    weights = b.node("Softmax", [b.node("Add", [scores, b.normal(1, 1, 1, 8)])], axis=-1)
    joined = b.node("Transpose", [b.node("MatMul", [weights, head(0, 2, 1, 3)])], perm=[0, 2, 1, 3])
    return dense(b, b.node("Reshape", [joined, b.constant(np.array([1, 8, 16], np.int64))]))


def transformer(b: Builder, x: str) -> str:
    normal = layer_norm(b, b.node("Add", [x, attention(b, x)]))
    return layer_norm(b, b.node("Add", [normal, dense(b, gelu(b, dense(b, normal, 16, 32)), 32, 16)]))


def scaled_product(b: Builder, x: str) -> str:
    turned = b.node("Transpose", [b.node("Mul", [x, b.constant(F(0.3))])], perm=[0, 2, 1])
    return str(b.node("MatMul", [turned, b.normal(8, 4)]))


@pytest.mark.parametrize(
    "make",
    [layer_norm, rms_norm, gelu, gelu_of_halves, attention, transformer, scaled_product],
    ids=lambda f: f.__name__,
)
def test_no_cut_of_a_transformers_parts_changes_a_bit(make: Callable[[Builder, str], str]) -> None:
    b = Builder()
    before = b.node("Add", ["x", b.normal(1, 8, 16)])
    b.nodes.append(helper.make_node("Identity", [make(b, before)], ["y"]))
    model = parse_model(b.build([("x", [1, 8, 16])], [("y", None)]), "m.onnx")
    tried = dict(differences(model))
    assert tried and not any(tried.values())


def test_a_quantised_model_is_cut_only_where_its_integers_are() -> None:
    model = parse_model(onnx_models.quantized(), "m.onnx")
    tried = dict(differences(model))
    assert not any(tried.values())
    sent = [model.operators[index].name for index in tried]
    assert sent and set(sent) == {"QuantizeLinear"}, "DequantizeLinear goes with whoever reads it"
