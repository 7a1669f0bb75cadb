"""Recovery: channels that are missing are predicted from those that are there, instead of being zeros.

Neighbouring channels of a layer are correlated. For each set of dead devices and each exchange, ridge regression (in
closed form) finds the weights of a 1x1 convolution from the living channels, and 1, to the missing ones. It is fitted
layer by layer on degraded data: what an exchange really gets when the layers before it have lost channels, and have
been recovered, too; its targets are the values of the whole model. The exchange actor predicts with the same code.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from eprune.formats.library import library_folder
from eprune.formats.touching import placed
from eprune.measure.masks import Case, Stages, alive
from eprune.model.graph import Actor
from eprune.model.partition import Plan
from eprune.model.system import System
from eprune.passes.recover import PARAMETER, is_exchange
from eprune.runtime.main import imports

#: Strength of the regularisation, as a part of the mean square of the living channels.
RIDGE = 1e-3
#: Places of a tensor that are looked at in one picture at most.
_PLACES = 64


@lru_cache(maxsize=1)
def missing() -> ModuleType:
    """The module that the exchange actor predicts with, for its class ``Prediction``."""
    return imports.load(str(Path(library_folder(), "missing.py")))


@dataclass(frozen=True)
class Recovery:
    """How a set of ``dead`` devices is recovered: tensor that is exchanged -> prediction. A ``masks.Refill``."""

    dead: frozenset[int]
    predictions: Mapping[int, Any] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of weights, which each living device has beside its part of the model."""
        return sum(each.weights.nbytes for each in self.predictions.values())

    def __call__(self, tensor: int, masked: np.ndarray, there: np.ndarray) -> np.ndarray:
        """The tensor, with predictions where there are some."""
        found = self.predictions.get(tensor)
        if found is None:
            return masked
        filled = masked.copy()
        filled[..., ~there] = found(masked[..., there], masked.dtype)
        return filled

    def case(self, plan: Plan) -> Case:
        """These devices dead, and recovered."""
        return Case(alive(plan, self.dead), self)


def fit(
    stages: Stages, plan: Plan, dead: Collection[int], tokens: Sequence[np.ndarray], ridge: float = RIDGE
) -> Recovery:
    """Predictions for what is missing when these devices are dead, fitted on calibration pictures, layer by layer.

    A layer of which nothing is left has a bias only.
    """
    predictions: dict[int, Any] = {}
    recovery = Recovery(frozenset(dead), predictions)
    case = recovery.case(plan)
    whole: list[dict[int, np.ndarray]] = [{stages.input: token} for token in tokens]
    degraded: list[dict[int, np.ndarray]] = [{stages.input: token} for token in tokens]
    for stage in stages.stages:
        for tensor, layer in stage.gathered.items():
            if layer.first in case.factors and tensor not in predictions:
                there = stages.factors(tensor, case) == 1
                pairs = [(one[tensor], other[tensor]) for one, other in zip(degraded, whole)]
                predictions[tensor] = _regression(pairs, there, ridge)
        for one, other in zip(degraded, whole):
            one.update(stages.invoke(stage, one, case))
            other.update(stages.invoke(stage, other))
    return recovery


def stored(system: System, names: Sequence[str]) -> dict[frozenset[int], Recovery]:
    """Dead devices -> the recovery that an application's exchanges have for them (``passes.recover``).

    ``names`` are those of the devices. All devices have the same predictions. Raises ValueError for files that hold
    none, OSError for such as cannot be read.
    """
    found: dict[frozenset[int], dict[int, Any]] = {}
    for actor in system.graph.actors:
        file = dict(actor.parameters).get(PARAMETER, "")
        path = placed(actor, "read", file) if is_exchange(actor) and file else None
        if path is not None:
            tensor = exchanged_tensor(system, actor)
            for absent, prediction in missing().read_predictions(path).items():
                dead = frozenset(names.index(name) for name in absent if name in names)
                found.setdefault(dead, {})[tensor] = prediction
    return {dead: Recovery(dead, predictions) for dead, predictions in found.items()}


def exchanged_tensor(system: System, exchange: Actor) -> int:
    """The tensor of the model that an exchange gives, as its readers know it. Raises ValueError."""
    for fifo in system.graph.fifos:
        interface = system.interfaces.get(fifo.target.actor)
        if fifo.source.actor == exchange.name and interface is not None and fifo.target.port in interface.tensors:
            tensor: int = interface.tensors[fifo.target.port]
            return tensor
    raise ValueError(f"nothing that exchange {exchange.name!r} gives is read by a slice of the model")


def _regression(pairs: Sequence[tuple[np.ndarray, np.ndarray]], there: np.ndarray, ridge: float) -> Any:
    """Ridge regression of the channels that are not ``there``: what was computed, and what should have been."""
    count = int(there.sum())
    square, products = np.zeros((count + 1, count + 1)), np.zeros((count + 1, len(there) - count))
    low = np.inf
    for given, wanted in pairs:
        rows = given.reshape(-1, given.shape[-1])
        step = -(-len(rows) // _PLACES)
        known = np.ones((len(rows[::step]), count + 1))
        known[:, :-1] = rows[::step][:, there]
        targets = wanted.reshape(-1, wanted.shape[-1])[:, ~there].astype(np.float64)
        low = min(low, float(targets.min(initial=np.inf)))
        square += known.T @ known
        products += known.T @ targets[::step]
    penalty = ridge * np.trace(square[:-1, :-1]) / max(count, 1)
    regularised = square + np.diag([*[penalty + 1e-9] * count, 1e-9])
    limits = np.finfo(np.float16)
    weights = np.clip(np.linalg.solve(regularised, products), limits.min, limits.max).astype(np.float16)
    return missing().Prediction(weights, low)
