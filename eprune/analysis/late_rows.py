"""Rule D8: a row for late frames is one of the table, and something says which frames are late."""

from __future__ import annotations

from collections.abc import Iterator

from eprune.analysis.rules import violation
from eprune.analysis.ways import budgets
from eprune.model.finding import Finding
from eprune.model.graph import Dpg, Graph


def late_rows(graph: Graph) -> Iterator[Finding]:
    """D8, of each dynamic processing graph."""
    for dpg in graph.dpgs:
        if dpg.late is not None or dpg.late_after is not None:
            yield from _late_row(graph, dpg)


def _late_row(graph: Graph, dpg: Dpg) -> Iterator[Finding]:
    name = f"dynamic processing graph '{dpg.name}'"
    values = [row.value for row in dpg.rows]
    if dpg.late is None:
        hint = f'write late="{min(values, default=0)}", or whichever row late frames take'
        yield violation("D8", dpg.where, f"{name}: late-after without late", hint)
        return
    if dpg.late not in values:
        hint = f"its rows are {', '.join(map(str, values))}"
        yield violation("D8", dpg.where, f'{name}: late="{dpg.late}" is not a row of its control table', hint)
    control = graph.actor(dpg.control)
    if control is not None and not control.inputs:
        message = f"{name}: late, and its control source '{dpg.control}' has no inputs: nothing is late there"
        yield violation("D8", dpg.where, message, "the actor that chooses must get the tokens that may be late")
    elif not budgets(graph, dpg):
        message = f"{name}: late=\"{dpg.late}\", and nothing says which frames are late at '{dpg.control}'"
        hint = 'write late-after="60ms", or a <require> with a latency for tokens that pass there'
        yield violation("D8", dpg.where, message, hint)
