"""The ways of requirements: the FIFOs over which tokens get from a source to a sink, and who is late where."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Optional

from eprune.model.graph import Dpg, Fifo, Graph, Requirement


def way(graph: Graph, requirement: Requirement) -> tuple[Fifo, ...]:
    """The FIFOs, in order, over which tokens of the source get to the sink, or what is made of them.

    Those of control tokens are among them, and those to other ports of the sink: what they bring is waited for as well.
    """
    behind = _reached(
        [fifo.target.actor for fifo in graph.fifos if fifo.source == requirement.source],
        [(fifo.source.actor, fifo.target.actor) for fifo in graph.fifos],
    )
    before = _reached([requirement.target.actor], [(fifo.target.actor, fifo.source.actor) for fifo in graph.fifos])
    return tuple(
        fifo
        for fifo in graph.fifos
        if (fifo.source == requirement.source or fifo.source.actor in behind) and fifo.target.actor in before
    )


def budgets(graph: Graph, dpg: Dpg) -> dict[str, float]:
    """Output of a source -> seconds after which its tokens are late at the control source; of "": the oldest there.

    Empty where nothing says when.
    """
    passing: dict[str, Optional[float]] = {}
    for each in graph.requirements:
        if any(fifo.target.actor == dpg.control for fifo in way(graph, each)):
            known = [passing.get(str(each.source)), None if each.latency is None else float(each.latency)]
            passing[str(each.source)] = min((limit for limit in known if limit is not None), default=None)
    if dpg.late_after is not None:
        return dict.fromkeys(passing or ("",), dpg.late_after)
    return {source: limit for source, limit in passing.items() if limit is not None}


def _reached(first: Iterable[str], joined: Iterable[tuple[str, str]]) -> set[str]:
    onwards: dict[str, list[str]] = {}
    for one, other in joined:
        onwards.setdefault(one, []).append(other)
    stack, found = list(first), set[str]()
    while stack:
        name = stack.pop()
        if name not in found:
            found.add(name)
            stack += onwards.get(name, [])
    return found
