"""The rows as tables in Markdown: means over the seeds, with the smallest and the largest."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.robust.study import Row

_TITLES = {
    "methods": "Methods",
    "one threshold for all": "Scores, at one fixed threshold (the paper's comparison)",
    "equal memory, one threshold": "Scores, at equal memory, one threshold",
    "equal memory, by layer": "Scores, at equal memory, a threshold for each layer",
    "dealing": "Grouping and dealing, at equal memory, one threshold",
}


def tables(rows: Sequence[Row]) -> str:
    """All tables."""
    lines: list[str] = []
    for table, title in _TITLES.items():
        for network in dict.fromkeys(row.network for row in rows):
            chosen = [row for row in rows if (row.table, row.network) == (table, network)]
            for devices in sorted({row.devices for row in chosen}):
                own = [row for row in chosen if row.devices == devices]
                seeds = len({row.seed for row in own})
                lines += [f"### {title}: {network}, {devices} devices", "", f"{seeds} seeds.", ""]
                lines += [*_table(own, devices), ""]
    return "\n".join(lines)


def _table(rows: Sequence[Row], devices: int) -> list[str]:
    dead = range(devices)
    lines = ["| plan | memory | " + " | ".join(f"{count} dead" for count in dead) + " |", "|---" * (devices + 2) + "|"]
    for plan in dict.fromkeys(row.plan for row in rows):
        own = [row for row in rows if row.plan == plan]
        memory = sum(row.memory for row in own) / len(own)
        cells = [_cell([100 * row.right[count] for row in own]) for count in dead]
        lines.append(f"| {plan} | {memory:.2f} | {' | '.join(cells)} |")
    return lines


def _cell(values: Sequence[float]) -> str:
    """``91.2 (90.8 to 91.5)``."""
    mean = f"{sum(values) / len(values):.1f}"
    spread = f"{min(values):.1f} to {max(values):.1f}"
    return mean if len(set(values)) == 1 else f"{mean} ({spread})"
