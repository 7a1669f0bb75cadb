"""The kinds of behaviours, a file each. Whoever asks what behaviours say of themselves loads all of them.

Files are read, never run: Python is parsed (``ast``), models are read from their flatbuffer.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection

from eprune.model.behaviour import Reader
from eprune.model.finding import EpruneError, Finding
from eprune.model.graph import Graph
from eprune.model.interface import Interface

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)


def inspect(graph: Graph, refused: Collection[str] = ()) -> tuple[dict[str, Interface], list[Finding]]:
    """What each actor's behaviour says of itself, by the actor's name, and what is wrong with behaviours.

    Actors without a behaviour, or whose behaviour has an error, have no entry; nor have those ``refused``, of which no
    file is read. Findings are FILE for what cannot be
    read or has no such class, and G2 where ports cannot be matched with a model's tensors. Token types that differ from
    the graph's are not judged here but by the analyzer's G2.
    """
    interfaces: dict[str, Interface] = {}
    findings: list[Finding] = []
    reader = Reader()
    for actor in graph.actors:
        if actor.behaviour is not None and actor.name not in refused:
            try:
                interfaces[actor.name] = actor.behaviour.interface(actor, reader)
            except EpruneError as error:
                findings += error.findings
    return interfaces, findings
