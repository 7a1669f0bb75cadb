"""The two models of a cascade, or one of them by itself, on pictures: run as the cascade runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath

import numpy as np

from eprune.formats.ends import images
from eprune.formats.ends.base import Choices, picture_of
from eprune.formats.ends.detections import detector_of
from eprune.formats.models.flow import flow as find_flow
from eprune.formats.models.metadata import Metadata
from eprune.formats.models.parts import Model
from eprune.measure.answers import SystemAnswers, alone, on_disk
from eprune.measure.data import Data, token_of
from eprune.measure.executor import Firing
from eprune.measure.pictures import Pictures
from eprune.measure.progress import SILENT, Progress
from eprune.measure.stated import stated
from eprune.model.graph import Graph
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes import cascade
from eprune.passes._detectors import OBJECTS
from eprune.passes.cascade import ENCODE, HEAD, LARGE, Options, Stage
from eprune.passes.ends import ends_of


@dataclass
class Both:
    """What both models have given for each picture, and the bytes of each as a JPEG."""

    small: list[np.ndarray] = field(default_factory=list)
    large: list[np.ndarray] = field(default_factory=list)
    nbytes: list[int] = field(default_factory=list)


def run_both(options: Options, part: Data, progress: Progress = SILENT, interpreter: str = "auto") -> Both:
    """Both models of ``options.stages`` on all pictures, whatever the threshold."""
    # With a threshold that all reach, and all audited, both see every picture.
    tried = replace(options, threshold=-1.0, audit=1.0)
    small, large = (stage.node(name) for stage, name in zip(options.stages, (HEAD, LARGE)))
    found = Both()
    keep: Mapping[str, Callable[[Firing], None]] = {
        small: lambda firing: found.small.append(np.array(firing.outputs["out"])),
        large: lambda firing: found.large.append(np.array(firing.outputs["out"])),
        ENCODE: lambda firing: found.nbytes.append(firing.outputs["out"].used),
    }
    progress.begin("running both models")
    _run(cascade.apply(System(Graph("cascade")), tried).system, part, keep, progress, interpreter)
    return found


def _run(
    system: System, part: Data, keep: Mapping[str, Callable[[Firing], None]], progress: Progress, interpreter: str
) -> None:
    """An application on all pictures; each actor of ``keep`` has its firings told there."""

    def observe(firing: Firing) -> None:
        if firing.node in keep:
            keep[firing.node](firing)

    with on_disk(alone(system)) as stored, SystemAnswers(stored, interpreter, fused=False, observe=observe) as answers:
        pictures = Pictures(answers.token)
        for place, example in enumerate(part):
            answers.frame(token_of(pictures, example))
            progress.update(place + 1)


def objects_of(model: Model, scaling: Mapping[str, str], part: Data, interpreter: str = "auto") -> list[np.ndarray]:
    """What a detector finds in each picture by itself, as ``Detections`` writes it, float32[K,6].

    ``scaling``: ``mean`` and ``std``, as sources take them. Raises ValueError for a model that is no detector.
    """
    found = stated(model.path)
    stage = stage_of(
        found.model, found.types, found.metadata, found.file, scaling.get("mean", ""), scaling.get("std", "")
    )
    if stage.detector is None:
        raise ValueError(f"{model.path} is no detector, and the answers are objects: give the detector with --model")
    objects: list[np.ndarray] = []
    keep = {stage.node(LARGE): lambda firing: objects.append(np.array(firing.outputs["out"]))}
    _run(cascade.large_alone(Options("", "", quality=0), stage), part, keep, SILENT, interpreter)
    return objects


def stage_of(
    model: Model, types: Mapping[int, TokenType], metadata: Metadata, file: str, mean: str = "", std: str = ""
) -> Stage:
    """What a model takes and gives. Raises ValueError if that is not a picture, and the scores of classes."""
    name = PurePath(file).name
    flow = find_flow(model, dict(types))
    ends = ends_of(model, flow, metadata)
    detector = detector_of(ends)
    fits = len(ends.outputs) == 1 or detector is not None
    if len(ends.inputs) != 1 or not fits or not images.KIND.fits(ends.inputs[0]):
        raise ValueError(
            f"{name} has {len(ends.inputs)} inputs and {len(ends.outputs)} outputs: a cascade is of classifiers, "
            "which take one picture and give the scores of classes, or of detectors, which give what "
            "TFLite_Detection_PostProcess does, or the heads that BoxDecoder takes"
        )
    (given,), made = ends.inputs, ends.outputs[0]
    if given.token.dtype not in ("uint8", "int8", "float32") or picture_of(given.token) != given.token.shape[-3:]:
        raise ValueError(f"{name} takes {given.token}: expected pictures uint8, int8 or float32, channels last")
    if detector is None and (made.token.shape[0] != 1 or int(np.prod(made.token.shape)) < 2):
        raise ValueError(f"{name} gives {made.token}: expected scores, such as float32[1,10]")
    choices = Choices(mean, std) if given.is_float else Choices()
    source = images.KIND.source(given, choices, ends)
    scaling = dict(source.parameters)
    if "scale" in scaling:
        raise ValueError(f"{name} takes {given.token} that is scaled otherwise than pixels are")
    scaled = detector is None and not made.is_float
    quantized = made.quantization if scaled else None
    if scaled and quantized is None:
        raise ValueError(f"{name} gives {made.token}, and does not say what that means")
    return Stage(
        name,
        model.data,
        len(model.operators),
        given.token,
        OBJECTS if detector else made.token,
        scaling.get("mean", "0"),
        scaling.get("std", "1"),
        quantized.scale if quantized else None,
        quantized.zero_point if quantized else 0,
        notes=source.notes,
        detector=detector,
    )
