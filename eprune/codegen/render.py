"""Program -> text: one template, and the spelling of values, calls and comments.

Whatever came from a file reaches the text through ``literal``, ``comment`` or ``docstring``, so that no name can break
out of its place.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

import eprune
from eprune.codegen.program import Channel, Program
from eprune.model.finding import Location

LINE_LENGTH = 120

#: Arguments that the runtime assumes where a program does not state them.
_DEFAULTS: dict[str, Any] = {
    "aligned": False,
    "core": None,
    "slowdown": 1,
    "bandwidth": None,
    "latency": 0,
    "parameters": {},
    "model": None,
    "optional": (),
    "quorum": None,
    "rate": 1,
    "control": None,
    "delay": 0,
    "initial": None,
    "policy": "stop",
    "timeout": None,
    "ack": "received",
    "shared": False,
    "number": 0,
    "security": "none",
}


@dataclass(frozen=True)
class Layout:
    """Where a program finds its files, and what its comments call its inputs: all relative to its own folder.

    ``paths`` maps each path of the Program to the text to write for it; a path that is missing is written as it is.
    ``models`` is the folder of the cut models.
    """

    paths: Mapping[str, str]
    models: str

    def path(self, path: str) -> str:
        """What the program's text calls a file."""
        return self.paths.get(path, path)

    def where(self, where: Location) -> str:
        """What a comment calls a place: short, for the program's first lines name the files in full."""
        return str(Location(self.path(where.file).rpartition("/")[2], where.line))


def render(program: Program, layout: Layout) -> str:
    """The text of a program: deterministic, and readable from top to bottom."""
    return _fill("program.py.j2", program=program, layout=layout)


def render_unit(program: Program, file: str) -> str:
    """A systemd unit that runs a program, whose self-contained file is called ``file``, as a service."""
    peers = sorted({*(tx.to for tx in program.tx), *(rx.origin for rx in program.rx)})
    secure = any(end.security == "tls" for end in (*program.tx, *program.rx))
    return _fill("service.j2", program=program, file=_printable(shlex.quote(file)), peers=peers, secure=secure)


def render_tunnels(program: Program, name: str, file: str) -> str:
    """The shell script ``name`` that opens a program's SSH tunnels and runs it: ``file``, in the same folder."""
    return _fill("tunnels.sh.j2", program=program, name=_printable(name), file=_printable(file))


def _fill(template: str, **values: Any) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the output is no HTML
    )
    environment.filters.update(
        docstring=docstring, listing=listing, comment=comment, shell=shlex.quote, variable=variable
    )
    environment.globals.update(statement=statement, code=Code, rate=rate)
    return environment.get_template(template).render(version=eprune.__version__, **values)


def variable(platform: str) -> str:
    """A platform's name in names of environment variables."""
    return platform.upper().replace("-", "_")


def rate(channel: Channel) -> Union[int, tuple[int, int]]:
    """A FIFO's rate in tokens a firing; of a dynamic one, its lower and upper limit."""
    return channel.rate if channel.lrl == channel.rate else (channel.lrl, channel.rate)


class Code(str):
    """An expression that is written as it is, such as ``__file__``."""


def literal(value: Any) -> str:
    """A value as Python source; strings in double quotes where that needs no escape, as formatters write them."""
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, str):
        return repr(value) if '"' in value else '"' + repr("'" + value)[2:]
    if isinstance(value, tuple):
        return "(" + ", ".join(map(literal, value)) + (",)" if len(value) == 1 else ")")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(key)}: {literal(item)}" for key, item in value.items()) + "}"
    return repr(value)


def statement(callee: str, *arguments: Any, note: str = "", **keywords: Any) -> str:
    """``callee(...)`` with a comment: on one line where it fits, else the comment above and an argument a line."""
    written = [literal(value) for value in arguments]
    written += [
        f"{name}={literal(value)}"
        for name, value in keywords.items()
        if name not in _DEFAULTS or value != _DEFAULTS[name]
    ]
    line = f"{callee}({', '.join(written)})"
    remark = comment(note)
    if len(line) + len("  ") + len(remark) <= LINE_LENGTH:
        return f"{line}  {remark}".rstrip()
    if len(line) > LINE_LENGTH:
        line = f"{callee}(\n" + "".join(f"    {argument},\n" for argument in written) + ")"
    return f"{remark}\n{line}".lstrip("\n")


def comment(text: str) -> str:
    """A one-line comment, whatever the text holds."""
    return f"# {_printable(text)}" if text else ""


def docstring(text: str) -> str:
    """Text for the inside of a triple-quoted string; its line breaks stay."""
    lines = text.replace("\\", r"\\").replace('"', r"\"").split("\n")
    return "\n".join(map(_printable, lines))


def listing(names: Sequence[str], limit: int = 8) -> str:
    """``a``, ``a and b``, ``a, b and c``; of many names the first ones, and how many more there are."""
    shown = list(names) if len(names) <= limit else [*names[: limit - 1], f"{len(names) - limit + 1} more"]
    return " and ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
