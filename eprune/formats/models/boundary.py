"""What enters and leaves a set of a model's operators, and what goes with it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from eprune.formats.models.errors import model_error
from eprune.formats.models.parts import Model, Operator


def boundary(model: Model, operators: Iterable[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The tensors that enter and leave a set of operators: (inputs, outputs), as tensor indices.

    Inputs are consumed and not produced inside, constants and variable tensors aside. Outputs are produced inside and
    needed outside, by another operator or as a graph output. Each tensor once: graph inputs (outputs) first, in the
    graph's order, then the others in the order in which operators consume (produce) them.

    Raises EpruneError (FILE) for operators that are not there.
    """
    chosen = chosen_operators(model, operators)
    inside = {operator.index for operator in chosen}
    early = model.early
    results = {index for operator in early for index in model.operators[operator].outputs}
    carried = with_preparatory(model, chosen)
    others = (o for o in model.operators if o.index not in inside and o.index not in early)
    consumers = with_preparatory(model, others)
    # Whoever needs a preparatory operator's result computes it itself; only a graph output has to be delivered.
    needed = {index for operator in consumers for index in operator.inputs}.difference(results).union(model.outputs)
    consumed = dict.fromkeys(index for operator in carried for index in operator.inputs if index >= 0)
    produced = {index for operator in carried for index in operator.outputs}

    fixed = model.fixed

    def data(index: int) -> bool:
        return index not in fixed and not (model.tensors[index].constant or model.tensors[index].variable)

    inputs = [index for index in consumed if index not in produced and data(index)]
    outputs = [index for operator in chosen for index in operator.outputs if index in needed and data(index)]
    return _graph_order(inputs, model.inputs), _graph_order(outputs, model.outputs)


def chosen_operators(model: Model, operators: Iterable[int]) -> list[Operator]:
    """The operators of these indices, once each, in execution order."""
    indices = sorted(set(operators))
    last = len(model.operators) - 1
    if not indices:
        raise model_error(model.path, "a slice needs at least one operator", f"the model has operators 0..{last}")
    if indices[0] < 0 or indices[-1] > last:
        asked = indices[0] if indices[0] < 0 else indices[-1]
        raise model_error(model.path, f"has no operator {asked}", f"the model has operators 0..{last}")
    return [model.operators[index] for index in indices]


def with_preparatory(model: Model, operators: Iterable[Operator]) -> list[Operator]:
    """These operators and the preparatory ones that they need, in execution order.

    Those whose result is a constant (``Format.fixed``) are not among them.
    """
    early = model.early
    fixed = model.fixed
    producer = {tensor: model.operators[index] for index in early for tensor in model.operators[index].outputs}
    found = {operator.index: operator for operator in operators}
    found.update((operator.index, operator) for operator in model.format.starters(model, list(found.values())))
    waiting = [operator for operator in found.values() if not is_fixed(operator, fixed)]
    while waiting:
        for tensor in waiting.pop().inputs:
            if tensor in producer and tensor not in fixed and producer[tensor].index not in found:
                found[producer[tensor].index] = producer[tensor]
                waiting.append(producer[tensor])
    return [found[index] for index in sorted(found) if not is_fixed(found[index], fixed)]


def is_fixed(operator: Operator, fixed: Container[int]) -> bool:
    """Whether what an operator gives is known from shapes alone (``Format.fixed``)."""
    return any(index in fixed for index in operator.outputs)


def _graph_order(tensors: Iterable[int], graph: Sequence[int]) -> tuple[int, ...]:
    distinct = dict.fromkeys(tensors)
    first = dict.fromkeys(index for index in graph if index in distinct)
    return tuple({**first, **distinct})


def with_details(model: Model, tensors: Iterable[int]) -> set[int]:
    """These tensors, and those that their quantisation names."""
    found = set(tensors)
    return found.union(*(model.tensors[index].details for index in found))


def weight_bytes(model: Model, operators: Iterable[int]) -> int:
    """Bytes of the constants that a slice of these operators holds; a buffer that tensors share counts once."""
    chosen = with_preparatory(model, chosen_operators(model, operators))
    used = with_details(model, (index for operator in chosen for index in operator.tensors))
    tensors = (model.tensors[index] for index in used)
    return sum({tensor.buffer: tensor.nbytes for tensor in tensors if tensor.constant}.values())
