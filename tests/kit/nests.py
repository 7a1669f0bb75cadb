"""Random applications with dynamic processing graphs inside of others, which follow every rule but perhaps C2."""

from __future__ import annotations

import random
from dataclasses import dataclass

from eprune.model.graph import ActorType, Dpg, Graph, PortRef, Row
from tests.kit.dpgs import Sketch


@dataclass
class _Part:
    """An actor, or an inner graph: where tokens come to it (its entry, and its CA if it has one), and leave it."""

    into: tuple[str, ...]
    out: str
    inner: bool = False


def random_nest(rng: random.Random, depth: int, tangled: bool = True, joined: bool = False) -> Graph:
    """A source, a nest of graphs ``depth`` deep, and a sink. ``tangled``: perhaps with rings. ``joined``: each row
    leads all that works to the exit, so that the application can run.
    """
    sketch = Sketch()
    sketch.actor("Src")
    entry, exit_, control = _graph(rng, sketch, "D", depth, "", tangled, joined)
    sketch.join("Src", entry, spare=rng.randrange(2))
    if control != entry and rng.random() < 0.5:
        sketch.join("Src", control, spare=rng.randrange(2))
    sketch.actor("Sink")
    sketch.join(exit_, "Sink", spare=rng.randrange(2))
    return sketch.graph()


def _graph(
    rng: random.Random, sketch: Sketch, name: str, depth: int, inside: str, tangled: bool, joined: bool
) -> tuple[str, str, str]:
    entry, exit_ = f"{name}in", f"{name}out"
    control = entry if rng.random() < 0.5 else sketch.actor(f"{name}ca", ActorType.CA)
    sketch.actor(entry, ActorType.DA)
    parts: list[_Part] = []
    members = [sketch.actor(f"{name}m{k}", ActorType.DPA) for k in range(rng.randrange(3))]
    parts += [_Part((member,), member) for member in members]
    for k in range(rng.randrange(1, 3) if depth > 1 else 0):
        inner = _graph(rng, sketch, f"{name}{k}", depth - 1, name, tangled, joined)
        parts.append(_Part(tuple(dict.fromkeys((inner[0], inner[2]))), inner[1], True))
    sketch.actor(exit_, ActorType.DA)
    for follower in (*members, exit_) if control == entry else (entry, *members, exit_):
        sketch.tell(control, follower, rng.randrange(1, 3))
    rng.shuffle(parts)
    columns = _table(rng, sketch, entry, exit_, parts, tangled, joined)
    always = []
    if rng.random() < 0.3:
        always = [sketch.actor(f"{name}spa")]
        sketch.join(entry, always[0], spare=rng.randrange(2))
        sketch.join(always[0], exit_, spare=rng.randrange(2))
    if not joined and rng.random() < 0.3:
        sketch.join(exit_, entry, delay=1, spare=rng.randrange(-1, 2))
    count = len(next(iter(columns.values())))
    table = tuple(Row(value, tuple(column[value] for column in columns.values())) for value in range(count))
    dpg = Dpg(name, control, entry, exit_, (*members, *always), tuple(columns), table, inside)
    sketch.dpgs.insert(0, dpg) if rng.random() < 0.5 else sketch.dpgs.append(dpg)
    return entry, exit_, control


def _table(
    rng: random.Random, sketch: Sketch, entry: str, exit_: str, parts: list[_Part], tangled: bool, joined: bool
) -> dict[PortRef, list[int]]:
    """Rows, as FIFOs between the parts, the entry (-1) and the exit (len(parts))."""
    last = len(parts)
    fixed = set()
    for place, part in enumerate(parts):
        if part.inner:
            fixed.add((rng.choice([-1, *range(place)]), place))
            fixed.add((place, rng.choice([last, *range(place + 1, last)])))
    inner = [place for place, part in enumerate(parts) if part.inner]
    if tangled and len(inner) > 1 and rng.random() < 0.4:
        fixed.add((inner[1], inner[0]))
    rows: list[set[tuple[int, int]]] = []
    for _ in range(rng.randrange(1, 4)):
        used = {place for place in range(last) if not rows or rng.random() < 0.6}
        while True:
            more = {end for pair in fixed for end in pair if used & set(pair) & set(inner)} - {-1, last} - used
            if not more:
                break
            used |= more
        row = {pair for pair in fixed if set(pair) <= used | {-1, last} and set(pair) & used & set(inner)}
        for place in used - set(inner):
            others = [other for other in used - set(inner) if other < place or (tangled and rng.random() < 0.2)]
            for other in others:
                if other != place and rng.random() < 0.5:
                    row.add((other, place))
            if not any(pair[1] == place for pair in row):
                row.add((-1, place))
            if not any(pair[0] == place for pair in row):
                row.add((place, last))
        if not any(pair[0] == -1 for pair in row) or rng.random() < 0.2 or (joined and not row):
            row.add((-1, last))
        if not any(pair[1] == last for pair in row):
            row.add((-1, last))
        rows.append(row)
    columns: dict[PortRef, list[int]] = {}
    for pair in sorted(set().union(*rows)):
        rate = rng.choice([1, 1, 2])
        source = entry if pair[0] == -1 else parts[pair[0]].out
        rates = [rate * (pair in row) for row in rows]
        for target in (exit_,) if pair[1] == last else parts[pair[1]].into:
            for ref in sketch.join(source, target, (0, rate), spare=rng.randrange(2)):
                columns[ref] = rates
    return columns
