"""Name files relative to another folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Optional

from eprune.formats.behaviours.python_class import relative
from eprune.model.graph import Actor, Graph
from eprune.model.interface import Interface
from eprune.model.system import System
from eprune.passes.base import Report, Result, carries

MULTI_RATE = True


@dataclass(frozen=True)
class Options:
    """Where the application file will be: ``eprune apply`` says it, for whatever it writes."""

    folder: str = ""


@carries
def apply(system: System, options: Options) -> Result:
    """The system with the names of its files as seen from a folder, "" for where it is.

    Files of the library of actors keep their names.
    """
    if not options.folder:
        return Result(system, Report())
    graph = relocated(system.graph, options.folder, frozenset(system.files), system.interfaces)
    pairs = zip(system.graph.actors, graph.actors)
    count = sum(old.behaviour != new.behaviour for old, new in pairs)
    return Result(replace(system, graph=graph), Report((f"{count} actors name their files anew",), {"renamed": count}))


def relocated(
    graph: Graph, folder: str, kept: Set[str] = frozenset(), interfaces: Mapping[str, Interface] = MappingProxyType({})
) -> Graph:
    """The graph with the names of its files as seen from ``folder``, but for those ``kept``.

    So are the parameters of which a class says, in ``interfaces``, that they name files.
    """
    home = Path(graph.where.file).parent

    def name(file: str) -> str:
        if file in kept:
            return file
        path = home / file
        return os.path.relpath(path, folder) if path.exists() else file

    def elsewhere(access: Optional[str], value: str) -> bool:
        return value not in kept and relative(access, value)

    def moved(actor: Actor) -> Actor:
        paths = interfaces[actor.name].paths if actor.name in interfaces else {}
        parameters = tuple(
            (key, os.path.relpath(home / value, folder) if elsewhere(paths.get(key), value) else value)
            for key, value in actor.parameters
        )
        return replace(actor, behaviour=actor.behaviour and actor.behaviour.renamed(name), parameters=parameters)

    return replace(
        graph,
        actors=tuple(map(moved, graph.actors)),
        fifos=tuple(replace(fifo, initial=fifo.initial and name(fifo.initial)) for fifo in graph.fifos),
    )
