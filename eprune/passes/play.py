"""Play recorded tokens: sources of them take the place of the producers of FIFOs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.model.graph import Actor, Direction, Fifo, Graph, Port, PortRef
from eprune.model.interface import Interface
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.system import System
from eprune.passes._names import fresh, names_of
from eprune.passes.base import Report, Result, carries, option


class Pace(str, Enum):
    """How fast tokens come: as they are taken, or at the times at which they were made."""

    FAST = "fast"
    RECORDED = "recorded"


@dataclass(frozen=True)
class Options:
    """What is played."""

    tokens: tuple[str, ...] = option(help="Play FILE, as eprune record makes it, into FIFO.", metavar="FIFO=FILE")
    pace: Pace = option(Pace.FAST, help="fast (default), or recorded: at the times at which tokens were made.")


@carries
def apply(system: System, options: Options) -> Result:
    """An actor ``Play-FIFO`` in the place of the FIFO's producer, on the producer's unit.

    A requirement from there begins at the player. Actors whose tokens nobody takes any more are removed, and so on up
    to the sources. Raises ValueError for a FIFO
    that there is not, whose rate varies, or that is inside of a dynamic processing graph.
    """
    graph = system.graph
    files = _files(graph, options.tokens)
    ports = dict(graph.ports())
    inside = {name for dpg in graph.dpgs for name in dpg.actors}
    taken = names_of(graph)
    players: list[Actor] = []
    homes: dict[str, str] = {}
    fifos: list[Fifo] = []
    for fifo in graph.fifos:
        if fifo.name not in files:
            fifos.append(fifo)
            continue
        port = ports[fifo.source]
        if fifo.source.actor in inside or not port.static or fifo.route:
            raise ValueError(f"FIFO {fifo.name!r}: its rate varies, or is chosen by others; play one before or behind")
        name = fresh(f"Play-{fifo.name}", taken)
        told = (("path", _seen_from(graph, files[fifo.name])), ("pace", options.pace.value))
        end = Port("out", Direction.OUT, port.token, port.lrl, port.url)
        behaviour = PythonBehaviour.of_library("player.py:Player")
        players.append(Actor(name, (end,), behaviour=behaviour, parameters=told, where=graph.where))
        homes[name] = fifo.source.actor
        fifos.append(replace(fifo, source=PortRef(name, "out")))
    begins = {old.source: new.source for old, new in zip(graph.fifos, fifos) if old.name in files}
    required = tuple(replace(each, source=begins.get(each.source, each.source)) for each in graph.requirements)
    actors = (*graph.actors, *players)
    made, gone = _pruned(replace(graph, actors=actors, fifos=tuple(fifos), requirements=required))
    idle = [player.name.removeprefix("Play-") for player in players if player.name in gone]
    if idle:
        raise ValueError(f"nobody would take the tokens of {', '.join(idle)}: what is played behind is enough")
    interfaces = {**system.interfaces, **{player.name: Interface(paths={"path": "read"}) for player in players}}
    mappings = tuple(_placed(mapping, homes, gone) for mapping in system.mappings)
    lines = [f"{name}: plays {path}" for name, path in files.items()]
    lines += [f"left out, as nobody takes their tokens: {', '.join(gone)}"] * bool(gone)
    interfaces = {name: each for name, each in interfaces.items() if name not in gone}
    return Result(
        replace(system, graph=made, mappings=mappings, interfaces=interfaces),
        Report(tuple(lines), {"played": files, "left_out": gone}),
    )


def _files(graph: Graph, given: tuple[str, ...]) -> dict[str, str]:
    """FIFO -> file. Raises ValueError."""
    files = {}
    names = [fifo.name for fifo in graph.fifos]
    for text in given:
        name, _, path = text.partition("=")
        if name not in names or not path:
            raise ValueError(f"{text!r}: expected FIFO=FILE, and FIFO one of {', '.join(names)}")
        files[name] = path
    return files


def _pruned(graph: Graph) -> tuple[Graph, list[str]]:
    """Without actors that had outputs and have none left, up to the sources; the names of these."""
    gone: list[str] = []
    fifos = graph.fifos
    while True:
        feeds = {fifo.source.actor for fifo in fifos}
        idle = [each.name for each in graph.actors if each.outputs and each.name not in feeds and each.name not in gone]
        if not idle:
            break
        gone += idle
        fifos = tuple(fifo for fifo in fifos if fifo.target.actor not in gone)
    dpgs = tuple(dpg for dpg in graph.dpgs if not set(dpg.actors) <= set(gone))
    if any(set(dpg.actors) & set(gone) for dpg in dpgs):
        raise ValueError("a part of a dynamic processing graph would be left out: play what is before or behind it")
    actors = tuple(actor for actor in graph.actors if actor.name not in gone)
    used = {end for fifo in fifos for end in (fifo.source, fifo.target)}
    broken = [str(PortRef(a.name, p.name)) for a in actors for p in a.ports if PortRef(a.name, p.name) not in used]
    if broken:
        raise ValueError(f"nothing would be at {', '.join(broken)}: play all FIFOs of that actor")
    return replace(graph, actors=actors, fifos=fifos, dpgs=dpgs), gone


def _seen_from(graph: Graph, path: str) -> str:
    """A file as the application's file names it: relative to its own folder, unless it is an absolute path."""
    return path if Path(path).is_absolute() else os.path.relpath(path, Path(graph.where.file).parent)


def _placed(mapping: PlatformMapping, beside: Mapping[str, str], gone: list[str]) -> PlatformMapping:
    places = {placement.actor: placement for placement in mapping.placements}
    more = [replace(places[actor], actor=player, segment=None) for player, actor in beside.items() if actor in places]
    kept = [placement for placement in mapping.placements if placement.actor not in gone]
    return replace(mapping, placements=(*kept, *more))
