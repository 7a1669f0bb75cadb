"""Rule C1: the repetition vector, worked out from the rates alone, in every row of every control table.

Symmetric rates (G4, D3) make it all ones. This module does not use that: it is the assertion that it is so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

from eprune.analysis.lookup import port_table
from eprune.analysis.modes import regions
from eprune.analysis.rules import violation
from eprune.model.finding import Finding
from eprune.model.graph import Fifo, Graph

#: a FIFO, the tokens that a firing of its source gives, and those that a firing of its target takes
_Rated = tuple[Fifo, int, int]


def consistency(graph: Graph) -> Iterator[Finding]:
    """C1: in one iteration every actor fires once, and every FIFO is as full after it as before.

    The firings of one actor give those of its neighbours (rate at the source times its firings are rate at the target
    times its firings); a FIFO that contradicts what others gave, or gives anything but one firing, is a finding. So it
    is with all ports at their upper rate limits, and inside each dynamic processing graph in each row.
    """
    table = port_table(graph)

    def limits(fifo: Fifo) -> _Rated:
        return fifo, table[fifo.source.actor][fifo.source.port].url, table[fifo.target.actor][fifo.target.port].url

    yield from _balanced([limits(fifo) for fifo in graph.fifos], "")
    for part in regions(graph):
        static = [limits(fifo) for fifo in part.fifos]
        for row in part.dpg.rows:
            rates = part.dpg.rates(row)
            rated = [(fifo, rates.get(fifo.source, p), rates.get(fifo.target, c)) for fifo, p, c in static]
            yield from _balanced(rated, f"row {row.value} of '{part.dpg.name}', ")


def _balanced(rated: Iterable[_Rated], when: str) -> Iterator[Finding]:
    rated = [(fifo, produced, consumed) for fifo, produced, consumed in rated if produced or consumed]
    neighbours: dict[str, list[tuple[str, int, int]]] = {}
    for fifo, produced, consumed in rated:
        neighbours.setdefault(fifo.source.actor, []).append((fifo.target.actor, produced, consumed))
        neighbours.setdefault(fifo.target.actor, []).append((fifo.source.actor, consumed, produced))

    firings: dict[str, Fraction] = {}
    for root in neighbours:
        if root in firings:
            continue
        firings[root] = Fraction(1)
        stack = [root]
        while stack:
            actor = stack.pop()
            for other, own, its in neighbours[actor]:
                if other not in firings and its:
                    firings[other] = firings[actor] if own == its else firings[actor] * Fraction(own, its)
                    stack.append(other)

    for fifo, produced, consumed in rated:
        fired = firings[fifo.source.actor], firings[fifo.target.actor]
        if fired != (1, 1) or produced != consumed:
            yield violation(
                "C1",
                fifo.where,
                f"{when}FIFO '{fifo.name}': an iteration has {fired[0]} firings of '{fifo.source.actor}' that write "
                f"{produced} tokens each, and {fired[1]} of '{fifo.target.actor}' that read {consumed} each",
                "token rates are symmetric: write the same rate at both ends",
            )
