"""The names in a file, read fast and without judgement: what a shell completes, and what a summary starts from.

Nothing here raises or prints. A file that is missing, broken or of another kind has an empty outline, because a person
who is still typing a command does not want to hear about it. Only the standard library is loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional
from xml.etree import ElementTree

#: Larger files would make a person wait for the answer.
MAX_BYTES = 4 * 2**20

#: The file of an exploration (``eprune explore``) that holds its plan.
PLAN = "explore.json"


@dataclass(frozen=True)
class OutlinedActor:
    """An actor as an application file states it. ``behaviour`` is its class or its model, "" without one.

    ``parameters`` are those that the file sets. ``source`` and ``sink``: it has no data inputs, or no data outputs.
    """

    name: str
    behaviour: str = ""
    parameters: tuple[str, ...] = ()
    source: bool = False
    sink: bool = False


@dataclass(frozen=True)
class Outline:
    """What is in a file. ``kind`` is application, platform, mapping, exploration, or "" for anything else.

    ``platforms`` of a platform or a mapping file has the one that it describes first, then the ones that it refers to.
    ``dpgs`` maps dynamic processing graphs to the control values of their tables, ``points`` partition points to their
    cuts in words.
    """

    kind: str = ""
    name: str = ""
    actors: tuple[OutlinedActor, ...] = ()
    fifos: tuple[str, ...] = ()
    dpgs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    platforms: tuple[str, ...] = ()
    points: dict[str, str] = field(default_factory=dict)

    def actor(self, name: str) -> Optional[OutlinedActor]:
        """The actor of that name, or None."""
        return next((actor for actor in self.actors if actor.name == name), None)


def outline(path: str) -> Outline:
    """The outline of an XML file, or of a folder that ``eprune explore`` wrote."""
    try:
        if Path(path).is_dir():
            return _exploration(json.loads(_read(Path(path, PLAN))))
        root = ElementTree.fromstring(_read(Path(path)))
        return _OUTLINES[root.tag](root)
    except Exception:
        return Outline()


def outlines(paths: Sequence[str], kind: str) -> Iterator[Outline]:
    """The outlines of those files that are of this kind; a folder stands for the XML files in it."""
    for path in paths:
        try:
            files = sorted(Path(path).glob("*.xml")) if Path(path).is_dir() else [Path(path)]
        except (OSError, ValueError):
            continue
        for file in files:
            found = outline(str(file))
            if found.kind == kind:
                yield found


def _read(path: Path) -> bytes:
    """The file's bytes. Raises ValueError for one that is large, not a file, or may have entities to be expanded."""
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise ValueError("not a small file")
    data = path.read_bytes()
    if re.search(rb"<!(DOCTYPE|ENTITY)", data):
        raise ValueError("document types are refused")
    return data


def _application(root: ElementTree.Element) -> Outline:
    dpgs = {
        str(dpg.get("name")): tuple(row.get("value", "") for row in dpg.iter("row"))
        for dpg in root.iter("dpg")
        if dpg.get("name")
    }
    return Outline(
        "application",
        root.get("name", ""),
        tuple(_actor(actor) for actor in root.iter("actor") if actor.get("name")),
        _different(fifo.get("name") for fifo in root.iter("fifo")),
        dpgs,
    )


def _actor(actor: ElementTree.Element) -> OutlinedActor:
    def data(tag: str) -> bool:
        return any(port.get("control") != "true" for port in actor.iter(tag))

    return OutlinedActor(
        actor.get("name", ""),
        actor.get("class") or actor.get("model") or "",
        tuple(name for param in actor.iter("param") if (name := param.get("name"))),
        source=not data("in"),
        sink=not data("out"),
    )


def _platform(root: ElementTree.Element) -> Outline:
    name = root.get("name", "")
    return Outline("platform", name, platforms=(name, *_different(link.get("to") for link in root.iter("link"))))


def _mapping(root: ElementTree.Element) -> Outline:
    placed = list(root.iter("map"))
    return Outline(
        "mapping",
        root.get("application", ""),
        tuple(OutlinedActor(name) for each in placed if (name := each.get("actor"))),
        platforms=(root.get("platform", ""), *_different(each.get("platform") for each in placed)),
    )


def _different(names: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name))


_OUTLINES = {"application": _application, "platform": _platform, "mapping": _mapping}


def _exploration(plan: Any) -> Outline:
    return Outline(
        "exploration",
        str(plan["application"]),
        tuple(OutlinedActor(str(name)) for name in plan["order"]),
        platforms=tuple(map(str, plan["platforms"])),
        points={str(each["name"]): str(each["after"]) for each in plan["alternatives"]},
    )
