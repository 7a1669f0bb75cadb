"""A sink that writes one line of JSON a frame."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from checks import only_port

from eprune.runtime import Actor, EndOfStream


class JsonLines(Actor):
    """The best class of each score vector: ``{"frame": 0, "class": "bus", "score": 0.98}``, one line a frame.

    Frames are counted from 0. A score is written with all the digits that its dtype holds, and as null where it is not
    a finite number. Lines are written at once, whole or not at all.

    Parameters:
        labels: the classes' names, ``car,bus,truck``, or the name of a text file with one a line. Without it a class
            is called by its number.
        path: the file to write, ``-`` for standard output.
    """

    def __init__(self, labels: str = "", path: str = "-") -> None:
        self.labels = _read_labels(labels)
        self.path = path
        self.frame = 0

    def initialize(self) -> None:
        """Create the file. Raises ValueError where the labels do not fit the token."""
        self.port, port = only_port(self.inputs, "input")
        classes = int(np.prod(port.shape))
        if self.labels and len(self.labels) != classes:
            raise ValueError(f"{len(self.labels)} labels for {classes} scores: {', '.join(self.labels[:5])}, ...")
        sys.stdout.flush()
        standard = self.path == "-"
        self.file = open(1 if standard else self.path, "wb", buffering=0, closefd=not standard)  # noqa: SIM115

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write one line."""
        scores = inputs[self.port].reshape(-1)
        best = int(scores.argmax())
        line = {
            "frame": self.frame,
            "class": self.labels[best] if self.labels else str(best),
            "score": float(str(scores[best])) if np.isfinite(scores[best]) else None,
        }
        self._write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self.frame += 1

    def finalize(self) -> None:
        """Close the file."""
        self.file.close()

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[self.file.write(rest) :]
        except BrokenPipeError:
            raise EndOfStream from None  # the reader has seen enough
        except OSError as error:
            with contextlib.suppress(OSError):  # a full disk took a part of the line: take it back
                self.file.truncate(self.file.seek(0, os.SEEK_CUR) - (len(line) - len(rest)))
            raise OSError(error.errno, error.strerror, self.path) from None


def _read_labels(text: str) -> list[str]:
    if not text or "," in text:
        return [label.strip() for label in text.split(",")] if text else []
    try:
        lines = Path(text).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ValueError(
            f"labels={text!r}: expected names separated by commas, or a file with one a line: {error.strerror}"
        ) from None
    return [line.strip() for line in lines if line.strip()]
