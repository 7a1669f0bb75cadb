"""Self-contained HTML pages: of an exploration, with advice, chart, table, cut and commands; or with a table only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

_STYLE = """body { font: 15px/1.45 system-ui, sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em;
color: #222 } h2 { margin-top: 1.8em; border-bottom: 1px solid #ddd }
.advice { font-size: 1.2em; background: #eef5e6; padding: .6em 1em; border-left: 4px solid #6aa84f }
figure { margin: 0; overflow-x: auto } figure svg { max-width: 100%; height: auto }
.table { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .2em .6em; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
td:nth-child(2), th:nth-child(2) { text-align: left } tr.best { background: #eef5e6; font-weight: bold }
pre { background: #f4f4f4; padding: .8em; overflow-x: auto } .actor { display: inline-block; margin: .2em;
padding: .2em .6em; border: 1px solid #888; border-radius: .3em }"""
_COLOURS = ("#cfe2f3", "#ffe0b3", "#d5e8d4", "#f4cce0", "#fff2a8")


def page(
    title: str,
    advice: str,
    notes: Sequence[str],
    chart: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    best: str,
    below: Sequence[str],
    graph: str,
    commands: Sequence[str],
) -> str:
    """The page. ``best`` is the first cell of the row to mark; ``below`` are lines below the table; ``chart`` and
    ``graph`` are HTML, the rest is text.
    """
    body = "\n".join(
        f'<tr class="best">{_cells(row)}</tr>' if row[0] == best else f"<tr>{_cells(row)}</tr>" for row in rows
    )
    more = "<br>\n".join(map(escape, below))
    return (
        f'{_beginning(title)}<p class="advice">{escape(advice)}</p>\n{_paragraphs(notes)}\n<figure>{chart}</figure>\n'
        f"<h2>Partition points</h2>\n{_table(header, body)}\n<p>{more}</p>\n"
        f"<h2>The chosen cut</h2>\n<figure>{graph}</figure>\n"
        f"<h2>Commands</h2>\n<pre>{escape(chr(10).join(commands))}</pre>\n</body></html>\n"
    )


def plain_page(
    title: str, notes: Sequence[str], header: Sequence[str], rows: Sequence[Sequence[str]], below: str
) -> str:
    """A page with a table; ``below`` is HTML, the rest is text."""
    body = "\n".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    return f"{_beginning(title)}{_paragraphs(notes)}\n{_table(header, body)}\n{below}\n</body></html>\n"


def _paragraphs(notes: Sequence[str]) -> str:
    return "\n".join(f"<p>{escape(note)}</p>" for note in notes if note)


def _beginning(title: str) -> str:
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n"
    )


def _table(header: Sequence[str], body: str) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in header)
    return f'<div class="table"><table>\n<tr>{head}</tr>\n{body}\n</table></div>'


def inline(svg: str) -> str:
    """An SVG file's text as a part of a page: without what comes before its root element."""
    return svg[svg.index("<svg") :]


def plain_graph(homes: Mapping[str, str]) -> str:
    """Actors in order, coloured by platform, where no drawing can be had."""
    platforms = list(dict.fromkeys(homes.values()))
    colour = {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(platforms)}
    actors = " &rarr; ".join(
        f'<span class="actor" style="background:{colour[home]}" title="{escape(home)}">{escape(actor)}</span>'
        for actor, home in homes.items()
    )
    legend = " ".join(
        f'<span class="actor" style="background:{colour[name]}">on {escape(name)}</span>' for name in platforms
    )
    return f"<p>{actors}</p>\n<p>{legend}</p>"


def _cells(row: Sequence[str]) -> str:
    return "".join(f"<td>{escape(cell)}</td>" for cell in row)
