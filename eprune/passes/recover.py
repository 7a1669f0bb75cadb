"""Predict the channels of dead devices from those of living ones, where parts of layers are put together.

Of an application that ``partition`` has made. Neighbouring channels of a layer are correlated: for each set of dead
devices, each exchange gets the weights of a 1x1 convolution from the channels that are there to those that are missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from eprune.model.graph import Actor
from eprune.model.system import System
from eprune.passes.base import Report, Result, carries, option

#: The parameter of an exchange that names the file.
PARAMETER = "recovery"


@dataclass(frozen=True)
class Options:
    """What the predictions are fitted on, and for how many dead devices.

    ``made`` has them, as they are measured before (``measure.plans.recover``): exchange actor -> the file's bytes;
    ``figures`` is what is known of them.
    """

    calibration: str = option(
        help="Pictures to fit the predictions on; of several, the calibration part.", metavar="DIR|FILE.npy"
    )
    failures: int = option(1, help="Predict for each set of up to K dead devices (1).", metavar="K")
    made: Mapping[str, bytes] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)


@carries
def apply(system: System, options: Options) -> Result:
    """Each exchange with a file of predictions. Raises ValueError where nothing is partitioned."""
    exchanges = [actor.name for actor in system.graph.actors if is_exchange(actor)]
    if not exchanges:
        raise ValueError("has no exchanges: recovery is for what eprune apply partition has made")
    if not options.made:
        raise ValueError(
            f"no set of up to {options.failures} dead devices loses a channel: there is nothing to predict"
        )
    files = {f"recovery_{name}.npz": data for name, data in options.made.items()}

    def with_file(actor: Actor) -> Actor:
        if actor.name not in options.made:
            return actor
        others = tuple(each for each in actor.parameters if each[0] != PARAMETER)
        return replace(actor, parameters=(*others, (PARAMETER, f"recovery_{actor.name}.npz")))

    actors = tuple(map(with_file, system.graph.actors))
    held: dict[str, int] = {}
    for name, data in options.made.items():
        home = system.homes.get(name, "")
        held[home] = held.get(home, 0) + len(data)
    lines = tuple(f"{home}: {nbytes} bytes of predictions" for home, nbytes in held.items())
    figures = {"exchanges": len(options.made), "bytes": held, **options.figures}
    made = replace(system, graph=replace(system.graph, actors=actors), files={**system.files, **files})
    return Result(made, Report(lines, figures))


def is_exchange(actor: Actor) -> bool:
    """Whether an actor puts the parts of a layer together."""
    return actor.class_name == "Exchange"
