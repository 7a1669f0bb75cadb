"""Templates, and text that is the same in every language."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import eprune

#: Templates by name, compiled once: that takes longer than to fill one.
_COMPILED: dict[str, Any] = {}


def fill(template: str, filters: Mapping[str, Callable[..., Any]], functions: Mapping[str, Any], **values: Any) -> str:
    """The text of a template of ``codegen/templates``; a template is always given the same ``filters``."""
    if template not in _COMPILED:
        import jinja2

        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parents[1] / "templates"),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,  # the output is not HTML
        )
        environment.filters.update(filters)
        _COMPILED[template] = environment.get_template(template)
    text: str = _COMPILED[template].render(version=eprune.__version__, **functions, **values)
    return text


def listing(names: Sequence[str], limit: int = 8) -> str:
    """``a``, ``a and b``, ``a, b and c``; of many names the first ones, and how many more there are."""
    shown = list(names) if len(names) <= limit else [*names[: limit - 1], f"{len(names) - limit + 1} more"]
    return " and ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))


def printable(text: str) -> str:
    """The text with what does not print written as an escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def comment(text: str) -> str:
    """A one-line comment of Python and of shells, whatever the text holds."""
    return f"# {printable(text)}" if text else ""


def variable(platform: str) -> str:
    """A platform's name in names of environment variables."""
    return platform.upper().replace("-", "_")
