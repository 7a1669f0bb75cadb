"""Random multi-rate graphs, run by real programs: each actor fires as often as its iterations ask, on any platform."""

from __future__ import annotations

import json
import random
import sys
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from eprune.analysis.check import check
from eprune.analysis.sdf.execution import Net
from eprune.analysis.sdf.repetition import repetition
from eprune.codegen.lower import lower
from eprune.codegen.targets.python import Layout, render
from eprune.deploy.ports import free_base_port
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.model.finding import has_errors
from eprune.model.graph import FaultPolicy
from eprune.model.mapping import Mapping, Placement
from eprune.model.platform import Link, Platform, Unit
from eprune.model.system import System
from tests.kit.effort import examples
from tests.kit.programs import ACTORS, finish, start

sys.path.append(str(Path(__file__).resolve().parents[1] / "analysis"))
import multi_rate as kit

FRAMES = 5


def with_a_source(graph):
    """The graph with an actor that gives each of the others a token for each of its firings."""
    firings = repetition(graph).firings
    texts = []
    for fifo in graph.fifos:
        ports = dict(graph.ports())
        out, into = (",".join(map(str, ports[ref].rates)) for ref in (fifo.source, fifo.target))
        texts.append(f"{fifo.source.actor} {out} {into} {fifo.target.actor} {fifo.delay} {fifo.capacity}")
    return kit.multi_rate(*(f"S {count} 1 {name} 0 {2 * count}" for name, count in firings.items()), *texts)


@settings(max_examples=examples(24), derandomize=True, deadline=None, database=None)
@given(kit.graphs().filter(lambda graph: Net(graph).live()), st.integers(0, 9), st.sampled_from(["cluster", "actor"]))
def test_each_actor_fires_as_often_as_asked(tmp_path_factory, drawn, seed, threads):
    folder, draw = tmp_path_factory.mktemp("run"), random.Random(seed)
    graph = with_a_source(drawn)
    behaviour = PythonBehaviour("actors.py", "Idles", str(ACTORS))
    fifos = tuple(replace(fifo, policy=draw.choice([FaultPolicy.STOP, FaultPolicy.WAIT])) for fifo in graph.fifos)
    graph = replace(graph, actors=tuple(replace(a, behaviour=behaviour) for a in graph.actors), fifos=fifos)
    port = free_base_port(2 * len(fifos))
    homes = {actor.name: draw.choice(["left", "right"]) for actor in graph.actors}
    homes["S"] = "left"
    names = sorted(set(homes.values()))
    platforms = [
        Platform(name, (Unit("cpu"),), tuple(Link(o, "127.0.0.1", port) for o in names if o != name)) for name in names
    ]
    mappings = [
        Mapping(
            "g",
            name,
            tuple(Placement(a, "cpu") if home == name else Placement(a, platform=home) for a, home in homes.items()),
        )
        for name in names
    ]
    system = System(graph, tuple(platforms), tuple(mappings))
    assert not has_errors(check(system))
    processes = []
    for program in lower(system, "d"):
        path = folder / f"{program.platform}.py"
        path.write_text(render(program, Layout({str(ACTORS): str(ACTORS)}, "models")), encoding="utf-8")
        record = folder / f"{program.platform}.json"
        arguments = ("--frames", str(FRAMES), "--threads", threads, "--record", str(record))
        processes.append(start(path, *arguments))
    assert [finish(process)[0] for process in processes] == [0] * len(processes)
    fired = {}
    for name in names:
        actors = json.loads((folder / f"{name}.json").read_text())["actors"]
        fired.update({actor: record["firings"] for actor, record in actors.items()})
    assert fired == {name: count * FRAMES for name, count in repetition(graph).firings.items()}
