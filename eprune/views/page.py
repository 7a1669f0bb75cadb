"""Self-contained HTML pages, by the templates in ``web/``: all text is escaped, nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

_FOLDER = Path(__file__).parent / "web"


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(is_number=_is_number, source=_source)
    environment.globals.update(part=_part, styles=("style.css",), scripts=("page.js",), reaches="")
    return environment


def rendered(template: str, **given: Any) -> str:
    """The page that a template of ``web/`` makes of what it is given.

    ``styles``, ``scripts``: the files of ``web/`` that it has, ``style.css`` and ``page.js`` if none are given;
    ``reaches``: more of its Content-Security-Policy, which lets it load nothing.
    """
    return _environment().get_template(template).render(**given)


def plain_page(
    title: str,
    notes: Sequence[str],
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str,
    below: str,
    image: str,
) -> str:
    """A page with a table, and ``below`` it an image (a data URL)."""
    given = {"notes": [note for note in notes if note], "header": header, "rows": rows}
    return rendered("plain.html.j2", title=title, caption=caption, below=below, image=image, **given)


def inline(svg: str) -> str:
    """An SVG file's text as a part of a page: without what comes before its root element."""
    return svg[svg.index("<svg") :]


def _part(name: str) -> Markup:
    """A file of ours that pages hold as it is."""
    from markupsafe import Markup

    return Markup((_FOLDER / name).read_text(encoding="utf-8"))


def _source(part: str) -> str:
    """How a Content-Security-Policy names this style or script, and lets in no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'"


def _is_number(cell: str) -> bool:
    return cell.lstrip("+-")[:1].isdigit()


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
