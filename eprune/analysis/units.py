"""Rule M5: what runs on a unit is what its engine, its delegate or its OpenCL device can run."""

from __future__ import annotations

from collections.abc import Iterator

from eprune.analysis.rules import violation
from eprune.model.finding import Finding
from eprune.model.platform import Engine, Platform, Unit
from eprune.model.system import System

#: What an OpenCL device can be told, and the words for it; (): any text.
OPENCL_OPTIONS = {"memory": ("shared", "mapped", "copied"), "build": ()}
OPENCL_HINT = "its options are memory=shared, mapped or copied, and build=FLAG,FLAG for its compiler"


def units(system: System) -> Iterator[Finding]:
    """M5: a unit has one thing that runs its actors, which takes the options, and each actor is on one that runs it."""
    for platform in system.platforms:
        for unit in platform.units:
            yield from _stated(platform, unit)
    actors = {actor.name: actor for actor in system.graph.actors}
    for mapping in system.mappings:
        found = system.platform(mapping.platform)
        for placement in mapping.placements:
            on = None if found is None or placement.unit is None else found.unit(placement.unit)
            if on is None or found is None:
                continue
            actor = actors[placement.actor]
            why = actor.misplaced(on)
            if why:
                others = [f'write unit="{unit.name}"' for unit in found.takers(actor)]
                hint = next(iter(others), f"add a unit that takes it to platform '{found.name}'")
                message = f"actor '{placement.actor}' cannot run on unit '{on.name}': {why}"
                yield violation("M5", placement.where, message, hint, related=((on.where, "the unit is here"),))


def _stated(platform: Platform, unit: Unit) -> Iterator[Finding]:
    what = f"platform '{platform.name}': unit '{unit.name}'"
    if unit.opencl is not None:
        yield from _with_opencl(what, unit)
    elif unit.delegate is not None and unit.engine not in (None, Engine.TFLITE):
        message = f"{what} has a delegate, which is TFLite's, but the engine {unit.engine.value if unit.engine else ''}"
        yield violation("M5", unit.where, message, "remove one of them")
    elif unit.options and unit.delegate is None and unit.engine in (None, Engine.TFLITE):
        message = f"{what} has options, but no delegate that takes them"
        yield violation("M5", unit.where, message, 'add delegate="...", or remove the options')


def _with_opencl(what: str, unit: Unit) -> Iterator[Finding]:
    """What runs slices of models has no place beside an OpenCL device, which runs kernels only."""
    beside = {"a delegate": unit.delegate is not None, "an engine": unit.engine is not None}
    for other in [name for name, there in {**beside, "threads": unit.threads != 1}.items() if there]:
        message = f"{what} has {other}, for slices of models, but its OpenCL device runs kernels only"
        yield violation("M5", unit.where, message, "give each a unit of its own")
    for name, value in unit.options:
        words = OPENCL_OPTIONS.get(name)
        if words is None or (words and value not in words):
            message = f"{what}: an OpenCL device is not told {name}={value}"
            yield violation("M5", unit.where, message, OPENCL_HINT)
