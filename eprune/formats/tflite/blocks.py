"""Residual blocks of a model: y = x + f(x), where f is made of x alone, and only y leads out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from eprune.formats.models.flow import OperatorFlow
from eprune.formats.models.parts import Model
from eprune.formats.tflite.model import root_of


@dataclass(frozen=True)
class Residual:
    """A block of ``operators``, in rising order, the last of which adds tensor ``x`` to what the others make of it.

    The sum is tensor ``y``, of the shape and dtype of ``x``.
    """

    x: int
    y: int
    operators: tuple[int, ...]


def residual_blocks(model: Model, flow: OperatorFlow) -> list[Residual]:
    """All residual blocks, in the order of the operators that run them. He et al., Deep residual learning (2016)."""
    root_of(model)  # of a model of another format nothing is known
    readers: dict[int, set[int]] = {}
    writer: dict[int, int] = {}
    for index in flow.work:
        for tensor in flow.reads[index]:
            readers.setdefault(tensor, set()).add(index)
        writer.update(dict.fromkeys(flow.writes[index], index))
    found = []
    for index in flow.work:
        if model.operators[index].name == "ADD" and len(flow.reads[index]) == 2 and len(flow.writes[index]) == 1:
            one, other = flow.reads[index]
            block = _block(flow, readers, writer, index, one, other) or _block(flow, readers, writer, index, other, one)
            if block is not None:
                found.append(block)
    return found


def _block(
    flow: OperatorFlow, readers: dict[int, set[int]], writer: dict[int, int], add: int, x: int, made: int
) -> Optional[Residual]:
    """The block in which ``made`` is f(x), if it is."""
    (y,) = flow.writes[add]
    types = [flow.types.get(tensor) for tensor in (x, y)]
    if types[0] is None or types[0] != types[1]:
        return None
    inside, waiting = {add}, [made]
    while waiting:
        tensor = waiting.pop()
        if tensor == x:
            continue
        index = writer.get(tensor)
        if index is None:
            return None  # it comes from an input of the model
        if index not in inside:
            inside.add(index)
            waiting += flow.reads[index]
    if len(inside) == 1:
        return None
    inner = {tensor for index in inside if index != add for tensor in flow.writes[index]}
    if inner & flow.outputs or any(not readers.get(tensor, set()) <= inside for tensor in inner):
        return None
    return Residual(x, y, tuple(sorted(inside)))
