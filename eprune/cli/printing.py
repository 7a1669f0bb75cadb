"""What commands print: text as it is in pipes and files; on a terminal coloured, and cut to its width."""

from __future__ import annotations

import os
import sys
from typing import ClassVar

import click

#: What is coloured on a terminal, by rich's highlighter.
_PATTERNS = (
    r"(?P<error>\berror(\[[A-Z0-9]+\])?:)",
    r"(?P<warning>\bwarning(\[[A-Z0-9]+\])?:)",
    r"(?P<hint>^ +hint:)",
    r"(?P<good>^no findings$)",
)
_STYLES = {"see.error": "bold red", "see.warning": "bold yellow", "see.hint": "cyan", "see.good": "green"}


def show(text: str, fmt: str = "text") -> None:
    """Print text on stdout; it ends with a line break if it is not empty. What is for programs is left as it is."""
    text = text if text.endswith("\n") or not text else f"{text}\n"
    if fmt != "text" or not sys.stdout.isatty():
        click.echo(text, nl=False)
        return
    from rich.console import Console
    from rich.highlighter import RegexHighlighter
    from rich.text import Text
    from rich.theme import Theme

    class Highlighter(RegexHighlighter):
        base_style = "see."
        highlights: ClassVar = _PATTERNS

    plain = bool(os.environ.get("NO_COLOR"))
    console = Console(theme=Theme(_STYLES), highlight=False, color_system=None if plain else "auto")
    highlighter = Highlighter()
    for line in text.splitlines():
        shown = Text(line)
        highlighter.highlight(shown)
        # A table's lines are cut, for a table that wraps is no table; a message wraps.
        table = line.startswith("  ") and not line.lstrip().startswith("hint:")
        console.print(shown, no_wrap=table, overflow="ellipsis" if table else "fold", crop=table)


def write(path: str, text: str, fmt: str = "text") -> None:
    """Write a command's result to a file, or show it on stdout for "-"."""
    from eprune.formats.atomic import write_file

    if path == "-" and sys.stdout.isatty():
        show(text, fmt)
    else:
        write_file(path, text)
