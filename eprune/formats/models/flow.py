"""Which tensors pass between a model's operators, and an order in which to cut them into actors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Optional

from eprune.formats.models.boundary import is_fixed
from eprune.formats.models.parts import Model
from eprune.model.token import TokenType

#: The operators of an actor, in rising order.
Piece = tuple[int, ...]


@dataclass(frozen=True)
class OperatorFlow:
    """Which tensors pass between a model's operators.

    ``reads`` and ``writes`` map every operator's index to the tensors that a FIFO would carry to it and from it;
    what it needs of preparatory operators is replaced by what these read. ``work`` are the operators to place, in an
    order in which they can run: the file's, but that state is read (``_late``) when it is needed. ``last_use`` maps
    tensors to the last one of these that reads them. ``outputs`` are the model's outputs, but for constants; ``types``
    all tensors' types, as far as they can be tokens.
    """

    reads: Mapping[int, tuple[int, ...]]
    writes: Mapping[int, tuple[int, ...]]
    work: tuple[int, ...]
    last_use: Mapping[int, int]
    outputs: frozenset[int]
    types: Mapping[int, TokenType]

    @cached_property
    def position(self) -> Mapping[int, int]:
        """Operator -> its place in ``work``."""
        return {operator: place for place, operator in enumerate(self.work)}

    def is_read_behind(self, tensor: int, operator: int) -> bool:
        """Whether a later operator than this one reads a tensor."""
        return tensor in self.last_use and self.position[self.last_use[tensor]] > self.position[operator]

    def end(self, operators: Iterable[int]) -> int:
        """The last of some operators in the order of ``work``."""
        return max((index for index in operators if index in self.position), key=self.position.__getitem__)

    def piece(self, operators: Iterable[int]) -> Piece:
        """These operators, and between two of them those that are no work, if nothing else is there."""
        chosen = sorted(operators)
        found = chosen[:1]
        for before, index in zip(chosen, chosen[1:]):
            between = range(before + 1, index)
            found += [*(between if self.position.keys().isdisjoint(between) else ()), index]
        return tuple(found)


def flow(model: Model, types: Optional[Mapping[int, TokenType]] = None) -> OperatorFlow:
    """What passes between the operators. ``types`` are those of tensors whose type the file does not state."""
    early = model.early
    fixed = model.fixed
    reads: dict[int, tuple[int, ...]] = {}
    writes: dict[int, tuple[int, ...]] = {}
    prepared: dict[int, tuple[int, ...]] = {}  # a preparatory operator's result -> what it is computed from
    work = []
    for operator in model.operators:
        needs: dict[int, None] = {}
        for index in () if is_fixed(operator, fixed) else operator.inputs:
            if index in prepared:
                needs.update(dict.fromkeys(prepared[index]))
            elif is_data(model, index):
                needs[index] = None
        reads[operator.index] = tuple(needs)
        results = tuple(index for index in operator.outputs if is_data(model, index))
        if operator.index in early:
            prepared.update(dict.fromkeys(results, tuple(needs)))
            results = tuple(index for index in results if index in model.outputs)
        writes[operator.index] = results
        if operator.index not in early or results:
            work.append(operator.index)
    order = _late(model, work, reads, writes)
    last_use = {index: operator for operator in order for index in reads[operator]}
    known = {tensor.index: tensor.token for tensor in model.tensors if tensor.token}
    outputs = frozenset(index for index in model.outputs if is_data(model, index))
    return OperatorFlow(reads, writes, tuple(order), last_use, outputs, {**(types or {}), **known})


def crossing(flow: OperatorFlow, after: int) -> tuple[int, ...]:
    """The tensors that are there when operator ``after`` has run, and are needed later: what a cut there would send.

    The model's inputs are taken to be before the cut, its outputs to be wanted behind it.
    """
    place = flow.position[after] + 1
    later = {index for operator in flow.work[place:] for index in flow.writes[operator]}
    needed = {index for operator in flow.work[place:] for index in flow.reads[operator]} | flow.outputs
    return tuple(sorted(index for index in needed - later if index in flow.types))


def is_data(model: Model, index: int) -> bool:
    """Whether a tensor is computed or given for each frame."""
    return index >= 0 and not (model.tensors[index].constant or model.tensors[index].variable)


def _late(
    model: Model,
    work: Sequence[int],
    reads: Mapping[int, tuple[int, ...]],
    writes: Mapping[int, tuple[int, ...]],
) -> list[int]:
    """The operators, those that depend on nothing but state as late as can be.

    Converters put all reading of variables first, and so between operators that have nothing to do with them: what
    reads and what writes a variable would embrace half the model.
    """
    waiting: dict[int, None] = {}
    writer: dict[int, int] = {}
    order: list[int] = []

    def place(index: int) -> None:
        """An operator, behind those waiting that it depends on: by a tensor, or as the next user of a resource."""
        waiting.pop(index, None)
        own = set(model.operators[index].resources)
        tensors = {writer[tensor] for tensor in reads[index] if tensor in writer}
        for other in list(waiting):
            if other in waiting and (
                other in tensors or (other < index and not own.isdisjoint(model.operators[other].resources))
            ):
                place(other)
        order.append(index)

    states: set[int] = set()  # tensors that depend on nothing but state
    for index in work:
        writer.update(dict.fromkeys(writes[index], index))
        reading = model.operators[index].name == "READ_VARIABLE"
        if reading or (reads[index] and states.issuperset(reads[index]) and not model.operators[index].resources):
            states.update(writes[index])
            waiting[index] = None
        else:
            place(index)
    for index in list(waiting):
        if index in waiting:
            place(index)
    return order
