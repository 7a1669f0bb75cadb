"""The pages of ``eprune report``: where to cut, and what has changed since an earlier exploration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Optional

from eprune.model.graph import Actor, Fifo, Graph, PortRef
from eprune.model.quantity import format_size
from eprune.views.comparison import Comparison
from eprune.views.graph import drawing
from eprune.views.page import rendered
from eprune.views.plots import columns
from eprune.views.report import CutReport
from eprune.views.report_charts import TradeOff, objective_chart, of_evaluated, of_points
from eprune.views.tables import Table

#: How many partition points a page shows at most, and how many columns its chart has.
POINTS, COLUMNS = 1000, 200


def report_page(report: CutReport, graph: Optional[Graph], commands: Sequence[str]) -> str:
    """Where to cut, as one page that needs no other file; ``commands`` make it again.

    Without the application's ``graph`` it is drawn as far as the exploration knows it.
    """
    homes = report.homes()
    rows = report.shown([row for row in report.rows if not row.excluded], POINTS)
    every = [of_points(report), of_evaluated(report)]
    return rendered(
        "report.html.j2",
        title=f"{report.plan.flow.application}: where to cut",
        advice=report.advice,
        helps=report.more.unmet.helps() if report.more.unmet else (),
        unmet=report.more.unmet is not None,
        notes=[f"By {report.objective}: {report.meaning}.", *report.notes()],
        chart=columns(objective_chart(report, COLUMNS)),
        points=report.points(rows),
        first=report.first,
        mark=f"best {report.plan.point}" if report.other(report.over[0]) else "chosen",
        missing=[line.strip() for line in report.missing(POINTS)],
        trade_offs=[(each, front_table(each)) for each in every if each],
        drawing=drawing(graph or _plain_graph(report), homes, _sizes(report)),
        tables=report.tables(),
        make=report.more.make,
        commands=commands,
    )


def front_table(found: TradeOff) -> Table:
    """What is Pareto-optimal, with its figures."""
    rows = [
        (each.name, f"{each.nbytes:.0f}", f"{each.latency:.3f}", *([f"{each.answers:.2f}"] if found.answers else []))
        for each in found.best
    ]
    header = ("cut", "bytes", "latency ms", *([f"{found.answers} %"] if found.answers else []))
    return Table("Pareto front", header, rows)


def _plain_graph(report: CutReport) -> Graph:
    """The graph as far as the exploration knows it: actors and FIFOs."""
    flow = report.plan.flow
    fifos = (Fifo(each.name, PortRef(each.source, "out"), PortRef(each.target, "in")) for each in flow.streams)
    return Graph(flow.application, tuple(map(Actor, flow.actors)), tuple(fifos))


def _sizes(report: CutReport) -> Mapping[str, str]:
    """FIFO -> the bytes that it carries in a frame."""
    return {each.name: format_size(each.nbytes) for each in report.plan.flow.streams}


def comparison_page(found: Comparison) -> str:
    """What has changed, as one page that needs no other file."""
    shown = found.most_changed(POINTS)
    return rendered(
        "comparison.html.j2",
        title=f"{found.application}: before and now",
        found=found,
        chart=columns(found.most_changed(COLUMNS).chart()),
        points=shown.table(),
        metrics=shown.metrics_table(),
        left=len(found.changes) - len(shown.changes),
    )
