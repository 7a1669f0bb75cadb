"""The network on both sides of a cut, for attackers who know one: which operators, from and to which tensor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

import numpy as np

from eprune.formats.model_files import read_model
from eprune.formats.models.boundary import boundary
from eprune.formats.models.parts import Model
from eprune.formats.tflite.channels import stored
from eprune.measure.attacks.base import Target
from eprune.measure.gradients import obstacle
from eprune.model.finding import WrongUsage
from eprune.model.graph import Actor


@dataclass(frozen=True)
class Surroundings:
    """``head`` computes the tensor ``cut`` of the tensor ``given``, ``tail`` computes ``answer`` of ``cut``.

    An input of the network is ``black + picture * (white - black)``, real numbers in the tensor's shape.
    """

    model: Model
    head: tuple[int, ...]
    tail: tuple[int, ...]
    given: int
    cut: int
    answer: int
    black: np.ndarray
    white: np.ndarray


def surroundings(target: Target, attack: str) -> Surroundings:
    """Those of a FIFO. Raises WrongUsage, which names the attack, where they are not to be had."""

    def refused(why: str) -> WrongUsage:
        return WrongUsage(f"{attack} at {target.fifo}: {why}", "--attack")

    actor, port = _slice_before(target)
    if actor is None or actor.behaviour is None:
        raise refused("its tokens are not made by a slice of a model")
    model = read_model(actor.behaviour.path)
    made = boundary(model, actor.behaviour.operators)[1]
    cut = made[[each.name for each in actor.outputs].index(port)]
    if len(model.inputs) != 1 or model.tensors[model.inputs[0]].shape != target.inputs.token.shape:
        raise refused("the network does not take the source's tokens as they are")
    (given,) = model.inputs
    head = _needed(model, cut, {given})
    tail = _needed(model, model.outputs[0], {cut})
    inner = {cut, *(index for each in tail for index in model.operators[each].outputs)}
    if any(
        index >= 0 and index not in inner and not stored(model, index)
        for each in tail
        for index in model.operators[each].inputs
    ):
        raise refused("what follows does not depend on its tokens alone")
    if reason := obstacle(model, (*head, *tail)):
        hint = ": pip install 'eprune[train]'" if "not installed" in reason else ""
        raise refused(f"takes gradients, and {reason}{hint}")
    shape = target.inputs.token.shape
    size = shape[-3:] if shape[-1] in (1, 3) else (*shape[-2:], 1)
    ends = []
    for value in (0, 255):
        token = target.inputs(np.full(size, value, np.uint8))
        numbers, real = model.format.quantization(model, given), token.astype(np.float32)
        if numbers is not None and token.dtype.kind in "iu":
            real = (real - numbers.zero_point) * numbers.scale
        ends.append(real)
    return Surroundings(model, head, tail, given, cut, model.outputs[0], ends[0], ends[1])


def _slice_before(target: Target) -> tuple[Optional[Actor], str]:
    """The slice that made the tokens, and its port: actors with one input in between only code them."""
    graph = target.system.graph
    name, _, port = target.source.partition(".")
    for _ in graph.actors:
        actor = graph.actor(name)
        if actor is None or actor.is_slice:
            return actor, port
        data = {each.name for each in actor.inputs if not each.control}
        into = [fifo for fifo in graph.fifos if fifo.target.actor == name and fifo.target.port in data]
        if len(into) != 1:
            break
        name, port = into[0].source.actor, into[0].source.port
    return None, ""


def _needed(model: Model, tensor: int, known: Iterable[int]) -> tuple[int, ...]:
    """The operators that compute a tensor from those that are known."""
    writer = {index: operator for operator in model.operators for index in operator.outputs}
    found: set[int] = set()
    reached, stack = set(known), [tensor]
    while stack:
        index = stack.pop()
        if index in reached or index not in writer:
            continue
        reached.add(index)
        found.add(writer[index].index)
        stack += writer[index].inputs
    return tuple(sorted(found))
