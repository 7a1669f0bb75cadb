"""Self-contained HTML pages, by the templates in ``web/``: all text is escaped, nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

    from eprune.views.tables import Table

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


def plain_page(title: str, notes: Sequence[str], table: Table, below: str, image: str) -> str:
    """A page with a table, and ``below`` it an image (a data URL)."""
    shown = [note for note in notes if note]
    return rendered("plain.html.j2", title=title, notes=shown, table=table, below=below, image=image)


def _part(name: str) -> Markup:
    """A file of ours that pages hold as it is."""
    from markupsafe import Markup

    return Markup((_FOLDER / name).read_text(encoding="utf-8"))


def _source(part: str) -> str:
    """How a Content-Security-Policy names this style or script, and lets in no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'"


def _is_number(cell: str) -> bool:
    return cell.lstrip("+-")[:1].isdigit()
