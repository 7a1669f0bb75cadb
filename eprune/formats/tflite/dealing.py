"""Dealing a model's layers to devices: which layers are worth it, plans that need no measuring, and what is to be run.

A layer that is dealt leaves a device with its part of the weights, and has the device receive what others computed. So
the planner weighs one against the other: layers with many weights and small results first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eprune.formats.models.boundary import weight_bytes
from eprune.formats.models.flow import OperatorFlow
from eprune.formats.models.parts import Model, Operator
from eprune.formats.tflite.channels import HEADS, Layer, narrow, narrowed_bytes, stored
from eprune.model.partition import LayerParts, Plan, prediction_bytes

#: The method in which the last device has sums of the others' channels.
CODED = "cdc"


def blocks(channels: int, devices: int) -> list[tuple[int, ...]]:
    """Contiguous blocks of as equal size as can be, the larger ones first."""
    size, rest = divmod(channels, devices)
    starts = [device * size + min(device, rest) for device in range(devices + 1)]
    return [tuple(range(start, end)) for start, end in zip(starts, starts[1:])]


def full(devices: int) -> Plan:
    """Every layer on every device."""
    return Plan(devices, "full")


def lop(layers: Sequence[Layer], devices: int) -> Plan:
    """Layer output partitioning: a contiguous block of each layer's channels on each device."""
    return Plan(devices, "lop", tuple(LayerParts(each.first, tuple(blocks(each.channels, devices))) for each in layers))


def chained(layers: Sequence[Layer], devices: int, copies: int) -> Plan:
    """Each block of ``lop`` on ``copies`` successive devices: exact for any ``copies`` - 1 failures."""
    made = []
    for layer in layers:
        own = blocks(layer.channels, devices)
        held = [[own[(device - back) % devices] for back in range(copies)] for device in range(devices)]
        parts = tuple(tuple(sorted({channel for block in each for channel in block})) for each in held)
        made.append(LayerParts(layer.first, parts))
    return Plan(devices, "chained", tuple(made))


def dealable(model: Model, flow: OperatorFlow, found: Sequence[Layer], devices: int) -> tuple[Layer, ...]:
    """The layers of ``layers(model)`` that can be dealt to so many devices: not the last ones, nor very narrow ones.

    The last layer is on every device, so that each has the result without a further exchange. A layer whose results
    have no shape that a FIFO could carry is left out, too, and so is one whose weights others use as well: to have a
    part of them beside the whole saves nothing.
    """
    needed = _with_layers_behind(model, flow, found)
    users = Counter(buffer for operator in model.operators for buffer in _constants(model, operator))
    return tuple(
        each
        for each in found
        if each.channels >= devices
        and each.first in needed
        and flow.position.keys() >= set(each.operators)
        and all(users[buffer] == 1 for head in each.heads for buffer in _constants(model, model.operators[head]))
        and all(index in flow.types and index not in flow.outputs for index in each.outputs)
    )


def _constants(model: Model, operator: Operator) -> set[int]:
    """The buffer of an operator's weights; what else it has of each channel is small."""
    index = operator.inputs[1] if operator.name in HEADS and len(operator.inputs) > 1 else -1
    return {model.tensors[each].buffer for each in stored(model, index)[-1:]} if index >= 0 else set()


def worth(
    model: Model,
    flow: OperatorFlow,
    layers: Sequence[Layer],
    devices: int,
    memory: float = 0,
    copies: int = 1,
    recover: int = 0,
) -> tuple[Layer, ...]:
    """Of ``layers``, which can be dealt, those to deal: a device saves at least as many bytes as it gets per frame.

    With ``memory``, the bound of a device's weights as a part of the whole model's, further layers are dealt until it
    holds, those with the best ratio first. ``copies`` is on how many devices each channel will be. With ``recover``, a
    device will also predict what up to so many others take with them, which counts; a layer stays whole where that
    takes more than its deal saves. Raises ValueError if that is not enough, with what is possible.
    """
    share = min(copies / devices, 1)
    extra = {
        layer.first: max(prediction_bytes(dealt.parts, recover, widths(model, layer)))
        for layer, dealt in zip(layers, chained(layers, devices, copies).layers)
    }

    def saved(layer: Layer) -> float:
        return layer.weight_bytes * (1 - share) - extra[layer.first]

    def ratio(layer: Layer) -> float:
        received = sum(flow.types[index].nbytes for index in layer.outputs)
        return (layer.weight_bytes - extra[layer.first] / max(1 - share, 1e-9)) / max(received, 1)

    best = sorted((layer for layer in layers if not recover or saved(layer) > 0), key=ratio, reverse=True)
    whole = weight_bytes(model, range(len(model.operators)))
    left, chosen = float(whole), []
    for layer in best:
        enough = not memory or left <= memory * whole
        if enough and ratio(layer) < 1:
            break
        chosen.append(layer.first)
        left -= saved(layer)
    if memory and left > memory * whole:
        least = left / max(whole, 1)
        more = f", and predictions for up to {recover} dead" if recover else ""
        raise ValueError(
            f"--memory {memory:g}: a device needs {least:.3g} of the model's {whole} bytes of weights at least, with "
            f"{devices} devices and {copies} of each channel{more}; take more devices, or fewer copies"
        )
    return tuple(each for each in layers if each.first in chosen)


def widths(model: Model, layer: Layer) -> tuple[int, ...]:
    """Of each tensor that leaves a layer, the elements on its last axis for each channel."""
    return tuple(model.tensors[index].shape[-1] // layer.channels for index in layer.outputs)


@dataclass(frozen=True)
class Piece:
    """Operators that every device runs, whole, or a layer of which each device has its ``parts``.

    ``reads`` are the tensors that it takes from other pieces or from sources, ``writes`` those that others need.
    ``after`` are the exchanged tensors on which it depends.
    """

    operators: tuple[int, ...]
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    after: frozenset[int]
    parts: tuple[tuple[int, ...], ...] = ()


def pieces(model: Model, flow: OperatorFlow, found: Sequence[Layer], plan: Plan) -> tuple[Piece, ...]:
    """What devices run by ``plan``, in an order in which it can be run. ``found`` are ``layers(model)``.

    Operators that depend on the same exchanges are one piece. Raises ValueError for a plan that is not one of this
    model.
    """
    dealt = _checked(found, plan)
    layer_of = {operator: each for each in found if each.first in dealt for operator in each.operators}
    after: dict[int, frozenset[int]] = {}  # tensor -> the exchanges that it depends on
    groups: dict[object, list[int]] = {}
    stages: dict[object, frozenset[int]] = {}
    for operator in _in_order(flow, layer_of):
        layer = layer_of.get(operator)
        members = (operator,) if layer is None else layer.operators
        inner = {index for each in members for index in flow.writes[each]}
        outside = [index for each in members for index in flow.reads[each] if index not in inner]
        stage = frozenset().union(*(after.get(index, frozenset()) for index in outside))
        key: object = stage if layer is None else layer.first
        groups.setdefault(key, []).extend(members)
        stages[key] = stage
        for index in inner:
            after[index] = stage | {index} if layer is not None and index in layer.outputs else stage
    made = []
    for key, own_members in groups.items():
        operators = tuple(sorted(own_members))
        own = {index for each in operators for index in flow.writes[each]}
        reads = dict.fromkeys(index for each in operators for index in flow.reads[each] if index not in own)
        others = {index for each in flow.work if each not in operators for index in flow.reads[each]} | flow.outputs
        writes = tuple(index for each in operators for index in flow.writes[each] if index in others)
        parts = dealt.get(operators[0], ()) if isinstance(key, int) else ()
        made.append(Piece(operators, tuple(reads), writes, stages[key], parts))
    return tuple(sorted(made, key=lambda piece: (len(piece.after), piece.operators[-1])))


def resident_bytes(model: Model, made: Sequence[Piece], device: int) -> int:
    """Bytes of the weights that a device holds, counted from 0."""
    total = 0
    for piece in made:
        total += weight_bytes(model, piece.operators)
        if piece.parts:
            whole, kept = narrowed_bytes(model, narrow(model, piece.operators, piece.parts[device]))
            total += kept - whole
    return total


def _checked(found: Sequence[Layer], plan: Plan) -> Mapping[int, tuple[tuple[int, ...], ...]]:
    """First operator -> the parts of its layer."""
    known = {each.first: each for each in found}
    for each in plan.layers:
        if each.first not in known:
            raise ValueError(f"the plan deals a layer at operator {each.first}, and the model has no such layer")
        held = each.parts[:-1] if plan.method == CODED else each.parts
        there = {channel for part in held for channel in part}
        if there != set(range(known[each.first].channels)) or len(each.parts) != plan.devices or not all(each.parts):
            raise ValueError(
                f"the plan deals the layer at operator {each.first}, which has {known[each.first].channels} channels, "
                f"otherwise: each channel has to be on a device, and each of {plan.devices} devices has to have one"
            )
    return {each.first: each.parts for each in plan.layers}


def _in_order(flow: OperatorFlow, layer_of: Mapping[int, Layer]) -> list[int]:
    """The operators to run, a layer as its first one, each behind what it reads."""
    writer = {index: operator for operator in flow.work for index in flow.writes[operator]}
    placed: dict[int, None] = {}
    done: set[int] = set()

    def visit(operator: int) -> None:
        stack = [operator]
        while stack:
            layer = layer_of.get(stack[-1])
            members = (stack[-1],) if layer is None else layer.operators
            head = members[0]
            if head in done:
                stack.pop()
                continue
            before = {writer[i] for each in members for i in flow.reads[each] if i in writer} - set(members)
            waiting = [each for each in sorted(before) if _head(layer_of, each) not in done]
            if waiting:
                stack.append(waiting[0])
                continue
            done.add(head)
            placed[head] = None
            stack.pop()

    for operator in flow.work:
        visit(operator)
    return list(placed)


def _head(layer_of: Mapping[int, Layer], operator: int) -> int:
    layer = layer_of.get(operator)
    return operator if layer is None else layer.operators[0]


def _with_layers_behind(model: Model, flow: OperatorFlow, found: Sequence[Layer]) -> set[int]:
    """The layers, by their first operators, behind which there is another one on each way to an output."""
    head_of = {operator: each.first for each in found for operator in each.operators}
    tail: set[int] = set(flow.outputs)  # tensors from which an output is reached without another layer
    last: set[int] = set()
    for operator in reversed(flow.work):
        if not tail.isdisjoint(flow.writes[operator]):
            if operator in head_of:
                last.add(head_of[operator])
            layer = next((each for each in found if operator in each.operators), None)
            if layer is None or operator not in layer.heads:
                tail.update(flow.reads[operator])
    return {each.first for each in found} - last
