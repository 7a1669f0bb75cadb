"""The target for Python: a PlatformProgram as one top-level program, and all of Python's spelling.

Whatever came from a file reaches the text through ``literal``, ``comment`` or ``docstring``, so that no name can break
out of its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from eprune.codegen.program import LocalFifo, Node, PlatformProgram
from eprune.codegen.targets.text import comment, fill, listing, printable
from eprune.model.behaviour import Cut, File, Place
from eprune.model.finding import Location
from eprune.model.graph import FaultPolicy
from eprune.model.token import TokenType

LINE_LENGTH = 120

#: Arguments that the runtime assumes where a program does not state them.
_DEFAULTS: dict[str, Any] = {
    "aligned": False,
    "core": None,
    "slowdown": 1,
    "cores": (),
    "inputs": (),
    "outputs": (),
    "rates": {},
    "headers": (),
    "waits": False,
    "engine": "",
    "threads": 1,
    "delegate": None,
    "opencl": None,
    "local": (),
    "options": {},
    "bandwidth": None,
    "latency": 0,
    "parameters": {},
    "paths": {},
    "parts": {},
    "model": None,
    "optional": (),
    "quorum": None,
    "rate": 1,
    "control": None,
    "delay": 0,
    "initial": None,
    "policy": "stop",
    "timeout": None,
    "timeout_floor": None,
    "ack": "fired",
    "shared": False,
    "number": 0,
    "security": "none",
    "window": 0,
    "room_timeout": None,
    "group": None,
    "route": None,
    "via": "",
    "nested": False,
    "relays": False,
    "answers": (),
    "shares": False,
    "seconds": None,
    "per_second": None,
    "share": 1,
}


@dataclass(frozen=True)
class Layout:
    """Where a program finds its files, and what its comments call its inputs: all relative to its own folder.

    ``paths`` maps each path of the PlatformProgram to the text to write for it; a path that is missing is written as it
    is. ``models`` is the folder of the cut models. ``carried`` maps the files of parameters that the program brings
    along to their names.
    """

    paths: Mapping[str, str]
    models: str
    carried: Mapping[str, str] = field(default_factory=dict)

    def path(self, path: str) -> str:
        """What the program's text calls a file."""
        return self.paths.get(path, path)

    def where(self, where: Location) -> str:
        """What a comment calls a place: short, because the program's first lines name the files in full."""
        return str(Location(self.path(where.file).rpartition("/")[2], where.line))


def emit(program: PlatformProgram, layout: Layout, name: str, models: Mapping[str, bytes]) -> dict[str, bytes]:
    """The program ``name`` and its models (file name -> bytes) in the folder that the layout names: path -> bytes.

    The program comes last: whoever writes the files in this order never has one that names a model that is not there.
    """
    files = {f"{layout.models}/{file}": data for file, data in models.items()}
    return {**files, name: render(program, layout).encode()}


def render(program: PlatformProgram, layout: Layout) -> str:
    """The text of a program: deterministic, and readable from top to bottom."""
    filters: dict[str, Any] = {"docstring": docstring, "listing": listing}
    spelling = {"statement": statement, "code": Code, "rate": rate, "ends": ends, "shape": shape, "declare": declare}
    return fill("program.py.j2", filters, spelling, program=program, layout=layout)


def declare(node: Node, layout: Layout) -> str:
    """The statement that declares an actor or a segment to the runtime."""

    def spelled(value: Any) -> Any:
        if isinstance(value, File):
            return layout.path(value.path) + value.suffix
        if isinstance(value, Mapping):
            return {name: spelled(item) for name, item in value.items()}
        if isinstance(value, Place):
            return layout.paths.get(value.path, value.value)
        return f"{layout.models}/{value.file_name}" if isinstance(value, Cut) else value

    declaration = node.declaration
    options = {name: spelled(value) for name, value in (*declaration.options, *node.live)}
    places = declaration.option("paths", {})
    parts = {
        name: layout.carried[place.path]
        for name, place in places.items()
        if place.carried and place.path in layout.carried
    }
    if parts:
        options["paths"] = {name: path for name, path in options["paths"].items() if name not in parts}
        options["parts"] = parts
    source, note = spelled(declaration.source), layout.where(node.where)
    return statement(f"program.{declaration.call}", node.name, source, unit=node.unit, **options, note=note)


def rate(fifo: LocalFifo) -> Union[int, tuple[int, int]]:
    """A FIFO's rate in tokens per firing; of a dynamic one, its lower and upper limit; 1 where its ends say theirs."""
    if fifo.ends is not None:
        return fifo.rate if fifo.ends.same else 1
    return fifo.rate if fifo.lrl == fifo.rate else (fifo.lrl, fifo.rate)


def ends(fifo: LocalFifo, policy: str = "") -> dict[str, Any]:
    """What is said of the ends of a multi-rate FIFO."""
    if fifo.ends is None:
        return {}
    produced, consumed = (each[0] if len(each) == 1 else each for each in (fifo.ends.produced, fifo.ends.consumed))
    said: dict[str, Any] = {} if fifo.ends.same else {"produced": produced, "consumed": consumed}
    return {**said, "iteration": fifo.ends.iteration} if policy == FaultPolicy.WAIT.value else said


def shape(token: TokenType) -> Union[str, tuple[int, ...]]:
    """A token's shape as the runtime takes it."""
    return f"<={token.shape[0]}" if token.variable else token.shape


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
    """``callee(...)`` with a comment: on one line where it fits, else the comment above and one argument per line."""
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


def docstring(text: str) -> str:
    """Text for the inside of a triple-quoted string; its line breaks stay."""
    lines = text.replace("\\", r"\\").replace('"', r"\"").split("\n")
    return "\n".join(map(printable, lines))
