"""What runs the slices of a unit, as the runtime would have it, for the tools that measure."""

from __future__ import annotations

import json
from typing import Any

from eprune.model.finding import WrongUsage
from eprune.model.platform import Engine, Unit
from eprune.runtime.fire.engines import ModelEngine
from eprune.runtime.fire.opencl import Device
from eprune.runtime.kernel.errors import UsageError

#: Where actors run that the unit in question does not take.
PLAIN = Unit("plain")


def model_engine(unit: Unit, interpreter: str = "auto") -> ModelEngine:
    """The engine of a unit; of TFLite's interpreters this one."""
    return ModelEngine(unit.engine.value, interpreter, unit.threads, unit.delegate or "", dict(unit.options))


def describe(unit: Unit, interpreter: str) -> str:
    """What runs models or kernels on a unit, with versions. Raises UsageError where it is not on this machine."""
    if unit.opencl is not None:
        return Device(unit.opencl, dict(unit.options)).describe()
    return model_engine(unit, interpreter).describe()


def version_of(unit: Unit, interpreter: str) -> str:
    """The same. Raises WrongUsage where it is not on this machine."""
    try:
        return describe(unit, interpreter)
    except UsageError as error:
        raise WrongUsage(f"{unit.where}: unit {unit.name!r}: {error}") from None


def with_plain(unit: Unit) -> tuple[Unit, ...]:
    """This unit, and with it one for what a delegate or an OpenCL device does not run."""
    return (unit, PLAIN) if unit.delegate is not None or unit.opencl is not None else (unit,)


def as_text(unit: Unit) -> str:
    """A unit for another process of ours."""
    fields: dict[str, Any] = {**vars(unit), "engine": unit.engine.value}
    del fields["where"]
    return json.dumps(fields)


def from_text(text: str) -> Unit:
    """The unit of such a text."""
    fields = json.loads(text)
    fields.update(engine=Engine(fields["engine"]), options=tuple(map(tuple, fields["options"])))
    return Unit(**{**fields, "cores": tuple(fields["cores"]), "groups": tuple(fields["groups"])})
