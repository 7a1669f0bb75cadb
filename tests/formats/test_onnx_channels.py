"""Slices that keep some output channels of an ONNX model: bit for bit the same channels of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import helper

from eprune.formats.model_files import parse_model, read_model
from eprune.formats.models.boundary import boundary, weight_bytes
from eprune.formats.models.parts import Model
from eprune.formats.models.slices import slice_channels, slice_model
from eprune.model.finding import EpruneError
from tests.kit.onnx_cuts import random_inputs, run
from tests.kit.onnx_models import Builder

SHARED = Path(__file__).parents[3] / "shared" / "models" / "onnx"
HEADS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def compare(model: Model, operators: Sequence[int], channels: Sequence[int]) -> float:
    """The largest difference between channels of the whole slice, and the slice of channels; of what it computes."""
    whole = parse_model(slice_model(model, operators), "m.onnx")
    kept = ((tuple(operators), tuple(channels)),)
    left = model.format.narrowed(model, operators, kept)
    part = slice_channels(model, operators, channels)
    names = {model.tensors[index].name: index for index in (*left.channels,)}

    def narrowed(name: str, value: Any) -> Any:
        index = names.get(name)
        return value if index is None else value.take(left.channels[index], left.axis[index])

    given = random_inputs(whole)
    expected = {name: narrowed(name, value) for name, value in run(whole.data, given).items()}
    found = run(part, {name: narrowed(name, value) for name, value in given.items()})
    assert {name: value.shape for name, value in found.items()} == {n: v.shape for n, v in expected.items()}
    return max(float(np.abs(found[name].astype(float) - expected[name]).max()) for name in found)


def layered() -> Model:
    """Two convolutions, one depthwise, a transposed one, and a product of matrices, each with what is channel-local."""
    b = Builder()
    data = b.node("Relu", [b.normalization(b.conv("x", 3, 8), 8)])
    data = b.node("Mul", [b.node("Add", [b.conv(data, 8, 8), b.normal(8, 1, 1)]), b.normal(1, 8, 1, 1)])
    data = b.node("Clip", [b.conv(data, 8, 16, group=8), b.constant(np.float32(0)), b.constant(np.float32(6))])
    data = b.node("MaxPool", [data], kernel_shape=[2, 2], strides=[2, 2])
    data = b.node("ConvTranspose", [data, b.normal(16, 4, 2, 2), b.normal(4)], strides=[2, 2])
    data = b.node("PRelu", [data, b.normal(4, 1, 1)])
    data = b.node("Reshape", [data, b.constant(np.array([1, -1], np.int64))])
    data = b.node("Sigmoid", [b.node("Gemm", [data, b.normal(6, 4 * 64), b.normal(6)], transB=1)])
    data = b.node("Add", [b.node("MatMul", [data, b.normal(6, 5)]), b.normal(5)])
    b.nodes.append(helper.make_node("Tanh", [data], ["y"]))
    return parse_model(b.build([("x", [1, 3, 8, 8])], [("y", [1, 5])]), "m.onnx")


#: Operators of ``layered``, and how many channels they have.
LAYERS = [((0, 1, 2), 8), ((3, 4, 5), 8), ((6, 7, 8), 16), ((9, 10), 4), ((12, 13), 6), ((14, 15, 16), 5)]


@pytest.mark.parametrize(("operators", "count"), LAYERS)
def test_channels_of_a_layer_are_those_of_the_whole(operators: tuple[int, ...], count: int) -> None:
    model = layered()
    for channels in (range(count // 2), range(count // 2, count), range(0, count, 2), [count - 1, 0]):
        if operators[0] == 6 and 2 * len({c // 2 for c in channels}) != len(list(channels)):
            continue  # of a depthwise convolution with two outputs for each input both are kept
        assert compare(model, operators, list(channels)) <= 1e-6


def test_a_slice_of_channels_holds_only_their_weights() -> None:
    model = layered()
    operators = (0, 1, 2)
    left = model.format.narrowed(model, operators, ((operators, (1, 5)),))
    assert left.saved == weight_bytes(model, operators) * 6 // 8
    part = parse_model(slice_channels(model, operators, (1, 5)), "m.onnx")
    assert weight_bytes(part, range(3)) == weight_bytes(model, operators) // 4


def test_a_depthwise_convolution_takes_the_channels_that_it_gives() -> None:
    model = layered()
    inputs, _ = boundary(model, (6, 7))
    left = model.format.narrowed(model, (6, 7), (((6, 7), (4, 5, 0, 1)),))
    assert left.channels[inputs[0]] == (2, 0)


@pytest.mark.parametrize(
    ("operators", "channels", "message"),
    [
        ((0,), (8,), "has no channel 8"),
        ((0,), (1, 1), "is to keep a channel twice"),
        ((0, 1, 2, 3), (0, 1), "mixes channels"),
        ((11,), (0, 1), "does not work channel by channel"),
        ((6,), (0, 2), "is to keep parts of groups"),
    ],
)
def test_what_cannot_be_kept_alone_is_refused(
    operators: tuple[int, ...], channels: tuple[int, ...], message: str
) -> None:
    with pytest.raises(EpruneError, match=message):
        slice_channels(layered(), operators, channels)


@pytest.mark.long
@pytest.mark.parametrize("name", ["ch_ppocr_mobile_v2.0_cls_infer", "nmp", "silero_vad_16k_op15"])
def test_channels_of_every_operator_with_weights_of_the_shared_models(name: str) -> None:
    from eprune.measure.stated import stated

    path = SHARED / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    shapes = {"ch_ppocr_mobile_v2.0_cls_infer": ["x=1,3,48,192"], "silero_vad_16k_op15": ["input=1,576"]}
    model = stated(str(path), shapes=shapes.get(name, [])).model
    tried, exact = 0, 0
    for operator in model.operators:
        if operator.name not in HEADS or not model.tensors[operator.inputs[1]].constant:
            continue
        shape = model.tensors[operator.outputs[0]].shape
        count = shape[1] if operator.name.startswith("Conv") else shape[-1]
        for channels in (range(count // 2), range(count // 2, count)):
            if channels:
                found = compare(model, (operator.index,), list(channels))
                assert found <= 1e-5, operator
                tried, exact = tried + 1, exact + (found == 0)
    assert tried > 5
    print(f"{name}: {exact} of {tried} bit-equal")


def test_reading_knows_the_axis_of_channels(tmp_path: Path) -> None:
    model = layered()
    (tmp_path / "m.onnx").write_bytes(model.data)
    read = read_model(str(tmp_path / "m.onnx"))
    left = read.format.narrowed(read, (0,), (((0,), (0, 1)),))
    assert set(left.axis.values()) == {-3}
    left = read.format.narrowed(read, (12,), (((12,), (0, 1)),))
    assert set(left.axis.values()) == {-1}
