"""Keep what sinks take as arrays: an actor before each sink's input copies its tokens to a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.model.graph import Actor, Direction, Fifo, Graph, Port, PortRef
from eprune.model.interface import Interface
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.system import System
from eprune.passes._names import fresh, names_of
from eprune.passes.base import Report, Result, carries, option

MULTI_RATE = True


@dataclass(frozen=True)
class Options:
    """Where the copies go."""

    folder: str = option(help="The folder for the files SINK.PORT/in.npy, each a stack of tokens.", metavar="DIR")


@carries
def apply(system: System, options: Options) -> Result:
    """An actor ``Tap-SINK-PORT`` before each sink's input of rate 1, on the sink's unit.

    Inputs whose rate is another one or varies, that may be missing, or that belong to a dynamic processing graph are
    left as they are. The report maps the inputs to the files (``files``), and lists those left out (``left_out``).
    """
    graph = system.graph
    inside = {name for dpg in graph.dpgs for name in dpg.actors}
    sinks = {actor.name: actor for actor in graph.actors if actor.inputs and not actor.outputs}
    ports = dict(graph.ports())
    taken = names_of(graph)
    behaviour = PythonBehaviour.of_library("tap.py:Tap")
    taps: list[Actor] = []
    fifos: list[Fifo] = []
    homes: dict[str, str] = {}
    files: dict[str, str] = {}
    left_out: list[str] = []
    for fifo in graph.fifos:
        port, sink = ports[fifo.target], fifo.target.actor
        plain = port.static and port.url == 1 and port.required and not port.control
        if sink not in sinks:
            fifos.append(fifo)
            continue
        if not plain or sink in inside:
            fifos.append(fifo)
            left_out.append(str(fifo.target))
            continue
        name = fresh(f"Tap-{sink}-{fifo.target.port}", taken)
        folder = Path(options.folder, str(fifo.target))
        stated = _seen_from(graph, folder)
        ends = (Port("in", Direction.IN, port.token), Port("out", Direction.OUT, port.token))
        taps.append(Actor(name, ends, behaviour=behaviour, parameters=(("path", stated),)))
        homes[name] = sink
        files[str(fifo.target)] = str(folder / "in.npy")
        fifos.append(replace(fifo, target=PortRef(name, "in")))
        fifos.append(Fifo(fresh(f"{fifo.name}-tap", taken), PortRef(name, "out"), fifo.target, where=fifo.where))
    made = replace(
        system,
        interfaces={**system.interfaces, **{tap.name: Interface(paths={"path": "write"}) for tap in taps}},
        graph=replace(graph, actors=(*graph.actors, *taps), fifos=tuple(fifos)),
        mappings=tuple(_placed(mapping, homes) for mapping in system.mappings),
    )
    lines = [f"{len(files)} inputs of sinks are kept"]
    lines += [f"left out, as their rates vary, or they may be missing: {', '.join(left_out)}"] * bool(left_out)
    return Result(made, Report(tuple(lines), {"files": files, "left_out": left_out}))


def _seen_from(graph: Graph, folder: Path) -> str:
    """A folder as the application's file names it: relative to its own, unless it is an absolute path."""
    return str(folder) if folder.is_absolute() else os.path.relpath(folder, Path(graph.where.file).parent)


def _placed(mapping: PlatformMapping, beside: Mapping[str, str]) -> PlatformMapping:
    places = {placement.actor: placement for placement in mapping.placements}
    more = [replace(places[sink], actor=tap, segment=None) for tap, sink in beside.items() if sink in places]
    return replace(mapping, placements=(*mapping.placements, *more))
