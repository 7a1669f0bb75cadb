"""The two models and the threshold of ``eprune apply cascade``: measured on the cascade's own graph."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eprune.formats.library import library_folder
from eprune.formats.model_files import parse_model
from eprune.measure import exits
from eprune.measure.answers import class_of
from eprune.measure.data import CALIBRATION, TEST, Data, read_data
from eprune.measure.evaluate import check_class, class_names, figures_of, interval
from eprune.measure.exits import ACCURACY, AGREEMENT, NEVER, Candidate, Frames
from eprune.measure.progress import SILENT, Progress
from eprune.measure.stages import run_both, stage_of
from eprune.measure.stated import stated
from eprune.model.samples import Share
from eprune.model.system import System
from eprune.passes import cascade
from eprune.passes.cascade import Options, Stage
from eprune.runtime.main import imports

#: Scores further below 0 or above 1 are no probabilities.
_NEAR = 0.05


def planned(system: System, options: Options, progress: Progress = SILENT) -> Options:
    """The options with both models, the threshold, and what is known of it.

    Raises ValueError and EpruneError for what is unfit.
    """
    wish = exits.parse_wish(options.wish)
    if not 0 <= options.audit <= 1:
        raise ValueError(f"--audit {options.audit:g}: expected a share, 0 to 1")
    for name, text in (("mean", options.mean), ("std", options.std)):
        _check_numbers(name, text)
    if options.frames < 1:
        raise ValueError("--frames is 1 or more")
    data = read_data(options.data)
    if wish.what == ACCURACY and not data.labelled:
        raise ValueError(f"--wish {options.wish}: {data.path} has no labels; without, wish for agreement=0.98")
    found = stated(options.large)
    stages = (
        _small(system, options),
        stage_of(found.model, found.types, found.metadata, found.file, options.mean, options.std),
    )
    if stages[0].detector and wish.what == ACCURACY:
        raise ValueError(f"--wish {options.wish}: where objects are is not known of pictures; wish for agreement=0.98")
    shown = options.input or (str(Path(options.data).resolve()) if Path(options.data).is_dir() else "")
    plan = _Plan(replace(options, stages=stages, input=shown), wish)
    seen = [plan.see(data.part(part).first(options.frames), progress) for part in (CALIBRATION, TEST)]
    return plan.made(*seen)


def _check_numbers(name: str, text: str) -> None:
    """Raise ValueError for what is given and is no numbers."""
    try:
        found = [float(number) for number in text.split(",") if text]
    except ValueError:
        found = [math.nan]
    if not all(map(math.isfinite, found)) or (name == "std" and 0 in found):
        raise ValueError(f"--{name} {text}: expected a number, or one for each channel: 0.485,0.456,0.406")


def _small(system: System, options: Options) -> Stage:
    """The small model, which was imported."""
    files = {a.behaviour.file for a in system.graph.actors if a.behaviour is not None and a.behaviour.operators}
    if len(files) != 1 or not files <= set(system.files):
        raise ValueError("a cascade is of two models: give SMALL.tflite and LARGE.tflite")
    (file,) = files
    model = parse_model(system.files[file], file)
    return stage_of(model, {}, model.format.metadata(model), file, options.mean, options.std)


@dataclass(frozen=True)
class _Seen:
    """What pictures of a part gave: the small model's scores [frames, ...], and bytes as a JPEG.

    ``small`` and ``large`` say how right the models' answers are, 0 to 1; the large one sees coded pictures.
    """

    scores: np.ndarray
    small: np.ndarray
    large: np.ndarray
    nbytes: np.ndarray


class _Plan:
    def __init__(self, options: Options, wish: exits.Wish) -> None:
        self.options, self.wish = options, wish
        self.small = options.stages[0]
        self.measure = AGREEMENT

    def see(self, part: Data, progress: Progress) -> _Seen:
        """Both models on pictures, as the cascade runs them."""
        scores, coded, nbytes = self._run(part, self.options.quality, progress)
        plain = self._run(part, 0, progress)[1] if self.options.quality else coded
        if self.small.detector:
            found: Any = imports.load(str(Path(library_folder(), "detections.py")))
            small, large = ([found.agreement(*pair) for pair in zip(each, plain)] for each in (scores, coded))
            return _Seen(scores, np.array(small), np.array(large), nbytes)
        wanted = np.array([class_of(each) for each in plain])
        if self.wish.what != AGREEMENT and part.labelled:
            self.measure = ACCURACY
            classes = part.classes(class_names(self.options.labels))
            for example, label in zip(part, classes):
                check_class(part, example, label, scores[0])
            wanted = np.array(classes)
        answers = np.array([class_of(each) for each in coded])
        return _Seen(scores, scores.argmax(axis=1) == wanted, answers == wanted, nbytes)

    def _run(self, part: Data, quality: int, progress: Progress) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
        """The small model's scores, the large one's, and the bytes of the pictures, of all frames."""
        found = run_both(replace(self.options, quality=quality), part, progress)
        scores = np.stack(found.small)
        if self.small.detector is None:
            scores = scores.reshape(len(part), -1)
        if self.small.scale is not None:
            scores = (scores.astype(np.float32) - np.float32(self.small.zero)) * np.float32(self.small.scale)
        return scores, found.large, np.array(found.nbytes)

    def made(self, hold: _Seen, test: _Seen) -> Options:
        """The options with the threshold that is best on ``hold``, and figures of ``test``."""
        logits = self.small.detector is None and bool((np.abs(hold.scores - 0.5) > 0.5 + _NEAR).any())
        frames, small = self._frames(hold), self._candidate(hold, logits)
        (threshold,), outcome = exits.thresholds(frames, [small], self.wish)
        if exits.lacks(self.wish, outcome) or threshold >= NEVER:
            raise exits.unreachable(self.options.data, self.wish, outcome)
        judged = exits.outcome(self._frames(test), [self._candidate(test, logits)], [threshold])
        lines, figures = self._report(threshold, judged, test)
        stages = replace(self.small, logits=logits), self.options.stages[1]
        return replace(self.options, stages=stages, threshold=threshold, lines=lines, figures=figures)

    def _frames(self, seen: _Seen) -> Frames:
        return Frames(seen.large, None, 1.0, float(seen.nbytes.mean()))

    def _candidate(self, seen: _Seen, logits: bool) -> Candidate:
        gate: Any = imports.load(str(Path(library_folder(), "exit_gate.py")))
        measure = "detections" if self.small.detector else "softmax" if logits else "probability"
        confidence = np.array([gate.confidence(each, measure) for each in seen.scores])
        return Candidate(confidence, seen.small, 1.0, 0.0, float(seen.nbytes.mean()))

    def _report(self, threshold: float, judged: exits.Outcome, test: _Seen) -> tuple[tuple[str, ...], dict[str, Any]]:
        out = judged.leaves == 0
        count = len(out)

        def share(right: np.ndarray) -> Share:
            return Share(float(right.sum()), count)

        kinds = {
            "small": share(test.small),
            "large": share(test.large),
            "cascade": share(judged.right),
        }
        sent, whole = float(test.nbytes[~out].sum() / count), float(test.nbytes.mean())
        notes = tuple(dict.fromkeys(note for stage in self.options.stages for note in stage.notes))
        if not self.options.input:
            notes += (f"the camera shows the folder {cascade.PICTURES!r}; --input, or Camera.path, says otherwise",)
        what = "accuracy" if self.measure == ACCURACY else "agreement with the large model"
        what += ", F1 of the objects per frame" if self.small.detector else ""
        coded = f"JPEG {self.options.quality}" if self.options.quality else "pictures as they are"
        lines = (
            *(f"note: {note}" for note in notes),
            f"threshold {threshold:.4g}: the small model answers {100 * out.mean():.1f} % of {count} test pictures",
            f"{what}: {interval(kinds['cascade'])}; the small model alone {interval(kinds['small'])}, the large one "
            f"alone, on {coded}, {interval(kinds['large'])}",
            f"over the link: {sent:.0f} bytes per frame instead of {whole:.0f} ({coded})",
        )
        figures: dict[str, Any] = {
            "threshold": threshold,
            "share": float(out.mean()),
            "pictures": count,
            self.measure: {name: figures_of(each) for name, each in kinds.items()},
            "bytes_per_frame": sent,
            "bytes_without": whole,
        }
        return lines, figures
