"""How accurate a partitioned model stays when devices fail: for all sets of dead devices, in one process, by masks.

The masks are those of ``measure.masks``, which tests prove equal to what real slices compute.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

import numpy as np

from eprune.formats.model_files import read_model
from eprune.formats.models.boundary import weight_bytes
from eprune.formats.models.flow import flow
from eprune.formats.models.parts import Model
from eprune.formats.tflite.channels import Layer
from eprune.formats.tflite.channels import layers as find_layers
from eprune.formats.tflite.dealing import chained, dealable, full, lop, pieces, resident_bytes, worth
from eprune.measure.answers import class_of, ends, labels_of
from eprune.measure.masks import Case, Stages, alive
from eprune.measure.progress import SILENT, Progress
from eprune.measure.recovery import Recovery, fit
from eprune.measure.scores import SCORES, channel_scores, robust_plan
from eprune.model.finding import EpruneError, Finding
from eprune.model.partition import LayerParts, Plan, failure_sets
from eprune.model.samples import Share
from eprune.model.system import System


@dataclass(frozen=True)
class Failed:
    """What is left with these devices ``dead``, counted from 0: the ``share`` of right answers.

    ``lost`` is the number of channels that no living device has; with 0 the answers are those of the whole model.
    """

    dead: tuple[int, ...]
    share: Share
    lost: int


@dataclass(frozen=True)
class Robustness:
    """A plan with all its sets of dead devices.

    ``memory`` is what the fullest device holds, as a part of the model's bytes of weights: its slices, and
    ``recovery_bytes`` of predictions, one for each set of dead devices in which it lives. ``recovery`` says whether
    there are such.
    """

    method: str
    devices: int
    memory: float
    failed: tuple[Failed, ...]
    recovery: bool = False
    recovery_bytes: int = 0
    label: str = ""

    @property
    def counts(self) -> Mapping[int, tuple[float, float, float]]:
        """Number of dead devices -> mean, smallest and largest share of right answers."""
        found = {}
        for count in sorted({len(each.dead) for each in self.failed}):
            shares = [each.share.value for each in self.failed if len(each.dead) == count]
            found[count] = (math.fsum(shares) / len(shares), min(shares), max(shares))
        return found


class Trial:
    """A model, the layers of it that can be dealt, and pictures with the classes that are ``wanted``.

    ``calibration`` are tokens that the recovery is fitted on. ``wanted`` None: the classes that the whole model
    answers.
    """

    def __init__(
        self,
        model: Model,
        tokens: Sequence[np.ndarray],
        wanted: Optional[Sequence[int]],
        interpreter: str,
        calibration: Sequence[np.ndarray] = (),
    ) -> None:
        self.model, self.tokens, self.calibration, self.interpreter = model, tokens, calibration, interpreter
        self.flow = flow(model)
        self.layers = find_layers(model)
        self.whole = weight_bytes(model, range(len(model.operators)))
        self.wanted = wanted
        self._scores: dict[object, Mapping[int, np.ndarray]] = {}

    def scores(
        self, layers: Sequence[Layer], names: Sequence[str], classes: Optional[Sequence[int]]
    ) -> Mapping[int, np.ndarray]:
        """Those of the layers' channels (``channel_scores``), measured once."""
        key = tuple(layer.first for layer in layers), tuple(names)
        if key not in self._scores:
            self._scores[key] = channel_scores(self.model, layers, self.calibration, names, classes, self.interpreter)
        return self._scores[key]

    def chosen(self, devices: int, memory: float = 0.0, copies: int = 1, recover: int = 0) -> tuple[Layer, ...]:
        """The layers to deal, as ``apply partition`` chooses them. Raises ValueError."""
        able = dealable(self.model, self.flow, self.layers, devices)
        found = worth(self.model, self.flow, able, devices, memory, copies, recover)
        if not found:
            raise ValueError("nothing of the model is to be partitioned: no layer has channels to deal")
        return found

    def memory(self, plan: Plan) -> float:
        """The part of the weights that the fullest device holds."""
        made = pieces(self.model, self.flow, self.layers, plan)
        held = [resident_bytes(self.model, made, device) for device in range(plan.devices)]
        return max(held) / self.whole if self.whole else 1.0

    def run(
        self,
        plan: Plan,
        failures: int,
        recovery: bool = False,
        label: str = "",
        progress: Progress = SILENT,
        known: Optional[Mapping[frozenset[int], Recovery]] = None,
    ) -> Robustness:
        """All sets of up to so many dead devices.

        With ``recovery``, what is missing is predicted, not 0: as is ``known`` for sets of dead devices, or, if nothing
        is, as fitted on the calibration pictures.
        """
        dealt = {layer.first for layer in plan.layers}
        stages = Stages(self.model, [each for each in self.layers if each.first in dealt], self.interpreter)
        sets = failure_sets(plan.devices, failures)
        cases = [Case(alive(plan, dead)) for dead in sets]
        lost = [sum(int((kept == 0).sum()) for kept in case.factors.values()) for case in cases]
        extra = [0] * plan.devices
        if recovery:
            for place, dead in enumerate(sets):
                if lost[place]:
                    found = fit(stages, plan, dead, self.calibration) if known is None else known.get(frozenset(dead))
                    if found is None:
                        continue
                    extra = [own + found.nbytes * (device not in dead) for device, own in enumerate(extra)]
                    cases[place] = found.case(plan)
        right = np.zeros(len(sets), int)
        for place, token in enumerate(self.tokens):
            answers = [class_of(answer) for answer in stages(token, cases)]
            expected = answers[0] if self.wanted is None else self.wanted[place]
            right += [answer == expected for answer in answers]
            progress.update(place + 1)
        shares = [Share(int(count), len(self.tokens)) for count in right]
        failed = tuple(Failed(*each) for each in zip(sets, shares, lost))
        memory = self.memory(plan) + (max(extra) / self.whole if self.whole else 0)
        return Robustness(plan.method, plan.devices, memory, failed, recovery, max(extra), label or plan.method)


@dataclass(frozen=True)
class Wanted:
    """Plans to compare: for each of ``methods`` over ``devices``, robust ones with each ``memory``.

    With ``recover``, that includes predictions for each set of up to so many dead devices.
    """

    devices: int
    methods: tuple[str, ...]
    memory: tuple[float, ...]
    scores: Optional[tuple[str, ...]] = None
    rotate: bool = False
    linkage: str = "hierarchy"
    by_layer: bool = True
    recover: int = 0


def plans_of(
    trial: Trial,
    wanted: Wanted,
    failures: int,
    classes: Optional[Sequence[int]] = None,
    measured: Optional[Mapping[int, np.ndarray]] = None,
    on_note: Callable[[str], None] = lambda text: None,
) -> list[tuple[str, Plan]]:
    """The plans, each with what to call it. ``classes`` are those of the trial's calibration pictures.

    What is not possible with too little memory is a note. Raises ValueError where nothing is possible.
    """
    layers = trial.chosen(wanted.devices)
    found: list[tuple[str, Plan]] = []
    for method in wanted.methods:
        if method == "full":
            found.append(("full", full(wanted.devices)))
        elif method == "lop":
            found.append(("lop", lop(layers, wanted.devices)))
        elif method == "chained":
            copies = range(2, min(failures + 1, wanted.devices - 1) + 1)
            found += [(f"chained, {count} copies", chained(layers, wanted.devices, count)) for count in copies]
        else:
            found += _robust(trial, layers, wanted, failures, classes, measured, on_note)
    if not found and not wanted.recover:
        raise ValueError("no plan is possible")
    return found


def _robust(
    trial: Trial,
    layers: Sequence[Layer],
    wanted: Wanted,
    failures: int,
    classes: Optional[Sequence[int]],
    measured: Optional[Mapping[int, np.ndarray]],
    on_note: Callable[[str], None],
) -> list[tuple[str, Plan]]:
    names = wanted.scores or (SCORES if len(trial.calibration) else ("s1",))
    if measured is None:
        measured = trial.scores(layers, names, classes)
    if wanted.recover:
        try:
            layers = trial.chosen(wanted.devices, recover=wanted.recover)
        except ValueError:
            on_note("robust with recovery: every layer's predictions take more than its deal saves")
            return []
    found = []
    for memory in wanted.memory:
        try:
            plan, _ = robust_plan(
                trial.model,
                layers,
                wanted.devices,
                memory,
                failures,
                scores=names,
                rotate=wanted.rotate,
                linkage=wanted.linkage,
                by_layer=wanted.by_layer,
                recover=wanted.recover,
                measured=measured,
            )
        except ValueError as error:
            on_note(f"robust with memory {memory:g}: {error}")
            continue
        found.append((f"robust, {memory:g}", plan))
    return found


def plan_of(system: System) -> tuple[Model, Plan, tuple[str, ...]]:
    """The model that an application's devices have parts of, the plan, and the devices' names in their order.

    Raises EpruneError for an application of which nothing is partitioned.
    """
    names = tuple(mapping.platform for mapping in system.mappings)
    parts: dict[int, dict[str, set[int]]] = {}
    models = set()
    for actor in system.graph.actors:
        behaviour = actor.behaviour
        channels = getattr(behaviour, "channels", ())
        if behaviour is not None and channels:
            models.add(behaviour.path)
            own = parts.setdefault(behaviour.operators[0], {})
            own.setdefault(system.homes[actor.name], set()).update(channels)
    if len(models) != 1:
        message = "no layer of it is partitioned by channels"
        hint = "give a system that eprune apply partition has written, or a .tflite model"
        if models:
            message = "it has parts of several models, as --method cdc makes them"
            hint = "eprune analyze --faults tells what each failure leaves of it"
        raise EpruneError(Finding("FILE", system.graph.where, message, hint))
    layers = tuple(
        LayerParts(first, tuple(tuple(sorted(own.get(name, ()))) for name in names))
        for first, own in sorted(parts.items())
    )
    return read_model(models.pop()), Plan(len(names), "partition", layers), names


def source_of(system: System) -> tuple[Mapping[str, str], str]:
    """The parameters of the application's first source, and what a sink's parameter says of the names of classes."""
    sources, sinks = ends(system.graph)
    return dict(sources[0].parameters), labels_of(sinks)
