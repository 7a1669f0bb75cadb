"""Channels dealt to devices by importance, the important ones several times: Algorithm 1 of RobustDiCE.

Guo, Jiang, Pimentel, Stefanov: "Model and system robustness in distributed CNN inference at the edge", Integration 100
(2025) 102299. Channels of like importance are grouped; a group is filled up with copies of its most important channels
until its size is a multiple of the number of devices, and then dealt round robin. So a device that fails takes of each
group what others have like it, and what is unlike all others is on every device. The smaller the threshold of
likeness, the more copies.

Scores are arrays [channels, scores] from 0 to 1. Everything here is pure; scores are made by ``measure.scores``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Optional

import numpy as np

from eprune.model.partition import prediction_bytes

#: Groups of channels; in each, the most important channel is first.
Groups = tuple[tuple[int, ...], ...]
#: How channels are grouped.
HIERARCHY, PASS = LINKAGES = ("hierarchy", "pass")
#: Thresholds that are tried where all have to be looked at: for the single pass, whose memory does not fall steadily
#: with the threshold, and for one layer.
_SCANNED = 256


def normalized(scores: np.ndarray) -> np.ndarray:
    """Each score (column) of a layer's channels from 0 to 1, from smallest to largest; 0 where all are equal."""
    low, high = scores.min(axis=0), scores.max(axis=0)
    spread = np.where(high > low, high - low, 1.0)
    found: np.ndarray = np.where(high > low, (scores - low) / spread, 0.0)
    return found


@dataclass(frozen=True)
class Scored:
    """A layer that can be dealt: its first operator, the bytes of its weights, and its channels' scores, normalised.

    ``widths`` are those of the tensors that leave it, in elements for a channel.
    """

    first: int
    weight_bytes: int
    scores: np.ndarray = field(compare=False)
    widths: tuple[int, ...] = (1,)

    @property
    def channels(self) -> int:
        """How many there are."""
        return len(self.scores)

    @cached_property
    def importance(self) -> np.ndarray:
        """Of each channel, the sum of its scores."""
        total: np.ndarray = self.scores.sum(axis=1)
        return total

    @cached_property
    def tree(self) -> Any:
        """Complete linkage of the channels, as SciPy has it. Raises ImportError where SciPy is missing."""
        from scipy.cluster.hierarchy import linkage
        from scipy.spatial.distance import pdist

        return linkage(pdist(self.scores), "complete")

    def groups(self, threshold: float, linkage: str = HIERARCHY) -> Groups:
        """Channels whose scores are all less than ``threshold`` apart (Euclidean distance).

        ``hierarchy`` always joins the two groups that are closest; ``pass`` is the literal single pass: each channel in
        turn joins the first group to all of which it is close. With threshold 0 each channel is a group.
        """
        found = self._passed(threshold) if linkage == PASS else self._joined(threshold)
        place = {int(channel): rank for rank, channel in enumerate(np.argsort(-self.importance, kind="stable"))}
        return tuple(
            sorted((tuple(sorted(group, key=place.__getitem__)) for group in found), key=lambda g: place[g[0]])
        )

    def _joined(self, threshold: float) -> Iterable[list[int]]:
        if self.channels == 1:
            return [[0]]
        from scipy.cluster.hierarchy import fcluster

        # fcluster joins at the threshold, too; of duplicates, whose distance is 0, that would be wrong at 0.
        labels = fcluster(self.tree, np.nextafter(threshold, -np.inf), "distance")
        found: dict[int, list[int]] = {}
        for channel, label in enumerate(labels):
            found.setdefault(int(label), []).append(channel)
        return found.values()

    def _passed(self, threshold: float) -> Iterable[list[int]]:
        found: list[list[int]] = []
        for channel, point in enumerate(self.scores):
            for group in found:
                if (np.sqrt(((self.scores[group] - point) ** 2).sum(axis=1)) < threshold).all():
                    group.append(channel)
                    break
            else:
                found.append([channel])
        return found

    def thresholds(self, linkage: str = HIERARCHY) -> list[float]:
        """Where groups change, rising from 0; at the last one all channels are one group."""
        if self.channels == 1:
            return [0.0]
        if linkage == HIERARCHY:
            heights = np.unique(self.tree[:, 2])
        else:
            rows, columns = np.triu_indices(self.channels, 1)
            apart = np.unique(np.sqrt(((self.scores[rows] - self.scores[columns]) ** 2).sum(axis=1)))
            heights = apart[np.unique(np.linspace(0, len(apart) - 1, _SCANNED).round().astype(int))]
        return [0.0, *(float(np.nextafter(height, np.inf)) for height in heights)]


def deal(groups: Groups, devices: int, rotate: bool = False) -> tuple[tuple[int, ...], ...]:
    """The channels of each device, rising: every group filled up with its first channels again, and dealt round robin.

    The first of a group goes to device 0; with ``rotate`` each group begins at the next device.
    """
    parts: list[set[int]] = [set() for _ in range(devices)]
    for number, group in enumerate(groups):
        for place in range(_filled(len(group), devices)):
            parts[(place + number * rotate) % devices].add(group[place % len(group)])
    return tuple(tuple(sorted(part)) for part in parts)


def held(groups: Groups, devices: int) -> int:
    """How many channels each device has; all have as many."""
    return sum(_filled(len(group), devices) // devices for group in groups)


def _filled(size: int, devices: int) -> int:
    return -(-size // devices) * devices


def lost(scored: Scored, groups: Groups, devices: int, failures: int = 1) -> float:
    """The share of a layer's importance that is gone when so many devices fail, on average over all sets of them."""
    total = float(scored.importance.sum())
    if not total:
        return 0.0
    gone = 0.0
    for group in groups:
        size = _filled(len(group), devices)
        for place, channel in enumerate(group):
            copies = len(range(place, size, len(group)))
            if copies <= failures:
                chance = math.comb(devices - copies, failures - copies) / math.comb(devices, failures)
                gone += chance * float(scored.importance[channel])
    return gone / total


@dataclass(frozen=True)
class Dealt:
    """How layers are dealt: ``thresholds`` and ``groups`` of each, and the bytes of weights on each device.

    With predictions, whose bytes differ, it is the fullest device.
    """

    thresholds: tuple[float, ...]
    groups: tuple[Groups, ...]
    device_bytes: float


class _Point(NamedTuple):
    """What a threshold costs each device, and the importance that is then lost."""

    nbytes: float
    lost: float
    threshold: float


@dataclass(frozen=True)
class Table:
    """What is to be dealt, to how many devices, with which linkage; ``replicated`` bytes are on every device.

    With ``recover``, a device also has predictions for each set of up to so many others that are dead; these depend on
    whether the deal is rotated (``deal``).
    """

    layers: tuple[Scored, ...]
    devices: int
    replicated: int = 0
    linkage: str = HIERARCHY
    recover: int = 0
    rotate: bool = False

    @cached_property
    def floor(self) -> float:
        """The fewest bytes that a device can have: its part of each layer, and what is replicated.

        With predictions it may be less to have more copies, for then there is less to predict.
        """
        if self.recover:
            return self.replicated + sum(min(nbytes for _, _, nbytes in self._tried(each)) for each in self.layers)
        return self.replicated + sum(
            each.weight_bytes * -(-each.channels // self.devices) / each.channels for each in self.layers
        )

    @property
    def whole(self) -> int:
        """The bytes of the whole model."""
        return self.replicated + sum(each.weight_bytes for each in self.layers)

    def at(self, thresholds: Sequence[float]) -> Dealt:
        """The layers dealt with these thresholds."""
        groups = tuple(each.groups(threshold, self.linkage) for each, threshold in zip(self.layers, thresholds))
        shares = (each.weight_bytes * held(own, self.devices) / each.channels for each, own in zip(self.layers, groups))
        predictions = [self._predictions(each, own) for each, own in zip(self.layers, groups)]
        return Dealt(
            tuple(thresholds), groups, self.replicated + sum(shares) + max(map(sum, zip(*predictions)), default=0)
        )

    def _predictions(self, scored: Scored, groups: Groups) -> list[int]:
        """Bytes of predictions on each device."""
        if not self.recover:
            return [0] * self.devices
        return prediction_bytes(deal(groups, self.devices, self.rotate), self.recover, scored.widths)

    def within(self, nbytes: float) -> Dealt:
        """One threshold for all layers: the smallest with which a device has at most so many bytes.

        With ``pass``, the one that makes most of them; with predictions, the smallest of those that are tried. Raises
        ValueError below the floor.
        """
        self._check(nbytes, self.floor)
        candidates = sorted({value for each in self.layers for value in each.thresholds(self.linkage)} or {0.0})
        if self.linkage == PASS or self.recover:
            step = -(-len(candidates) // _SCANNED)
            tried = [self._uniform(each) for each in [*candidates[::step], candidates[-1]]]
            fitting = [found for found in tried if found.device_bytes <= nbytes + 1e-6]
            if not fitting:
                self._check(nbytes, min(found.device_bytes for found in tried), "one threshold for all layers")
            if self.recover:
                return fitting[0]
            return max(fitting, key=lambda found: (found.device_bytes, -found.thresholds[0]))
        low, high = 0, len(candidates) - 1
        while low < high:
            middle = (low + high) // 2
            if self._uniform(candidates[middle]).device_bytes <= nbytes + 1e-6:
                high = middle
            else:
                low = middle + 1
        return self._uniform(candidates[low])

    def layer_by_layer(self, nbytes: float, failures: int = 1) -> Dealt:
        """A threshold for each layer: from the floor on, always the copies that keep most importance per byte.

        Importance is weighed equally in all layers. Never worse by that than ``within``. Raises ValueError below the
        floor.
        """
        self._check(nbytes, self.floor)
        curves = [self._curve(each, failures) for each in self.layers]
        chosen = [0] * len(self.layers)
        left = nbytes + 1e-6 - sum(curve[0].nbytes for curve in curves) - self.replicated
        while True:
            steps = [
                ((curve[at].lost - point.lost) / (point.nbytes - curve[at].nbytes), -place, number)
                for place, (curve, at) in enumerate(zip(curves, chosen))
                for number, point in enumerate(curve[at + 1 :], at + 1)
                if point.nbytes - curve[at].nbytes <= left
            ]
            if not steps:
                break
            _, place, number = max(steps)
            left -= curves[-place][number].nbytes - curves[-place][chosen[-place]].nbytes
            chosen[-place] = number
        found = self.at([curve[number].threshold for curve, number in zip(curves, chosen)])
        try:
            plain = self.within(nbytes)
        except ValueError:  # with predictions, one threshold may need more
            return found
        return min(plain, found, key=lambda dealt: self._lost(dealt, failures))

    def _lost(self, dealt: Dealt, failures: int) -> float:
        return sum(lost(each, groups, self.devices, failures) for each, groups in zip(self.layers, dealt.groups))

    def _curve(self, scored: Scored, failures: int) -> list[_Point]:
        """What can be had for a layer, by rising bytes; each loses less than those before it."""
        points = [
            _Point(nbytes, lost(scored, groups, self.devices, failures), threshold)
            for threshold, groups, nbytes in self._tried(scored)
        ]
        best: list[_Point] = []
        for point in sorted(points):
            if not best or (point.lost < best[-1].lost and point.nbytes > best[-1].nbytes):
                best.append(point)
        return best

    def _tried(self, scored: Scored) -> Iterable[tuple[float, Groups, float]]:
        """A layer's thresholds, or some of many, with the groups, and the bytes on the fullest device."""
        every = scored.thresholds(self.linkage)
        for threshold in [*every[:: -(-len(every) // _SCANNED)], every[-1]]:
            groups = scored.groups(threshold, self.linkage)
            nbytes = scored.weight_bytes * held(groups, self.devices) / scored.channels
            yield threshold, groups, nbytes + max(self._predictions(scored, groups))

    def _uniform(self, threshold: float) -> Dealt:
        return self.at([threshold] * len(self.layers))

    def _check(self, nbytes: float, least: float, how: str = "") -> None:
        if nbytes + 1e-6 < least:
            more = f", and predictions for up to {self.recover} dead" if self.recover else ""
            raise ValueError(
                f"a device would have {nbytes / max(self.whole, 1):.3g} of the weights, but {self.devices} devices "
                f"need at least {least / max(self.whole, 1):.3g} each{f', with {how}' if how else ''}: parts of the "
                f"layers, what is replicated{more}"
            )


def burden(scored: Scored, parts: Sequence[Sequence[int]], dead: Optional[Iterable[int]] = None) -> list[float]:
    """The share of the importance that is lost if one device fails, for each device; or if ``dead`` do, one number."""
    everyone = range(len(parts))
    total = float(scored.importance.sum()) or 1.0
    found = []
    for failed in [set(dead)] if dead is not None else [{device} for device in everyone]:
        alive = {channel for device in everyone if device not in failed for channel in parts[device]}
        found.append(sum(float(scored.importance[c]) for c in range(scored.channels) if c not in alive) / total)
    return found
