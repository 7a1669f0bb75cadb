"""The predictions that ``recover`` gives to exchanges: fitted on the user's pictures, for each set of dead devices."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np

from eprune.formats.tflite.channels import layers as layers_of
from eprune.measure.masks import Stages
from eprune.measure.probe import chosen_interpreter
from eprune.measure.progress import SILENT, Progress
from eprune.measure.recovery import Recovery, exchanged_tensor, fit
from eprune.measure.robust import calibration
from eprune.measure.robustness import plan_of
from eprune.model.partition import failure_sets
from eprune.model.system import System
from eprune.passes.recover import Options, is_exchange


def planned(system: System, options: Options, progress: Progress = SILENT) -> Options:
    """The options with what is measured. Raises ValueError and EpruneError for what does not fit."""
    exchanges = [actor for actor in system.graph.actors if is_exchange(actor)]
    if not exchanges:
        return options  # the pass says it
    model, plan, names = plan_of(system)
    if not 0 < options.failures < plan.devices:
        raise ValueError(f"--failures {options.failures}: with {plan.devices} devices 1 to {plan.devices - 1}")
    interpreter, _ = chosen_interpreter("auto")
    tokens, _ = calibration(system, model, options.calibration)
    dealt = {layer.first for layer in plan.layers}
    stages = Stages(model, [each for each in layers_of(model) if each.first in dealt], interpreter)
    sets = failure_sets(plan.devices, options.failures)[1:]
    found = []
    for place, dead in enumerate(sets):
        progress.update(place)
        found.append(fit(stages, plan, dead, tokens))
    made = {}
    for actor in exchanges:
        own = names.index(system.homes[actor.name])
        arrays = _arrays(found, own, exchanged_tensor(system, actor), names)
        if arrays:
            stream = io.BytesIO()
            np.savez(stream, **arrays)
            made[actor.name] = stream.getvalue()
    figures = {"sets": len(sets), "calibration": len(tokens)}
    return replace(options, made=made, figures=figures)


def _arrays(found: list[Recovery], own: int, tensor: int, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """What the exchange of a tensor on a device needs: of each set of others that are dead."""
    arrays = {}
    for recovery in found:
        prediction = recovery.predictions.get(tensor)
        if prediction is not None and own not in recovery.dead:
            key = ",".join(sorted(names[device] for device in recovery.dead))
            arrays[key] = prediction.weights
            arrays[f"{key}:low"] = np.array(prediction.low)
    return arrays
