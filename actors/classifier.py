"""A sink that runs the last part of a classifier for each of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from checks import whole_number
from line_file import LineFile, label, read_labels

from eprune.runtime import Actor


class Classifier(Actor):
    """Runs the model on the token of each input: ``{"frame": 0, "input": "in2", "class": "bus", "score": 0.98}``.

    There is one line for each input and frame, except for inputs whose producer is lost. Frames are counted from 0.
    Lines are written at once, and never in part. The model has one input and one output, the scores. A firing takes at
    most one token of each input, so that none of those who send gets more than the others.

    Parameters:
        labels: the names of the classes, ``car,bus,truck``, or a text file with one name per line. Without labels, the
            numbers of the classes are used.
        path: the file to write, ``-`` for standard output.
        batch: how many tokens the model is run on at once where so many inputs have one, if the first dimension of its
            input is 1. That pays for layers that read many weights, such as fully connected ones; the last bits of the
            scores may differ. A firing with one token runs the model on that.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"labels": "list", "path": "write"}
    STATE = ("frame",)

    def __init__(self, labels: str = "", path: str = "-", batch: str = "1") -> None:
        self.labels = read_labels(labels)
        self.path = path
        self.batch = whole_number("batch", batch)
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
        if self.batch > 1:
            for name, port in self.inputs.items():
                if port.shape[:1] != (1,):
                    raise ValueError(f"port {name!r}: batch={self.batch} needs tokens whose first dimension is 1")
            self.model.batch([np.zeros(port.shape, port.dtype)], self.batch)
        self.lines = LineFile(self.path, append=self.frame > 0)

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Write a line for each input that has a token."""
        there = {name: inputs[name] for name in self.inputs if inputs.get(name) is not None}
        for name, scores in zip(there, self._all_scores(list(there.values()))):
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

    def _all_scores(self, tokens: list[np.ndarray]) -> list[np.ndarray]:
        """The scores of each token: of one at a time, or of up to ``batch`` together."""
        found: list[np.ndarray] = []
        step = max(self.batch, 1)
        for begin in range(0, len(tokens), step):
            part = tokens[begin : begin + step]
            if len(part) == 1:
                found.append(self._scores(part[0]))
            else:
                found += [np.asarray(each).reshape(-1) for each in self.model.batch(part, self.batch)]
        return found

    def _scores(self, token: np.ndarray) -> np.ndarray:
        (scores,) = self.model(token)
        return np.asarray(scores).reshape(-1)
