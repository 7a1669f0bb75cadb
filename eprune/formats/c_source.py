"""What an actor's C file says of itself, read and never compiled: its functions, the files that it includes, macros.

The macros are those of ``eprune_actor.h``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Optional

from eprune.formats.python_source import MAX_BYTES

#: What every actor has: ``NAME_new`` and so on.
FUNCTIONS = ("new", "fire", "free")
HEADER = "eprune_actor.h"

_MACRO = re.compile(r"^[ \t]*EPRUNE_(INPUT|OUTPUT|REQUIRED|PARAMETER|FILE|WAITS)\s*\(([^()]*)\)", re.M)
_TEXT = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"', re.M)
_ANY_INCLUDE = re.compile(r"^[ \t]*#[ \t]*(?:include(?:_next)?|import|embed)\b[ \t]*([^\n]*)", re.M)
#: What may be included: a file beside it, or a header of the system.
_PLAIN = re.compile(r'"[^"/\n]+"\s*|<(?!/)(?!.*\.\.)[^>\n]+>\s*')
_COMMENT = re.compile(r'("(?:[^"\\\n]|\\.)*")|/\*.*?\*/|//[^\n]*', re.S)


@dataclass(frozen=True)
class Stated:
    """What one actor states. ``lines`` has the line of each port that it states; ``doc`` is the file's first comment.

    ``parameters`` maps parameters to their defaults, None where a graph must state it.
    """

    line: int
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, Optional[str]] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    waits: bool = False
    lacks: tuple[str, ...] = ()


class CSource:
    """A C file. Raises OSError or ValueError where it cannot be read."""

    def __init__(self, path: str) -> None:
        data = Path(path).read_bytes()
        if len(data) > MAX_BYTES:
            raise ValueError(f"is of {len(data)} bytes, where at most {MAX_BYTES} are expected")
        text = data.decode("utf-8", "replace")
        begin = re.match(r"\s*/\*(.*?)\*/", text, re.S)
        self.doc = " ".join(begin[1].split()) if begin else ""
        # Comments go, line breaks stay.
        self.text = _COMMENT.sub(lambda found: found[1] or "\n" * found[0].count("\n"), text)

    @property
    def actors(self) -> list[str]:
        """The names that have all three functions, in the order of the file."""
        found = re.findall(r"\b([A-Za-z_]\w*)_fire\s*\(", self.text)
        return [name for name in dict.fromkeys(found) if not self.stated(name).lacks]

    @property
    def includes(self) -> tuple[str, ...]:
        """The files beside it that it includes, each once, without the header for actors."""
        return tuple(name for name in dict.fromkeys(_INCLUDE.findall(self.text)) if name != HEADER)

    @property
    def strange(self) -> str:
        """The first include that is neither a file beside it nor a header of the system; "" if there is none."""
        return next((text for text in self.included_texts if not _PLAIN.fullmatch(text)), "")

    @property
    def included_texts(self) -> list[str]:
        """What it includes, as it is written."""
        return [text.strip() for text in _ANY_INCLUDE.findall(self.text)]

    def stated(self, name: str) -> Stated:
        """What the actor of that name states. Raises ValueError for a macro that is not understood."""
        found = re.search(rf"\b{re.escape(name)}_fire\s*\(", self.text)
        lacks = tuple(each for each in FUNCTIONS if not re.search(rf"\b{re.escape(name)}_{each}\s*\(", self.text))
        stated = Stated(self._line(found.start()) if found else 1, lacks=lacks)
        waits = False
        for macro in _MACRO.finditer(self.text):
            words = [macro[2].partition(",")[0].strip(), *_TEXT.findall(macro[2])]
            if words[0] != name:
                continue
            kind, given, line = macro[1], words[1:], self._line(macro.start(1))
            if len(given) != {"WAITS": 0, "REQUIRED": 1}.get(kind, 2):
                raise ValueError(f"line {line}: EPRUNE_{kind} has other arguments than {_ARGUMENTS[kind]}")
            if kind == "WAITS":
                waits = True
            elif kind in ("INPUT", "OUTPUT"):
                (stated.inputs if kind == "INPUT" else stated.outputs)[given[0]] = given[1]
                stated.lines[given[0]] = line
            else:
                stated.parameters[given[0]] = given[1] if kind == "PARAMETER" else None
                if kind == "FILE":
                    stated.paths[given[0]] = given[1]
        return replace(stated, waits=waits)

    def _line(self, place: int) -> int:
        return self.text.count("\n", 0, place) + 1


_ARGUMENTS = {
    "INPUT": 'NAME, "port", "token type"',
    "OUTPUT": 'NAME, "port", "token type"',
    "REQUIRED": 'NAME, "parameter"',
    "PARAMETER": 'NAME, "parameter", "default"',
    "FILE": 'NAME, "parameter", "access"',
    "WAITS": "NAME",
}


def included(path: str) -> list[str]:
    """The paths of the files beside a C file that it includes, directly or not; none of them twice."""
    found: dict[str, None] = {}
    queue = [path]
    for each in queue:
        try:
            names = CSource(each).includes
        except (OSError, ValueError):
            continue
        for name in (name for name in names if "/" not in name):
            beside = str(Path(path).with_name(name))
            if beside not in found and beside != path:
                found[beside] = None
                queue.append(beside)
    return list(found)
