"""Small .tflite models whose operators can be sliced by output channels, or cannot: each function returns the bytes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.kit.tiny_models import ModelBuilder, schema


def quantization(scale: Any, zero_point: Any = 0, axis: int = 0) -> Any:
    """Scales and zero points: one, or one for each entry of an axis."""
    made = schema.QuantizationParametersT()
    made.scale = np.atleast_1d(np.asarray(scale, np.float32))
    made.zeroPoint = np.broadcast_to(np.asarray(zero_point, np.int64), made.scale.shape)
    made.quantizedDimension = axis
    return made


def per_channel() -> bytes:
    """0 CONV_2D (8 channels), 1 DEPTHWISE_CONV_2D of int8 with a scale for each channel; 2 MAX_POOL_2D."""
    m = ModelBuilder(1)
    random = m.random
    source = m.tensor((1, 8, 8, 3), "int8", quantization=quantization(0.02, 3))
    scales = random.uniform(0.001, 0.01, 8)
    weights = random.integers(-127, 128, (8, 3, 3, 3)).astype(np.int8)
    bias = random.integers(-500, 500, 8).astype(np.int32)
    made = m.tensor((1, 8, 8, 8), "int8", quantization=quantization(0.05, -7))
    inputs = [source, m.constant(weights, quantization=quantization(scales))]
    inputs.append(m.constant(bias, quantization=quantization(scales * 0.02)))
    m.operator("CONV_2D", inputs, [made], "Conv2DOptions", strideW=1, strideH=1, version=3)
    deep = random.uniform(0.001, 0.01, 8)
    weights = random.integers(-127, 128, (1, 3, 3, 8)).astype(np.int8)
    inputs = [made, m.constant(weights, quantization=quantization(deep, axis=3))]
    inputs.append(m.constant(bias, quantization=quantization(deep * 0.05)))
    out = m.tensor((1, 8, 8, 8), "int8", quantization=quantization(0.05, -7))
    options = {"strideW": 1, "strideH": 1, "depthMultiplier": 1}
    m.operator("DEPTHWISE_CONV_2D", inputs, [out], "DepthwiseConv2DOptions", version=3, **options)
    pooled = m.tensor((1, 4, 4, 8), "int8", quantization=quantization(0.05, -7))
    options = {"strideW": 2, "strideH": 2, "filterWidth": 2, "filterHeight": 2}
    m.operator("MAX_POOL_2D", [out], [pooled], "Pool2DOptions", version=2, **options)
    return m.build([source], [pooled])


def multiplied() -> bytes:
    """0 DEPTHWISE_CONV_2D of 1 input channel and 6 outputs, 1 one of 6 and 12 (2 for each)."""
    m = ModelBuilder(2)
    source = m.tensor((1, 6, 6, 1))
    data, depth = source, 1
    for channels in (6, 12):
        out = m.tensor((1, 6, 6, channels), shapeSignature=[-1, 6, 6, channels])
        options = {"strideW": 1, "strideH": 1, "depthMultiplier": channels // depth}
        inputs = [data, m.weights(1, 3, 3, channels), m.weights(channels)]
        m.operator("DEPTHWISE_CONV_2D", inputs, [out], "DepthwiseConv2DOptions", **options)
        data, depth = out, channels
    return m.build([source], [data])


def grouped() -> bytes:
    """0 CONV_2D of 2 groups: 4 channels in, 6 out."""
    m = ModelBuilder(3)
    source, out = m.tensor((1, 5, 5, 4)), m.tensor((1, 5, 5, 6))
    inputs = [source, m.weights(6, 3, 3, 2), m.weights(6)]
    m.operator("CONV_2D", inputs, [out], "Conv2DOptions", strideW=1, strideH=1)
    return m.build([source], [out])


def transposed() -> bytes:
    """0 TRANSPOSE_CONV: 3 channels in, 5 out, twice as wide and high."""
    m = ModelBuilder(4)
    source, out = m.tensor((1, 4, 4, 3)), m.tensor((1, 8, 8, 5))
    shape = m.constant(np.array([1, 8, 8, 5], np.int32))
    inputs = [shape, m.weights(5, 3, 3, 3), source, m.weights(5)]
    m.operator("TRANSPOSE_CONV", inputs, [out], "TransposeConvOptions", version=3, strideW=2, strideH=2)
    return m.build([source], [out])


def local() -> bytes:
    """A convolution (0), and channel-local operators behind it.

    1 MUL by a constant for each channel, 2 ADD of one for all, 3 PRELU, 4 PAD, 5 LOGISTIC, 6 MUL of 4 and 5, 7
    RESIZE_NEAREST_NEIGHBOR, 8 MEAN over height and width; 9 SOFTMAX mixes channels.
    """
    m = ModelBuilder(5)
    source = m.tensor((1, 4, 4, 3))
    data = m.conv(source, (1, 4, 4, 6), 3)
    for name, operand, options in (
        ("MUL", m.weights(6), "MulOptions"),
        ("ADD", m.weights(1), "AddOptions"),
        ("PRELU", m.weights(1, 1, 6), ""),
    ):
        out = m.tensor((1, 4, 4, 6))
        m.operator(name, [data, operand], [out], options)
        data = out
    padded, gate, product = (m.tensor((1, 6, 6, 6)) for _ in range(3))
    pads = m.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
    m.operator("PAD", [data, pads], [padded], "PadOptions")
    m.operator("LOGISTIC", [padded], [gate])
    m.operator("MUL", [padded, gate], [product], "MulOptions")
    large, mean, out = m.tensor((1, 12, 12, 6)), m.tensor((1, 6)), m.tensor((1, 6))
    size = m.constant(np.array([12, 12], np.int32))
    m.operator("RESIZE_NEAREST_NEIGHBOR", [product, size], [large], "ResizeNearestNeighborOptions")
    m.operator("MEAN", [large, m.constant(np.array([1, 2], np.int32))], [mean], "ReducerOptions")
    m.operator("SOFTMAX", [mean], [out], "SoftmaxOptions", beta=1.0)
    return m.build([source], [out])


def branches() -> bytes:
    """A residual block: 0 CONV_2D, 1 CONV_2D and 2 CONV_2D of 0's result, 3 ADD of 1 and 2, 4 ADD of 0 and 3."""
    m = ModelBuilder(6)
    source = m.tensor((1, 4, 4, 3))
    first = m.conv(source, (1, 4, 4, 4), 3)
    left, right = m.conv(first, (1, 4, 4, 4), 4), m.conv(first, (1, 4, 4, 4), 4, size=1)
    total, out = m.tensor((1, 4, 4, 4)), m.tensor((1, 4, 4, 4))
    m.operator("ADD", [left, right], [total], "AddOptions")
    m.operator("ADD", [first, total], [out], "AddOptions")
    return m.build([source], [out])


def flattened() -> bytes:
    """0 CONV_2D (4 channels), 1 RESHAPE to a vector, height and width first, 2 FULLY_CONNECTED of it, 3 another."""
    m = ModelBuilder(9)
    source = m.tensor((1, 3, 3, 2))
    features = m.conv(source, (1, 3, 3, 4), 2)
    flat = m.tensor((1, 36))
    m.operator(
        "RESHAPE", [features, m.constant(np.array([1, 36], np.int32))], [flat], "ReshapeOptions", newShape=[1, 36]
    )
    return m.build([source], [m.dense(m.dense(flat, 36, 6), 6, 3)])


def four_bits() -> bytes:
    """0 FULLY_CONNECTED of int4 weights with a scale for each of 6 channels: 7 float inputs, so rows share bytes."""
    m = ModelBuilder(7)
    source, out = m.tensor((1, 7)), m.tensor((1, 6))
    halves = m.random.integers(0, 16, 42).astype(np.uint8)
    packed = halves[::2] | halves[1::2] << 4
    weights = m.tensor((6, 7), "int4", packed, quantization=quantization(m.random.uniform(0.01, 0.1, 6)))
    m.operator("FULLY_CONNECTED", [source, weights, m.weights(6)], [out], "FullyConnectedOptions", version=9)
    return m.build([source], [out])


def shuffled() -> bytes:
    """0 FULLY_CONNECTED whose weights are shuffled."""
    m = ModelBuilder(8)
    source, out = m.tensor((1, 16), "uint8"), m.tensor((1, 4), "int16")
    weights = m.constant(np.zeros((4, 16), np.uint8))
    options = {"weightsFormat": schema.FullyConnectedOptionsWeightsFormat.SHUFFLED4x16INT8, "version": 2}
    m.operator("FULLY_CONNECTED", [source, weights, -1], [out], "FullyConnectedOptions", **options)
    return m.build([source], [out])
