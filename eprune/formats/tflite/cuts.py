"""Where a model can be cut into actors, and which ranges of operators to make one actor each.

TFLite lists operators in the order in which they run, so consecutive ranges of them never wait for one another in a
circle, however a model branches. A **piece** is the smallest range that can be an actor. Most pieces are one operator;
operators are kept in one piece that share state (``tflite.bonds``), between which a tensor passes that no FIFO can
carry, or that a delegate computes as one (``tflite.fused``): these are **ties**. Preparatory operators
(``tflite.preparatory``) are no work to place: each slice brings those that it needs.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from eprune.formats.tflite.cost import macs
from eprune.formats.tflite.fused import fused_pairs
from eprune.formats.tflite.model import Model, Operator, bonds, model_error, preparatory
from eprune.model.token import TokenType

#: Operators that a layer is named after.
MAIN = {
    *("BATCH_MATMUL", "CONV_2D", "CONV_3D", "CONV_3D_TRANSPOSE", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"),
    *("BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "LSTM", "RNN", "SVDF", "TRANSPOSE_CONV"),
    *("UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"),
}
#: Operators that prepare the input of the layer that comes next.
_LEADING = {"MIRROR_PAD", "PAD", "PADV2", "SPACE_TO_BATCH_ND"}
#: Operators that finish a layer's result, where that and constants are all that they read.
_TRAILING = {
    *("ABS", "ADD", "BATCH_TO_SPACE_ND", "DEQUANTIZE", "DIV", "ELU", "EXP", "GELU", "HARD_SWISH", "L2_NORMALIZATION"),
    *("LEAKY_RELU", "LOGISTIC", "LOG_SOFTMAX", "MAXIMUM", "MINIMUM", "MUL", "NEG", "PRELU", "QUANTIZE", "RELU"),
    *("RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RESHAPE", "RSQRT", "SOFTMAX", "SQRT", "SQUEEZE", "SUB", "TANH"),
}


@dataclass(frozen=True)
class OperatorFlow:
    """Which tensors pass between a model's operators.

    ``reads`` and ``writes`` map every operator's index to the tensors that a FIFO would carry to it and from it;
    what it needs of preparatory operators is replaced by what these read. ``work`` are the operators to place, in
    order; ``last_use`` maps tensors to the last one of these that reads them. ``outputs`` are the model's outputs, but
    for constants; ``types`` all tensors' types, as far as they can be tokens.
    """

    reads: Mapping[int, tuple[int, ...]]
    writes: Mapping[int, tuple[int, ...]]
    work: tuple[int, ...]
    last_use: Mapping[int, int]
    outputs: frozenset[int]
    types: Mapping[int, TokenType]

    def needed_behind(self, operator: int) -> frozenset[int]:
        """The tensors that operators behind this one read, or that are outputs."""
        return self.outputs.union(index for index, last in self.last_use.items() if last > operator)


def flow(model: Model, types: Optional[Mapping[int, TokenType]] = None) -> OperatorFlow:
    """What passes between the operators. ``types`` are those of tensors whose type the file does not state."""
    early = preparatory(model)
    reads: dict[int, tuple[int, ...]] = {}
    writes: dict[int, tuple[int, ...]] = {}
    prepared: dict[int, tuple[int, ...]] = {}  # a preparatory operator's result -> what it is computed from
    work = []
    for operator in model.operators:
        needs: dict[int, None] = {}
        for index in operator.inputs:
            if index in prepared:
                needs.update(dict.fromkeys(prepared[index]))
            elif _is_data(model, index):
                needs[index] = None
        reads[operator.index] = tuple(needs)
        results = tuple(index for index in operator.outputs if _is_data(model, index))
        if operator.index in early:
            prepared.update(dict.fromkeys(results, tuple(needs)))
            results = tuple(index for index in results if index in model.outputs)
        writes[operator.index] = results
        if operator.index not in early or results:
            work.append(operator.index)
    last_use = {index: operator for operator in work for index in reads[operator]}
    known = {tensor.index: tensor.token for tensor in model.tensors if tensor.token}
    outputs = frozenset(index for index in model.outputs if _is_data(model, index))
    return OperatorFlow(reads, writes, tuple(work), last_use, outputs, {**(types or {}), **known})


def pieces(model: Model, flow: OperatorFlow) -> tuple[range, ...]:
    """The smallest ranges of operators that can be actors, in order.

    Preparatory operators between two pieces are in neither. Raises EpruneError (FILE) for a model that cannot be an
    application: no operators, or inputs or outputs that no FIFO can carry.
    """
    if not flow.work:
        raise model_error(model.path, "has no operators that could be actors")
    _check_ends(model, flow)
    reach = {operator: operator for operator in flow.work}  # -> the last one that must be in the same piece
    for tie in ties(model, flow):
        reach[tie.first] = max(reach[tie.first], tie.last)
    found: list[range] = []
    start, end = flow.work[0], -1
    for operator, following in zip(flow.work, (*flow.work[1:], None)):
        end = max(end, reach[operator])
        piece = range(start, operator + 1)
        if operator < end or (following is not None and not _delivers(flow, piece)):
            continue  # where nobody waits for it, it goes with what comes next
        if not _delivers(flow, piece) and found:
            piece = range(found.pop().start, operator + 1)
        found.append(piece)
        start = following or 0
    return tuple(found)


@dataclass(frozen=True)
class Tie:
    """Operators between which no cut can be, the first and the last of them, and why: ``operators 3 and 5 ...``."""

    first: int
    last: int
    reason: str


def ties(model: Model, flow: OperatorFlow) -> tuple[Tie, ...]:
    """All that holds operators to place together."""
    work = set(flow.work)
    found = []
    for bond in bonds(model):
        inside = [index for index in bond if index in work]
        if len(inside) > 1:
            found.append(Tie(inside[0], inside[-1], f"operators {_listed(inside)} share state"))
    for operator in flow.work:
        for index in flow.writes[operator]:
            last = flow.last_use.get(index, -1)
            if last > operator and not _can_cross(model, flow, index):
                found.append(Tie(operator, last, f"{_nature(model, flow, index)}, which operator {last} needs"))
    for first, second in fused_pairs(model):
        if first not in work:
            continue  # the square of a constant
        names = f"operators {first} and {second} ({model.operators[first].name}, {model.operators[second].name})"
        found.append(Tie(first, second, f"{names} are one kernel in XNNPACK, and cut apart round otherwise"))
    return tuple(found)


def why_not(model: Model, flow: OperatorFlow, pieces: Sequence[range], after: int) -> str:
    """Why no cut can be behind an operator, for people; "" where one can be."""
    if after in [piece[-1] for piece in pieces[:-1]]:
        return ""
    if after >= pieces[-1][-1]:
        return "it is the last that computes anything"
    if after not in flow.work:
        return "it only prepares weights or shapes, and goes with whoever needs them"
    held = [tie for tie in ties(model, flow) if tie.first <= after < tie.last]
    if held:
        return held[0].reason
    return "nobody but its neighbours waits for what it computes"


def layers(model: Model, flow: OperatorFlow, pieces: Sequence[range]) -> tuple[range, ...]:
    """Pieces joined to layers: a convolution, say, with the padding before and the activation behind it.

    What follows joins a layer as long as it reads that layer's tensors and constants only; so branches, and what joins
    them, begin new layers.
    """
    work = set(flow.work)
    result: list[range] = []
    joining: set[str] = set()  # the operators that the last range still takes in
    for piece in pieces:
        names = {model.operators[index].name for index in piece if index in work}
        previous = result[-1] if result else range(0)
        inside = {index for operator in previous for index in flow.writes[operator]}
        reads = {index for operator in piece for index in flow.reads[operator]}
        if result and names <= joining and inside.issuperset(reads):
            result[-1] = range(previous.start, piece.stop)
        else:
            result.append(piece)
            joining = set()
        if names & MAIN:
            joining = _TRAILING
        elif names <= _LEADING:
            joining = _LEADING | MAIN
    return tuple(result)


def balanced(model: Model, flow: OperatorFlow, pieces: Sequence[range], count: int) -> tuple[range, ...]:
    """Pieces joined to ``count`` ranges, the largest of which is as small as can be.

    Sizes are MACs; each byte written counts as one more, for operators that have none. Raises EpruneError (FILE)
    where there are fewer pieces.
    """
    if count > len(pieces):
        raise model_error(
            model.path,
            f"cannot be cut into {count} actors: it has {len(model.operators)} operators in {len(pieces)} pieces",
            f"ask for {len(pieces)} at most; --list shows where a cut is possible",
        )
    sizes = [sum(_work(model, flow, model.operators[index]) for index in piece) for piece in pieces]
    low, high = max(sizes), sum(sizes)
    while low < high:
        middle = (low + high) // 2
        if len(_fill(sizes, middle, 1)) <= count:
            high = middle
        else:
            low = middle + 1
    starts = _fill(sizes, low, count)
    return tuple(range(pieces[a].start, pieces[b - 1].stop) for a, b in zip(starts, [*starts[1:], len(pieces)]))


def cut_after(model: Model, flow: OperatorFlow, pieces: Sequence[range], places: Sequence[str]) -> tuple[range, ...]:
    """Pieces joined to ranges that end at the named operators, and at the last one.

    A place is an operator's number, its name as ``label`` gives it, or the name of a tensor that it writes. Raises
    EpruneError (FILE) for places that do not exist, or where no cut is possible.
    """
    ends = sorted({_find(model, place) for place in places})
    possible = [piece[-1] for piece in pieces[:-1]]
    for end in ends:
        if end not in possible:
            operator = model.operators[end]
            near = sorted(possible, key=lambda index: abs(index - end))[:3]
            names = ", ".join(label(model.operators[index]) for index in sorted(near))
            raise model_error(
                model.path,
                f"cannot be cut after {operator}: {why_not(model, flow, pieces, end)}",
                f"the nearest places: {names}" if names else "it can only be one actor",
            )
    starts = [pieces[0].start, *(next(piece.start for piece in pieces if piece.start > end) for end in ends)]
    stops = [*(end + 1 for end in ends), pieces[-1].stop]
    return tuple(range(*ends) for ends in zip(starts, stops))


def crossing(flow: OperatorFlow, after: int) -> tuple[int, ...]:
    """The tensors that are there when operator ``after`` has run, and are needed later: what a cut there would send.

    The model's inputs are taken to be before the cut, its outputs to be wanted behind it.
    """
    later = {index for operator in flow.work if operator > after for index in flow.writes[operator]}
    return tuple(sorted(index for index in flow.needed_behind(after) - later if index in flow.types))


def label(operator: Operator) -> str:
    """An operator's name in graphs: ``conv2d_3`` for operator 3, a CONV_2D."""
    name = operator.name.lower().replace("_2d", "2d").replace("_3d", "3d")
    return f"{re.sub('[^a-z0-9]+', '_', name[:40]).strip('_')}_{operator.index}"


def _is_data(model: Model, index: int) -> bool:
    return index >= 0 and not (model.tensors[index].constant or model.tensors[index].variable)


def _can_cross(model: Model, flow: OperatorFlow, index: int) -> bool:
    """Whether a FIFO can carry a tensor from one slice to another: the reader's file states its shape."""
    token = flow.types.get(index)
    return token is not None and token.shape == model.tensors[index].shape


def _check_ends(model: Model, flow: OperatorFlow) -> None:
    for side, tensors in (("input", model.inputs), ("output", model.outputs)):
        for index in tensors:
            if index not in flow.types:
                name, kind = repr(model.tensors[index].name), model.tensors[index]
                nature = f"its elements are {kind.type}" if kind.dtype is None else "its shape depends on the data"
                writers = [f" of {operator}" for operator in model.operators if index in operator.outputs]
                raise model_error(
                    model.path,
                    f"{side} {name}{''.join(writers)} cannot be a token: {nature}",
                    "convert the model with fixed shapes and numbers at its ends",
                )


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


def _delivers(flow: OperatorFlow, piece: range) -> bool:
    """Whether anyone outside a range waits for what it writes."""
    written = (index for operator in piece for index in flow.writes[operator])
    return any(index in flow.outputs or flow.last_use.get(index, -1) > piece[-1] for index in written)


def _work(model: Model, flow: OperatorFlow, operator: Operator) -> int:
    tokens = (flow.types.get(index) for index in operator.outputs)
    return macs(model, operator, flow.types) + sum(token.nbytes for token in tokens if token)


def _fill(sizes: Sequence[int], bound: int, count: int) -> list[int]:
    """Where parts start that are filled up to ``bound`` one after the other, but leave enough for ``count`` parts."""
    starts, size = [0], 0
    for index, more in enumerate(sizes):
        must = len(sizes) - index <= count - len(starts)
        if index and (size + more > bound or must):
            starts.append(index)
            size = 0
        size += more
    return starts


def _find(model: Model, place: str) -> int:
    names: dict[str, int] = {}
    for operator in model.operators:
        names[label(operator)] = operator.index
        names[str(operator.index)] = operator.index
        names.update((model.tensors[index].name, operator.index) for index in operator.outputs)
    if place in names:
        return names[place]
    near = difflib.get_close_matches(place, names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has operators 0 to {len(model.operators) - 1}; see --list"
    raise model_error(model.path, f"has no operator {place!r} to cut after", hint)
