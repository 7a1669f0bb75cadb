"""What holds operators together, so that no cut can be between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eprune.formats.models.flow import OperatorFlow
from eprune.formats.models.parts import UNKNOWN, Model


@dataclass(frozen=True)
class Tie:
    """Operators between which no cut can be, the first and the last of them in ``work``, and why, for people."""

    first: int
    last: int
    reason: str


def ties(model: Model, flow: OperatorFlow) -> tuple[Tie, ...]:
    """All that holds operators to place together."""
    work = set(flow.work)
    found = []
    for bond in model.bonds:
        inside = sorted((index for index in bond if index in work), key=flow.position.__getitem__)
        if len(inside) > 1:
            found.append(Tie(inside[0], inside[-1], f"operators {_listed(sorted(inside))} share {_state(model, bond)}"))
    for operator in flow.work:
        for index in flow.writes[operator]:
            if flow.is_read_behind(index, operator) and not _can_cross(model, flow, index):
                last = flow.last_use[index]
                found.append(Tie(operator, last, f"{_nature(model, flow, index)}, which operator {last} needs"))
    for first, second, reason in model.format.fused(model):
        if first in work and second in work:  # else it is the square of a constant, say
            names = f"operators {first} and {second} ({model.operators[first].name}, {model.operators[second].name})"
            found.append(Tie(first, second, f"{names} {reason}"))
    return tuple(found)


def _can_cross(model: Model, flow: OperatorFlow, index: int) -> bool:
    """Whether a FIFO can carry a tensor from one slice to another: the reader's file states its shape."""
    token = flow.types.get(index)
    return token is not None and token.shape == model.tensors[index].shape


def _nature(model: Model, flow: OperatorFlow, index: int) -> str:
    """Why a tensor is nothing that a FIFO can carry."""
    tensor = model.tensors[index]
    name = f"tensor {index} ({tensor.name})"
    if tensor.dtype is None:
        return f"the elements of {name} are {tensor.type}"
    token = flow.types.get(index)
    return f"the shape of {name} depends on the data" if token is None else f"{name} is {token}, but the file differs"


def _listed(operators: Sequence[int]) -> str:
    some = operators if len(operators) <= 6 else (*operators[:3], "...", operators[-1])
    return ", ".join(map(str, some))


def _state(model: Model, bond: Sequence[int]) -> str:
    """What operators share: ``variable 'name'``."""
    sets = [set(model.operators[index].resources) for index in bond]
    names = sorted(set.intersection(*sets)) if sets else []
    if len(names) != 1 or names[0] == UNKNOWN:
        return "state"
    kind, _, name = names[0].partition(" ")
    return f"{kind} {name!r}"
