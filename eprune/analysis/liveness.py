"""Rules C2 (no deadlock, with a witness and a repair) and C3 (nothing stands apart)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Optional

from eprune.analysis.lookup import fifo_rates, some, token_bytes
from eprune.analysis.precedence import components, explain, precedence, short_cycle
from eprune.analysis.repair import Budget, Repair, find_repair
from eprune.model.finding import Finding, Severity
from eprune.model.graph import Fifo, Graph


def deadlocks(graph: Graph, rates: Optional[Mapping[str, int]] = None) -> Iterator[Finding]:
    """C2: the precedence graph is acyclic. One finding a cyclic component: a cycle, and how to mend the component.

    ``rates`` as in ``precedence``. The graph must be sound by rules G1 to G5.
    """
    fifos = {fifo.name: fifo for fifo in graph.fifos}
    rates = {**fifo_rates(graph), **(rates or {})}
    stuck = components(precedence(graph, rates))
    sizes = token_bytes(graph) if stuck else {}
    budget = Budget()
    for component in stuck:
        cycle = short_cycle(component)
        repair = find_repair(component, cycle, fifos, rates, sizes, budget)
        actors = some(edge.source for edge in cycle)
        who = f"actors {actors} wait for each other" if len(cycle) > 1 else f"actor {actors} waits for itself"
        yield Finding(
            "C2",
            min(fifos[edge.fifo].where for edge in cycle),
            f"deadlock: {who}",
            _advice(repair, fifos),
            related=tuple(
                (fifos[edge.fifo].where, explain(edge, fifos[edge.fifo], rates[edge.fifo])) for edge in cycle
            ),
        )


def _advice(repair: Repair, fifos: Mapping[str, Fifo]) -> str:
    """The repair in words: ``give f7 a delay of 1, or f9 a capacity of 3``."""
    shown = [f"{fifo.name} {_change(fifos[fifo.name], fifo)}" for fifo in repair.changes[:8]]
    if len(repair.changes) > len(shown):
        shown.append(f"and {len(repair.changes) - len(shown)} FIFOs more")
    text = "give " + "; ".join(shown)
    other = repair.alternative
    if other is not None:
        name = "" if other.name == repair.changes[0].name else f"{other.name} "
        text += f", or {name}{_change(fifos[other.name], other)}"
    return text if repair.smallest else f"{text} (enough, though there may be less)"


def _change(old: Fifo, new: Fifo) -> str:
    delay = f"a delay of {new.delay}" if new.delay != old.delay else ""
    capacity = f"a capacity of {new.capacity}" if new.capacity != old.capacity else ""
    return " and ".join(filter(None, (delay, capacity)))


def connections(graph: Graph) -> Iterator[Finding]:
    """C3, warnings: the graph is weakly connected, and every actor is reached from a source (one without inputs)."""
    after: dict[str, list[str]] = {actor.name: [] for actor in graph.actors}
    beside: dict[str, list[str]] = {actor.name: [] for actor in graph.actors}
    for fifo in graph.fifos:
        after[fifo.source.actor].append(fifo.target.actor)
        beside[fifo.source.actor].append(fifo.target.actor)
        beside[fifo.target.actor].append(fifo.source.actor)

    reached = _reach([actor.name for actor in graph.actors if not actor.inputs], after)
    stray = [actor for actor in graph.actors if actor.name not in reached]
    if stray:
        yield Finding(
            "C3",
            stray[0].where,
            f"{_actors(actor.name for actor in stray)} reached from no source (an actor without inputs)",
            "nothing can end a run of these actors; feed them from a source",
            Severity.WARNING,
        )

    seen: set[str] = set()
    parts = []
    for actor in graph.actors:
        if actor.name not in seen:
            seen |= _reach([actor.name], beside)
            parts.append(actor)
    if len(parts) > 1:
        yield Finding(
            "C3",
            parts[1].where,
            f"the graph falls into {len(parts)} parts that no FIFO joins; they begin at "
            f"{some(actor.name for actor in parts)}",
            "join them, or make each an application of its own",
            Severity.WARNING,
        )


def _actors(names: Iterator[str]) -> str:
    listed = list(names)
    return f"actors {some(listed)} are" if len(listed) > 1 else f"actor {some(listed)} is"


def _reach(roots: list[str], successors: Mapping[str, list[str]]) -> set[str]:
    """The nodes that can be reached from ``roots``, these included."""
    reached = set(roots)
    stack = list(roots)
    while stack:
        for successor in successors[stack.pop()]:
            if successor not in reached:
                reached.add(successor)
                stack.append(successor)
    return reached
