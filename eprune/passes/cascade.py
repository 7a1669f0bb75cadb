"""A small model answers what it is sure of, on the endpoint; all other pictures go to a large one, on the server.

A cascade is an early exit whose head is a model of its own: it sees the picture, and what it is not sure of travels as
a JPEG. The threshold is chosen on the calibration part of your own pictures, by accuracy, by agreement with the large
model, or by a budget of bytes per frame; the report is about the test part. Platforms and mappings for an endpoint and
a server are made, too. Both models are classifiers, or both detectors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any, Optional

from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.ends.detections import Detector
from eprune.model.graph import Actor, Direction, Fifo, Graph, Port, PortRef
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.mapping import Placement
from eprune.model.platform import Link, Platform, Unit
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes import exits
from eprune.passes._detectors import PACK, decoded, members
from eprune.passes._places import Place
from eprune.passes.base import Report, Result, carries, option

MODELS = True
UNMAPPED = True
CAMERA, TO_SMALL, ENCODE, DECODE, TO_LARGE, LARGE = "Camera", "ToSmall", "Encode", "Decode", "ToLarge", "Large"
OUTPUT, HEAD = "Output", "Head"
ENDPOINT, SERVER, _UNIT = "endpoint", "server", "cpu"
#: What the camera shows where nobody says it.
PICTURES = "pictures"
#: The actors on the server.
_REMOTE = (DECODE, TO_LARGE, LARGE, f"{LARGE}Scores", *members(LARGE))


@dataclass(frozen=True)
class Stage:
    """One of the two models: its file, and what goes in and out.

    ``mean`` and ``std`` say how pixels become numbers (``Resize``); ``scale`` and ``zero`` what its scores stand for,
    None for real numbers; ``logits`` whether they are no probabilities. ``notes`` are what was assumed. ``detector``
    are the outputs of a detector, whose ``answer`` is what is made of them.
    """

    file: str
    data: bytes
    operators: int
    picture: TokenType
    answer: TokenType
    mean: str = "0"
    std: str = "1"
    scale: Optional[float] = None
    zero: int = 0
    logits: bool = False
    notes: tuple[str, ...] = ()
    detector: Optional[Detector] = None

    def node(self, name: str) -> str:
        """The actor whose output ``out`` is the answer, where the model is the actor of that name."""
        return f"{name}{PACK}" if self.detector else name


@dataclass(frozen=True)
class Options:
    """The large model, and what the threshold is chosen by.

    ``stages`` are both models, the small one first, as they are read before (``measure.plans.cascade``), and
    ``threshold`` what was found; ``lines`` and ``figures`` are what is known of it.
    """

    large: str = option(help="The model on the server.", metavar="LARGE", argument=True)
    data: str = option(
        help="Pictures, with labels or without: a folder of a folder for each class, or an .npz file.",
        metavar="DIR|FILE",
    )
    wish: str = option(
        "agreement=0.98",
        help="accuracy=0.97, agreement=0.98 with the large model, or bytes=20KiB per frame over the link "
        "(agreement=0.98).",
        metavar="WHAT=VALUE",
    )
    quality: int = option(90, help="Of the JPEGs, 1 to 95; 0 sends pictures as they are (90).", metavar="Q")
    audit: float = option(
        0.0, help="The share of early answers that the large model gives, too, to be compared (0).", metavar="SHARE"
    )
    mean: str = option(
        "",
        help="With --std: pixels become (value / 255 - mean) / std, a number or one per channel, for models of floats "
        "that do not say so themselves.",
        metavar="NUMBERS",
    )
    std: str = option("", help="See --mean.", metavar="NUMBERS")
    labels: str = option("", help="Names of the classes: car,bus or a file with one per line.", metavar="NAMES")
    input: str = option("", help="What the camera shows: a folder of pictures (that of --data).", metavar="DIR")
    frames: int = option(500, help="At most so many pictures of each part (500).", metavar="N")
    port: int = option(Link.port, help="The TCP port of the link (5100).", metavar="PORT")
    stages: tuple[Stage, ...] = ()
    threshold: float = 0.0
    lines: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


@carries
def apply(system: System, options: Options) -> Result:
    """The cascade of ``options.stages``. What was in the system is replaced.

    Raises ValueError where the two models do not give scores of the same classes.
    """
    if len(options.stages) != 2:
        raise ValueError("a cascade is of two models")
    small, large = options.stages
    _check(options, small, large)
    differ = _kind(small) != _kind(large)
    base = _decoded(_base(options, small, large, large.scale is not None and differ), large)
    made = exits.apply(base, _exit(base, options, small, differ)).system
    if small.detector:
        made = _shown(decoded(made, HEAD, small.detector))
    if small.scale is not None and differ:
        made = _real(made, small)
    stems = "-".join(PurePath(stage.file).stem for stage in (small, large))
    name = re.sub("[^A-Za-z0-9_-]", "_", f"{stems}-cascade").lstrip("-")
    mappings = tuple(replace(each, application=name) for each in made.mappings)
    made = replace(made, graph=replace(made.graph, name=name), mappings=mappings)
    return Result(made, Report(options.lines, dict(options.figures)))


def large_alone(options: Options, large: Stage) -> System:
    """The large model without a small one, on no platform: camera, JPEG, the model and a sink."""
    return _decoded(System(_chain(options, large, False).graph("large"), files={large.file: large.data}), large)


def _decoded(system: System, large: Stage) -> System:
    """The same with what a large detector finds in the place of its outputs."""
    return decoded(system, LARGE, large.detector) if large.detector else system


def _check(options: Options, small: Stage, large: Stage) -> None:
    if bool(small.detector) != bool(large.detector):
        kinds = ["a detector" if stage.detector else "a classifier" for stage in (small, large)]
        raise ValueError(f"{small.file} is {kinds[0]}, and {large.file} is {kinds[1]}: a cascade is of two of a kind")
    counts = [stage.detector.classes for stage in (small, large) if stage.detector]
    if len(set(counts)) > 1 and all(counts):
        raise ValueError(
            f"{small.file} knows {counts[0]} classes of objects, and {large.file} {counts[1]}: a cascade is of "
            "detectors with the same classes"
        )
    if small.answer.shape != large.answer.shape:
        raise ValueError(
            f"{small.file} gives {small.answer}, and {large.file} gives {large.answer}: a cascade is of classifiers "
            "with the same classes"
        )
    if small.file == large.file:
        raise ValueError(f"both models are called {small.file}: rename one of them")
    if not 0 <= options.quality <= 95:
        raise ValueError(f"--quality {options.quality}: expected 0 to 95")


def _kind(stage: Stage) -> tuple[str, Optional[float], int]:
    """What the elements of its answer mean."""
    return stage.answer.dtype, stage.scale, stage.zero


def _library(file: str, name: str) -> PythonBehaviour:
    return PythonBehaviour(file, name)


def _chain(options: Options, large: Stage, convert: bool) -> _Chain:
    """Camera, JPEG, the large model and a sink."""
    picture = picture_of(large)
    chain = _Chain()
    chain.add(CAMERA, _library("image_source.py", "ImageSource"), {"path": options.input or PICTURES})
    coded = TokenType("uint8", (picture.nbytes + 1,), variable=True)
    chain.then(ENCODE, picture, _library("jpeg_encoder.py", "JpegEncoder"), {"quality": str(options.quality)})
    chain.then(DECODE, coded, _library("jpeg_decoder.py", "JpegDecoder"))
    token = picture
    if large.picture != picture:
        chain.then(TO_LARGE, picture, _library("resize.py", "Resize"), _scaling(large))
        token = large.picture
    chain.then(LARGE, token, ModelSlice(large.file, 0, large.operators - 1))
    token = large.answer
    if convert:
        chain.then(f"{LARGE}Scores", token, _library("dequantize.py", "Dequantize"), _meaning(large))
        token = replace(token, dtype="float32")
    chain.then(OUTPUT, token, _library("json_lines.py", "JsonLines"), {"labels": options.labels})
    return chain


def _base(options: Options, small: Stage, large: Stage, convert: bool) -> System:
    """What the exit is put into. The small model's input is made, too."""
    picture, chain = picture_of(large), _chain(options, large, convert)
    if small.picture != picture:
        chain.branch(CAMERA, TO_SMALL, picture, _library("resize.py", "Resize"), _scaling(small))
    graph = chain.graph("cascade")
    homes = {actor.name: SERVER if actor.name in _REMOTE else ENDPOINT for actor in graph.actors}
    files = {large.file: large.data}
    return System(graph, *_deployed(homes, graph.name, options.port), files=files)


def picture_of(large: Stage) -> TokenType:
    """What the camera gives: uint8 of the size that the large model takes."""
    return TokenType("uint8", large.picture.shape)


def _scaling(stage: Stage) -> dict[str, str]:
    return {"mean": stage.mean, "std": stage.std} if stage.picture.dtype == "float32" else {}


def _meaning(stage: Stage) -> dict[str, str]:
    return {"scale": repr(stage.scale), "zero_point": str(stage.zero)}


def _exit(base: System, options: Options, small: Stage, differ: bool) -> exits.Options:
    """The small model as the head of an exit in front of the encoder."""
    graph = base.graph
    picture = next(fifo for fifo in graph.fifos if fifo.target.actor == ENCODE)
    late = next(fifo for fifo in graph.fifos if fifo.target.actor == OUTPUT)
    behind = tuple(name for name in (ENCODE, *_REMOTE) if graph.actor(name))
    raw = small.scale is not None and not differ
    made = exits.Exit(
        picture.name,
        small.data,
        small.operators,
        options.threshold,
        small.scale if raw and small.scale is not None else 1.0,
        small.zero if raw else 0,
        measure="detections" if small.detector else "softmax" if small.logits else "",
        reads=TO_SMALL if graph.actor(TO_SMALL) else CAMERA,
        token=small.picture,
        file=small.file,
    )
    return exits.Options(
        options.data, options.wish, audit=options.audit, made=(made,), places=(Place(picture, behind, late),)
    )


def _shown(system: System) -> System:
    """The same with a sink for detections."""
    shown = _library("detection_exits.py", "DetectionExits")
    actors = tuple(replace(a, behaviour=shown) if a.name == OUTPUT else a for a in system.graph.actors)
    return replace(system, graph=replace(system.graph, actors=actors))


def _real(system: System, small: Stage) -> System:
    """The same with the small model's scores made real numbers: the large one's are."""
    name = f"{HEAD}Scores"
    graph = system.graph
    scores = next(fifo for fifo in graph.fifos if fifo.source.actor == HEAD)
    real = replace(small.answer, dtype="float32")
    behaviour = _library("dequantize.py", "Dequantize")
    ports = Port("in", Direction.IN, small.answer), Port("out", Direction.OUT, real)
    actor = Actor(name, ports, behaviour=behaviour, parameters=tuple(_meaning(small).items()))
    actors = []
    for each in graph.actors:
        if each.name == HEAD:
            out = tuple(replace(p, token=small.answer) if p.direction is Direction.OUT else p for p in each.ports)
            actors += [replace(each, ports=out), actor]
        else:
            actors.append(each)
    fifos = tuple(replace(f, source=PortRef(name, "out")) if f is scores else f for f in graph.fifos)
    more = Fifo(f"{HEAD}-scores", scores.source, PortRef(name, "in"))
    placed = []
    for mapping in system.mappings:
        beside = next(each for each in mapping.placements if each.actor == HEAD)
        placed.append(replace(mapping, placements=(*mapping.placements, replace(beside, actor=name))))
    return replace(system, graph=replace(graph, actors=tuple(actors), fifos=(*fifos, more)), mappings=tuple(placed))


def _deployed(
    homes: Mapping[str, str], application: str, port: int
) -> tuple[tuple[Platform, ...], tuple[PlatformMapping, ...]]:
    """An endpoint and a server, which one link joins."""
    platforms, mappings = [], []
    for name, other in ((ENDPOINT, SERVER), (SERVER, ENDPOINT)):
        platforms.append(Platform(name, (Unit(_UNIT),), (Link(other, port=port, shared=True),)))
        placements = [
            Placement(actor, unit=_UNIT) if home == name else Placement(actor, platform=home)
            for actor, home in homes.items()
        ]
        mappings.append(PlatformMapping(application, name, tuple(placements)))
    return tuple(platforms), tuple(mappings)


class _Chain:
    """A graph in the making: one actor after the other."""

    def __init__(self) -> None:
        self._actors: dict[str, Actor] = {}
        self._fifos: list[Fifo] = []
        self._last = ""

    def add(self, name: str, behaviour: Any, parameters: Mapping[str, str]) -> None:
        """The first actor."""
        given = tuple((key, text) for key, text in parameters.items() if text)
        self._actors[name] = Actor(name, behaviour=behaviour, parameters=given)
        self._last = name

    def then(self, name: str, token: TokenType, behaviour: Any, parameters: Optional[Mapping[str, str]] = None) -> None:
        """An actor behind the last one, with what it gets from there."""
        self.branch(self._last, name, token, behaviour, parameters or {})
        self._last = name

    def branch(self, source: str, name: str, token: TokenType, behaviour: Any, parameters: Mapping[str, str]) -> None:
        """An actor behind any other one."""
        last = self._last
        self.add(name, behaviour, parameters)
        self._last = last
        writer = self._actors[source]
        out = "out" if writer.port("out") is None else f"to_{name}"
        self._give(source, Port(out, Direction.OUT, token))
        self._give(name, Port("in", Direction.IN, token))
        self._fifos.append(Fifo(f"f{len(self._fifos) + 1}", PortRef(source, out), PortRef(name, "in")))

    def _give(self, name: str, port: Port) -> None:
        self._actors[name] = replace(self._actors[name], ports=(*self._actors[name].ports, port))

    def graph(self, name: str) -> Graph:
        """What was made."""
        return Graph(name, tuple(self._actors.values()), tuple(self._fifos))
