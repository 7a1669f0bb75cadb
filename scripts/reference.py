"""The reference pages and the manual pages, from the code: `make docs`, or `python -m scripts.reference`.

The help texts of the commands and the table of rules are written once, in the code. This script makes
the pages commands.md, library.md and rules.md in docs/reference, and the manual pages in build/man, of them.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import click

import eprune
from eprune.analysis.rules import rules_table
from eprune.cli.main import ALIASES, cli

ROOT = Path(__file__).resolve().parents[1]
NOTE = "<!-- `make docs` writes this page from the code. -->\n"

COMMANDS = """# Commands

Results go to stdout, everything else to stderr. `-` means stdin or stdout. Most commands read three kinds of
[XML file](files.md): an application graph, and a platform file and a mapping file for each platform. `-p` and `-m` take
one file, several, or a folder of them, and may be repeated. `eprune COMMAND --help` prints the text of this page.

| exit code | meaning |
|---|---|
| 0 | fine |
| 1 | findings, or a failed run |
| 2 | wrong usage, or unusable input |
| 70 | an internal error of eprune |
| 130 | interrupted |
"""

LIBRARY = """# The library

`import eprune` offers the following for notebooks and scripts. The [notebook](../tutorial/notebook.ipynb) shows it at
work. Everything is loaded when it is used.
"""

RULES = """# Design rules

`eprune analyze` checks an application against these rules, and prints [findings](findings.md). An error means that no
program will be generated; a warning does not stop anything. [What the rules prove](../explanation/soundness.md)
explains the rules.
"""


#: command -> the guide that shows how to use it
GUIDES = {
    "eprune import": "../how-to/import_a_model.md",
    "eprune verify": "../how-to/import_a_model.md",
    "eprune analyze": "../how-to/inspect_a_graph.md",
    "eprune simulate": "../how-to/inspect_a_graph.md",
    "eprune draw": "../how-to/inspect_a_graph.md",
    "eprune replicate": "../how-to/survive_failures.md",
    "eprune codegen": "../how-to/run_on_several_machines.md",
    "eprune certify": "../how-to/secure_links.md",
    "eprune deploy": "../how-to/deploy.md",
    "eprune run": "../tutorial/first_application.md",
    "eprune sweep": "../how-to/sweep_parameters.md",
    "eprune evaluate": "../how-to/evaluate.md",
    "eprune robustness": "../how-to/evaluate.md",
    "eprune explore": "../how-to/explore_cuts.md",
    "eprune profile": "../how-to/explore_cuts.md",
    "eprune report": "../how-to/explore_cuts.md",
}


@dataclass(frozen=True)
class Command:
    """A command and its help. ``paragraphs``: text and, indented, blocks that keep their lines."""

    path: str
    usage: str
    summary: str
    paragraphs: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    aliases: tuple[str, ...]


def walk(command: click.Command, path: str, parent: Optional[click.Context] = None) -> Iterator[Command]:
    """A command and those below it, in the order in which they are listed; without hidden ones."""
    context = click.Context(command, parent, path.rpartition(" ")[2], **command.context_settings)
    summary, *paragraphs = _paragraphs(command.help or command.get_short_help_str(200) or path)
    options = [param for param in command.params if isinstance(param, click.Option)]
    records = [record for record in (option.get_help_record(context) for option in options) if record]
    yield Command(
        path,
        " ".join([path, *command.collect_usage_pieces(context)]),
        summary,
        tuple(paragraphs),
        tuple((names, re.sub(r"\s+", " ", text)) for names, text in records),
        tuple(alias for alias, name in ALIASES.items() if path == f"eprune {name}"),
    )
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                yield from walk(inner, f"{path} {name}", context)


def _paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a help text, each on one line; a block that click does not wrap keeps its lines, indented."""
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        if paragraph.startswith("\b"):
            title, *lines = paragraph[1:].strip("\n").splitlines()
            if title.strip():
                yield title.strip()
            yield "\n".join(f"    {line.strip()}" for line in lines)
        elif paragraph.strip():
            yield " ".join(paragraph.split())


def commands_page() -> str:
    """docs/reference/commands.md."""
    _, *commands = walk(cli, "eprune")
    return "\n".join([NOTE + COMMANDS, *map(_chapter, commands)])


def _chapter(command: Command) -> str:
    level = "#" * (1 + command.path.count(" "))
    parts = [f"{level} {command.path}", f"    {command.usage}", command.summary, *command.paragraphs]
    if command.aliases:
        parts.append("Another name for it: " + ", ".join(f"`eprune {alias}`" for alias in command.aliases) + ".")
    if command.path in GUIDES:
        guide = GUIDES[command.path]
        title = (ROOT / "docs" / "reference" / guide).read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        parts.append(f"Guide: [{title}]({guide}).")
    if command.options:
        parts.append("\n".join(f"- `{names}`: {_escaped(text)}" for names, text in command.options))
    return "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    """Help text as Markdown: brackets that are no links, and comparisons that are no tags."""
    return text.replace("[", "\\[").replace("<", "&lt;")


def rules_page() -> str:
    """docs/reference/rules.md."""
    return f"{NOTE}{RULES}\n{rules_table()}"


def manual_pages() -> dict[str, str]:
    """File name -> manual page in section 1, of eprune and of each command."""
    commands = list(walk(cli, "eprune"))
    return {f"{command.path.replace(' ', '-')}.1": _manual_page(command, commands) for command in commands}


def _manual_page(command: Command, all_commands: list[Command]) -> str:
    name = command.path.replace(" ", "-")
    lines = [f'.TH "{_roff(name.upper())}" "1" "" "eprune {eprune.__version__}" "eprune manual"', ".SH NAME"]
    lines += [f"{_roff(name)} \\- {_roff(command.summary.rstrip('.'))}", ".SH SYNOPSIS", _roff(command.usage)]
    if command.paragraphs:
        lines.append(".SH DESCRIPTION")
    for paragraph in command.paragraphs:
        block = paragraph.startswith("    ")
        lines += [".EX", _roff(paragraph), ".EE"] if block else [".PP", _roff(paragraph)]
    if command.options:
        lines.append(".SH OPTIONS")
    for names, text in command.options:
        lines += [".TP", f"\\fB{_roff(names)}\\fP", _roff(text)]
    below = [other for other in all_commands if other.path.rpartition(" ")[0] == command.path]
    if below:
        lines.append(".SH COMMANDS")
    for other in below:
        lines += [".TP", f"\\fB{_roff(other.path.replace(' ', '-'))}\\fP(1)", _roff(other.summary)]
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    """Text for a manual page: nothing in it is a request or an escape."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in escaped.splitlines())


def library_page() -> str:
    """docs/reference/library.md: what ``import eprune`` gives, from the docstrings."""
    parts = [NOTE + LIBRARY]
    for name in eprune.__all__:
        offered = getattr(eprune, name)
        parts.append(f"## `eprune.{_call(name, offered)}`\n\n{_markdown(offered)}")
        if inspect.isclass(offered):
            kinds = (property, classmethod, types.FunctionType)
            members = [(key, value) for key, value in vars(offered).items() if isinstance(value, kinds)]
            members = [(key, value) for key, value in members if not key.startswith("_")]
            rows = [f"- `{_call(key, value)}`: {_markdown(value, indent=2)}" for key, value in members]
            parts += ["\n".join(rows)] if rows else []
    return "\n\n".join(parts) + "\n"


def _call(name: str, offered: Any) -> str:
    """A function with its parameters, without types; anything else by its name."""
    function = getattr(offered, "__func__", offered)
    if not inspect.isfunction(function):
        return name
    parameters = [
        parameter.replace(annotation=parameter.empty)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name not in ("self", "cls")
    ]
    return f"{name}{inspect.Signature(parameters)}"


def _doc(offered: Any) -> str:
    """The docstring of a function, a method or a class of ours."""
    return getattr(getattr(offered, "__func__", offered), "__doc__", None) or ""


def _markdown(offered: Any, indent: int = 0) -> str:
    """A docstring as Markdown: code in single backticks, continued lines indented."""
    return inspect.cleandoc(_doc(offered)).replace("``", "`").replace("\n", "\n" + " " * indent).replace("  \n", "\n")


#: file, relative to the repository -> what is in it
PAGES = {
    "docs/reference/commands.md": commands_page,
    "docs/reference/library.md": library_page,
    "docs/reference/rules.md": rules_page,
}


def main() -> None:
    """Write everything."""
    for name, page in PAGES.items():
        (ROOT / name).write_text(page(), encoding="utf-8")
    folder = ROOT / "build" / "man"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in manual_pages().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
