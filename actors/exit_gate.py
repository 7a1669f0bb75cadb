"""An early exit of a classifier: what it is sure of leaves, the rest goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from checks import number, one_of

from eprune.runtime import Actor

#: The rows of the control table.
LEAVE, GO_ON = 0, 1


class ExitGate(Actor):
    """Sends ``scores`` out at ``early`` where they are sure enough, else ``features`` at ``deep``: an entry DA.

    It is the control source itself: 0 is to leave, 1 to go on. How sure the scores are is a number from 0 to 1, which
    an output ``confidence``, float32[1], gets in any case, if there is one (BranchyNet, Teerapittayanon et al. 2016).

    Parameters:
        threshold: with a confidence of so much a frame leaves; above 1 none does.
        measure: ``probability``, the largest score, or ``entropy``: 1 less the scores' entropy in relation to that of
            equal scores.
    """

    def __init__(self, threshold: str, measure: str = "probability") -> None:
        self.threshold = number("threshold", threshold)
        self.measure = one_of("measure", measure, ("probability", "entropy"))
        self.confidence = np.float32(0)

    def initialize(self) -> None:
        """Raise ValueError where the ports do not fit."""
        inputs, outputs = self.inputs, dict(self.outputs)
        told = outputs.pop("confidence", None)
        if set(inputs) != {"scores", "features"} or set(outputs) != {"early", "deep"}:
            raise ValueError("needs the inputs 'scores' and 'features', the outputs 'early' and 'deep'")
        if (inputs["scores"], inputs["features"]) != (outputs["early"], outputs["deep"]):
            raise ValueError("needs an 'early' of the type and rate of 'scores', and a 'deep' of those of 'features'")
        if {port.rate for port in inputs.values()} != {1}:
            raise ValueError("handles one token a firing")
        if told is not None and (told.dtype, told.shape, told.rate) != ("float32", (1,), 1):
            raise ValueError("port 'confidence' is float32[1], one a firing")

    def control(self, inputs: Mapping[str, np.ndarray]) -> int:
        """Leave or go on?"""
        # As a float32, so that what is told is what is compared.
        self.confidence = np.float32(confidence(inputs["scores"], self.measure))
        return LEAVE if self.confidence >= self.threshold else GO_ON

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the token that goes on its way."""
        if "early" in outputs:
            outputs["early"][...] = inputs["scores"]
        if "deep" in outputs:
            outputs["deep"][...] = inputs["features"]
        if "confidence" in outputs:
            outputs["confidence"][0] = self.confidence


def confidence(scores: np.ndarray, measure: str) -> float:
    """How sure probabilities are, 0 to 1. Scores that are no numbers are not sure at all."""
    values = scores.reshape(-1).astype(np.float64)
    if not np.isfinite(values).all():
        return 0.0
    if measure == "probability":
        return float(values.max())
    some = values[values > 0]
    return 1 + float((some * np.log(some)).sum()) / math.log(max(len(values), 2))
