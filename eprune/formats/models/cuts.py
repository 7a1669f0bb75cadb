"""Where a model can be cut into actors, and which operators to make one actor each.

Files list operators in the order in which they run, so consecutive runs of them never wait for one another in a
circle, however a model branches. A **piece** is the smallest run that can be an actor. Most pieces are one operator;
**ties** (``ties``) keep operators together. Preparatory operators (``Format.early``) are no work to place: each
slice brings those that it needs.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from eprune.formats.models.errors import model_error
from eprune.formats.models.flow import OperatorFlow, Piece
from eprune.formats.models.parts import Model, Operator
from eprune.formats.models.ties import ties


def pieces(model: Model, flow: OperatorFlow) -> tuple[Piece, ...]:
    """The smallest sets of operators that can be actors, in the order of ``flow.work``.

    Preparatory operators between two pieces are in neither. Raises EpruneError (FILE) for a model that cannot be an
    application: no operators, or inputs or outputs that no FIFO can carry.
    """
    if not flow.work:
        raise model_error(model.path, "has no operators that could be actors")
    _check_ends(model, flow)
    reach = list(range(len(flow.work)))  # place -> the place of the last one that must be in the same piece
    for tie in ties(model, flow):
        first = flow.position[tie.first]
        reach[first] = max(reach[first], flow.position[tie.last])
    found: list[Sequence[int]] = []
    start, end = 0, -1
    for place in range(len(flow.work)):
        end = max(end, reach[place])
        piece = flow.work[start : place + 1]
        if place < end or (place + 1 < len(flow.work) and not _delivers(flow, piece)):
            continue  # where nobody waits for it, it goes with what comes next
        if not _delivers(flow, piece) and found:
            piece = (*found.pop(), *piece)
        found.append(piece)
        start = place + 1
    return tuple(map(flow.piece, found))


def why_not(model: Model, flow: OperatorFlow, pieces: Sequence[Piece]) -> dict[int, str]:
    """Operator -> why no cut can be behind it, for people; operators behind which one can be are left out."""
    last = pieces[-1]
    reasons = {}
    held = [(flow.position[tie.first], flow.position[tie.last], tie.reason) for tie in ties(model, flow)]
    for operator in model.operators:
        place = flow.position.get(operator.index)
        if place is None:
            state = " or state" if operator.resources else ""
            reasons[operator.index] = f"it only prepares weights or shapes{state}, and goes with whoever needs them"
        elif operator.index == flow.end(last):
            reasons[operator.index] = "it is the last that computes anything"
        else:
            found = [reason for first, end, reason in held if first <= place < end]
            reasons[operator.index] = (found or ["nobody but its neighbours waits for what it computes"])[0]
    return {index: reason for index, reason in reasons.items() if index not in {flow.end(p) for p in pieces[:-1]}}


def layers(model: Model, flow: OperatorFlow, pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Pieces joined to layers: a convolution, say, with the padding before and the activation behind it.

    What follows joins a layer as long as it reads that layer's tensors and constants only; so branches, and what joins
    them, begin new layers.
    """
    work, form = set(flow.work), model.format
    result: list[Piece] = []
    joining: AbstractSet[str] = frozenset()  # the operators that the last range still takes in
    for piece in pieces:
        names = {model.operators[index].name for index in piece if index in work}
        previous = result[-1] if result else ()
        inside = {index for operator in previous for index in flow.writes[operator]}
        reads = {index for operator in piece for index in flow.reads[operator]}
        if result and names <= joining and inside.issuperset(reads):
            result[-1] = flow.piece((*previous, *piece))
        else:
            result.append(piece)
            joining = frozenset()
        if names & form.main:
            joining = form.trailing
        elif names <= form.leading:
            joining = form.leading | form.main
    return tuple(result)


def balanced(model: Model, flow: OperatorFlow, pieces: Sequence[Piece], count: int) -> tuple[Piece, ...]:
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
    sizes = [sum(work_of(model, flow, model.operators[index]) for index in piece) for piece in pieces]
    low, high = max(sizes), sum(sizes)
    while low < high:
        middle = (low + high) // 2
        if len(_fill(sizes, middle, 1)) <= count:
            high = middle
        else:
            low = middle + 1
    starts = _fill(sizes, low, count)
    return _joined(flow, pieces, starts)


def cut_after(model: Model, flow: OperatorFlow, pieces: Sequence[Piece], places: Sequence[str]) -> tuple[Piece, ...]:
    """Pieces joined to ranges that end at the named operators, and at the last one.

    A place is an operator's number, its name as ``label`` gives it, or the name of a tensor that it writes. Raises
    EpruneError (FILE) for places that do not exist, or where no cut is possible.
    """
    ends = {find_operator(model, place) for place in places}
    possible = {flow.end(piece): place for place, piece in enumerate(pieces[:-1])}
    for end in sorted(ends):
        if end not in possible:
            operator = model.operators[end]
            near = sorted(possible, key=lambda index: abs(index - end))[:3]
            names = ", ".join(label(model.operators[index]) for index in sorted(near))
            raise model_error(
                model.path,
                f"cannot be cut after {operator}: {why_not(model, flow, pieces)[end]}",
                f"the nearest places: {names}" if names else "it can only be one actor",
            )
    return _joined(flow, pieces, [0, *sorted(possible[end] + 1 for end in ends)])


def divided(flow: OperatorFlow, slices: Sequence[Piece], ranges: Sequence[Piece]) -> tuple[Piece, ...]:
    """The slices, those that reach over several ranges cut at their ends. Both are made of the same pieces."""
    parts: list[Piece] = []
    for piece in slices:
        shares = (flow.piece(set(piece) & set(each)) for each in ranges if not set(each).isdisjoint(piece))
        parts.extend(share for share in shares if not flow.position.keys().isdisjoint(share))
    return tuple(parts)


def label(operator: Operator) -> str:
    """An operator's name in graphs: ``conv2d_3`` for operator 3, a CONV_2D."""
    name = operator.name.lower().replace("_2d", "2d").replace("_3d", "3d")
    return f"{re.sub('[^a-z0-9]+', '_', name[:40]).strip('_')}_{operator.index}"


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


def _joined(flow: OperatorFlow, pieces: Sequence[Piece], starts: Sequence[int]) -> tuple[Piece, ...]:
    """Consecutive pieces as one each, from these starts on."""
    ends = [*starts[1:], len(pieces)]
    return tuple(flow.piece(index for piece in pieces[a:b] for index in piece) for a, b in zip(starts, ends))


def _delivers(flow: OperatorFlow, piece: Sequence[int]) -> bool:
    """Whether anyone outside of a run of operators waits for what it writes."""
    written = (index for operator in piece for index in flow.writes[operator])
    return any(index in flow.outputs or flow.is_read_behind(index, piece[-1]) for index in written)


def work_of(model: Model, flow: OperatorFlow, operator: Operator) -> int:
    """How much an operator has to do: its MACs, and one for each byte that it writes."""
    tokens = (flow.types.get(index) for index in operator.outputs)
    return model.format.macs(model, operator, flow.types) + sum(token.nbytes for token in tokens if token)


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


def find_operator(model: Model, place: str) -> int:
    """The operator of that number, name (``label``), or of a tensor that it writes. Raises EpruneError (FILE)."""
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
