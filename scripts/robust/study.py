"""What is measured of one network: each row of the tables, as plain data."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from eprune.formats.model_files import read_model
from eprune.formats.tflite.channels import Layer
from eprune.formats.tflite.dealing import chained, full, lop
from eprune.measure.data import CALIBRATION, TEST, read_data
from eprune.measure.evaluate import tokens_of
from eprune.measure.masks import Stages
from eprune.measure.pictures import Pictures
from eprune.measure.probe import chosen_interpreter
from eprune.measure.recovery import Recovery, fit
from eprune.measure.robustness import Trial
from eprune.measure.scores import SCORES, channel_scores, robust_plan
from eprune.model.partition import Plan, failure_sets

#: The threshold that all combinations of scores have in the paper's way of comparing them.
THRESHOLD = 0.2
#: Devices of the tables that compare scores and ways of dealing.
DEVICES = 4


@dataclass(frozen=True)
class Row:
    """A plan of a network: ``right`` has the mean share of right answers for each number of dead devices."""

    table: str
    network: str
    seed: int
    devices: int
    plan: str
    memory: float
    right: tuple[float, ...]
    worst: tuple[float, ...]


def network(path: Path, data: Path, frames: int, calibrate: int) -> list[Row]:
    """All rows of a network, NAME_SEED.tflite, or of another name."""
    return list(_Study(path, data, frames, calibrate).rows())


def test_tokens(path: Path, data: Path, count: int) -> tuple[np.ndarray, list[int]]:
    """Test pictures as a model takes them, stacked, and their classes."""
    token = Stages(read_model(str(path)), [], chosen_interpreter("auto")[0]).token
    part = read_data(str(data)).part(TEST).first(count)
    return np.stack(tokens_of(part, Pictures(token))), list(part.classes())


class _Study:
    def __init__(self, path: Path, data: Path, frames: int, calibrate: int) -> None:
        name, _, seed = path.stem.rpartition("_")
        self.name, self.seed = (name, int(seed)) if seed.isdigit() else (path.stem, 1)
        interpreter, _ = chosen_interpreter("auto")
        model = read_model(str(path))
        pictures = Pictures(Stages(model, [], interpreter).token)
        read = read_data(str(data))
        test, own = read.part(TEST).first(frames), read.part(CALIBRATION).first(calibrate)
        wanted = test.classes() if test.labelled else None
        self.trial = Trial(model, tokens_of(test, pictures), wanted, interpreter, tokens_of(own, pictures))
        self.classes = own.classes() if own.labelled else None
        self.measured: dict[tuple[int, ...], Mapping[int, np.ndarray]] = {}

    def rows(self) -> Iterator[Row]:
        """Figure 4, then table 1, then ways of dealing."""
        for devices in (2, 3, 4):
            yield from self._methods(devices)
        yield from self._combinations()
        yield from self._ways()

    def _methods(self, devices: int) -> Iterator[Row]:
        layers = self.trial.chosen(devices)
        one, _ = self._plan(layers, devices)
        each, _ = self._plan(layers, devices, by_layer=True)
        plans = [("lop", lop(layers, devices)), ("robust, one threshold", one), ("robust, by layer", each)]
        for label, plan in plans:
            yield self._row("methods", label, plan)
            if devices > 2:
                yield self._row("methods", f"{label}, recovery of one", plan, self._recoveries(plan, 1))
            yield self._row("methods", f"{label}, recovery", plan, self._recoveries(plan, devices - 1))
        for copies in range(2, devices):
            yield self._row("methods", f"chained, {copies} copies", chained(layers, devices, copies))
        yield self._row("methods", "full", full(devices))

    def _combinations(self) -> Iterator[Row]:
        layers = self.trial.chosen(DEVICES)
        for count in (1, 2, 3):
            for names in itertools.combinations(SCORES, count):
                label = " + ".join(names)
                plan, _ = self._plan(layers, DEVICES, names, threshold=THRESHOLD)
                yield self._row("one threshold for all", label, plan)
                plan, _ = self._plan(layers, DEVICES, names)
                yield self._row("equal memory, one threshold", label, plan)
                plan, _ = self._plan(layers, DEVICES, names, by_layer=True)
                yield self._row("equal memory, by layer", label, plan)

    def _ways(self) -> Iterator[Row]:
        layers = self.trial.chosen(DEVICES)
        for linkage, rotate in itertools.product(("hierarchy", "pass"), (False, True)):
            plan, _ = self._plan(layers, DEVICES, linkage=linkage, rotate=rotate)
            yield self._row("dealing", f"{linkage}{', rotated' * rotate}", plan)

    def _plan(
        self, layers: Sequence[Layer], devices: int, names: Sequence[str] = SCORES, **options: Any
    ) -> tuple[Plan, dict[str, Any]]:
        key = tuple(layer.first for layer in layers)
        if key not in self.measured:
            self.measured[key] = channel_scores(
                self.trial.model, layers, self.trial.calibration, SCORES, self.classes, self.trial.interpreter
            )
        columns = [SCORES.index(name) for name in names]
        chosen = {first: scores[:, columns] for first, scores in self.measured[key].items()}
        return robust_plan(self.trial.model, layers, devices, scores=names, measured=chosen, **options)

    def _recoveries(self, plan: Plan, failures: int) -> dict[frozenset[int], Recovery]:
        """Predictions for all sets of up to so many dead devices."""
        dealt = {layer.first for layer in plan.layers}
        layers = [layer for layer in self.trial.layers if layer.first in dealt]
        stages = Stages(self.trial.model, layers, self.trial.interpreter)
        sets = failure_sets(plan.devices, failures)[1:]
        return {frozenset(dead): fit(stages, plan, dead, self.trial.calibration) for dead in sets}

    def _row(
        self, table: str, label: str, plan: Plan, recoveries: Optional[Mapping[frozenset[int], Recovery]] = None
    ) -> Row:
        found = self.trial.run(plan, plan.devices - 1, recoveries is not None, known=recoveries)
        counts = found.counts.values()
        means, worst = tuple(each[0] for each in counts), tuple(each[1] for each in counts)
        return Row(table, self.name, self.seed, plan.devices, label, found.memory, means, worst)
