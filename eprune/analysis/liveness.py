"""Rules C2 (no deadlock, with a witness and a repair) and C3 (nothing stands apart)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Optional

from eprune.analysis.lookup import joined, slot_bytes, some
from eprune.analysis.modes import Modes, Stuck
from eprune.analysis.precedence import components, explain
from eprune.analysis.repair import Budget, Repair, find_repair
from eprune.analysis.rules import violation
from eprune.model.finding import Finding
from eprune.model.graph import Fifo, Graph


def deadlocks(graph: Graph) -> Iterator[Finding]:
    """C2: in every mode the precedence graph is acyclic. One finding for actors that wait for each other in any mode.

    The graph must be sound by rules G1 to G7 and D1 to D6.
    """
    fifos = {fifo.name: fifo for fifo in graph.fifos}
    for stuck, repair in diagnose(graph):
        hint = "let one of these FIFOs have rate 0 in such a row; none can have a delay"
        yield _finding(stuck, fifos, advice(repair, fifos) if repair else hint)


def diagnose(graph: Graph) -> Iterator[tuple[Stuck, Optional[Repair]]]:
    """What deadlocks, as a shortest cycle for each group of actors, and the changes of FIFOs between those actors.

    The changes of all groups together make the graph live. A cycle that no change can break has no repair; what
    else deadlocks in the rows that close it is then not looked for.
    """
    modes = Modes(graph)
    if modes.live({}):
        return
    fifos = {fifo.name: fifo for fifo in graph.fifos}
    dynamic = {fifo.name for fifo, *ends in joined(graph) if any(end.control or not end.static for end in ends)}
    free = {name: fifo for name, fifo in fifos.items() if name not in dynamic}
    fixed = replace(graph, fifos=tuple(fifo for fifo in graph.fifos if fifo.name in dynamic))
    without: set[tuple[str, int]] = set()
    # What graphs inside of others close together is one cycle of several: look until nothing is left.
    while closed := list(Modes(fixed, without=without).stuck()) if graph.dpgs else []:
        yield from ((stuck, None) for stuck in closed)
        found = set().union(*(stuck.closing for stuck in closed))
        if found <= without:
            break
        without |= found
    sizes, budget = slot_bytes(graph), Budget()
    for cluster in components(modes.at_limits({})):
        own = Modes(graph, cluster.nodes, without)
        groups = _groups(own.stuck())
        repair = find_repair(own, free, sizes, budget) if groups else Repair(())
        shares = _shares([frozenset().union(*(stuck.nodes for stuck in group)) for group in groups], repair.changes)
        for group, changes in zip(groups, shares):
            yield min(group, key=lambda stuck: (len(stuck.cycle), bool(stuck.when))), replace(repair, changes=changes)


def _shares(groups: list[frozenset[str]], changes: tuple[Fifo, ...]) -> list[tuple[Fifo, ...]]:
    """The changes by groups of actors; what lies between groups is the first one's."""
    shares: list[list[Fifo]] = [[] for _ in groups]
    for fifo in changes:
        ends = {fifo.source.actor, fifo.target.actor}
        shares[next((index for index, nodes in enumerate(groups) if ends <= nodes), 0)].append(fifo)
    return [tuple(share) for share in shares]


def _groups(found: Iterable[Stuck]) -> list[list[Stuck]]:
    """Those that have actors in common, in the order in which they were found."""
    groups: list[tuple[set[str], list[Stuck]]] = []
    for stuck in found:
        meeting = [group for group in groups if group[0] & stuck.nodes]
        nodes = set(stuck.nodes).union(*(group[0] for group in meeting))
        merged = [each for group in meeting for each in group[1]] + [stuck]
        at = groups.index(meeting[0]) if meeting else len(groups)
        groups = [group for group in groups if group not in meeting]
        groups.insert(at, (nodes, merged))
    return [group for _, group in groups]


def _finding(stuck: Stuck, fifos: Mapping[str, Fifo], hint: str) -> Finding:
    actors = some(edge.source for edge in stuck.cycle)
    who = f"actors {actors} wait for each other" if len(stuck.cycle) > 1 else f"actor {actors} waits for itself"
    reasons = (
        (fifos[edge.fifo].where, explain(edge, fifos[edge.fifo], stuck.rates[edge.fifo])) for edge in stuck.cycle
    )
    rows = ((row.where, f"row {row.value} of '{dpg.name}' is here") for dpg, rows in stuck.when for row in rows)
    where = min(fifos[edge.fifo].where for edge in stuck.cycle)
    return violation("C2", where, f"deadlock{_when(stuck)}: {who}", hint, related=(*reasons, *rows))


def _when(stuck: Stuck) -> str:
    """The mode, in words: `` in row 1 of 'A' and rows 0 and 2 of 'B'``."""
    parts = []
    for dpg, rows in stuck.when:
        values = [str(row.value) for row in rows]
        shown = [*values[:6], f"{len(values) - 6} more"] if len(values) > 7 else values
        listed = " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
        parts.append(f"row{'s' * (len(values) > 1)} {listed} of '{dpg.name}'")
    return f" in {' and '.join(parts)}" if parts else ""


def advice(repair: Repair, fifos: Mapping[str, Fifo]) -> str:
    """A repair in words: ``give f7 a delay of 1, or f9 a capacity of 3``."""
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
        yield violation(
            "C3",
            stray[0].where,
            f"{_actors(actor.name for actor in stray)} reached from no source (an actor without inputs)",
            "nothing can end a run of these actors; feed them from a source",
        )

    seen: set[str] = set()
    parts = []
    for actor in graph.actors:
        if actor.name not in seen:
            seen |= _reach([actor.name], beside)
            parts.append(actor)
    if len(parts) > 1:
        yield violation(
            "C3",
            parts[1].where,
            f"the graph falls into {len(parts)} parts that no FIFO joins; they begin at "
            f"{some(actor.name for actor in parts)}",
            "join them, or make each an application of its own",
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
