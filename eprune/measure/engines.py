"""What runs the slices of a unit, as the runtime would have it, for the tools that measure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from eprune.formats.model_files import is_model
from eprune.formats.models.parts import Model
from eprune.model.finding import WrongUsage
from eprune.model.platform import Engine, Unit
from eprune.model.system import System
from eprune.runtime.fire.engines import ModelEngine
from eprune.runtime.fire.opencl import Device
from eprune.runtime.fire.tflite import INTERPRETERS
from eprune.runtime.kernel.errors import UsageError

#: Where actors run that the unit in question does not take.
PLAIN = Unit("plain")


def model_engine(unit: Unit, interpreter: str = "auto") -> ModelEngine:
    """The engine of a unit; of TFLite's interpreters this one."""
    name = "" if unit.engine is None else unit.engine.value
    return ModelEngine(name, interpreter, unit.threads, unit.delegate or "", dict(unit.options))


def plain_engines(model: Model) -> list[ModelEngine]:
    """What may run a model where nothing is said of units: TFLite's interpreters, in order of preference, or another
    format's engine."""
    name = model.format.engines[0]
    if name != Engine.TFLITE.value:
        return [ModelEngine(name)]
    return [ModelEngine(name, interpreter) for interpreter in INTERPRETERS]


def plain_engine(model: Model, interpreter: str = "auto") -> ModelEngine:
    """The one of them: of TFLite's interpreters this one."""
    return ModelEngine(model.format.engines[0], interpreter)


def describe(unit: Unit, interpreter: str, models: Iterable[str] = ()) -> str:
    """What runs these models, or kernels, on a unit, with versions. Raises UsageError where it is not here."""
    if unit.opencl is not None:
        return Device(unit.opencl, dict(unit.options)).describe()
    engine = model_engine(unit, interpreter)
    return ", ".join(dict.fromkeys(engine.of(path).describe() for path in models)) or engine.describe()


def version_of(unit: Unit, interpreter: str, *models: str) -> str:
    """The same. Raises WrongUsage where it is not on this machine."""
    try:
        return describe(unit, interpreter, models)
    except UsageError as error:
        who = "" if unit is PLAIN else f"{unit.where}: unit {unit.name!r}: "
        raise WrongUsage(f"{who}{error}") from None


def versions_of(system: System, interpreter: str) -> str:
    """What runs the models of a system in this process, with versions. Raises WrongUsage where some is not here."""
    behaviours = [actor.behaviour for actor in system.graph.actors if actor.behaviour is not None]
    models = dict.fromkeys(path for each in behaviours for path in each.files() if is_model(path))
    return version_of(PLAIN, interpreter, *models)


def with_plain(unit: Unit) -> tuple[Unit, ...]:
    """This unit, and with it one for what its delegate, engine or OpenCL device does not run."""
    plain = unit.delegate is None and unit.engine is None and unit.opencl is None
    return (unit,) if plain else (unit, PLAIN)


def as_text(unit: Unit) -> str:
    """A unit for another process of ours."""
    fields: dict[str, Any] = {**vars(unit), "engine": unit.engine and unit.engine.value}
    del fields["where"]
    return json.dumps(fields)


def from_text(text: str) -> Unit:
    """The unit of such a text."""
    fields = json.loads(text)
    fields.update(engine=fields["engine"] and Engine(fields["engine"]), options=tuple(map(tuple, fields["options"])))
    return Unit(**{**fields, "cores": tuple(fields["cores"]), "groups": tuple(fields["groups"])})
