"""What is called otherwise now, and how texts that use the old names become texts that use the new ones.

An old name works for one version, with a warning where it is used; ``eprune upgrade`` rewrites files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath


@dataclass(frozen=True)
class Renames:
    """Old name -> new name, of each kind of thing.

    ``commands`` are words behind ``eprune``; ``options`` map a command and an option; ``attributes`` an XML element and
    an attribute; ``modules`` are modules that actors import.
    """

    commands: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[tuple[str, str], str] = field(default_factory=dict)
    attributes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)


#: What this version has renamed. The runtime knows its own modules, for devices (eprune/runtime/moved.py).
RENAMES = Renames(
    commands={"replicate": "apply replicate"},
    modules={
        "eprune.runtime.actor": "eprune.runtime",
        "eprune.runtime.program": "eprune.runtime",
        "eprune.runtime.tflite": "eprune.runtime.fire.tflite",
        "eprune.runtime.errors": "eprune.runtime.kernel.errors",
        "eprune.runtime.fifo": "eprune.runtime.kernel.fifo",
        "eprune.runtime.launch": "eprune.deploy.local",
    },
)


def upgraded(name: str, text: str, renames: Renames = RENAMES) -> str:
    """The text of a file with the new names; ``name`` says what kind of file it is: .xml, .py, or command lines."""
    kind = PurePath(name).suffix
    if kind == ".xml":
        return _xml(text, renames)
    return _python(text, renames) if kind == ".py" else _command_lines(text, renames)


def _xml(text: str, renames: Renames) -> str:
    for (element, old), new in renames.attributes.items():
        attribute = rf"(?<=\s){re.escape(old)}(?=\s*=)"
        text = _within(rf"<{re.escape(element)}\b[^<>]*>", attribute, new, text)
    return text


def _python(text: str, renames: Renames) -> str:
    for old, new in renames.modules.items():
        text = re.sub(rf"^(\s*(?:from|import)\s+){re.escape(old)}(?![\w.])", rf"\g<1>{new}", text, flags=re.MULTILINE)
    return text


def _command_lines(text: str, renames: Renames) -> str:
    """Command lines in Makefiles, scripts, CI files and documents: ``eprune COMMAND --option``, over several lines."""
    for (command, old), new in renames.options.items():
        line = rf"\beprune\s+{re.escape(command)}\b(?:[^\n;|&]|\\\n)*"
        text = _within(line, rf"(?<=\s){re.escape(old)}(?=[\s=]|$)", new, text)
    for old, new in renames.commands.items():
        text = re.sub(rf"(\beprune\s+){re.escape(old)}(?![\w-])", rf"\g<1>{new}", text)
    return text


def _within(outer: str, inner: str, new: str, text: str) -> str:
    """The text with ``new`` for what matches ``inner``, within what matches ``outer``."""

    def replaced(match: re.Match[str]) -> str:
        return re.sub(inner, lambda _: new, match.group())

    return re.sub(outer, replaced, text)
