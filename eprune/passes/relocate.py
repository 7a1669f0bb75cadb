"""Name files relative to another folder."""

from __future__ import annotations

import os
from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path

from eprune.model.graph import Graph
from eprune.model.system import System
from eprune.passes.base import Report, Result


@dataclass(frozen=True)
class Options:
    """Where the application file will be: ``eprune apply`` says it, for whatever it writes."""

    folder: str = ""


def apply(system: System, options: Options) -> Result:
    """The system with the names of its files as seen from a folder, "" for where it is.

    Files of the library of actors keep their names.
    """
    if not options.folder:
        return Result(system, Report())
    graph = relocated(system.graph, options.folder, frozenset(system.files))
    pairs = zip(system.graph.actors, graph.actors)
    count = sum(old.behaviour != new.behaviour for old, new in pairs)
    return Result(replace(system, graph=graph), Report((f"{count} actors name their files anew",), {"renamed": count}))


def relocated(graph: Graph, folder: str, kept: Set[str] = frozenset()) -> Graph:
    """The graph with the names of its files as seen from ``folder``, but for those ``kept``."""

    def name(file: str) -> str:
        if file in kept:
            return file
        path = Path(graph.where.file).parent / file
        return os.path.relpath(path, folder) if path.exists() else file

    return replace(
        graph,
        actors=tuple(
            replace(actor, behaviour=actor.behaviour and actor.behaviour.renamed(name)) for actor in graph.actors
        ),
        fifos=tuple(replace(fifo, initial=fifo.initial and name(fifo.initial)) for fifo in graph.fifos),
    )
