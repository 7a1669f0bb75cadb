"""A graph of SDF3 or of PREESM becomes an application, for ``eprune import``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eprune.cli import options
from eprune.cli.errors import say

if TYPE_CHECKING:
    from fractions import Fraction


def is_xml(path: str) -> bool:
    """Whether a file is XML rather than a model, by its first characters; False where it cannot be read."""
    try:
        with Path(path).open("rb") as stream:
            return stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
    except (OSError, ValueError):
        return False


def import_sdf3(path: str, folder: str, expanded: bool, unit: Fraction, fmt: str, force: bool) -> None:
    """Write application.xml. Raises EpruneError (exit code 1) for rates and names that break rules."""
    from eprune.analysis.check import check
    from eprune.formats.imported import write_imported
    from eprune.formats.xml.pisdf import read_dataflow
    from eprune.model.finding import EpruneError, has_errors
    from eprune.model.graph import Computation
    from eprune.model.system import System
    from eprune.passes import expand
    from eprune.views.tables import counted

    sdf = read_dataflow(path, unit)
    multi_rate = options.computation() is Computation.SDF
    if multi_rate and expanded:
        raise click.UsageError("--expand makes a graph for which --model sdf is not needed: leave one of them out")
    graph = expand.expand(sdf.graph, sdf.phases) if expanded else options.read_as_asked(sdf.graph)
    system = System(graph)
    findings = [] if expanded or multi_rate else sdf.findings()
    findings = findings or check(system)
    if has_errors(findings):
        raise EpruneError(*findings, exit_code=1)
    written = write_imported(system, folder, force)
    if fmt == "json":
        figures = {"application": written.application, "actors": len(graph.actors), "fifos": len(graph.fifos)}
        click.echo(json.dumps({**figures, "overlapping": list(sdf.overlapping), "notes": list(sdf.notes)}, indent=2))
        return
    for note in sdf.notes:
        say(f"note: {note}")
    if sdf.overlapping:
        who = counted(len(sdf.overlapping), "actor")
        say(f"note: in SDF the firings of {who} without a self-loop may overlap; here they do not")
    say(f"{written.application}: {counted(len(graph.actors), 'actor')}, {counted(len(graph.fifos), 'FIFO')}")
    say(f"next: eprune analyze {written.application} --buffers")
