"""A graph as a file in another folder would write it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Optional

from eprune.model.graph import Behaviour, Graph, PythonBehaviour


def relocated(graph: Graph, folder: str) -> Graph:
    """The graph with the names of its files as seen from ``folder``; files of the library of actors keep theirs."""

    def name(file: str) -> str:
        path = Path(graph.where.file).parent / file
        return os.path.relpath(path, folder) if path.exists() else file

    def behaviour(old: Optional[Behaviour]) -> Optional[Behaviour]:
        if old is None:
            return None
        if isinstance(old, PythonBehaviour) and old.model is not None:
            old = replace(old, model=replace(old.model, file=name(old.model.file)))
        return replace(old, file=name(old.file))

    return replace(
        graph,
        actors=tuple(replace(actor, behaviour=behaviour(actor.behaviour)) for actor in graph.actors),
        fifos=tuple(replace(fifo, initial=fifo.initial and name(fifo.initial)) for fifo in graph.fifos),
    )
