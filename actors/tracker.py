"""Tracking: which box of a frame continues which box of earlier frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

import numpy as np
from boxes import overlap
from checks import fraction, shapes, whole_number

from eprune.runtime import Actor

UNIT = 300.0  # the filter's noise is stated in pixels of a picture of that size
# A track's state: centre (y, x), area, width by height; and how the first three change from frame to frame.
STATE, MEASURED = 7, 4
MOTION = np.eye(STATE) + np.eye(STATE, k=MEASURED)
START = np.diag([10.0, 10, 10, 10, 1e4, 1e4, 1e4])  # nothing is known of how it moves
DRIFT = np.diag([1.0, 1, 1, 1, 0.01, 0.01, 1e-4])
BLUR = np.diag([1.0, 1, 10, 10])


class Tracker(Actor):
    """SORT: follows objects from frame to frame, through gaps and behind obstacles, and gives each one a number.

    A Kalman filter with constant velocity predicts each track, and the assignment with the largest overlap decides
    which box belongs to which track. A. Bewley et al., "Simple Online and Realtime Tracking", ICIP 2016. Needs SciPy.

    Inputs, as ``NonMaximumSuppression`` and TFLite's TFLite_Detection_PostProcess return them: ``boxes`` [N,4] (ymin,
    xmin, ymax, xmax, in fractions of the picture), ``classes`` [N] and ``scores`` [N], all possibly with a leading 1;
    optionally ``count``, the number of valid rows. Outputs, in order of their numbers: ``track_boxes`` float32[K,4],
    ``track_classes`` int32[K] (the class with the largest sum of scores), and ``track_ids`` int32[K], from
    1; unused rows are 0. A track is reported in the frames in which it is seen.

    Parameters:
        score: boxes below it are ignored.
        overlap: the least overlap (intersection over union) of a box with the predicted box of its track.
        min_hits: a track is reported once it was seen in so many frames (at the start: in all frames so far).
        max_age: a track is given up after so many frames without a box.
    """

    def __init__(self, score: str = "0.4", overlap: str = "0.3", min_hits: str = "3", max_age: str = "15") -> None:
        try:
            from scipy.optimize import linear_sum_assignment
        except ImportError:
            raise ValueError("tracking needs SciPy: pip install eprune[tracking]") from None
        self.assign: Callable[[np.ndarray], Any] = linear_sum_assignment
        self.score = fraction("score", score)
        self.overlap = fraction("overlap", overlap)
        self.min_hits = whole_number("min_hits", min_hits)
        self.max_age = whole_number("max_age", max_age)
        self.tracks: list[Track] = []
        self.frame = self.started = self.crowded = 0

    def state(self) -> Mapping[str, Any]:
        """The tracks, and how many there were."""
        votes = [(row, kind, score) for row, track in enumerate(self.tracks) for kind, score in track.votes.items()]
        return {
            "counts": [self.frame, self.started, self.crowded],
            "tracks": [(track.identity, track.seen, track.unseen) for track in self.tracks],
            "states": [track.state for track in self.tracks],
            "doubts": [track.doubt for track in self.tracks],
            "votes": votes,
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Follow the same tracks."""
        self.frame, self.started, self.crowded = map(int, state["counts"])
        self.tracks = []
        for row, (identity, seen, unseen) in enumerate(state["tracks"]):
            track = Track(int(identity), np.array([0.0, 0, 1, 1]), 0, 0.0)
            track.seen, track.unseen = int(seen), int(unseen)
            track.state, track.doubt = state["states"][row], state["doubts"][row]
            track.votes = {int(kind): float(score) for at, kind, score in state["votes"] if int(at) == row}
            self.tracks.append(track)

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if ports or shapes differ from those above."""
        inputs = {name: port for name, port in self.inputs.items() if name != "count"}
        for found in (
            shapes(inputs, {"boxes": 2, "classes": 1, "scores": 1}),
            shapes(self.outputs, {"track_boxes": 2, "track_classes": 1, "track_ids": 1}),
        ):
            rows = next(iter(found.values()))[0]
            if [*found.values()] != [(rows, 4), (rows,), (rows,)]:
                raise ValueError(f"rows and columns do not fit together: {found}")

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Track the boxes of one frame."""
        boxes = inputs["boxes"].reshape(-1, 4)
        classes, scores = inputs["classes"].reshape(-1).astype(int), inputs["scores"].reshape(-1)
        real = (scores >= max(self.score, 1e-9)) & (boxes[:, 2:] > boxes[:, :2]).all(1)
        if "count" in inputs:
            real &= np.arange(len(real)) < int(inputs["count"].reshape(-1)[0])
        self.follow(boxes[real].astype(float), classes[real], scores[real].astype(float))
        shown = [track for track in self.tracks if track.unseen == 0 and track.seen >= min(self.min_hits, self.frame)]
        self.crowded += len(shown) > outputs["track_ids"].size
        shown = shown[: outputs["track_ids"].size]
        for name, values, width in (
            ("track_boxes", [np.clip(track.box, 0, 1) for track in shown], (4,)),
            ("track_classes", [track.kind for track in shown], ()),
            ("track_ids", [track.identity for track in shown], ()),
        ):
            out = outputs[name].reshape(-1, *width)
            out[...] = 0
            if shown:
                out[: len(shown)] = values

    def finalize(self) -> None:
        """Say in how many frames tracks were left out."""
        if self.crowded:
            self.note(
                f"{self.crowded} frames had more tracks than the rows of the outputs; the oldest tracks are there"
            )

    def follow(self, boxes: np.ndarray, classes: np.ndarray, scores: np.ndarray) -> None:
        """Advance all tracks by one frame and assign the boxes to them; boxes that fit no track begin new ones."""
        self.frame += 1
        for track in self.tracks:
            track.move()
        expected = np.array([track.box for track in self.tracks]).reshape(-1, 4)
        shared = overlap(expected, boxes)
        pairs = [(row, column) for row, column in zip(*self.assign(-shared)) if shared[row, column] >= self.overlap]
        for row, column in pairs:
            self.tracks[row].meet(boxes[column], int(classes[column]), scores[column])
        for column in sorted(set(range(len(boxes))).difference(column for _, column in pairs)):
            self.started += 1
            self.tracks.append(Track(self.started, boxes[column], int(classes[column]), scores[column]))
        self.tracks = [track for track in self.tracks if track.unseen <= self.max_age]


class Track:
    """A tracked object: the state of its filter, and its class and history."""

    def __init__(self, identity: int, box: np.ndarray, kind: int, score: float) -> None:
        self.identity = identity
        self.state = np.concatenate([_measure(box), np.zeros(STATE - MEASURED)])
        self.doubt = START.copy()  # the state's covariance
        self.votes = {kind: score}
        self.seen, self.unseen = 1, 0

    @property
    def box(self) -> np.ndarray:
        """(ymin, xmin, ymax, xmax), in fractions of the picture."""
        y, x, area, ratio = self.state[:MEASURED]
        width = np.sqrt(max(area, 1e-6) * max(ratio, 1e-6))
        height = max(area, 1e-6) / width
        return np.array([y - height / 2, x - width / 2, y + height / 2, x + width / 2]) / UNIT

    @property
    def kind(self) -> int:
        """The class with the largest sum of scores."""
        return max(self.votes, key=lambda kind: self.votes[kind])

    def move(self) -> None:
        """Predict the next frame."""
        if self.state[2] + self.state[6] <= 0:  # it would shrink to nothing
            self.state[6] = 0
        self.state = MOTION @ self.state
        self.doubt = MOTION @ self.doubt @ MOTION.T + DRIFT
        self.unseen += 1

    def meet(self, box: np.ndarray, kind: int, score: float) -> None:
        """Correct the filter by a box."""
        gain = np.linalg.solve(self.doubt[:MEASURED, :MEASURED] + BLUR, self.doubt[:MEASURED]).T
        self.state = self.state + gain @ (_measure(box) - self.state[:MEASURED])
        self.doubt = self.doubt - gain @ self.doubt[:MEASURED]
        self.votes[kind] = self.votes.get(kind, 0.0) + score
        self.seen, self.unseen = self.seen + 1, 0


def _measure(box: np.ndarray) -> np.ndarray:
    height, width = (box[2:] - box[:2]) * UNIT
    return np.array([*(box[:2] + box[2:]) / 2 * UNIT, height * width, width / height])
