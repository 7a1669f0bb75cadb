"""A stochastic bottleneck at a cut: a few numbers with noise, which tell the class, and little else.

The variational information bottleneck with a linear encoder and a linear classifier: z = A c + s e, where c are what
the next layer makes of a token (or the token's principal components) and e is normal noise. A, s and the classifier
minimise the cross entropy plus ``beta`` times the divergence of z from standard normal numbers: what is not needed
for the class costs, and is drowned by noise. The network stays as it is: behind the cut, what z lets one expect of c
takes the token's place.

Reference: Alemi, Fischer, Dillon, Murphy, "Deep variational information bottleneck" (ICLR 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from eprune.measure.ranges import basis_file, grid

#: Principal components of tokens, or of what the next layer makes of them, that the encoder sees at most.
_COMPONENTS = 64
#: Of the optimiser (Adam): steps and their size; draws of the noise in each step, and decay of weights.
_STEPS, _RATE, _DRAWS, _DECAY = 600, 0.02, 4, 1e-3
#: How far rounded codes reach, in standard deviations.
_REACH = 3.5


@dataclass(frozen=True)
class Bottleneck:
    """``project`` [k,d] and ``restore`` [k,d] with ``offset`` [d], as ``token_coding.read_basis`` has them; ``noise``
    [k] is the standard deviation of what is added to a code, ``low`` and ``step`` are for codes of 8 bits.
    """

    project: np.ndarray
    restore: np.ndarray
    offset: np.ndarray
    noise: np.ndarray
    low: np.ndarray
    step: np.ndarray

    def basis(self) -> bytes:
        """The .npz file."""
        return basis_file(self.project, self.restore, self.offset)


class Features:
    """Tokens [n,d] of pictures, and their ``classes``, whole numbers from 0; ``weights`` [out,d] are those of the next
    layer where it is fully connected.
    """

    def __init__(self, tokens: np.ndarray, classes: np.ndarray, weights: Optional[np.ndarray]) -> None:
        self.mean = tokens.mean(axis=0).astype(np.float64)
        own = tokens - self.mean
        if weights is not None:
            inverse = np.linalg.pinv(weights)
            found = own @ weights.T
            values, vectors = np.linalg.eigh(found.T @ found)
            order = np.argsort(values)[::-1][: min(_COMPONENTS, len(own) - 1, np.linalg.matrix_rank(weights))]
            self.forward, self.back = vectors[:, order].T @ weights, (inverse @ vectors[:, order]).T
        else:
            values, vectors = np.linalg.eigh(own @ own.T)
            order = np.argsort(values)[::-1][: min(_COMPONENTS, len(own) - 1)]
            directions = own.T @ vectors[:, order]
            self.forward = self.back = (directions / np.maximum(np.linalg.norm(directions, axis=0), 1e-30)).T
        components = own @ self.forward.T
        # One scale for all: what hardly varies is not made to look as if it mattered.
        self.scale = float(components.std(axis=0).max()) or 1.0
        self.components = components / self.scale
        _, self.classes = np.unique(classes, return_inverse=True)

    @property
    def most(self) -> int:
        """The most numbers that a code can have."""
        return len(self.forward)

    def fitted(self, size: int, beta: float, noisy: bool = True, seed: int = 1) -> Bottleneck:
        """A bottleneck of ``size`` numbers; not ``noisy``: the same projection, with no noise."""
        encoder, noise = self._encoder(size, beta, seed)
        codes = self.components @ encoder.T
        sent = noise if noisy else np.zeros(size)
        spread = codes.T @ codes / len(codes) + np.diag(sent**2) + 1e-9 * np.eye(size)
        # What the codes let one expect of the components: the best linear guess.
        expected = np.linalg.solve(spread, codes.T @ self.components / len(codes))
        project = (encoder / self.scale) @ self.forward
        restore = (expected * self.scale) @ self.back
        centre = project @ self.mean
        reach = _REACH * np.sqrt(codes.var(axis=0) + sent**2)
        low, step = grid(centre - reach, centre + reach, 255)
        return Bottleneck(project, restore, self.mean - centre @ restore, sent, low, step)

    def _encoder(self, size: int, beta: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """A [size,components] and s [size]."""
        random = np.random.default_rng(seed)
        known = self.components.shape[1]
        labels = np.eye(int(self.classes.max()) + 1)[self.classes]
        parameters = {
            "encoder": random.normal(0, 1 / np.sqrt(known), (size, known)),
            "spread": np.full(size, -1.0),
            "weights": random.normal(0, 0.1, (labels.shape[1], size)),
            "bias": np.zeros(labels.shape[1]),
        }
        moments = {name: (np.zeros_like(value), np.zeros_like(value)) for name, value in parameters.items()}
        for number in range(1, _STEPS + 1):
            slopes = self._slopes(parameters, labels, beta, random)
            for name, slope in slopes.items():
                first, second = moments[name]
                first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
                moments[name] = first, second
                sizes = np.sqrt(second / (1 - 0.999**number)) + 1e-9
                parameters[name] = parameters[name] - _RATE * first / (1 - 0.9**number) / sizes
        return parameters["encoder"], np.exp(parameters["spread"])

    def _slopes(
        self, parameters: dict[str, np.ndarray], labels: np.ndarray, beta: float, random: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Of the loss, by each parameter."""
        encoder, weights = parameters["encoder"], parameters["weights"]
        noise = np.exp(parameters["spread"])
        mean = self.components @ encoder.T
        by_mean, by_noise = beta * mean / len(mean), beta * (noise**2 - 1)
        by_weights, by_bias = _DECAY * weights, np.zeros(len(weights))
        for _ in range(_DRAWS):
            drawn = random.standard_normal(mean.shape)
            codes = mean + noise * drawn
            scores = codes @ weights.T + parameters["bias"]
            scores -= scores.max(axis=1, keepdims=True)
            told = np.exp(scores)
            apart = (told / told.sum(axis=1, keepdims=True) - labels) / (len(mean) * _DRAWS)
            by_codes = apart @ weights
            by_mean = by_mean + by_codes
            by_noise = by_noise + (by_codes * drawn).sum(axis=0) * noise
            by_weights = by_weights + apart.T @ codes
            by_bias = by_bias + apart.sum(axis=0)
        by_encoder = by_mean.T @ self.components + _DECAY * encoder
        return {"encoder": by_encoder, "spread": by_noise, "weights": by_weights, "bias": by_bias}
