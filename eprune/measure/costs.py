"""What an application's actors cost a frame: their times where all slices state one, else their multiplications."""

from __future__ import annotations

from eprune.formats.tflite.cost import macs
from eprune.formats.tflite.model import read_model
from eprune.model.graph import Actor, Graph


def costs(graph: Graph) -> tuple[dict[str, float], bool]:
    """Actor -> seconds, or MACs of its slice, and whether these are times. Models are read from their files."""
    times = [actor.time for actor in graph.actors if actor.is_slice]
    timed = bool(times) and None not in times
    return {actor.name: float(actor.time or 0) if timed else macs_of(actor) for actor in graph.actors}, timed


def macs_of(actor: Actor) -> float:
    """The multiplications of an actor's slice, for a frame. The model is read from its file."""
    if actor.behaviour is None or not actor.behaviour.operators:
        return 0.0
    model = read_model(actor.behaviour.path)
    return float(sum(macs(model, model.operators[index]) for index in actor.behaviour.operators))
