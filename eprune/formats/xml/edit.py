"""Changes in the text of an application file, which leave comments and layout as they are."""

from __future__ import annotations

import re
from typing import Optional
from xml.sax.saxutils import quoteattr

from eprune.formats.xml.application import write_application
from eprune.formats.xml.safe import read_bytes
from eprune.model.finding import EpruneError
from eprune.model.graph import Actor, Fifo, Graph

_ATTRIBUTE = r"\s+([^\s=/>]+)\s*=\s*(\"[^\"]*\"|'[^']*')"
_TAG = re.compile(rf"<!--.*?-->|<\?.*?\?>|<(actor|fifo)((?:{_ATTRIBUTE})*)\s*/?>", re.DOTALL)


def rewrite(old: Graph, new: Graph) -> str:
    """The text of ``old``'s file with the capacities and windows of ``new``, and the names that it has for files.

    The graphs are equal but for these. A file that cannot be read again as UTF-8 text, such as stdin, is written anew.
    """
    try:
        text = read_bytes(old.where.file).decode() if old.where.line else ""
    except (ValueError, EpruneError):
        text = ""
    if not text or old.where.file == "<stdin>":
        return write_application(new)
    changes: dict[tuple[str, str], dict[str, str]] = {}
    for before, after in zip(old.actors, new.actors):
        changes["actor", before.name] = _changed(_files(before), _files(after))
    for fifo, other in zip(old.fifos, new.fifos):
        changes["fifo", fifo.name] = _changed(_of_fifo(fifo), _of_fifo(other))

    def edit(match: re.Match[str]) -> str:
        tag = match.group()
        if match.group(1) is None:
            return tag
        attributes = {name: value[1:-1] for name, value in re.findall(_ATTRIBUTE, match.group(2))}
        for name, value in changes.get((match.group(1), attributes.get("name", "")), {}).items():
            tag = _set(tag, name, value)
        return tag

    return _TAG.sub(edit, text)


def _of_fifo(fifo: Fifo) -> dict[str, Optional[str]]:
    window = None if fifo.window is None else str(fifo.window)
    return {"capacity": str(fifo.capacity), "window": window, "initial": fifo.initial}


def _files(actor: Actor) -> dict[str, Optional[str]]:
    return {**actor.behaviour.attributes()} if actor.behaviour else {}


def _changed(before: dict[str, Optional[str]], after: dict[str, Optional[str]]) -> dict[str, str]:
    return {name: value for name, value in after.items() if value is not None and value != before[name]}


def _set(tag: str, name: str, value: str) -> str:
    """The start tag with an attribute's new value; one that it does not have comes last."""
    quoted = quoteattr(value)
    known = re.compile(rf"(\s{name}\s*=\s*)(\"[^\"]*\"|'[^']*')")
    if known.search(tag):
        return known.sub(lambda match: match.group(1) + quoted, tag)
    return re.sub(r"\s*(/?>)$", lambda match: f" {name}={quoted}{match.group(1)}", tag)
