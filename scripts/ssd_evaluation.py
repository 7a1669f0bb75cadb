"""How well detections and tracks agree with what is in the pictures."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT), str(ROOT / "actors")]

from boxes import overlap  # noqa: E402
from traffic_renderer import Truth  # noqa: E402

MATCH = 0.5  # a box that overlaps a vehicle's by so much has found it
LEAST_VISIBLE = 0.25  # vehicles of which less is visible need not be found, and may be


class Found(NamedTuple):
    """What was found in one frame: boxes (n, 4), classes (n), and scores or identities (n)."""

    boxes: np.ndarray
    classes: np.ndarray
    values: np.ndarray


def average_precision(frames: Sequence[tuple[Found, list[Truth]]], kind: int) -> float:
    """The area under precision over recall for one class, precision made monotone; NaN where there are no such things.

    In order of falling score each box takes the vehicle of its class that it overlaps most, if by ``MATCH`` and not
    taken before. Boxes on vehicles that need not be found do not count.
    """
    wanted, verdicts = 0, []
    for found, truths in frames:
        truths = [truth for truth in truths if truth.kind == kind]
        clear = [truth for truth in truths if truth.visible >= LEAST_VISIBLE]
        vague = [truth for truth in truths if truth.visible < LEAST_VISIBLE]
        wanted += len(clear)
        rows = np.flatnonzero(found.classes == kind)
        shared = overlap(found.boxes[rows], _boxes(clear))
        excused = (overlap(found.boxes[rows], _boxes(vague)) >= MATCH).any(1)
        free = np.ones(len(clear), bool)
        for row in np.argsort(-found.values[rows], kind="stable"):
            candidates = np.where(free, shared[row], 0)
            hit = bool(len(clear)) and candidates.max() >= MATCH
            if hit:
                free[candidates.argmax()] = False
            if hit or not excused[row]:
                verdicts.append((found.values[rows][row], hit))
    if not wanted:
        return float("nan")
    verdicts.sort(key=lambda verdict: -verdict[0])
    hits = np.cumsum([hit for _, hit in verdicts])
    precision = hits / np.arange(1, len(hits) + 1)
    monotone = np.maximum.accumulate(precision[::-1])[::-1]
    recall = np.concatenate([[0], hits]) / wanted
    return float((np.diff(recall) * monotone).sum())


class Tracking(NamedTuple):
    """The counts behind multi-object tracking accuracy (Bernardin and Stiefelhagen, CLEAR MOT, 2008)."""

    vehicles: int  # in all frames
    missed: int
    false: int  # boxes on nothing
    switched: int  # a vehicle got another number than the last time
    right_class: int  # found vehicles whose class is right

    @property
    def accuracy(self) -> float:
        """MOTA: 1 for perfect, below 0 for worse than saying nothing."""
        return 1 - (self.missed + self.false + self.switched) / max(1, self.vehicles)


def tracking(scenes: Iterable[Sequence[tuple[Found, list[Truth]]]]) -> Tracking:
    """Count over scenes of consecutive frames; whose values are the tracks' identities. Classes do not matter here."""
    from scipy.optimize import linear_sum_assignment

    counts: Counter[str] = Counter()
    for frames in scenes:
        last: dict[int, int] = {}  # vehicle -> the track that it was last found by
        for found, truths in frames:
            clear = [truth for truth in truths if truth.visible >= LEAST_VISIBLE]
            vague = [truth for truth in truths if truth.visible < LEAST_VISIBLE]
            shared = overlap(_boxes(clear), found.boxes)
            # Who was together in the frame before stays together where that is possible.
            known = np.array([[last.get(truth.identity) == track for track in found.values] for truth in clear])
            worth = np.where(shared >= MATCH, shared + 10 * known.reshape(shared.shape), 0)
            pairs = [(row, column) for row, column in zip(*linear_sum_assignment(-worth)) if worth[row, column]]
            matched = {column for _, column in pairs}
            excused = (overlap(found.boxes, _boxes(vague)) >= MATCH).any(1)
            counts["vehicles"] += len(clear)
            counts["missed"] += len(clear) - len(pairs)
            counts["false"] += sum(column not in matched and not excused[column] for column in range(len(found.boxes)))
            for row, column in pairs:
                track = int(found.values[column])
                counts["switched"] += last.get(clear[row].identity, track) != track
                counts["right_class"] += int(found.classes[column]) == clear[row].kind
                last[clear[row].identity] = track
    return Tracking(*(counts[name] for name in Tracking._fields))


def _boxes(truths: list[Truth]) -> np.ndarray:
    return np.array([truth.box for truth in truths]).reshape(-1, 4)
