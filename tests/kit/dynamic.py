"""Dynamic applications for tests: built from a few lines, deployed as programs; and a reference in plain Python."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from eprune.analysis.precedence import order, precedence
from eprune.codegen.digest import digest
from eprune.codegen.lower import lower
from eprune.deploy.build import write_program
from eprune.deploy.ports import link_ports
from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.library import find
from eprune.model.behaviour import Behaviour
from eprune.model.graph import Actor, ActorType, Direction, Dpg, Fifo, Graph, Port, PortRef, Row
from eprune.model.interface import Interface
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.mapping import Placement
from eprune.model.platform import Link, Platform, Unit
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes import fuse as fusing
from tests.kit import mixing

DATA, CONTROL = TokenType("int64", (1,)), TokenType("int32", ())


def wired(kinds: Mapping[str, str], wires: str, *dpgs: Dpg, token: TokenType = DATA) -> Graph:
    """A graph of ``kinds`` (actor -> ``TYPE BEHAVIOUR parameter=value ...``) and ``wires``.

    A behaviour is a class of mixing.py, ``FILE.py:CLASS`` of the library, or ``MODEL.tflite:FIRST-LAST``. A wire is a
    line ``A.out -> B.in 0..2 capacity``; rate (default 1) and capacity (twice the rate) may be missing. ``=>`` carries
    control tokens.
    """
    ports: dict[str, list[Port]] = {name: [] for name in kinds}
    fifos = []
    for number, line in enumerate(wires.strip().splitlines()):
        source, arrow, target, *rest = line.split()
        lower_limit, _, upper = (rest[0] if rest else "1").partition("..")
        limits = (int(lower_limit), int(upper or lower_limit))
        capacity = int(rest[1]) if len(rest) > 1 else 2 * limits[1]
        ends = [PortRef(*end.split(".")) for end in (source, target)]
        for end, direction in zip(ends, (Direction.OUT, Direction.IN)):
            control = arrow == "=>"
            type_ = CONTROL if control else token
            ports[end.actor].append(Port(end.port, direction, type_, *limits, atr=limits[1], control=control))
        fifos.append(Fifo(f"f{number}", *ends, capacity=capacity))
    actors = []
    for name, kind in kinds.items():
        actor_type, behaviour, *parameters = kind.split()
        pairs = tuple((key, value) for key, _, value in (text.partition("=") for text in parameters))
        actors.append(Actor(name, tuple(ports[name]), ActorType(actor_type), _behaviour(behaviour), pairs))
    return Graph("app", tuple(actors), tuple(fifos), tuple(dpgs))


def _behaviour(text: str) -> Behaviour:
    file, _, what = text.rpartition(":")
    if file.endswith(".tflite"):
        first, _, last = what.partition("-")
        return ModelSlice(file, int(first), int(last or first), file)
    return PythonBehaviour(file or "mixing.py", what, find("", file, True) if file else mixing.__file__)


def dpg(name: str, control: str, entry: str, leave: str, members: str, columns: str, rows: Mapping[int, str]) -> Dpg:
    """A DPG; ``members``, ``columns`` (ports) and ``rows`` (value -> rates) are words in a text."""
    ports = tuple(PortRef(*text.split(".")) for text in columns.split())
    table = tuple(Row(value, tuple(map(int, rates.split()))) for value, rates in rows.items())
    return Dpg(name, control, entry, leave, tuple(members.split()), ports, table)


def deploy(
    graph: Graph,
    homes: Mapping[str, str],
    folder: Path,
    interfaces: Optional[Mapping[str, Interface]] = None,
    fuse: bool = True,
    shared: bool = False,
) -> dict[str, Path]:
    """Platform -> its program in ``folder``, with links between all platforms on free ports of loopback.

    ``shared``: two platforms have one connection, for all FIFOs between them.
    """
    names = sorted(set(homes.values()))
    crossing = Counter(frozenset({homes[fifo.source.actor], homes[fifo.target.actor]}) for fifo in graph.fifos)
    pairs = [(one, other) for index, one in enumerate(names) for other in names[:index]]
    ports = link_ports({pair: max(1, crossing[frozenset(pair)]) for pair in pairs})
    ports.update({(other, one): port for (one, other), port in ports.items()})
    programs: dict[str, Path] = {}
    platforms: list[Platform] = []
    mappings: list[PlatformMapping] = []
    for name in names:
        links = tuple(Link(peer, "127.0.0.1", ports[name, peer], shared=shared) for peer in names if peer != name)
        platform = Platform(name, (Unit("cpu"),), links)
        places = tuple(
            Placement(actor.name, unit="cpu")
            if homes[actor.name] == name
            else Placement(actor.name, platform=homes[actor.name])
            for actor in graph.actors
        )
        platforms.append(platform)
        mappings.append(PlatformMapping(graph.name, name, places))
    system = System(graph, tuple(platforms), tuple(mappings), interfaces or {})
    for program in lower(fusing.apply(system, fusing.Options(fuse)).system, digest(system, {})):
        programs[program.platform] = folder / f"{program.platform}.py"
        write_program(program, str(programs[program.platform]))
    return programs


def run_in_threads(programs: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Run programs side by side in this process, far faster than in processes of their own; their run records."""
    codes: dict[str, int] = {}

    def run(name: str, path: Path) -> None:
        scope: dict[str, Any] = {"__name__": "generated", "__file__": str(path)}
        exec(compile(path.read_text(), str(path), "exec"), scope)
        codes[name] = scope["program"].main(["--record", str(path.with_suffix(".json"))])

    threads = [threading.Thread(target=run, args=each, daemon=True) for each in programs.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert codes == dict.fromkeys(programs, 0), f"exit codes {codes}, of those that ended"
    return {name: json.loads(path.with_suffix(".json").read_text()) for name, path in programs.items()}


@dataclass
class Expected:
    """What a run must give: what each Collect got, and tokens of each FIFO and firings of each actor in each mode."""

    collected: dict[str, list[list[int]]] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    modes: dict[str, dict[int, int]] = field(default_factory=dict)


def reference(graph: Graph, iterations: int) -> Expected:
    """Run ``iterations`` of a graph without delays, one actor after another, by the table's rates."""
    result = Expected(tokens={fifo.name: 0 for fifo in graph.fifos})
    sequence = order(precedence(graph))
    sources = {each.control: each for each in graph.dpgs}
    dpg_of = {name: each for each in graph.dpgs for name in (each.entry, each.exit, *each.members)}
    actors = {actor.name: actor for actor in graph.actors}
    named = {each.name: each for each in graph.dpgs}

    def dormant(inner: Optional[Dpg], rates: Mapping[PortRef, int]) -> bool:
        if inner is None or not inner.inside:
            return False
        outer = named[inner.inside]
        own = {inner.control, inner.entry, inner.exit, *inner.members}
        return dormant(outer, rates) or not any(rates[ref] for ref in outer.ports if ref.actor in own)

    for firing in range(iterations):
        rates = {ref: port.url for ref, port in graph.ports() if not port.control}
        values: dict[str, int] = {}  # DPG -> control value
        queues: dict[PortRef, list[int]] = {}
        for name in sequence:
            actor = actors[name]
            refs = {port.name: PortRef(name, port.name) for port in actor.ports if not port.control}
            inputs = {port.name: queues.get(refs[port.name], []) for port in actor.inputs if not port.control}
            if name in sources and not dormant(sources[name], rates):
                options = [int(value) for value in dict(actor.parameters)["values"].split(",")]
                value = mixing.chosen(options, inputs) if inputs else options[firing % len(options)]
                values[sources[name].name] = value
                row = next(row for row in sources[name].rows if row.value == value)
                rates.update(sources[name].rates(row))
            followed = dpg_of.get(name) or sources.get(name)
            if dormant(followed, rates):
                continue
            untold = actor.type is ActorType.DPA and not any(port.control for port in actor.ports)
            if untold and not any(rates[ref] for ref in refs.values()):
                continue  # it learns nothing of the iteration
            told = followed is not None and actor.type is not ActorType.SPA and not untold
            mode = values[followed.name] if told and followed is not None else 0
            if told:
                counts = result.modes.setdefault(name, {})
                counts[mode] = counts.get(mode, 0) + 1
            inputs = {port: tokens for port, tokens in inputs.items() if rates[refs[port]]}
            assert all(len(tokens) == rates[refs[port]] for port, tokens in inputs.items())
            outputs = {port.name: rates[refs[port.name]] for port in actor.outputs if not port.control}
            outputs = {port: rate for port, rate in outputs.items() if rate}
            if not actor.inputs and actor.type is ActorType.SPA:
                mode = firing
            for port, tokens in mixing.mix(name, mode, inputs, outputs).items():
                queues[refs[port]] = tokens
            if not actor.outputs:
                got = [value for port in sorted(inputs) for value in inputs[port]]
                result.collected.setdefault(name, []).append(got)
            for fifo in graph.fifos:
                if fifo.source.actor == name:
                    result.tokens[fifo.name] += rates.get(fifo.source, 1)
                    queues[fifo.target] = queues.pop(fifo.source, [])
    return result


def check_run(graph: Graph, records: Mapping[str, dict[str, Any]], wanted: Expected) -> None:
    """Assert that a run's records and what its sinks wrote are what the reference says."""
    actors = {name: facts for record in records.values() for name, facts in record["actors"].items()}
    for name, modes in wanted.modes.items():
        got = {int(value): count for value, count in actors[name]["modes"].items() if count}
        assert got == modes, name
        assert actors[name]["firings"] == sum(modes.values())
    for record in records.values():
        for name, facts in record["fifos"].items():
            assert (facts["tokens"], facts["consumed"]) == (wanted.tokens[name],) * 2, name
            assert facts["peak_fill"] <= facts["capacity"]
    for actor in graph.actors:
        if not actor.outputs:
            path = Path(dict(actor.parameters)["path"])
            assert json.loads(path.read_text()) == wanted.collected[actor.name], actor.name


def homes_of(graph: Graph, away: Sequence[str]) -> dict[str, str]:
    """Actor -> "server" for those named, "endpoint" for the others."""
    return {actor.name: "server" if actor.name in away else "endpoint" for actor in graph.actors}
