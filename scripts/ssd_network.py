"""SSD-MobileNet v1 as a list of 47 convolutions, and as a .tflite file of as many operators."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT), str(ROOT / "actors"), str(ROOT / "scripts")]

from ssd_anchors import MAPS  # noqa: E402
from train_vehicle import ModelWriter, Weights, to_bfloat16  # noqa: E402
from vehicle_renderer import CLASSES  # noqa: E402

SIZE = 300  # rows and columns of the input
WIDTH = 0.5  # of the layers, against those of the papers: a quarter of the work, and a file of 6 MB
#: The layers whose outputs the heads look at, two heads each: boxes, and scores with one for "nothing".
TAPS = ("pw11", "pw13", "extra1b", "extra2b", "extra3b", "extra4b")


class Layer(NamedTuple):
    """A convolution with batch normalisation and ReLU, all three one operator."""

    name: str
    kind: str  # conv or depthwise
    size: int  # of the kernel
    stride: int
    channels: int


class Head(NamedTuple):
    """A 1x1 convolution whose outputs are answers, not features."""

    name: str
    tap: str  # the layer that it reads
    channels: int


def layers(width: float = WIDTH) -> list[Layer]:
    """The 35 layers, each of which reads the one before it."""

    def channels(full: int) -> int:
        return max(8, int(full * width))

    before = channels(32)
    found = [Layer("conv1", "conv", 3, 2, before)]
    shapes = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for number, (full, stride) in enumerate(shapes, 1):
        found.append(Layer(f"dw{number}", "depthwise", 3, stride, before))
        before = channels(full)
        found.append(Layer(f"pw{number}", "conv", 1, 1, before))
    for number, full in enumerate((512, 256, 256, 128), 1):
        found.append(Layer(f"extra{number}a", "conv", 1, 1, channels(full // 2)))
        found.append(Layer(f"extra{number}b", "conv", 3, 2, channels(full)))
    return found


def heads() -> list[Head]:
    """The 12 heads, named like the ports of ``BoxDecoder``."""
    found = []
    for number, (tap, (_, shapes)) in enumerate(zip(TAPS, MAPS), 1):
        found.append(Head(f"boxes{number}", tap, 4 * len(shapes)))
        found.append(Head(f"scores{number}", tap, (1 + len(CLASSES)) * len(shapes)))
    return found


def ssd_model(weights: Sequence[Weights], width: float = WIDTH) -> bytes:
    """The file, of weights as TensorFlow has them: (h, w, in, out), depthwise (h, w, channels, 1); layers, then heads.

    Operator k is layer k, the heads follow. Outputs are those of the heads. Weights are rounded to bfloat16.
    """
    writer = ModelWriter("SSD-MobileNet v1 for traffic")
    schema = writer.schema
    values = iter(weights)
    sizes: dict[str, tuple[int, int]] = {}  # layer -> its output's tensor, rows and columns

    def convolution(name: str, x: int, size: int, stride: int, relu: bool, depthwise: bool = False) -> int:
        kernel, bias = (to_bfloat16(value) for value in next(values))
        kernel = kernel.transpose(3, 0, 1, 2)  # depthwise: (1, h, w, channels)
        constants = [writer.tensor(f"{name}/{what}", v.shape, v) for what, v in (("kernel", kernel), ("bias", bias))]
        kinds = schema.ActivationFunctionType
        fields = {
            "padding": schema.Padding.SAME,
            "strideH": stride,
            "strideW": stride,
            "dilationHFactor": 1,
            "dilationWFactor": 1,
            "fusedActivationFunction": kinds.RELU if relu else kinds.NONE,
        }
        code, options = "CONV_2D", "Conv2DOptions"
        if depthwise:
            code, options = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"
            fields["depthMultiplier"] = 1
        out = writer.operator(code, [x, *constants], (1, size, size, len(bias)), options, **fields)
        writer.tensors[out].name = name
        return out

    x = picture = writer.tensor("picture", (1, SIZE, SIZE, 3))
    size = SIZE
    for layer in layers(width):
        size = -(-size // layer.stride)
        x = convolution(layer.name, x, size, layer.stride, relu=True, depthwise=layer.kind == "depthwise")
        sizes[layer.name] = x, size
    outputs = [convolution(head.name, *sizes[head.tap], 1, relu=False) for head in heads()]
    return writer.finish([picture], outputs)
