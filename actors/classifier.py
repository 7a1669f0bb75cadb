"""A sink that runs the last part of a classifier for each of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from line_file import LineFile, label, read_labels

from eprune.runtime import Actor


class Classifier(Actor):
    """Runs the model on the token of each input: ``{"frame": 0, "input": "in2", "class": "bus", "score": 0.98}``.

    There is one line for each input and frame, except for inputs whose producer is lost. Frames are counted from 0.
    Lines are written at once, and never in part. The model has one input and one output, the scores.

    Parameters:
        labels: the names of the classes, ``car,bus,truck``, or a text file with one name per line. Without labels, the
            numbers of the classes are used.
        path: the file to write, ``-`` for standard output.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"labels": "list", "path": "write"}

    def __init__(self, labels: str = "", path: str = "-") -> None:
        self.labels = read_labels(labels)
        self.path = path
        self.frame = 0

    def initialize(self) -> None:
        """Create the file, and run the model once. Raises ValueError if model, inputs and labels do not fit."""
        if self.model is None:
            raise ValueError('needs a model: write model="..." and operators="..." beside the class')
        for name, port in self.inputs.items():
            if port.rate != 1:
                raise ValueError(f"port {name!r}: handles one token per firing, but its rate is {port.rate}")
            scores = self._scores(np.zeros(port.shape, port.dtype))
            if self.labels and len(self.labels) != len(scores):
                raise ValueError(f"{len(self.labels)} labels for {len(scores)} scores")
        self.lines = LineFile(self.path)

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Write a line for each input that has a token."""
        for name in self.inputs:
            if inputs.get(name) is not None:
                scores = self._scores(inputs[name])
                best = int(scores.argmax())
                line = {
                    "frame": self.frame,
                    "input": name,
                    "class": label(self.labels, best),
                    "score": float(str(scores[best])) if np.isfinite(scores[best]) else None,
                }
                self.lines.write(line)
        self.frame += 1

    def finalize(self) -> None:
        """Close the file."""
        self.lines.close()

    def _scores(self, token: np.ndarray) -> np.ndarray:
        (scores,) = self.model(token)
        return np.asarray(scores).reshape(-1)
