"""A graph as a picture within a page: what ``web/parts.html.j2`` draws, and ``web/page.js`` zooms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from eprune.model.depths import column_height, depths
from eprune.model.graph import Actor, Fifo, Graph, Port
from eprune.model.quantity import format_size
from eprune.views.layout import HEIGHT, Way, layout

#: Pixels of a letter of a name, of one of its platform's, and beside them; so many letters of a name are shown.
_LETTER, _SMALL, _PADDING, _LONGEST = 7.6, 6.0, 22, 26
#: Platforms that have colours of their own, in style.css.
COLOURS = 8
#: The radius of corners.
_CORNER = 8.0


@dataclass(frozen=True)
class Box:
    """An actor and its place; ``shown`` and ``platform`` are names as far as they fit, ``colour`` is a number or -1."""

    actor: str
    shown: str
    platform: str
    colour: int
    kind: str
    title: str
    x: float
    y: float
    width: float
    height: float = HEIGHT


@dataclass(frozen=True)
class Wire:
    """A FIFO: the ``path`` of SVG that it takes, and its label with its place. ``kind`` are classes of style.css."""

    fifo: str
    path: str
    kind: str
    title: str
    label: str
    x: float
    y: float


@dataclass(frozen=True)
class Drawing:
    """A graph, so many pixels wide and high. ``platforms``: name -> the number of its colour."""

    name: str
    width: float
    height: float
    boxes: Sequence[Box]
    wires: Sequence[Wire]
    platforms: Mapping[str, int]


def drawing(graph: Graph, homes: Mapping[str, str], labels: Optional[Mapping[str, str]] = None) -> Drawing:
    """The graph with its actors coloured by platform, as ``homes`` says, and FIFOs that cross marked.

    ``labels``: FIFO -> what stands beside it; by default the size of a firing's tokens. Same arguments, same drawing.
    """
    platforms = {name: place % COLOURS for place, name in enumerate(dict.fromkeys(homes.values()))}
    rows, ports = depths(graph), dict(graph.ports())
    fifos = [fifo for fifo in graph.fifos if fifo.source.actor in rows and fifo.target.actor in rows]
    widths = {actor.name: _width(actor.name, homes.get(actor.name, "")) for actor in graph.actors}
    ends = [(fifo.source.actor, fifo.target.actor) for fifo in fifos]
    made = layout(widths, rows, column_height(len(rows)), ends)
    boxes = [_box(actor, homes.get(actor.name, ""), platforms, made.boxes[actor.name]) for actor in graph.actors]
    outputs = Counter(source for source, _ in ends)
    wires = []
    for fifo, way in zip(fifos, made.ways):
        port = ports.get(fifo.source)
        label = _size(port) if labels is None else labels.get(fifo.name, "")
        wires.append(_wire(fifo, port, way, outputs[fifo.source.actor] == 1, homes, label))
    return Drawing(graph.name, made.width, made.height, boxes, wires, platforms)


def _width(name: str, home: str) -> float:
    return _PADDING + max(_LETTER * len(_short(name)), _SMALL * len(_short(home)))


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _box(actor: Actor, home: str, platforms: Mapping[str, int], place: tuple[float, float, float]) -> Box:
    runs = f", {actor.behaviour.title}" if actor.behaviour and actor.behaviour.title else ""
    title = f"{actor.name}: {actor.type.value}{runs}{f', on {home}' if home else ''}"
    kind, colour = actor.type.value.lower(), platforms.get(home, -1)
    return Box(actor.name, _short(actor.name), _short(home), colour, kind, title, *place)


def _wire(fifo: Fifo, port: Optional[Port], way: Way, alone: bool, homes: Mapping[str, str], label: str) -> Wire:
    source, target = (homes.get(end.actor) for end in (fifo.source, fifo.target))
    kinds = {
        "crossing": source != target,
        "control": port is not None and port.control,
        "dynamic": port is not None and not port.static and not port.control,
        "delay": fifo.delay > 0,
    }
    delay = f", delay {fifo.delay}" if fifo.delay else ""
    token = f", {port.token}" if port else ""
    title = f"{fifo.name}: {fifo.source} to {fifo.target}{token}{delay}"
    if kinds["crossing"]:
        title += f", {source or 'nowhere'} to {target or 'nowhere'}"
    text = "" if kinds["control"] else f"{label}{delay}"
    path = _cornered(way.points) if way.around else _curved(way.points)
    return Wire(fifo.name, path, " ".join(kind for kind, so in kinds.items() if so), title, text, *_beside(way, alone))


def _beside(way: Way, alone: bool) -> tuple[float, float]:
    """Where a label is: between the first two layers, nearer to the end that the FIFO does not share with others."""
    (x, y), (to, end) = way.points[:2]
    if way.around:
        return (x + way.points[2][0]) / 2, end
    part, across = (0.4, 0.3) if alone else (0.66, 0.8)
    return x + across * (to - x), y + part * (end - y)


def _size(port: Optional[Port]) -> str:
    """The size of a firing's tokens, or the most."""
    return "" if port is None else format_size(port.token.nbytes * port.url)


def _curved(points: Sequence[tuple[float, float]]) -> str:
    """From point to point, downwards at each."""
    parts = [f"M{_at(*points[0])}"]
    for (x, y), (to, end) in zip(points, points[1:]):
        middle = (y + end) / 2
        straight = x == to or y == end
        parts.append(f"L{_at(to, end)}" if straight else f"C{_at(x, middle)} {_at(to, middle)} {_at(to, end)}")
    return "".join(parts)


def _cornered(points: Sequence[tuple[float, float]]) -> str:
    """Along straight lines, with round corners."""
    parts = [f"M{_at(*points[0])}"]
    for before, at, behind in zip(points, points[1:], points[2:]):
        parts.append(f"L{_at(*_towards(at, before))}Q{_at(*at)} {_at(*_towards(at, behind))}")
    return "".join([*parts, f"L{_at(*points[-1])}"])


def _towards(at: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Somewhat nearer to the other point, at most halfway."""
    (x, y), (to, end) = at, other
    far = abs(to - x) + abs(end - y)
    part = min(_CORNER / far, 0.5) if far else 0.0
    return x + part * (to - x), y + part * (end - y)


def _at(x: float, y: float) -> str:
    return f"{x:.1f} {y:.1f}"
