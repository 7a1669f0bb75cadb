"""Recovery: channels that are missing are predicted from those that are there, instead of being zeros.

Neighbouring channels of a layer are correlated. For each set of dead devices and each exchange, ridge regression (in
closed form) finds the weights of a 1x1 convolution from the living channels, and 1, to the missing ones. It is fitted
layer by layer on degraded data: what an exchange really gets when the layers before it have lost channels, and have
been recovered, too; its targets are the values of the whole model.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from eprune.measure.masks import Case, Refill, Stages, alive, cast_to
from eprune.model.partition import Plan

#: Strength of the regularisation, as a part of the mean square of the living channels.
RIDGE = 1e-3
#: Places of a tensor that are looked at in one picture at most, and bytes of a weight.
_PLACES, _WEIGHT_BYTES = 64, 4


@dataclass(frozen=True)
class Prediction:
    """Weights of a 1x1 convolution from the channels that are ``there`` to the others, [there + 1, others].

    The last row is the bias. What is predicted is kept above ``low``, as the layer's activation does.
    """

    there: np.ndarray = field(compare=False)
    weights: np.ndarray = field(compare=False)
    low: float = -np.inf

    @property
    def nbytes(self) -> int:
        """Bytes of its weights as float32."""
        return self.weights.size * _WEIGHT_BYTES

    def __call__(self, masked: np.ndarray) -> np.ndarray:
        """The tensor with what was missing; of quantised tensors the elements are predicted, and rounded."""
        known = masked[..., self.there].astype(np.float32)
        filled = masked.copy()
        predicted = np.maximum(known @ self.weights[:-1] + self.weights[-1], self.low)
        filled[..., ~self.there] = cast_to(predicted, masked.dtype)
        return filled


@dataclass(frozen=True)
class Recovery:
    """How a set of ``dead`` devices is recovered: tensor that is exchanged -> prediction. Used as a ``Refill``."""

    dead: frozenset[int]
    predictions: Mapping[int, Prediction] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of weights, which each living device has beside its part of the model."""
        return sum(each.nbytes for each in self.predictions.values())

    def __call__(self, tensor: int, masked: np.ndarray, there: np.ndarray) -> np.ndarray:
        """The tensor, with predictions where there are some."""
        found = self.predictions.get(tensor)
        return masked if found is None else found(masked)


def fit(
    stages: Stages, plan: Plan, dead: Collection[int], tokens: Sequence[np.ndarray], ridge: float = RIDGE
) -> Recovery:
    """Predictions for what is missing when these devices are dead, fitted on calibration pictures, layer by layer.

    A layer of which nothing is left has a bias only.
    """
    recovery = Recovery(frozenset(dead), {})
    predictions: dict[int, Prediction] = dict(recovery.predictions)
    factors = alive(plan, dead)

    def refill(tensor: int, masked: np.ndarray, there: np.ndarray) -> np.ndarray:
        return predictions[tensor](masked) if tensor in predictions else masked

    case = Case(factors, refill)
    whole: list[dict[int, np.ndarray]] = [{stages.input: token} for token in tokens]
    degraded: list[dict[int, np.ndarray]] = [{stages.input: token} for token in tokens]
    for stage in stages.stages:
        for tensor, layer in stage.gathered.items():
            if layer.first in factors and tensor not in predictions:
                there = stages.factors(tensor, case) == 1
                pairs = [(one[tensor], other[tensor]) for one, other in zip(degraded, whole)]
                predictions[tensor] = _regression(pairs, there, ridge)
        for one, other in zip(degraded, whole):
            one.update(stages.invoke(stage, one, case))
            other.update(stages.invoke(stage, other))
    return Recovery(frozenset(dead), predictions)


def recovered(recovery: Recovery, plan: Plan) -> Case:
    """The case of dead devices, with recovery."""
    refill: Refill = recovery
    return Case(alive(plan, recovery.dead), refill)


def _regression(pairs: Sequence[tuple[np.ndarray, np.ndarray]], there: np.ndarray, ridge: float) -> Prediction:
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
    penalty = ridge * np.trace(square[:-1, :-1]) / max(count, 1) if count else 0.0
    regularised = square + np.diag([*[penalty + 1e-9] * count, 1e-9])
    weights = np.linalg.solve(regularised, products).astype(np.float32)
    return Prediction(there, weights, low)
