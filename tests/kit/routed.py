"""A chain whose middle is on several servers, for tests of routes: Src, Near, Work, More, Sink."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.model.graph import FaultPolicy, Graph
from eprune.model.system import System
from eprune.passes.replicate import Options, Sharing, apply
from tests.kit.dynamic import deploy, wired

BEHAVIOURS = '''
    import json
    import time
    from pathlib import Path

    from eprune.runtime import Actor, EndOfStream


    class Source(Actor):
        waits = True

        def __init__(self, count="20", period="0"):
            self.count, self.period, self.made = int(count), float(period), 0

        def fire(self, inputs, outputs):
            if self.made == self.count:
                raise EndOfStream
            time.sleep(self.period)
            outputs["out"][...] = self.made
            self.made += 1


    class Near(Actor):
        """What it got, at all outputs."""

        def fire(self, inputs, outputs):
            for out in outputs.values():
                out[...] = inputs["in"]


    class Work(Actor):
        """Ten times its token, after ``slow`` seconds; ten times that on the first server once the file ``pace`` is
        there.
        """

        def __init__(self, slow="0", pace=""):
            self.slow, self.pace = float(slow), pace

        def fire(self, inputs, outputs):
            slow = self.slow
            if self.pace and "-1" in self.name[-2:] and Path(self.pace).exists():
                slow *= 10
            time.sleep(slow)
            for out in outputs.values():
                out[...] = inputs["in"] * 10


    class Sink(Actor):
        """Notes what it gets, with the time. A file for each sink, a line for each firing."""

        def __init__(self, path, slow="0"):
            self.path, self.slow = path, float(slow)

        def initialize(self):
            self.file = open(f"{self.path}/{self.name}.jsonl", "a")

        def fire(self, inputs, outputs):
            time.sleep(self.slow)
            for name, token in inputs.items():
                self.file.write(json.dumps([name, int(token[0]), time.time()]) + "\\n")
            self.file.flush()

        def finalize(self):
            self.file.close()
'''

WIRES = """
    Src.out -> Near.in 1 4
    Near.out -> Work.in 1 {capacity}
    Work.out -> More.in
    More.out -> Sink.in 1 {capacity}
"""


def chain(folder: Path, capacity: int = 2, **parameters: str) -> Graph:
    """The chain; parameters are ``ACTOR_NAME=value``."""
    (folder / "behaviours.py").write_text(textwrap.dedent(BEHAVIOURS))
    kinds = {"Src": "Source", "Near": "Near", "Work": "Work", "More": "Work", "Sink": "Sink"}
    given = {"Sink_path": str(folder), **parameters}
    graph = wired(dict.fromkeys(kinds, "SPA x"), WIRES.format(capacity=capacity))
    actors = []
    for actor in graph.actors:
        own = tuple((key[len(actor.name) + 1 :], value) for key, value in given.items() if key.startswith(actor.name))
        behaviour = PythonBehaviour("behaviours.py", kinds[actor.name], str(folder / "behaviours.py"))
        actors.append(type(actor)(actor.name, actor.ports, actor.type, behaviour, own))
    return Graph("app", tuple(actors), graph.fifos)


def routed(
    folder: Path,
    endpoints: int = 1,
    servers: int = 2,
    back: bool = True,
    route: Sharing = Sharing.ONE,
    policy: FaultPolicy = FaultPolicy.WAIT,
    timeout: str = "400ms",
    **more: Any,
) -> System:
    """K(servers, endpoints) of the chain; without ``back`` the sinks are on the servers."""
    cut = Options(
        endpoints, servers, "Near" if back else "More", "Sink" if back else "", route, policy, timeout
    )  # fmt: skip
    return apply(System(chain(folder, **more)), cut).system


def programs(system: System, folder: Path) -> dict[str, Path]:
    """Platform -> program, on free ports."""
    return deploy(system.graph, system.homes, folder)


def noted(folder: Path, sink: str) -> list[tuple[str, int, float]]:
    """What a sink has noted: input, value, time."""
    path = folder / f"{sink}.jsonl"
    return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def values(folder: Path, sink: str = "Sink-1") -> list[int]:
    """The values that a sink has got, in order."""
    return [value for _, value, _ in noted(folder, sink)]


def longest_pause(folder: Path, sink: str = "Sink-1") -> float:
    """Seconds between two firings of a sink, at most."""
    times = [at for _, _, at in noted(folder, sink)]
    return max(later - earlier for earlier, later in zip(times, times[1:]))
