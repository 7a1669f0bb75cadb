"""Where the actors of a graph are in a drawing, and how its FIFOs go: layer below layer, folded into columns.

Layered drawing after Sugiyama: layers by the longest way from a source, order within a layer by the mean place of the
neighbours, places by least squares. All figures are in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

#: The height of an actor, the room between layers, between the neighbours of a layer, and between columns.
HEIGHT, _BETWEEN, _ASIDE, _GAP = 38.0, 42.0, 22.0, 44.0
_ROW = HEIGHT + _BETWEEN
_MARGIN, _TOP = 14.0, 32.0
#: The width of a FIFO that passes a layer, and the distance of FIFOs that share the way beside a column.
_PASSING, _LANE = 10.0, 9.0
#: How often layers are put in order, and moved, down and up; how much more a FIFO that passes is to be straight.
_SWEEPS, _STRAIGHT = 6, 8.0


@dataclass(frozen=True)
class Layout:
    """``boxes``: actor -> left, top and width. ``ways``: of each FIFO, the points that it passes, and its label's."""

    width: float
    height: float
    boxes: Mapping[str, tuple[float, float, float]]
    ways: Sequence[Way]


@dataclass(frozen=True)
class Way:
    """The ``points`` of a FIFO, from top to bottom; ``around``: from one to the next across or down, not slanting."""

    points: Sequence[tuple[float, float]]
    around: bool


@dataclass
class _Item:
    """What takes room in a layer: an actor, or a FIFO that passes. ``up`` and ``down`` are its neighbours."""

    width: float
    weight: float = 1.0
    x: float = 0.0  # its middle
    up: list[_Item] = field(default_factory=list)
    down: list[_Item] = field(default_factory=list)


def layout(
    widths: Mapping[str, float], rows: Mapping[str, int], height: int, fifos: Sequence[tuple[str, str]]
) -> Layout:
    """Place actors of these ``widths`` in their ``rows``, ``height`` of which make a column.

    ``fifos`` go from an actor to another; those that do not go down their column go around it. Same arguments, same
    layout.
    """
    items = {name: _Item(width) for name, width in widths.items()}
    count = max((row // height for row in rows.values()), default=0) + 1
    layers: list[list[list[_Item]]] = [[[] for _ in range(height)] for _ in range(count)]
    for name, row in rows.items():
        layers[row // height][row % height].append(items[name])
    chains: dict[int, list[_Item]] = {}
    beside: list[list[int]] = [[] for _ in range(count)]  # the FIFOs that go beside a column
    for place, (source, target) in enumerate(fifos):
        begin, end = rows[source], rows[target]
        column = begin // height
        if begin < end < (column + 1) * height:
            passing = [_Item(_PASSING, _STRAIGHT) for _ in range(begin + 1, end)]
            for row, item in enumerate(passing, begin + 1):
                layers[column][row % height].append(item)
            chains[place] = [items[source], *passing, items[target]]
            for above, below in zip(chains[place], chains[place][1:]):
                above.down.append(below)
                below.up.append(above)
        else:
            beside[max(end // height - 1, column) if end > begin else column].append(place)
    left, lanes = _MARGIN, {}
    for each, used in zip(layers, beside):
        _order(each)
        left = _shift(each, left)
        lanes.update({place: left + _GAP / 2 + _LANE * lane for lane, place in enumerate(used)})
        left += _GAP + _LANE * len(used)
    tops = {name: _TOP + _ROW * (row % height) for name, row in rows.items()}
    boxes = {name: (item.x - item.width / 2, tops[name], item.width) for name, item in items.items()}
    ways = []
    for place, (source, target) in enumerate(fifos):
        if place in chains:
            ways.append(_down([item.x for item in chains[place]], tops[source]))
        else:
            x, to = items[source].x, items[target].x
            ways.append(_around(x, tops[source] + HEIGHT, lanes[place], to, tops[target], place))
    right = left - _GAP + _MARGIN
    return Layout(max(right, *lanes.values(), 0.0) + _MARGIN, max(tops.values(), default=0.0) + _ROW, boxes, ways)


def _order(layers: Sequence[list[_Item]]) -> None:
    """Put each layer in an order that crosses few FIFOs, and its items where their neighbours are."""
    for layer in layers:
        _spread(layer, [float(place) for place in range(len(layer))])
    for _ in range(_SWEEPS):
        for down in (True, False):
            for layer in layers if down else reversed(layers):
                layer.sort(key=lambda item: _wished(item, item.up if down else item.down))
                _spread(layer, [_wished(item, item.up if down else item.down) for item in layer])
    for _ in range(_SWEEPS):
        for layer in layers:
            _spread(layer, [_wished(item, [*item.up, *item.down]) for item in layer])


def _wished(item: _Item, neighbours: Sequence[_Item]) -> float:
    return sum(each.x for each in neighbours) / len(neighbours) if neighbours else item.x


def _spread(layer: Sequence[_Item], wishes: Sequence[float]) -> None:
    """Move the items as near to their wishes as their order and widths allow: an isotonic regression."""
    offsets, right = [], 0.0
    for item in layer:
        offsets.append(right + item.width / 2)
        right += item.width + _ASIDE
    blocks: list[tuple[float, float, int]] = []  # of how many items: the weighted sum of their shifts, their weight
    for item, wish, offset in zip(layer, wishes, offsets):
        total, weight, many = item.weight * (wish - offset), item.weight, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / weight:
            before, heavy, more = blocks.pop()
            total, weight, many = total + before, weight + heavy, many + more
        blocks.append((total, weight, many))
    shifts = [total / weight for total, weight, many in blocks for _ in range(many)]
    for item, offset, shift in zip(layer, offsets, shifts):
        item.x = offset + shift


def _shift(layers: Sequence[Sequence[_Item]], left: float) -> float:
    """Move a column to where it begins; where it ends."""
    every = [item for layer in layers for item in layer]
    by = left - min((item.x - item.width / 2 for item in every), default=left)
    for item in every:
        item.x += by
    return max((item.x + item.width / 2 for item in every), default=left)


def _down(xs: Sequence[float], top: float) -> Way:
    points = [(xs[0], top + HEIGHT)]
    for row, x in enumerate(xs[1:-1], 1):
        points += [(x, top + _ROW * row), (x, top + _ROW * row + HEIGHT)]
    points.append((xs[-1], top + _ROW * (len(xs) - 1)))
    return Way([key for key, _ in groupby(points)], False)


def _around(x: float, below: float, lane: float, to: float, top: float, place: int) -> Way:
    """Across between two layers to a way beside the column, and from there between two others to the actor."""
    out, back = below + 12 + 4 * (place % 3), top - 16 - 4 * (place % 3)
    return Way([(x, below), (x, out), (lane, out), (lane, back), (to, back), (to, top)], True)
