"""Look for the picture whose features are nearest to the token, by gradients of the head.

The regularised maximum likelihood attack: minimise the distance in features and the total variation of the picture.
The attacker knows the head. He starts at what ridge regression gives him; how much the total variation counts is
chosen on some of his own pictures. By TensorFlow.

Reference: He, Zhang, Lee, "Model inversion attacks against collaborative inference" (ACSAC 2019), section 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from eprune.measure.attacks import ridge
from eprune.measure.attacks.base import Inversion, Own, Target, best_of
from eprune.measure.attacks.surroundings import Surroundings, surroundings
from eprune.measure.gradients import Network

LINE = "white-box optimisation"
#: Weights of the total variation that are tried, and own pictures that they are tried on (a quarter of these).
_STRENGTHS, _TRIED = (0.01, 0.1, 1.0), 32
#: Of the optimiser (Adam).
_STEPS, _RATE = 150, 0.03
#: Pictures at once.
_BATCH = 25


def prepared(own: Own, target: Target) -> Inversion:
    """With the best weight of the total variation. Raises WrongUsage where there are no gradients."""
    around = surroundings(target, "white-box optimisation")
    start = ridge.prepared(own, target)
    few = own.part(np.arange(len(own)) % max(1, len(own) // _TRIED) == 0)
    search = _Search(around, target)

    def with_strength(strength: float) -> Inversion:
        def inversion(mine: Own, seen: np.ndarray) -> np.ndarray:
            return search.found(mine, seen, start(mine, seen), strength)

        return inversion

    return best_of(few, [with_strength(strength) for strength in _STRENGTHS])


class _Search:
    """Looks for pictures."""

    def __init__(self, around: Surroundings, target: Target) -> None:
        import tensorflow

        self.tf: Any = tensorflow
        self.around = around
        self.network = Network(around.model)
        self.size = int(np.prod(target.token.shape))
        self.bases = [self.tf.constant(each.T, self.tf.float32) for each in target.bases]

    def found(self, own: Own, seen: np.ndarray, start: np.ndarray, strength: float) -> np.ndarray:
        """The pictures, from ``start`` on."""
        scale = float(np.mean(np.var(self._received(self.tf.constant(own.tokens)).numpy(), axis=0))) or 1.0
        step = self.tf.function(self._step, reduce_retracing=True)
        weights = self.tf.constant(strength, self.tf.float32), self.tf.constant(scale, self.tf.float32)
        made = []
        for first in range(0, len(seen), _BATCH):
            wanted = self._received(self.tf.constant(seen[first : first + _BATCH], self.tf.float32))
            picture = self.tf.constant(start[first : first + _BATCH], self.tf.float32)
            moments = self.tf.zeros_like(picture), self.tf.zeros_like(picture)
            for count in range(1, _STEPS + 1):
                picture, moments = step(picture, moments, wanted, self.tf.constant(float(count)), *weights)
            made.append(picture.numpy())
        return np.concatenate(made)

    def _received(self, tokens: Any) -> Any:
        """What is compared: tokens, in the dimension in which they were sent."""
        tokens = self.tf.reshape(tokens, (-1, self.size))
        for basis in self.bases:
            tokens = self.tf.matmul(tokens, basis)
        return tokens

    def _features(self, picture: Any) -> Any:
        """What the head makes of pictures."""
        shape = self.around.black.shape
        size = shape[-3:-1] if shape[-1] in (1, 3) else shape[-2:]
        large = self.tf.image.resize(picture, size)
        given = self.around.black + self.tf.reshape(large, (-1, *shape[1:])) * (self.around.white - self.around.black)
        return self.network.between(self.around.head, self.around.given, given, self.around.cut)

    def _step(self, picture: Any, moments: Any, wanted: Any, count: Any, strength: Any, scale: Any) -> Any:
        """A step of Adam, within the range of pictures."""
        tf = self.tf
        with tf.GradientTape() as tape:
            tape.watch(picture)
            apart = tf.reduce_mean((self._received(self._features(picture)) - wanted) ** 2, axis=1) / scale
            rough = tf.image.total_variation(picture) / float(np.prod(picture.shape[1:]))
            loss = tf.reduce_sum(apart + strength * rough)
        slope = tape.gradient(loss, picture)
        first, second = 0.9 * moments[0] + 0.1 * slope, 0.999 * moments[1] + 0.001 * slope**2
        sizes = tf.sqrt(second / (1 - 0.999**count)) + 1e-12
        moved = picture - _RATE * first / (1 - 0.9**count) / sizes
        return tf.clip_by_value(moved, 0.0, 1.0), (first, second)
