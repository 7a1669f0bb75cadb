"""Rule C1: the repetition vector, worked out from the rates alone.

Symmetric rates (G4) make it all ones. This module does not use that: it is the assertion that it is so.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from eprune.analysis.lookup import port_table
from eprune.model.finding import Finding
from eprune.model.graph import Graph


def consistency(graph: Graph) -> Iterator[Finding]:
    """C1: in one iteration every actor fires once, and every FIFO is as full after it as before.

    The firings of one actor give those of its neighbours (rate at the source times its firings are rate at the target
    times its firings); a FIFO that contradicts what others gave, or gives anything but one firing, is a finding.
    """
    table = port_table(graph)
    rates = [
        (table[fifo.source.actor][fifo.source.port].url, table[fifo.target.actor][fifo.target.port].url)
        for fifo in graph.fifos
    ]
    neighbours: dict[str, list[tuple[str, int, int]]] = {actor.name: [] for actor in graph.actors}
    for fifo, (produced, consumed) in zip(graph.fifos, rates):
        neighbours[fifo.source.actor].append((fifo.target.actor, produced, consumed))
        neighbours[fifo.target.actor].append((fifo.source.actor, consumed, produced))

    firings: dict[str, Fraction] = {}
    for root in neighbours:
        if root in firings:
            continue
        firings[root] = Fraction(1)
        stack = [root]
        while stack:
            actor = stack.pop()
            for other, here, there in neighbours[actor]:
                if other not in firings:
                    firings[other] = firings[actor] if here == there else firings[actor] * Fraction(here, there)
                    stack.append(other)

    for fifo, (produced, consumed) in zip(graph.fifos, rates):
        fired = firings[fifo.source.actor], firings[fifo.target.actor]
        if fired != (1, 1) or produced != consumed:
            yield Finding(
                "C1",
                fifo.where,
                f"FIFO '{fifo.name}': an iteration has {fired[0]} firings of '{fifo.source.actor}' that write "
                f"{produced} tokens each, and {fired[1]} of '{fifo.target.actor}' that read {consumed} each",
                "token rates are symmetric: write the same rate at both ends",
            )
