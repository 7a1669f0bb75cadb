"""The plan of ``apply partition --method robust``: scores of channels, measured on the user's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Optional

import numpy as np

from eprune.explore.importance import HIERARCHY
from eprune.formats.models.parts import Model
from eprune.measure.answers import ends, labels_of
from eprune.measure.data import ALL, CALIBRATION, read_data
from eprune.measure.evaluate import class_names, tokens_of
from eprune.measure.masks import Stages
from eprune.measure.pictures import Pictures
from eprune.measure.probe import chosen_interpreter
from eprune.measure.progress import SILENT, Progress
from eprune.measure.scores import robust_plan
from eprune.model.finding import EpruneError
from eprune.model.system import System
from eprune.passes.partition import Options, chosen_layers

#: Calibration pictures, drawn at random from those that are given.
PICTURES = 100


def planned(system: System, options: Options, progress: Progress = SILENT) -> Options:
    """The options with the plan, and what is known of it.

    Without ``calibration``, the only score is that of the weights. Of pictures, the calibration part is used, so that
    the test part of the same pictures can judge the plan. Raises ValueError for what is not possible, EpruneError for
    pictures that do not fit.
    """
    model, layers = chosen_layers(system, options)
    tokens: Sequence[np.ndarray] = ()
    classes = None
    if options.calibration:
        tokens, classes = calibration(system, model, options.calibration)
    try:
        plan, figures = robust_plan(
            model,
            layers,
            options.devices,
            options.memory or None,
            options.failures,
            tokens,
            tuple(options.scores.split(",")) if options.scores else None,
            options.rotate,
            HIERARCHY,
            by_layer=True,
            recover=options.recover,
            classes=classes,
            progress=progress,
        )
    except ImportError:
        raise ValueError("--method robust needs SciPy, which is not installed: pip install 'eprune[robust]'") from None
    return replace(options, made=plan, figures={"robust": {**figures, "calibration": len(tokens)}})


def calibration(
    system: System, model: Model, path: str, count: int = PICTURES
) -> tuple[list[np.ndarray], Optional[list[int]]]:
    """Tokens of the calibration part of the pictures at ``path``, and their classes, if they have labels that fit."""
    data = read_data(path)
    try:
        part = data.part(CALIBRATION)
    except EpruneError:
        part = data.part(ALL)  # of a single source there are no parts
    part = part.first(count)
    sources, sinks = ends(system.graph)
    token = Stages(model, [], chosen_interpreter("auto")[0]).token
    tokens = tokens_of(part, Pictures(token, dict(sources[0].parameters)))
    names = class_names(labels_of(sinks))
    classes = part.classes(names) if part.labelled and not part.by_alphabet(names) else None
    return tokens, classes
