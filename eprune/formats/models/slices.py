"""Cutting operators out of a model: a new file of its format out of parts of an old one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Optional

from eprune.formats.models.boundary import boundary, chosen_operators, with_preparatory
from eprune.formats.models.errors import model_error
from eprune.formats.models.parts import Model, Operator
from eprune.model.behaviour import Kept
from eprune.model.token import TokenType


def slice_model(
    model: Model,
    operators: Iterable[int],
    inputs: Optional[Sequence[int]] = None,
    outputs: Optional[Sequence[int]] = None,
    kept: Sequence[Kept] = (),
) -> bytes:
    """A model, in the same format, of just these operators and the constants that they need.

    ``inputs`` and ``outputs`` are tensor indices of ``model``, in the order that the slice shall have them; the default
    is ``boundary``. Inputs may name more tensors than are needed; outputs may name constants and inputs as well.
    ``kept`` names operators of the slice of which only some output channels are kept, and these, in their order: the
    slice has only these channels of their weights, of their results, and of data that is channel-local to them.

    Raises EpruneError (FILE) for operators or tensors that are not there, inputs that do not suffice, outputs that
    nothing fills, operators that ``Format.bonds`` holds together with others, channels that cannot be kept alone, and
    what cannot be written.
    """
    chosen = chosen_operators(model, operators)
    needed, offered = boundary(model, (operator.index for operator in chosen))
    inputs = needed if inputs is None else tuple(inputs)
    outputs = offered if outputs is None else tuple(outputs)
    named = chosen
    chosen = with_preparatory(model, chosen)
    _check_slice(model, chosen or named, needed, inputs, outputs)
    return model.format.write(model, chosen, inputs, outputs, kept)


def slice_channels(
    model: Model,
    operators: Iterable[int],
    channels: Sequence[int],
    inputs: Optional[Sequence[int]] = None,
    outputs: Optional[Sequence[int]] = None,
) -> bytes:
    """``slice_model`` with only these output channels, in this order, of all the operators."""
    chosen = tuple(sorted(set(operators)))
    return slice_model(model, chosen, inputs, outputs, ((chosen, tuple(channels)),))


def restated(model: Model, types: Mapping[int, TokenType]) -> bytes:
    """The model as a file of its own, its tensors with the shapes of ``types``.

    Operators and tensors keep their numbers. Raises EpruneError (FILE) as ``slice_model`` does.
    """
    return model.format.restated(model, types)


def _check_slice(
    model: Model, chosen: Sequence[Operator], needed: Sequence[int], inputs: Sequence[int], outputs: Sequence[int]
) -> None:
    """Raise EpruneError unless these operators can be cut out with these inputs and outputs; they need ``needed``."""
    if not outputs:
        raise model_error(
            model.path,
            f"{' and '.join(map(str, chosen[:2]))} compute nothing that other operators wait for",
            "add the operators that use the result: each slice prepares its own weights and shapes",
        )
    _check_bonds(model, chosen)
    produced = {index for operator in chosen for index in operator.outputs}
    for index in (*inputs, *outputs):
        if not 0 <= index < len(model.tensors):
            hint = f"the model has tensors 0..{len(model.tensors) - 1}"
            raise model_error(model.path, f"has no tensor {index}", hint)
    for index in inputs:
        tensor = model.tensors[index]
        reasons = {
            "constant": tensor.constant,
            "state of its operator": tensor.variable,
            "produced by the slice itself": index in produced,
            "named twice": inputs.count(index) > 1,
        }
        reason = next((reason for reason, holds in reasons.items() if holds), None)
        if reason:
            raise model_error(model.path, f"tensor {index} ({tensor.name}) cannot be an input: it is {reason}")
    for index in needed:
        if index not in inputs:
            user = next(operator for operator in chosen if index in operator.inputs)
            tensor = model.tensors[index]
            raise model_error(model.path, f"{user} needs tensor {index} ({tensor.name}), which is not among the inputs")
    for index in outputs:
        tensor = model.tensors[index]
        if not (tensor.constant or index in produced or index in inputs):
            raise model_error(
                model.path, f"tensor {index} ({tensor.name}) cannot be an output: the slice does not produce it"
            )


def _check_bonds(model: Model, chosen: Sequence[Operator]) -> None:
    inside = {operator.index for operator in chosen}
    for bond in model.bonds:
        missing = [index for index in bond if index not in inside]
        if missing and len(missing) < len(bond):
            inner = next(model.operators[index] for index in bond if index in inside)
            raise model_error(
                model.path,
                f"{inner} shares state with {model.operators[missing[0]]}, which is not in the same slice",
                f"keep operators {', '.join(map(str, bond))} in one slice",
            )
