"""Graphs that move to another folder, with the files that they name relative to their own."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Optional

from eprune.model.graph import Actor, Graph


def moved(graph: Graph, folder: str) -> Graph:
    """The graph, to be written to ``folder``."""
    file = graph.where.file
    return replace(
        graph,
        actors=tuple(moved_actor(actor, file, folder) for actor in graph.actors),
        fifos=tuple(replace(fifo, initial=moved_file(fifo.initial, file, folder)) for fifo in graph.fifos),
    )


def moved_actor(actor: Actor, file: str, folder: str) -> Actor:
    """An actor of ``file``, for a file in ``folder``."""
    behaviour = actor.behaviour
    if behaviour is None:
        return actor
    return replace(actor, behaviour=replace(behaviour, file=moved_file(behaviour.file, file, folder) or ""))


def moved_file(name: Optional[str], file: str, folder: str) -> Optional[str]:
    """How a file that ``file`` names relative to itself is named in ``folder``; those of the library stay."""
    if not name:
        return name
    path = Path(file).parent / name
    return os.path.relpath(path, folder) if path.exists() else name
