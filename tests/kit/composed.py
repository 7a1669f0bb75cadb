"""A small network with a cache, an exit, offloading and coded cuts in any order; the same decisions in plain Python.

The reference knows nothing of graphs: it runs the network's parts one after the other by an interpreter, and decides
between them by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Optional

import numpy as np

from eprune import face
from eprune.codegen.lower import lower
from eprune.explore.space import mapping
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.model_files import parse_model
from eprune.formats.models.slices import slice_model
from eprune.formats.system import write_system
from eprune.formats.tflite.head import head_model
from eprune.measure.executor import Executor
from eprune.measure.stated import stated
from eprune.model.graph import Graph, PortRef
from eprune.model.platform import Link, Platform, Unit
from eprune.model.system import System
from eprune.passes import cache, compress, exits, fuse, import_, offload, relocate
from eprune.passes._places import places
from eprune.runtime.fire.tflite import choose, load
from scripts.train_vehicle import infer
from tests.kit import tiny_models

#: Everything within the 20th of 24 distances is taken for certain.
CERTAIN = ",".join(["500:0:500"] * 20 + ["500:500:500"] * 4)
BOUND = round(0.5 * 0.7**4, 7)
#: Behind which operators the cache, the exit and the coder are.
CACHE, EXIT, CODED = 0, 1, 3
STEP, UNDER_WAY = 2.0, 2
PASSES = ("compress", "offload", "exits", "cache")


def frames(count: int = 24, seed: int = 1) -> np.ndarray:
    """Scenes of three frames that are much alike."""
    random = np.random.default_rng(seed)
    scenes = random.normal(size=(count // 3, 8, 8, 3))
    # Now and then a scene comes again.
    scenes[3::4] = scenes[0 : len(scenes[3::4])]
    noise = random.normal(scale=0.01, size=(count // 3, 3, 8, 8, 3))
    found: np.ndarray = (scenes[:, None] + noise).reshape(-1, 8, 8, 3).astype(np.float32)
    return found


def base(folder: Path) -> System:
    """The network over two platforms, an actor for each operator; the last two are on the server."""
    (folder / "net.tflite").write_bytes(tiny_models.two_convolutions())
    np.save(folder / "frames.npy", frames())
    found = stated(str(folder / "net.tflite"))
    made = import_.apply(System(Graph("net")), import_.Options(found.model, found.types, "operator", file=found.file))
    written = write_system(relocate.apply(made.system, relocate.Options(str(folder))).system, str(folder))
    system = face.load(written.application, allow_outside=True)
    names = [actor.name for actor in system.graph.actors]
    last = [actor.name for actor in system.graph.actors if actor.behaviour.operators][-2:]
    two = (
        Platform("device", (Unit("cpu"),), (Link("server", "127.0.0.1", 5400),)),
        Platform("server", (Unit("cpu"),), (Link("device", "127.0.0.1", 5400),)),
    )
    homes = {name: "server" if name in last else "device" for name in names}
    system = replace(system, platforms=two, mappings=tuple(mapping(system.graph, each, homes) for each in two))
    return setting(system, end(system, "inputs"), path=str(folder / "frames.npy"))


def end(system: System, ports: str) -> str:
    """The actor without such ports."""
    return next(actor.name for actor in system.graph.actors if not getattr(actor, ports))


def setting(system: System, name: str, **parameters: str) -> System:
    """The system with these parameters of an actor."""
    actors = tuple(
        replace(each, parameters=tuple({**dict(each.parameters), **parameters}.items())) if each.name == name else each
        for each in system.graph.actors
    )
    return replace(system, graph=replace(system.graph, actors=actors))


def cameras(system: System, *names: str) -> System:
    """So many copies of it side by side, each with a device of its own, and one server; they share nothing else."""
    platforms = {}
    actors, fifos, homes = [], [], {}
    for number, name in enumerate(names):

        def own(ref: PortRef, name: str = name) -> PortRef:
            return replace(ref, actor=f"{name}-{ref.actor}")

        actors += [replace(each, name=f"{name}-{each.name}") for each in system.graph.actors]
        fifos += [
            replace(each, name=f"{name}-{each.name}", source=own(each.source), target=own(each.target))
            for each in system.graph.fifos
        ]
        link = {"address": "127.0.0.1", "port": 5400 + 20 * number}
        platforms[name] = Platform(name, (Unit("cpu"),), (Link("server", **link),))
        homes.update({f"{name}-{each}": name if home == "device" else home for each, home in system.homes.items()})
    links = tuple(replace(each.links[0], to=name) for name, each in platforms.items())
    platforms["server"] = Platform("server", (Unit("cpu"),), links)
    graph = replace(system.graph, name="cameras", actors=tuple(actors), fifos=tuple(fifos))
    every = tuple(platforms.values())
    return replace(
        system,
        graph=graph,
        platforms=every,
        mappings=tuple(mapping(graph, each, homes) for each in every),
        interfaces={},
        problems=(),
    )


def slices(system: System) -> list[str]:
    """The network's actors, in the order of the operators."""
    return [a.name for a in system.graph.actors if a.is_slice]


@dataclass
class Makes:
    """The four passes, each by its name, on whatever is there."""

    whole: System
    threshold: float = 0.265
    audit: float = 0.0
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names = slices(self.whole)
        ports = dict(self.whole.graph.ports())
        self.token = next(
            port.token for ref, port in ports.items() if ref.actor == self.names[EXIT] and ref.port == "out"
        )
        weights = np.random.default_rng(5).normal(size=(5, self.token.shape[3])).astype(np.float32) * np.float32(0.02)
        answer = next(port.token for ref, port in ports.items() if ref.actor == self.names[-1] and ref.port == "out")
        self.head = head_model(self.token, self.token.shape[1:3], weights, np.zeros(5, np.float32), answer, None, None)

    def apply(self, name: str, system: System) -> System:
        """One pass. Raises ValueError where it refuses."""
        made: System = getattr(self, name)(system)
        return made

    def cache(self, system: System) -> System:
        fifo = self._place(system, self.names[CACHE])
        options = cache.Options(
            "", nearest=1, audit=0.0, values=48, frames_under_way=UNDER_WAY, made=cache.Cache(fifo, CERTAIN)
        )
        return cache.apply(system, options).system

    def exits(self, system: System) -> System:
        fifo = self._place(system, self.names[EXIT])
        made = exits.Exit(fifo, self.head, len(parse_model(self.head).operators), self.threshold)
        return exits.apply(system, exits.Options("", made=(made,), audit=self.audit)).system

    def offload(self, system: System, cut: Optional[int] = None) -> System:
        options = offload.Options("device", ("server",), behind=self.names[EXIT])
        return offload.apply(system, options).system

    def compress(self, system: System) -> System:
        """The cut behind the second pool, rounded; where that is in a token of several cuts, without loss."""
        sent = [f.name for f in system.graph.fifos if f.name == "Pack-cut"]
        fifo = sent[0] if sent else next(f.name for f in system.graph.fifos if f.source.actor == self.names[CODED])
        coding = compress.Coding("lossless") if sent else compress.Coding("int8", low=(0.0,), step=(STEP,))
        return compress.apply(system, compress.Options((fifo,), made={fifo: coding})).system

    def _place(self, system: System, name: str) -> str:
        found = [p.fifo.name for p in places(exits.ending_in_one(system).graph) if p.fifo.source.actor == name]
        if not found:
            raise ValueError(f"no place behind {name}")
        return found[0]


def stored(system: System, folder: Path) -> System:
    """Written, and read again; with a sink that keeps each answer bit by bit."""
    system = exits.ending_in_one(system)
    sink = end(system, "outputs")
    tensors = PythonBehaviour.of_library("tensor_sink.py:TensorSink")
    actors = tuple(
        replace(each, behaviour=tensors, parameters=()) if each.name == sink else each for each in system.graph.actors
    )
    system = replace(system, graph=replace(system.graph, actors=actors))
    written = write_system(relocate.apply(system, relocate.Options(str(folder))).system, str(folder))
    return face.load(written.application, written.platforms, written.mappings, allow_outside=True)


def answers(system: System, path: Optional[Path], count: int) -> tuple[list[np.ndarray], dict[str, list[int]]]:
    """What comes out if all actors run one after the other in this process, and what was chosen by whom."""
    near = Platform("near", (Unit("cpu"),))
    homes = dict.fromkeys((each.name for each in system.graph.actors), "near")
    if path is not None:
        system = setting(system, end(system, "outputs"), path=str(path))
    placed = replace(system, platforms=(near,), mappings=(mapping(system.graph, near, homes),))
    (program,) = lower(fuse.apply(placed).system)
    chosen: dict[str, list[int]] = {}
    seen = 0
    with Executor(program) as executor:
        for firings in executor.run(count):
            seen += 1
            for firing in firings:
                if firing.chose and firing.mode is not None:
                    chosen.setdefault(firing.node, []).append(firing.mode)
    assert seen == count
    return [] if path is None else written(path), chosen


def written(path: Path) -> list[np.ndarray]:
    """What the sink has written."""
    (file,) = path.glob("*.npy")
    return list(np.load(file))


class Reference:
    """The same decisions in plain Python; without a cache, an exit or coding where these are not asked for."""

    def __init__(self, makes: Makes, passes: Sequence[str]) -> None:
        model = parse_model(tiny_models.two_convolutions())
        cuts = [range(CACHE + 1), range(CACHE + 1, EXIT + 1), range(EXIT + 1, CODED + 1), range(CODED + 1, 6)]
        self.parts = [load(choose(), slice_model(model, cut)) for cut in cuts]
        self.head, self.threshold = load(choose(), makes.head), makes.threshold
        self.audit, self.due = makes.audit, 0.0
        self.passes = passes
        # A coder of a token that may be any cut loses nothing.
        self.rounds = "compress" in passes and not (
            "offload" in passes and passes.index("offload") < passes.index("compress")
        )
        self.kept: list[tuple[np.ndarray, np.ndarray]] = []
        self.past: list[tuple[bool, np.ndarray, np.ndarray]] = []
        self.hits: list[bool] = []
        self.early: list[bool] = []

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        features = infer(self.parts[0], frame[None])
        if "cache" not in self.passes:
            return self.computed(features)
        if len(self.past) >= UNDER_WAY and not self.past[-UNDER_WAY][0]:
            self.kept.append(self.past[-UNDER_WAY][1:])
        key = self.key(features.astype(np.float64))
        near = [(1 - float(key @ other), -place) for place, (other, _) in enumerate(self.kept)]
        hit = bool(near) and min(near)[0] <= BOUND
        answer = self.kept[-min(near)[1]][1] if hit else self.computed(features)
        self.past.append((hit, key, answer))
        self.hits.append(hit)
        return answer

    @staticmethod
    def key(features: np.ndarray) -> np.ndarray:
        half = features.shape[1] // 2
        grid = [features[0, a : a + half, b : b + half].mean(axis=(0, 1)) for a in (0, half) for b in (0, half)]
        means = np.array(grid).reshape(-1)
        means = means - means.mean()
        found: np.ndarray = means / np.linalg.norm(means)
        return found

    def computed(self, features: np.ndarray) -> np.ndarray:
        at_exit = infer(self.parts[1], features)
        if "exits" in self.passes:
            scores = infer(self.head, at_exit)
            sure = bool(scores.max() >= np.float32(self.threshold))
            self.due += self.audit * sure
            audited = self.due >= 1
            self.due -= audited
            self.early.append(sure and not audited)
            if self.early[-1]:
                return scores
        at_cut = infer(self.parts[2], at_exit)
        if self.rounds:
            at_cut = np.clip(np.rint(at_cut / np.float32(STEP)), 0, 255).astype(np.float32) * np.float32(STEP)
        return infer(self.parts[3], at_cut)
