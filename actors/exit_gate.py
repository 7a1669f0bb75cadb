"""An early exit of a classifier: frames of which it is sure exit, the others go on."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import numpy as np
from checks import number, one_of
from detections import certainty

from eprune.runtime import Actor

#: The rows of the control table.
EXIT, GO_ON, AUDIT = 0, 1, 2


class ExitGate(Actor):
    """Copies ``scores`` to ``early`` if their confidence suffices, otherwise ``features`` to ``deep``: an entry DA.

    It is also the control source: 0 means to exit, 1 to go on, 2 (audit) to do both. The confidence is a number from 0
    to 1, which an output ``confidence``, float32[1], carries for every frame, if the output exists (BranchyNet,
    Teerapittayanon et al. 2016).

    Parameters:
        threshold: a frame with at least this confidence exits; with a threshold above 1 none does.
        measure: ``probability``, the largest score; ``softmax``, the largest of what that makes of them, for scores
            that are no probabilities yet; ``entropy``: 1 minus the entropy of the scores divided by that of equal
            scores; ``detections``, of what ``Detections`` makes of a detector's outputs: the F1 to be expected if
            scores are chances (``detections.certainty``); or ``random``, a number that says nothing, to compare with.
        scale, zero: of quantised scores, which are ``scale`` times (element less ``zero``).
        audit: the share, from 0 to 1, of the frames that exit which go on nevertheless, so that what exits can be
            compared with what the whole network says. The control table then has a row 2.
    """

    def __init__(
        self, threshold: str, measure: str = "probability", scale: str = "1", zero: str = "0", audit: str = "0"
    ) -> None:
        self.threshold = number("threshold", threshold)
        self.measure = one_of("measure", measure, ("probability", "softmax", "entropy", "detections", "random"))
        self.draw = random.Random(1)
        self.scale, self.zero = number("scale", scale), number("zero", zero)
        self.audit = number("audit", audit)
        if not 0 <= self.audit <= 1:
            raise ValueError(f"audit={audit}: expected a share, 0 to 1")
        self.due = 0.0  # audits, of those frames that have left
        self.confidence = np.float32(0)

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        inputs, outputs = self.inputs, dict(self.outputs)
        reported = outputs.pop("confidence", None)
        if set(inputs) != {"scores", "features"} or set(outputs) != {"early", "deep"}:
            raise ValueError("needs the inputs 'scores' and 'features', the outputs 'early' and 'deep'")
        if (inputs["scores"], inputs["features"]) != (outputs["early"], outputs["deep"]):
            raise ValueError("needs 'early' with the type and rate of 'scores', and 'deep' with those of 'features'")
        if {port.rate for port in inputs.values()} != {1}:
            raise ValueError("handles one token per firing")
        if reported is not None and (reported.dtype, reported.shape, reported.rate) != ("float32", (1,), 1):
            raise ValueError("port 'confidence' is float32[1], one per firing")

    def control(self, inputs: Mapping[str, np.ndarray]) -> int:
        """0 to exit, 1 to go on, 2 for both."""
        scores = inputs["scores"]
        if (self.scale, self.zero) != (1, 0):
            scores = (scores.astype(np.float32) - self.zero) * self.scale
        # As a float32: the value that is reported is the value that is compared.
        chance = self.measure == "random"
        self.confidence = np.float32(self.draw.random() if chance else confidence(scores, self.measure))
        if not self.confidence >= self.threshold:
            return GO_ON
        self.due += self.audit
        if self.due < 1:
            return EXIT
        self.due -= 1
        return AUDIT

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the token to the active output."""
        if "early" in outputs:
            outputs["early"][...] = inputs["scores"]
        if "deep" in outputs:
            outputs["deep"][...] = inputs["features"]
        if "confidence" in outputs:
            outputs["confidence"][0] = self.confidence


def confidence(scores: np.ndarray, measure: str) -> float:
    """The confidence of probabilities, or of detections, 0 to 1; 0 if scores are not numbers."""
    values = scores.reshape(-1).astype(np.float64)
    if not np.isfinite(values).all():
        return 0.0
    if measure == "detections":
        return certainty(scores)
    if measure == "probability":
        return float(values.max())
    if measure == "softmax":
        return float(1 / np.exp(values - values.max()).sum())
    some = values[values > 0]
    return 1 + float((some * np.log(some)).sum()) / math.log(max(len(values), 2))
