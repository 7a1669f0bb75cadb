"""An exploration as one self-contained HTML page: the advice, the chart, the table, the chosen cut, the commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

_STYLE = """body { font-family: sans-serif; max-width: 60em; margin: 2em auto; color: #222 }
table { border-collapse: collapse } td, th { padding: .2em .8em; text-align: right; border-bottom: 1px solid #ddd }
td:nth-child(2), th:nth-child(2) { text-align: left } tr.best { background: #e4f0d8; font-weight: bold }
pre { background: #f4f4f4; padding: .8em; overflow-x: auto } .actor { display: inline-block; margin: .2em;
padding: .3em .6em; border: 1px solid #888; border-radius: .3em } .advice { font-size: 1.2em }"""
_COLOURS = ("#cfe2f3", "#d5e8d4", "#f4cce0", "#fff2a8", "#ffe0b3")


def page(
    title: str,
    advice: str,
    note: str,
    chart: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    best: str,
    homes: Mapping[str, str],
    commands: Sequence[str],
) -> str:
    """The page. ``best`` is the first cell of the row to mark; ``homes`` maps actors, in order, to platforms."""
    platforms = list(dict.fromkeys(homes.values()))
    colour = {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(platforms)}
    body = "".join(
        f'<tr class="best">{_cells(row)}</tr>' if row[0] == best else f"<tr>{_cells(row)}</tr>" for row in rows
    )
    actors = " &rarr; ".join(
        f'<span class="actor" style="background:{colour[home]}" title="{escape(home)}">{escape(actor)}</span>'
        for actor, home in homes.items()
    )
    legend = " ".join(
        f'<span class="actor" style="background:{colour[name]}">on {escape(name)}</span>' for name in platforms
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n"
        f'<p class="advice">{escape(advice)}</p>\n<p>{escape(note)}</p>\n{chart}\n'
        f"<h2>All partition points</h2>\n<table><tr>{''.join(f'<th>{escape(each)}</th>' for each in header)}</tr>\n"
        f"{body}</table>\n<h2>The chosen cut</h2>\n<p>{actors}</p>\n<p>{legend}</p>\n"
        f"<h2>Commands</h2>\n<pre>{escape(chr(10).join(commands))}</pre>\n</body></html>\n"
    )


def _cells(row: Sequence[str]) -> str:
    return "".join(f"<td>{escape(cell)}</td>" for cell in row)
