"""Rule M5: what runs on a unit is what its engine and its delegate can run."""

from __future__ import annotations

from collections.abc import Iterator

from eprune.analysis.rules import violation
from eprune.model.finding import Finding
from eprune.model.platform import Engine, Platform, Unit
from eprune.model.system import System


def units(system: System) -> Iterator[Finding]:
    """M5: a delegate is TFLite's, options have somebody who takes them, and each actor is on a unit that runs it."""
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
    if unit.delegate is not None and unit.engine not in (None, Engine.TFLITE):
        message = f"{what} has a delegate, which is TFLite's, but the engine {unit.engine.value if unit.engine else ''}"
        yield violation("M5", unit.where, message, "remove one of them")
    elif unit.options and unit.delegate is None and unit.engine in (None, Engine.TFLITE):
        message = f"{what} has options, but no delegate that takes them"
        yield violation("M5", unit.where, message, 'add delegate="...", or remove the options')
