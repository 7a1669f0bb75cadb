"""Tables as plain aligned text, laid out by rich. Whoever prints them on a terminal cuts them to its width."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from eprune.model.finding import Finding, Severity

#: Columns of a console that cuts nothing.
_WIDE = 1_000_000


@dataclass(frozen=True)
class Table:
    """A table with what it is of, and with remarks ``below`` it, for text and for pages."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    below: Sequence[str] = ()

    def lines(self) -> list[str]:
        """For people, as lines of text; the last one is empty."""
        shown = table(self.header, self.rows).splitlines()
        below = [*(f"  {each}" for each in self.below), *[""] * bool(self.below)]
        return [f"{self.caption}:", "", *shown, "", *below]

    def filled(self) -> Table:
        """Without the columns in which nothing is."""
        keep = [place for place in range(len(self.header)) if any(row[place] for row in self.rows)]
        rows = [[row[place] for place in keep] for row in self.rows]
        return Table(self.caption, [self.header[place] for place in keep], rows, self.below)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lines of text, indented; columns of numbers are aligned to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[str(value) for value in row] for row in rows]
    made = Table(box=None, padding=(0, 0, 0, 2), pad_edge=True, header_style="")
    for place, name in enumerate(header):
        column = [row[place] for row in cells]
        right = all(value.lstrip("-")[:1].isdigit() for value in column if value)
        made.add_column(Text(name), justify="right" if right else "left", no_wrap=True)
    for row in cells:
        made.add_row(*map(Text, row))
    stream = io.StringIO()
    Console(file=stream, width=_WIDE, color_system=None, legacy_windows=False).print(made)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def counts(findings: Sequence[Finding]) -> str:
    """``2 errors and 1 warning``."""
    parts = [
        counted(count, severity.value)
        for severity in Severity
        if (count := sum(finding.severity is severity for finding in findings))
    ]
    return " and ".join(parts) or "no findings"


def counted(number: int, noun: str) -> str:
    """``1 actor``, ``2 actors``."""
    return f"{number} {noun}{'s' * (number != 1)}"
