"""A sink for a classifier of several exits: the answers in order, and how good they were."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from checks import fraction
from line_file import LineFile, label, read_labels
from wilson import TWO_SIDED, bounds

from eprune.runtime import Actor, EndOfStream, PortType

#: The control value of frames that exit and go on nevertheless.
AUDIT = 2
#: Inputs other than scores, and their types.
BESIDE = {"wanted": PortType("int32", (1,), 1), "confidence": PortType("float32", (1,), 1)}


class ExitLines(Actor):
    """The best class of the active input: ``{"frame": 0, "exit": "early", "class": "bus", "score": 0.98}``.

    There is one line per frame; frames are counted from 0. An exit DA. All inputs carry scores, except for two optional
    ones: ``wanted``, int32[1], the number of the true class, and ``confidence``, float32[1], which the lines then
    contain, too. With ``wanted``, a line about all frames follows at the end, ``{"frames": 100, "accuracy": 0.97,
    "early_accuracy": 0.98}``: the accuracy of all frames, and of each exit that had frames.

    Where the control token is 2, ``early`` and ``late`` are both active, and the frame is audited: its exit is
    ``audit``, its answer the late one, and the line says if they ``agree``. The last line then has the number of
    ``audits``, the ``agreement`` of early answers with those of the whole network, and the lower bound
    ``agreement_low`` of its 95 % confidence interval (Wilson). Meanwhile they are figures of the status and the record,
    with the upper bound ``agreement_high``, and of all frames the ``share`` of early answers.

    Parameters:
        labels: the names of the classes, ``car,bus,truck``, or a text file with one name per line. Without labels, the
            numbers of the classes are used.
        path: the file to write, ``-`` for standard output.
        wish: the agreement of all answers with the whole network's that is wished for, 0 to 1. Where the audits say
            that it is lower, a note does, once.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"labels": "list", "path": "write"}
    STATE = ("frame", "early", "broken")

    def __init__(self, labels: str = "", path: str = "-", wish: str = "") -> None:
        self.wish = fraction("wish", wish) if wish else None
        self.early = 0  # frames that an early answer was enough for
        self.broken = False  # whether the wish was
        self.labels = read_labels(labels)
        self.path = path
        self.frame = 0
        #: exit -> frames, and how many of them were right
        self.counts: dict[str, list[int]] = {}
        #: audited frames, and those of which both answers were the same
        self.audits: list[float] = [0, 0]
        self.lines: LineFile | None = None

    def initialize(self) -> None:
        """Create the file. Raises ValueError if ports and labels do not fit."""
        exits = {name: port for name, port in self.inputs.items() if name not in BESIDE}
        if len(set(exits.values())) != 1 or next(iter(exits.values())).rate != 1:
            raise ValueError("needs inputs for scores, of one type and at most one token per firing")
        for name, wanted in BESIDE.items():
            if name in self.inputs and self.inputs[name] != wanted:
                raise ValueError(f"port {name!r}: expected {wanted.dtype}{list(wanted.shape)}, one per firing")
        self.check(next(iter(exits.values())))
        self.lines = LineFile(self.path, append=self.frame > 0)

    def check(self, answer: PortType) -> None:
        """Raises ValueError if there are not as many labels as scores."""
        classes = int(np.prod(answer.shape))
        if self.labels and len(self.labels) != classes:
            raise ValueError(f"{len(self.labels)} labels for {classes} scores: {', '.join(self.labels[:5])}, ...")

    def told(self, token: np.ndarray) -> dict[str, Any]:
        """What a line says of an answer."""
        scores = token.reshape(-1)
        best = int(scores.argmax())
        return {"class": self._label(best), "score": _json(scores[best])}

    def agree(self, early: np.ndarray, late: np.ndarray) -> float:
        """Whether both answers are the same, or how much of them is, 0 to 1."""
        return bool(early.argmax() == late.argmax())

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write one line. Raises ValueError unless one exit is active."""
        active = [name for name in inputs if name not in BESIDE]
        audited = self.mode == AUDIT and sorted(active) == ["early", "late"]
        if len(active) != 1 and not audited:
            raise ValueError(f"{', '.join(active) or 'no inputs'} are active; exactly one exit must be active")
        exit_, taken = ("audit", "late") if audited else (active[0], active[0])
        line: dict[str, Any] = {"frame": self.frame, "exit": exit_, **self.told(inputs[taken])}
        self.early += exit_ != "late"
        if audited:
            line["agree"] = self.agree(inputs["early"], inputs["late"])
            self.audits[0] += 1
            self.audits[1] += line["agree"]
            self._watch()
        if "confidence" in inputs:
            line["confidence"] = _json(inputs["confidence"][0])
        if "wanted" in inputs:
            wanted = int(inputs["wanted"][0])
            line["wanted"] = self._label(wanted)
            count = self.counts.setdefault(exit_, [0, 0])
            count[0] += 1
            count[1] += int(inputs[taken].argmax()) == wanted
        self._write(line)
        self.frame += 1

    def finalize(self) -> None:
        """Write the line about all frames, and close the file."""
        if self.lines is not None:
            if self.frame:
                with contextlib.suppress(EndOfStream):  # the reader has seen enough
                    self._write({"frames": self.frame, **self._accuracy(), **self._agreement()})
            self.lines.close()

    def _watch(self) -> None:
        """Say how the audits stand, and whether the wish can still be true."""
        share = self.early / (self.frame + 1)
        figures = {**self._agreement(), "share": round(share, 6)}
        audits, agreed = self.audits
        figures["agreement_high"] = round(1 - _lower(audits - agreed, audits), 6)
        self.figures = figures
        most = 1 - share * (1 - figures["agreement_high"])
        if self.wish is not None and most < self.wish and not self.broken:
            self.broken = True
            self.note(
                f"of {audits} audits {agreed:g} agree: the agreement of all answers is at most {most:.4f}, and the "
                f"wish is {self.wish:g}"
            )

    def _accuracy(self) -> dict[str, float]:
        if not self.counts:
            return {}
        summary = {"accuracy": sum(right for _, right in self.counts.values()) / self.frame}
        for name in (*self.inputs, "audit"):
            if name in self.counts:
                frames, right = self.counts[name]
                summary[f"{name}_accuracy"] = round(right / frames, 6)
        return summary

    def _agreement(self) -> dict[str, float]:
        audits, agreed = self.audits
        if not audits:
            return {}
        low = round(_lower(agreed, audits), 6)
        return {"audits": audits, "agreement": round(agreed / audits, 6), "agreement_low": low}

    def _write(self, line: dict[str, Any]) -> None:
        assert self.lines is not None  # initialize has made it
        self.lines.write(line)

    def _label(self, number: int) -> str:
        return label(self.labels, number)


def _lower(right: float, of: float) -> float:
    """The lower bound of Wilson's 95 % confidence interval of a share."""
    return max(0.0, float(bounds(right / of, of, TWO_SIDED)[0]))


def _json(value: np.floating) -> float | None:
    """With all the digits that its dtype holds; null if it is not a finite number."""
    return float(str(value)) if np.isfinite(value) else None
