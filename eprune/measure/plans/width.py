"""The widths of ``eprune apply width``: which channels are in which part, what predicts the others, and the gate."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Optional

import numpy as np

from eprune.formats.model_files import parse_model
from eprune.formats.models.flow import flow as find_flow
from eprune.formats.models.parts import Model
from eprune.formats.models.quantization import Quantization
from eprune.formats.tflite.channels import Layer, layers
from eprune.formats.tflite.dealing import blocks, dealable, pieces
from eprune.formats.tflite.head import gate_model, pool_within, pooled
from eprune.measure import exits
from eprune.measure.answers import class_of, ends, labels_of
from eprune.measure.data import Data, read_data, token_of
from eprune.measure.evaluate import check_class, class_names, figures_of, interval
from eprune.measure.exits import ACCURACY, AGREEMENT, BYTES, Outcome, Wish
from eprune.measure.gates import VALUES, Tried
from eprune.measure.masks import INTACT, Case, Stages, alive
from eprune.measure.pictures import Pictures
from eprune.measure.probe import chosen_interpreter
from eprune.measure.progress import SILENT, Progress
from eprune.measure.recovery import Recovery, fit
from eprune.measure.scores import channel_scores
from eprune.model.partition import LayerParts, Plan
from eprune.model.samples import Share
from eprune.model.system import System
from eprune.passes.partition import model_of
from eprune.passes.width import Gate, Options, Region, region

#: Pictures that predictions are fitted on, at most.
_PREDICTED = 60
_MOST = 8
NEVER = -1.0


def planned(system: System, options: Options, progress: Progress = SILENT) -> Options:
    """The options with plan, predictions and gate, and what is known of them.

    Raises ValueError and EpruneError for what is unfit.
    """
    wish = exits.parse_wish(options.wish)
    if wish.what == BYTES:
        raise ValueError(f"--wish {options.wish}: expected accuracy=0.97 or agreement=0.98")
    if not 2 <= options.widths <= _MOST:
        raise ValueError(f"--widths {options.widths}: expected 2 to {_MOST}")
    if options.frames < 1:
        raise ValueError("--frames is 1 or more")
    data = read_data(options.data)
    if wish.what == ACCURACY and not data.labelled:
        raise ValueError(f"--wish {options.wish}: {data.path} has no labels; without, wish for agreement=0.98")
    parts = data.fitting(options.frames)
    plan = _Plan(system, options, wish, parts[0], progress)
    return plan.made(*[plan.see(each) for each in parts])


def importance_plan(model: Model, dealt: Sequence[Layer], count: int) -> Plan:
    """So many parts of each layer, its most important channels, by the norms of their weights, in the first one."""
    scores = channel_scores(model, dealt, names=("s1",))
    made = []
    for layer in dealt:
        order = np.argsort(-scores[layer.first][:, 0], kind="stable")
        parts = tuple(tuple(sorted(order[list(block)].tolist())) for block in blocks(layer.channels, count))
        made.append(LayerParts(layer.first, parts))
    return Plan(count, "width", tuple(made))


#: Its ways are widths, and ``values`` [frames, n] are what the gate gets.
_Seen = Tried[np.ndarray]


class _Plan:
    def __init__(self, system: System, options: Options, wish: Wish, part: Data, progress: Progress) -> None:
        self.system, self.options, self.wish, self.progress = system, options, wish, progress
        self.model, _ = model_of(system)
        self.measure = AGREEMENT
        self.count = options.widths
        flow, found = find_flow(self.model), layers(self.model)
        dealt = dealable(self.model, flow, found, self.count)
        if not dealt:
            raise ValueError(f"no layer has {self.count} channels or more to leave out")
        self.plan = importance_plan(self.model, dealt, self.count)
        self.region: Region = region(self.model, flow, pieces(self.model, flow, found, self.plan))
        self.token = flow.types[self.region.entry]
        self.stages = Stages(self.model, dealt, chosen_interpreter("auto")[0])
        sources, sinks = ends(system.graph)
        self.pictures = Pictures(self.stages.token, dict(sources[0].parameters))
        self.labels = labels_of(sinks)
        self.total = sum(layer.macs for layer in found)
        #: the share of the multiplications that each width takes
        self.macs = [
            self.total - sum(layer.macs for layer in dealt) * (1 - k / self.count) for k in range(1, self.count + 1)
        ]
        progress.begin("fitting predictions")
        tokens = [token_of(self.pictures, example) for example in part.first(_PREDICTED)]
        self.recoveries = [self._fit(width, tokens) for width in range(1, self.count)]

    def _fit(self, width: int, tokens: Sequence[np.ndarray]) -> Recovery:
        """Predictions for what is missing at a width."""
        self.progress.update(width)
        return fit(self.stages, self.plan, range(width, self.count), tokens)

    def _cases(self) -> list[Case]:
        narrow = [Case(alive(self.plan, each.dead), each) for each in self.recoveries]
        return [*narrow, INTACT]

    # Frames

    def see(self, part: Data) -> _Seen:
        """All widths on pictures."""
        answers, values = [], []
        cases = self._cases()
        self.progress.begin(f"{self.count} widths")
        for place, example in enumerate(part):
            token = token_of(self.pictures, example)
            found = self.stages(token, cases)
            answers.append([class_of(each) for each in found])
            values.append(self._pooled(self._entered(token)))
            self.progress.update(place + 1)
        wanted = np.array([each[-1] for each in answers])
        if self.wish.what == ACCURACY:
            self.measure = ACCURACY
            classes = part.classes(class_names(self.labels))
            for example, label in zip(part, classes):
                check_class(part, example, label, found[0])
            wanted = np.array(classes)
        return _Seen(np.array(answers), np.array(values), wanted)

    def _entered(self, token: np.ndarray) -> np.ndarray:
        """The tensor at the entry."""
        if self.region.entry == self.stages.input:
            return token
        values = {self.stages.input: token}
        for stage in self.stages.stages:
            values.update(self.stages.invoke(stage, values))
            if self.region.entry in values:
                return values[self.region.entry]
        raise AssertionError("the entry is computed")

    # The gate

    def _quantized(self) -> Optional[Quantization]:
        return None if self.token.dtype == "float32" else self.model.format.quantization(self.model, self.region.entry)

    def _pooled(self, x: np.ndarray) -> np.ndarray:
        return pooled(x, pool_within(self.token.shape, VALUES), self._quantized())

    def _fitted(self, width: int, seen: _Seen) -> tuple[np.ndarray, float]:
        """Weights and bias: how likely a width is not enough."""
        return exits.likelihood(seen.values, seen.spoiled(width))

    # The plan

    def made(self, fitting: _Seen, hold: _Seen, test: _Seen) -> Options:
        """The options with the widths and the gate that is best on ``hold``, and figures of ``test``."""
        models = [self._fitted(width, fitting) for width in range(self.count - 1)]
        weights, biases = np.stack([each[0] for each in models]), np.array([each[1] for each in models], np.float32)
        limits, outcome = self._thresholds(hold, _scores(hold, weights, biases))
        if exits.lacks(self.wish, outcome) or all(limit == NEVER for limit in limits):
            raise exits.unreachable(self.options.data, self.wish, outcome)
        chosen, judged = self._outcome(test, _scores(test, weights, biases), limits)
        data = gate_model(
            self.token, pool_within(self.token.shape, VALUES), weights.astype(np.float32), biases, self._quantized()
        )
        gate = Gate(data, len(parse_model(data).operators), tuple(limits))
        lines, figures = self._report(limits, chosen, judged, test)
        files = {tensor: self._predictions(tensor) for tensor in self.stages.exchanged}
        return replace(self.options, plan=self.plan, gate=gate, predictions=files, lines=lines, figures=figures)

    def _predictions(self, tensor: int) -> bytes:
        """The file of an exchange: of each width, what predicts the parts that are not there."""
        arrays = {}
        for recovery in self.recoveries:
            found = recovery.predictions.get(tensor)
            if found is not None:
                key = ",".join(f"width{part + 1}" for part in sorted(recovery.dead))
                arrays[key], arrays[f"{key}:low"] = found.weights, np.array(found.low)
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        return stream.getvalue()

    def _outcome(self, seen: _Seen, scores: np.ndarray, limits: Sequence[float]) -> tuple[np.ndarray, Outcome]:
        """The width of each frame, from 0 on, and what becomes of the frames."""
        enough = np.concatenate([scores < np.array(limits), np.ones((len(scores), 1), bool)], axis=1)
        chosen = enough.argmax(axis=1)
        right = seen.answers[np.arange(len(chosen)), chosen] == seen.wanted
        cost = float(np.mean([self.macs[width] for width in chosen]))
        lost = float(((seen.whole == seen.wanted) & ~right).mean())
        return chosen, Outcome(chosen, right, cost, 0.0, cost / (self.total or 1), lost)

    def _thresholds(self, seen: _Seen, scores: np.ndarray) -> tuple[list[float], Outcome]:
        """The thresholds that fulfil the wish at the least cost."""
        tried = [[NEVER, *exits.quantiles(column), exits.NEVER] for column in scores.T]
        found = [NEVER] * (self.count - 1)
        return exits.improved(found, tried, lambda each: self._outcome(seen, scores, each)[1], self.wish)

    def _report(
        self, limits: Sequence[float], chosen: np.ndarray, judged: Outcome, test: _Seen
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        count = len(chosen)
        lines, listed = [], []
        for width in range(self.count):
            share = Share(int((test.answers[:, width] == test.wanted).sum()), count)
            taken, macs = float((chosen == width).mean()), self.macs[width] / (self.total or 1)
            lines.append(
                f"width {width + 1} of {self.count}: {100 * taken:.1f} % of {count} test pictures, "
                f"{100 * macs:.1f} % of the MACs; for all of them, {self.measure} {interval(share)}"
            )
            listed.append({"width": width + 1, "share": taken, "macs": macs, self.measure: figures_of(share)})
        right = Share(int(judged.right.sum()), count)
        saved = 1 - judged.cost / (self.total or 1)
        lines.append(f"all test pictures: {self.measure} {interval(right)}; {100 * saved:.1f} % of MACs saved")
        figures = {
            "widths": listed,
            "thresholds": list(limits),
            "pictures": count,
            self.measure: figures_of(right),
            "saved": saved,
        }
        return tuple(lines), figures


def _scores(seen: _Seen, weights: np.ndarray, biases: np.ndarray) -> np.ndarray:
    """Of each frame, how likely each width but the last is not enough [frames, widths - 1]."""
    found: np.ndarray = 1 / (1 + np.exp(-(seen.values @ weights.T + biases)))
    return found
