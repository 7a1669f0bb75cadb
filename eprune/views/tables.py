"""Tables as plain aligned text. Whoever prints them on a terminal cuts them to its width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eprune.model.finding import Finding, Severity


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
    from rich.cells import cell_len

    cells = [[" ".join(str(value).split("\n")) for value in row] for row in rows]
    columns = list(zip(*cells)) if cells else [()] * len(header)
    right = [all(value.lstrip("-")[:1].isdigit() for value in column if value) for column in columns]
    widths = [max(map(cell_len, (name, *column))) for name, column in zip(header, columns)]

    def line(values: Sequence[str]) -> str:
        shown = "".join(
            f"  {' ' * (width - cell_len(value))}{value}" if end else f"  {value}{' ' * (width - cell_len(value))}"
            for value, width, end in zip(values, widths, right)
        )
        return f"{shown.rstrip()}\n"

    return "".join(map(line, (header, *cells)))


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


def for_late(dpg: str, row: int, taken: int, frames: int) -> str:
    """How often a dynamic processing graph took its row for late frames."""
    return f"{dpg}: row {row} for {taken} of {counted(frames, 'frame')}, which were late"
