"""Detectors in a cascade: actors that make one token of detections of a model's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Optional

from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.ends.detections import Detector
from eprune.model.graph import Actor, Direction, Fifo, Port, PortRef
from eprune.model.system import System
from eprune.model.token import TokenType

#: So many objects per frame, each (ymin, xmin, ymax, xmax, score, class).
OBJECTS = TokenType("float32", (32, 6))
#: What the actors behind a model are called, after the model's own name.
BOXES, NMS, PACK = "Boxes", "Nms", "Objects"
#: Boxes below it are not looked at: what may be an object, or may not, tells how sure a detector is of a frame.
_LEAST = "0.05"


def members(name: str) -> tuple[str, ...]:
    """What ``decoded`` may put behind the actor of that name."""
    return tuple(f"{name}{each}" for each in (BOXES, NMS, PACK))


def decoded(system: System, name: str, found: Detector) -> System:
    """The system with the outputs of a detector in the place of the output ``out`` of actor ``name``, and decoding.

    What read ``out`` reads the detections, ``OBJECTS``.
    """
    graph = system.graph
    model = graph.actor(name)
    assert model is not None
    made = _Decoding(name, found)
    kept = tuple(port for port in model.ports if port.name != "out")
    outs = tuple(Port(port, Direction.OUT, found.types[t], tensor=t) for t, port in found.ports.items())
    actors = []
    for actor in graph.actors:
        actors += [replace(model, ports=kept + outs), *made.actors] if actor is model else [actor]
    fifos = tuple(replace(f, source=made.last) if f.source == PortRef(name, "out") else f for f in graph.fifos)
    mappings = []
    for mapping in system.mappings:
        beside = next(each for each in mapping.placements if each.actor == name)
        more = tuple(replace(beside, actor=actor.name) for actor in made.actors)
        mappings.append(replace(mapping, placements=(*mapping.placements, *more)))
    graph = replace(graph, actors=tuple(actors), fifos=(*fifos, *made.fifos))
    return replace(system, graph=graph, mappings=tuple(mappings))


class _Decoding:
    """The actors behind a detector."""

    def __init__(self, name: str, found: Detector) -> None:
        self.actors: list[Actor] = []
        self.fifos: list[Fifo] = []
        outputs = {port: (PortRef(name, port), found.types[tensor]) for tensor, port in found.ports.items()}
        if found.heads:
            count = sum(token.nbytes for tensor, token in found.types.items() if found.ports[tensor] < "s") // 16
            scores = TokenType("float32", (count, found.classes))
            boxes = self._actor(
                f"{name}{BOXES}", "box_decoder.py:BoxDecoder", outputs, {"boxes": _rows(count, 4), "scores": scores}
            )
            kept = {"kept_boxes": _rows(32, 4), "kept_classes": TokenType("int32", (32,)), "kept_scores": _rows(32)}
            outputs = self._actor(
                f"{name}{NMS}", "nms.py:NonMaximumSuppression", boxes, kept, {"score": _LEAST, "overlap": "0.4"}
            )
            outputs = {port[len("kept_") :]: each for port, each in outputs.items()}
        self._actor(f"{name}{PACK}", "detections.py:Detections", outputs, {"out": OBJECTS})
        self.last = PortRef(f"{name}{PACK}", "out")

    def _actor(
        self,
        name: str,
        behaviour: str,
        inputs: Mapping[str, tuple[PortRef, TokenType]],
        outputs: Mapping[str, TokenType],
        parameters: Optional[Mapping[str, str]] = None,
    ) -> dict[str, tuple[PortRef, TokenType]]:
        """An actor that reads ``inputs``; what it writes, by port."""
        ports = [Port(port, Direction.IN, token) for port, (_, token) in inputs.items()]
        ports += [Port(port, Direction.OUT, token) for port, token in outputs.items()]
        given = tuple((parameters or {}).items())
        file, _, kind = behaviour.partition(":")
        self.actors.append(Actor(name, tuple(ports), behaviour=PythonBehaviour(file, kind), parameters=given))
        for port, (source, _) in inputs.items():
            self.fifos.append(Fifo(f"{source.actor}-{source.port}", source, PortRef(name, port)))
        return {port: (PortRef(name, port), token) for port, token in outputs.items()}


def _rows(*shape: int) -> TokenType:
    return TokenType("float32", shape)
