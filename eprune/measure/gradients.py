"""Gradients of a .tflite model, which an interpreter does not give: the model as TensorFlow computes it.

TensorFlow is used if it is installed. The operators are those of classifiers for pictures; whatever is quantised is
computed with real numbers. Activations behind quantised layers are not cut off at the range of their tensors.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from importlib import import_module
from typing import Any, Optional

import numpy as np

from eprune.formats.models.parts import Model, Operator
from eprune.formats.tflite.channels import HEADS, Layer, stored, values
from eprune.formats.tflite.constants import constant
from eprune.formats.tflite.model import load_schema
from eprune.formats.tflite.quantization import quantization

_ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH")
#: Operators that leave values as they are.
_SAME = {"DEQUANTIZE", "QUANTIZE", "RESHAPE", "SQUEEZE"}
#: Operator -> the class of its options.
_OPTIONS = {
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEQUANTIZE": "",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "LOGISTIC": "",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MUL": "MulOptions",
    "PAD": "",
    "QUANTIZE": "",
    "RELU": "",
    "RELU6": "",
    "RESHAPE": "",
    "SOFTMAX": "SoftmaxOptions",
    "SQUEEZE": "",
    "SUB": "SubOptions",
    "TANH": "",
}


def obstacle(model: Model, operators: Optional[Sequence[int]] = None) -> str:
    """Why gradients of a model, or of these operators of it, cannot be had here; an empty text if they can."""
    for operator in model.operators if operators is None else [model.operators[index] for index in operators]:
        if operator.name not in _OPTIONS:
            return f"{operator} is not known to it"
        if operator.name == "CONV_2D" and _depth(model, operator.inputs[0]) != _depth(model, operator.inputs[1]):
            return f"{operator} has groups"
    return _without_tensorflow()


def ends_in_softmax(model: Model) -> bool:
    """Whether a model's first output are probabilities: what a softmax gives, at most reshaped or stored otherwise."""
    writer = {index: operator for operator in model.operators for index in operator.outputs}
    index = model.outputs[0]
    while index in writer and writer[index].name in _SAME:
        index = writer[index].inputs[0]
    return index in writer and writer[index].name in ("SOFTMAX", "Softmax")


@lru_cache(maxsize=1)
def _without_tensorflow() -> str:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with _silence():
            import_module("tensorflow").zeros(1)
    except ImportError:
        return "TensorFlow is not installed"
    return ""


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing goes to stderr: TensorFlow tells of processors and drivers there, whatever its log level is."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def taylor(
    model: Model, layers: Sequence[Layer], tokens: Sequence[np.ndarray], classes: Optional[Sequence[int]] = None
) -> dict[int, np.ndarray]:
    """First operator of each layer -> its channels' Taylor scores: sum |dy/dw w| + sum |dy/db b|, y being the loss.

    The loss is the cross entropy of the wanted class, without ``classes`` of the one that the model answers. A mean
    over the tokens, pictures as the model takes them, quantised or not. Only where there is no ``obstacle``.
    """
    network = Network(model, {number for layer in layers for number in layer.heads})
    totals = {layer.first: np.zeros(layer.channels) for layer in layers}
    for place, token in enumerate(tokens):
        gradients = network.gradients(token, None if classes is None else classes[place])
        for layer in layers:
            for number in layer.heads:
                for position, axis in HEADS[model.operators[number].name][1].items():
                    if (number, position) in gradients:
                        terms = np.abs(gradients[number, position])
                        others = tuple(each for each in range(terms.ndim) if each != axis)
                        totals[layer.first] += terms.sum(axis=others)
    return {first: total / len(tokens) for first, total in totals.items()}


def _depth(model: Model, index: int) -> int:
    return model.tensors[index].shape[-1]


class Network:
    """A model as TensorFlow computes it; the weights of ``heads``, operators, are variables.

    Only where there is no ``obstacle``.
    """

    def __init__(self, model: Model, heads: Iterable[int] = ()) -> None:
        import tensorflow

        self.tf: Any = tensorflow
        self.model = model
        self.schema = load_schema(model.path)
        self.graph: Any = self.schema.Model.GetRootAs(model.data).Subgraphs(model.graph)
        self.constants: dict[int, np.ndarray] = {}
        self.variables: dict[tuple[int, int], Any] = {}
        for number in sorted(heads):
            operator = model.operators[number]
            for position in HEADS[operator.name][1]:
                if position < len(operator.inputs) and operator.inputs[position] >= 0:
                    found = constant(model, operator.inputs[position]).astype(np.float32)
                    self.variables[number, position] = self.tf.Variable(found)

    def gradients(self, token: np.ndarray, wanted: Optional[int]) -> dict[tuple[int, int], np.ndarray]:
        """(operator, position of the constant) -> dy/dw w, in the constant's shape."""
        with self.tf.GradientTape() as tape:
            answer = self._answer(token)
            target = int(self.tf.argmax(answer)) if wanted is None else wanted
            loss = -self.tf.math.log(self.tf.maximum(answer[target], 1e-30))
        found = tape.gradient(loss, self.variables)
        return {key: (found[key] * self.variables[key]).numpy() for key in found if found[key] is not None}

    def _answer(self, token: np.ndarray) -> Any:
        """Probabilities of the classes."""
        (given,) = self.model.inputs
        numbers, real = quantization(self.model, given), token.astype(np.float32)
        if numbers is not None and token.dtype.kind in "iu":
            real = (real - numbers.zero_point) * numbers.scale
        known: dict[int, Any] = {given: self.tf.constant(real.reshape(self.model.tensors[given].shape))}
        self._compute(self.model.operators, known)
        scores = self.tf.reshape(known[self.model.outputs[0]], [-1])
        return scores if ends_in_softmax(self.model) else self.tf.nn.softmax(scores)

    def between(self, operators: Iterable[int], given: int, value: Any, wanted: int) -> Any:
        """What these operators make of ``value``, a batch of the tensor ``given``, of the tensor ``wanted``.

        Real numbers, also of quantised tensors. Tensors whose first dimension is 1 have the batch's size there.
        """
        known = {given: value}
        self._compute((self.model.operators[index] for index in sorted(operators)), known)
        return known[wanted]

    def _compute(self, operators: Iterable[Operator], known: dict[int, Any]) -> None:
        for operator in operators:
            if not stored(self.model, operator.outputs[0]):
                known[operator.outputs[0]] = self._run(operator, known)

    def _run(self, operator: Operator, known: dict[int, Any]) -> Any:
        """What an operator makes."""
        options = self._options(operator)

        def given(position: int) -> Any:
            index = operator.inputs[position]
            if (operator.index, position) in self.variables:
                return self.variables[operator.index, position]
            if index in known:
                return known[index]
            if index not in self.constants:
                self.constants[index] = constant(self.model, index).astype(np.float32)
            return self.constants[index]

        made = self._operations[operator.name](operator, options, given)
        if not hasattr(options, "FusedActivationFunction"):
            return made
        return self._activated(made, options.FusedActivationFunction())

    def _options(self, operator: Operator) -> Any:
        """The accessors of its options; None for none."""
        raw = self.graph.Operators(operator.index).BuiltinOptions()
        if raw is None or not _OPTIONS[operator.name]:
            return None
        options = getattr(self.schema, _OPTIONS[operator.name])()
        options.Init(raw.Bytes, raw.Pos)
        return options

    def _activated(self, value: Any, number: int) -> Any:
        return {
            "NONE": lambda x: x,
            "RELU": self.tf.nn.relu,
            "RELU_N1_TO_1": lambda x: self.tf.clip_by_value(x, -1.0, 1.0),
            "RELU6": self.tf.nn.relu6,
            "TANH": self.tf.tanh,
        }[_ACTIVATIONS[number]](value)

    @cached_property
    def _operations(self) -> dict[str, Callable[[Operator, Any, Callable[[int], Any]], Any]]:
        tf = self.tf
        return {
            "ADD": lambda o, p, x: x(0) + x(1),
            "AVERAGE_POOL_2D": lambda o, p, x: tf.nn.avg_pool2d(x(0), *self._window(p)),
            "CONCATENATION": lambda o, p, x: tf.concat([x(place) for place in range(len(o.inputs))], p.Axis()),
            "CONV_2D": self._convolution,
            "DEPTHWISE_CONV_2D": self._depthwise,
            "DEQUANTIZE": lambda o, p, x: x(0),
            "FULLY_CONNECTED": self._dense,
            "LOGISTIC": lambda o, p, x: tf.sigmoid(x(0)),
            "MAX_POOL_2D": lambda o, p, x: tf.nn.max_pool2d(x(0), *self._window(p)),
            "MEAN": lambda o, p, x: tf.reduce_mean(x(0), values(self.model, o.inputs[1]), bool(p and p.KeepDims())),
            "MUL": lambda o, p, x: x(0) * x(1),
            "PAD": lambda o, p, x: tf.pad(x(0), np.reshape(values(self.model, o.inputs[1]) or [], (-1, 2))),
            "QUANTIZE": lambda o, p, x: x(0),
            "RELU": lambda o, p, x: tf.nn.relu(x(0)),
            "RELU6": lambda o, p, x: tf.nn.relu6(x(0)),
            "RESHAPE": lambda o, p, x: self._shaped(o, x(0)),
            "SOFTMAX": lambda o, p, x: tf.nn.softmax(x(0) * (p.Beta() if p else 1.0)),
            "SQUEEZE": lambda o, p, x: self._shaped(o, x(0)),
            "SUB": lambda o, p, x: x(0) - x(1),
            "TANH": lambda o, p, x: tf.tanh(x(0)),
        }

    def _shaped(self, operator: Operator, value: Any) -> Any:
        shape = self.model.tensors[operator.outputs[0]].shape
        return self.tf.reshape(value, (-1, *shape[1:]) if shape[:1] == (1,) else shape)

    def _padding(self, options: Any) -> str:
        return "SAME" if options.Padding() == self.schema.Padding.SAME else "VALID"

    def _window(self, options: Any) -> tuple[Any, ...]:
        size, strides = (options.FilterHeight(), options.FilterWidth()), (options.StrideH(), options.StrideW())
        return size, strides, self._padding(options)

    def _biased(self, operator: Operator, value: Any, given: Callable[[int], Any]) -> Any:
        return value + given(2) if len(operator.inputs) > 2 and operator.inputs[2] >= 0 else value

    def _convolution(self, operator: Operator, options: Any, given: Callable[[int], Any]) -> Any:
        kernel = self.tf.transpose(given(1), (1, 2, 3, 0))
        strides, dilations = (options.StrideH(), options.StrideW()), self._dilations(options)
        made = self.tf.nn.conv2d(given(0), kernel, strides, self._padding(options), dilations=dilations)
        return self._biased(operator, made, given)

    def _depthwise(self, operator: Operator, options: Any, given: Callable[[int], Any]) -> Any:
        height, width, count = self.model.tensors[operator.inputs[1]].shape[1:]
        depth = _depth(self.model, operator.inputs[0])
        kernel = self.tf.reshape(given(1), (height, width, depth, count // depth))
        strides = (1, options.StrideH(), options.StrideW(), 1)
        dilations = self._dilations(options)
        made = self.tf.nn.depthwise_conv2d(given(0), kernel, strides, self._padding(options), dilations=dilations)
        return self._biased(operator, made, given)

    def _dilations(self, options: Any) -> tuple[int, int]:
        return options.DilationHFactor(), options.DilationWFactor()

    def _dense(self, operator: Operator, options: Any, given: Callable[[int], Any]) -> Any:
        rows = self.tf.reshape(given(0), (-1, _depth(self.model, operator.inputs[1])))
        made = self._biased(operator, self.tf.matmul(rows, given(1), transpose_b=True), given)
        return self._shaped(operator, made)
