"""Coded layers (``cdc``): all devices but one have a block of a layer's channels, the last one the sum of the blocks.

A layer is linear up to its activation. So the output of the sum of all blocks' weights and biases is the sum of their
outputs, and a block that is missing is that sum less the other blocks: exact but for rounding. It takes a model in
which the activation is an operator of its own, behind the exchange, and a second one that has sums in the place of
weights. Floats only: a quantised layer rounds and saturates before the sum.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eprune.formats.models.parts import Model
from eprune.formats.tflite.channels import Layer, role
from eprune.formats.tflite.cost import macs
from eprune.formats.tflite.dealing import CODED, blocks
from eprune.formats.tflite.model import buffer_bytes, enum_names, load_schema, root_of
from eprune.formats.tflite.slicing import packed_model
from eprune.model.partition import LayerParts, Plan

#: Activations that an operator may have fused -> the operators that do the same.
_ACTIVATIONS = {"RELU": "RELU", "RELU6": "RELU6", "RELU_N1_TO_1": "RELU_N1_TO_1", "TANH": "TANH"}


@dataclass(frozen=True)
class Coded:
    """``linear`` computes what the model computes, with the activations of coded layers as operators of their own.

    ``sums`` is the same with sums of blocks as the first weights and biases of these layers. ``place``: the number that
    an operator of the model has in both.
    """

    linear: bytes
    sums: bytes
    place: Mapping[int, int]


def linear_layers(model: Model, layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Of each of these layers that can be coded its first operator alone; what is behind it comes behind the exchange.

    Left out are layers that are not of floats, those of two branches, and activations that are no operators.
    """
    found = []
    for layer in layers:
        head = model.operators[layer.first]
        own = role(model, head)
        weights = [head.inputs[position] for position in own.constants] if own is not None else []
        floats = all(model.tensors[index].constant and model.tensors[index].type == "FLOAT32" for index in weights)
        if len(layer.heads) > 1 or not floats or model.subgraphs > 1 or _activation(model, layer.first) is None:
            continue
        nbytes = sum(model.tensors[index].nbytes for index in weights)
        found.append(replace(layer, operators=(layer.first,), outputs=head.outputs, weight_bytes=nbytes))
    return tuple(replace(each, macs=macs(model, model.operators[each.first])) for each in found)


def cdc(layers: Sequence[Layer], devices: int) -> Plan:
    """A block of each layer's channels on all devices but the last, which has as many sums as the largest block."""
    made = []
    for layer in layers:
        own = blocks(layer.channels, devices - 1)
        made.append(LayerParts(layer.first, (*own, tuple(range(len(own[0]))))))
    return Plan(devices, CODED, tuple(made))


def coded(model: Model, plan: Plan) -> Coded:
    """The two models by which a plan of ``cdc`` runs. ``model`` must be one graph, its layers ``linear_layers``."""
    root = root_of(model)
    schema = load_schema(model.path)
    made: Any = schema.ModelT.InitFromObj(root)
    data = [buffer_bytes(model.data, root, index) for index in range(root.BuffersLength())]
    firsts = {each.first: each.parts for each in plan.layers}
    graph = made.subgraphs[0]
    operators: list[Any] = []
    place: dict[int, int] = {}
    for number, operator in enumerate(graph.operators):
        place[number] = len(operators)
        operators.append(operator)
        name = _activation(model, number) if number in firsts else ""
        if name:
            operators.append(_split(schema, made, graph, operator, name))
    graph.operators = operators
    linear = packed_model(schema, made, data)
    for first, parts in firsts.items():
        head = model.operators[first]
        own = role(model, head)
        assert own is not None  # it is a layer
        for position, axis in own.constants.items():
            tensor = model.tensors[head.inputs[position]]
            # The buffer may be shared, so the sums get one of their own.
            graph.tensors[tensor.index].buffer = len(data)
            data.append(_summed(data[tensor.buffer], tensor.shape, axis, parts[:-1]))
    return Coded(linear, packed_model(schema, made, data), place)


def relabelled(plan: Plan, place: Mapping[int, int]) -> Plan:
    """The plan with operators numbered as in a ``Coded``."""
    return replace(plan, layers=tuple(replace(each, first=place[each.first]) for each in plan.layers))


def _activation(model: Model, number: int) -> Any:
    """The operator that does what an operator's fused activation does, "" for none, None if there is no such."""
    operator = root_of(model).Subgraphs(model.graph).Operators(number)
    schema = load_schema(model.path)
    options = schema.OperatorT.InitFromObj(operator).builtinOptions
    name = enum_names(schema.ActivationFunctionType)[getattr(options, "fusedActivationFunction", 0)]
    return "" if name == "NONE" else _ACTIVATIONS.get(name)


def _split(schema: Any, made: Any, graph: Any, operator: Any, name: str) -> Any:
    """Take the activation out of an operator: the one that does it, behind a tensor of its own."""
    operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.NONE
    output = int(operator.outputs[0])
    tensor = copy.copy(graph.tensors[output])
    tensor.name = (tensor.name or b"") + b"_linear"
    graph.tensors.append(tensor)
    operator.outputs = [len(graph.tensors) - 1]
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = 1
    made.operatorCodes.append(code)
    behind = schema.OperatorT()
    behind.opcodeIndex = len(made.operatorCodes) - 1
    behind.inputs, behind.outputs = [len(graph.tensors) - 1], [output]
    return behind


def _summed(data: Any, shape: Sequence[int], axis: int, parts: Sequence[Sequence[int]]) -> Any:
    """A constant of float32 whose first entries on ``axis`` are the sums of those of all parts, and the others 0."""
    import numpy as np

    whole = np.moveaxis(np.array(data).view(np.float32).reshape(shape), axis, 0).astype(np.float64)
    sums = np.zeros_like(whole)
    for part in parts:
        sums[: len(part)] += whole[list(part)]
    return np.ascontiguousarray(np.moveaxis(sums, 0, axis)).astype(np.float32).reshape(-1).view(np.uint8)
