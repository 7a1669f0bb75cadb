"""How good is an application on a user's own pictures, and what does a frame cost?

Accuracy where there are labels, else agreement with the whole model; bytes over links; the time of a frame. This is
what all commands that take ``--data`` share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np

from eprune.formats.library import library_folder
from eprune.formats.models.parts import Model
from eprune.measure.answers import ModelAnswers, SystemAnswers, class_of, milliseconds, on_disk, whole_model
from eprune.measure.data import TEST, Data, Example, data_error, token_of, tokens_of
from eprune.measure.engines import versions_of
from eprune.measure.lone import FRAMES, lone_frames
from eprune.measure.pictures import Pictures, image_source
from eprune.measure.progress import SILENT, Progress
from eprune.measure.stages import objects_of
from eprune.model.samples import Share
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.runtime.main import imports

#: What was counted.
ACCURACY, AGREEMENT = "accuracy", "agreement"
#: How a latency is known.
PREDICTED, MEASURED, EMULATED = "predicted", "measured", "emulated"


def interval(share: Share) -> str:
    """``0.9333 (0.853 to 0.971)``."""
    return f"{share.value:.4g} ({share.low:.3g} to {share.high:.3g})"


def figures_of(share: Optional[Share]) -> Optional[dict[str, float]]:
    """The same as plain data."""
    return None if share is None else {"value": share.value, "low": share.low, "high": share.high, "of": share.of}


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` found.

    ``measure`` says what ``share`` counts: ``accuracy``, or ``agreement`` with ``model``. ``bytes_per_frame`` is the
    mean over each link (from, to). ``latency_ms`` is the median over the frames of the time from the picture to the
    answer, ``latency_p95_ms`` what 95 of 100 frames do not exceed; ``how`` says how that is known: ``predicted``
    (``answers.SystemAnswers``), ``measured`` or ``emulated`` (``measure.lone``).
    """

    application: str
    measure: str
    share: Share
    part: str
    pictures: int
    bytes_per_frame: Mapping[tuple[str, str], float]
    latency_ms: float
    latency_p95_ms: float
    interpreter: str
    model: Optional[str] = None
    notes: tuple[str, ...] = ()
    how: str = PREDICTED


def evaluate(
    system: System,
    data: Data,
    part: str = TEST,
    split: float = 0.5,
    seed: int = 1,
    frames: Optional[int] = None,
    model: Optional[Model] = None,
    labels: str = "",
    answer: Optional[str] = None,
    interpreter: str = "auto",
    run: bool = False,
    emulate: bool = False,
    progress: Progress = SILENT,
) -> Evaluation:
    """Run the application on that part of the data.

    ``split`` is the share of the calibration part, ``frames`` how many pictures are drawn of the part (None: all).
    With ``model``, and for data without labels, the answers are compared with the whole model's; so they are where they
    are objects, by the F1 of each picture (``actors/detections.py``). ``labels`` names the
    classes, as parameters of actors do (default: as a sink's parameter says); ``answer`` the sink's input
    ``ACTOR.PORT``. With ``run``, the latency is that of the application's own programs on this machine, ``emulate``d or
    not. Raises EpruneError for data and applications that do not fit.
    """
    version = versions_of(system, interpreter)
    chosen = data.part(part, split, seed).first(frames, seed)
    with on_disk(system) as stored, SystemAnswers(stored, interpreter, answer) as answers:
        pictures = Pictures(answers.token, answers.parameters)
        notes = []
        wanted: Optional[Callable[[int, np.ndarray], int]] = None
        objects: Optional[Callable[[int, np.ndarray, Any], float]] = None
        if _finds_objects(system):
            model = model or whole_model(stored)
            measure, objects = AGREEMENT, _objects(system, model, interpreter, chosen)
        elif chosen.labelled and model is None:
            names = class_names(labels or answers.labels)
            classes = chosen.classes(names)
            notes += by_alphabet(chosen, names)
            measure, wanted = ACCURACY, lambda place, token: classes[place]
        else:
            model = model or whole_model(stored)
            measure, wanted = AGREEMENT, _whole(system, model, interpreter, answers, chosen)
        if len(answers.sources) > 1:
            notes.append(f"each of {len(answers.sources)} sources sends the same picture")
        right, seconds, sent = 0.0, [], dict[tuple[str, str], float]()
        for place, example in enumerate(chosen):
            token = token_of(pictures, example)
            expected = wanted(place, token) if wanted else None
            frame = answers.frame(token, expected)
            if objects is not None:
                right += objects(place, token, frame.answer)
            else:
                assert expected is not None
                check_class(chosen, example, expected, frame.answer)
                right += class_of(frame.answer) == expected
            seconds.append(frame.seconds)
            for way, nbytes in frame.nbytes.items():
                sent[way] = sent.get(way, 0.0) + nbytes
            progress.update(place + 1)
        if run:
            first = chosen.first(FRAMES, seed)
            seconds = lone_frames(stored, tokens_of(first, pictures), interpreter, emulate)
    return Evaluation(
        system.graph.name,
        measure,
        Share(right if objects else round(right), len(chosen)),
        part,
        len(data),
        {way: nbytes / len(chosen) for way, nbytes in sent.items()},
        milliseconds(seconds, 0.5),
        milliseconds(seconds, 0.95),
        version,
        Path(model.path).name if measure == AGREEMENT and model else None,
        tuple(notes),
        EMULATED if run and emulate else MEASURED if run else PREDICTED,
    )


def _finds_objects(system: System) -> bool:
    """Whether the answers are objects that a detector has found."""
    return any(actor.class_name == "DetectionExits" for actor in system.graph.actors)


def _objects(system: System, model: Model, interpreter: str, chosen: Data) -> Callable[[int, np.ndarray, Any], float]:
    """How much the objects that were found, and those of a model, have in common: F1, 0 to 1."""
    scaled = (dict(actor.parameters) for actor in system.graph.actors)
    scaling = next((given for given in scaled if {"mean", "std"} <= given.keys()), {})
    wanted = objects_of(model, scaling, chosen, interpreter)
    library: Any = imports.load(str(Path(library_folder(), "detections.py")))
    return lambda place, token, answer: float(library.agreement(answer, wanted[place]))


def _whole(
    system: System, model: Model, interpreter: str, answers: SystemAnswers, chosen: Data
) -> Callable[[int, np.ndarray], int]:
    """The class that the whole model gives a picture, by its place: of the application's token, if it takes that."""
    given = model.tensors[model.inputs[0]] if model.inputs else None
    if given is None or str(given.dtype) == answers.token.dtype:
        same = ModelAnswers(model, interpreter, answers.token.shape)
        return lambda place, token: class_of(same(token))
    # An actor of the application makes of the picture what the model takes.
    whole = ModelAnswers(model, interpreter)
    pictures = Pictures(whole.token, _scaling_for(system, whole.token))
    return lambda place, token: class_of(whole(token_of(pictures, chosen.examples[place])))


def _scaling_for(system: System, token: TokenType) -> Mapping[str, str]:
    """The parameters of the actor that makes such tokens of pictures; none if there is none."""
    for actor in system.graph.actors:
        scales = {"mean", "std"} & dict(actor.parameters).keys()
        if scales and any(port.token == token for port in actor.outputs):
            return dict(actor.parameters)
    return {}


def class_names(text: str) -> list[str]:
    """Names of classes: ``car,bus``, or a file with one per line. Raises ValueError."""
    lines: Any = imports.load(str(Path(image_source().__file__ or "").with_name("line_file.py")))
    names: list[str] = lines.read_labels(text)
    return names


def by_alphabet(data: Data, names: Sequence[str]) -> list[str]:
    """A note where labels are numbered by the alphabet."""
    if not data.by_alphabet(names):
        return []
    found = sorted({str(example.label) for example in data})
    few = ", ".join(f"{name} = {place}" for place, name in enumerate(found[:4])) + ", ..." * (len(found) > 4)
    return [f"classes are numbered by the alphabet: {few}; give --labels if the model has another order"]


def check_class(data: Data, example: Example, wanted: int, answer: np.ndarray) -> None:
    """Raise EpruneError for a label that the model has no score for."""
    if answer.size > 1 and wanted >= answer.size:
        message = f"{example.name}: label {example.label!r} is class {wanted}, but there are {answer.size} scores"
        raise data_error(data.path, message, "say with --labels what the classes are called")
