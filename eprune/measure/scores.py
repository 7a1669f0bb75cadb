"""How much each channel of a model matters: three scores, and the plan that RobustDiCE's method makes of them.

- ``s1``: the l1 norm of the channel's weights and bias.
- ``s2``: Taylor expansion, how much the loss changes as weights and bias of the channel change, by gradients
  (``measure.gradients``). Where these cannot be had it is a finite difference of the channel as a whole, two runs of
  the rest of the model for each channel: by the triangle inequality a lower bound of the sum over its weights.
- ``s3``: the Jensen-Shannon divergence (natural logarithm) of the model's answers with and without the channel.

s2 and s3 are means over calibration pictures.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

import numpy as np

from eprune.explore.importance import HIERARCHY, Dealt, Scored, Table, burden, deal, normalized
from eprune.formats.models.boundary import weight_bytes
from eprune.formats.models.parts import Model
from eprune.formats.tflite.channels import HEADS, Layer
from eprune.formats.tflite.constants import constant
from eprune.formats.tflite.dealing import widths
from eprune.measure.engines import plain_engine
from eprune.measure.gradients import ends_in_softmax, obstacle, taylor
from eprune.measure.masks import INTACT, Case, Stages
from eprune.measure.probe import chosen_interpreter
from eprune.measure.progress import SILENT, Progress
from eprune.model.partition import LayerParts, Plan

SCORES = ("s1", "s2", "s3")
#: What the scores are, for reports.
MEANINGS = {
    "s1": "l1 norm of weights and bias",
    "s2": "Taylor score: gradients of the loss by weights and bias",
    "s3": "Jensen-Shannon divergence of the answers without the channel",
}
#: What s2 is without gradients.
_DIFFERENCE = "finite difference of the loss, by channel (a lower bound of the Taylor score; no gradients: {})"
#: By what share a channel is made larger and smaller for s2; more for quantised tensors, which are rounded.
_STEP, _QUANTIZED_STEP = 0.05, 0.25


def channel_scores(
    model: Model,
    layers: Sequence[Layer],
    tokens: Sequence[np.ndarray] = (),
    names: Sequence[str] = SCORES,
    classes: Optional[Sequence[int]] = None,
    interpreter: str = "auto",
    progress: Progress = SILENT,
) -> dict[int, np.ndarray]:
    """First operator of each layer -> its channels' scores [channels, names], as measured.

    ``tokens`` are calibration pictures, ``classes`` what they show; without, the loss of s2 is that of the class that
    the whole model answers. Raises ValueError for other names, and where s2 or s3 is wanted without pictures.
    """
    strange = [each for each in names if each not in SCORES]
    if strange or not names:
        raise ValueError(f"there is no score {(strange or [''])[0]!r}; there are {', '.join(SCORES)}")
    if not tokens and set(names) - {"s1"}:
        raise ValueError("s2 and s3 are measured on calibration pictures, and there are none: use s1, or give pictures")
    name, _ = chosen_interpreter(interpreter)
    found = {}
    slopes = taylor(model, layers, tokens, classes) if "s2" in names and not obstacle(model) else {}
    by_runs = [each for each in names if each == "s3" or (each == "s2" and not slopes)]
    for place, layer in enumerate(layers):
        progress.update(place)
        columns: dict[str, np.ndarray] = {"s1": norms(model, layer)} if "s1" in names else {}
        if slopes:
            columns["s2"] = slopes[layer.first]
        if by_runs:
            columns.update(_by_runs(model, layer, tokens, by_runs, classes, name))
        found[layer.first] = np.stack([columns[each] for each in names], axis=1)
    return found


def meanings(model: Model, names: Sequence[str]) -> dict[str, str]:
    """What these scores are, measured of this model here."""
    found = {name: MEANINGS[name] for name in names}
    problem = obstacle(model) if "s2" in found else ""
    return {**found, "s2": _DIFFERENCE.format(problem)} if problem else found


def norms(model: Model, layer: Layer) -> np.ndarray:
    """s1: the sum of the absolute weights and biases of each channel, of all operators that mix channels."""
    total = np.zeros(layer.channels)
    for number in layer.heads:
        operator = model.operators[number]
        for position, axis in HEADS[operator.name][1].items():
            if position < len(operator.inputs) and operator.inputs[position] >= 0:
                weights = np.abs(constant(model, operator.inputs[position]))
                total += weights.sum(axis=tuple(each for each in range(weights.ndim) if each != axis))
    return total


def _by_runs(
    model: Model,
    layer: Layer,
    tokens: Sequence[np.ndarray],
    names: Sequence[str],
    classes: Optional[Sequence[int]],
    interpreter: str,
) -> dict[str, np.ndarray]:
    """s2 and s3 of a layer, whichever is wanted: the model up to its end once, the rest once for each case."""
    stages = Stages(model, [layer], interpreter)
    quantized = model.tensors[layer.outputs[0]].dtype not in ("float32", "float16")
    step = _QUANTIZED_STEP if quantized else _STEP
    cases = [INTACT]
    if "s3" in names:
        cases += _cases(layer, 0.0)
    if "s2" in names:
        cases += [*_cases(layer, 1 + step), *_cases(layer, 1 - step)]
    count = layer.channels
    totals = {each: np.zeros(count) for each in names}
    probable = Probabilities(model, interpreter)
    for place, token in enumerate(tokens):
        intact, *others = (probable(answer) for answer in stages(token, cases))
        if "s3" in totals:
            totals["s3"] += [divergence(intact, each) for each in others[:count]]
            others = others[count:]
        if "s2" in totals:
            target = int(intact.argmax()) if classes is None else classes[place]
            losses = -np.log(np.maximum([each[target] for each in others], 1e-30))
            totals["s2"] += np.abs(losses[:count] - losses[count:]) / (2 * step)
    return {name: total / len(tokens) for name, total in totals.items()}


def _cases(layer: Layer, factor: float) -> Iterable[Case]:
    """Each channel in turn multiplied by the factor."""
    for channel in range(layer.channels):
        factors = np.ones(layer.channels, np.float32)
        factors[channel] = factor
        yield Case({layer.first: factors})


class Probabilities:
    """Makes probabilities of a model's answers: dequantised, and put through softmax where they are none yet."""

    def __init__(self, model: Model, interpreter: str) -> None:
        detail: Any = plain_engine(model, interpreter).load(model.data).get_output_details()[0]
        self._scale, self._zero = detail["quantization"]
        self._made = ends_in_softmax(model)

    def __call__(self, answer: np.ndarray) -> np.ndarray:
        """float64 [classes], their sum is 1."""
        scores = answer.reshape(-1).astype(np.float64)
        if self._scale:
            scores = (scores - self._zero) * self._scale
        total = scores.sum()
        if self._made:  # quantised ones of many classes add up roughly, or are all rounded to 0
            return scores / total if total > 0 else np.full(len(scores), 1 / len(scores))
        if scores.min() >= 0 and abs(total - 1) < 1e-3:
            return scores / total
        raised: np.ndarray = np.exp(scores - scores.max())
        return raised / raised.sum()


def divergence(one: np.ndarray, other: np.ndarray) -> float:
    """The Jensen-Shannon divergence of two distributions, natural logarithm: from 0 to log 2."""
    middle = (one + other) / 2

    def towards(each: np.ndarray) -> float:
        there = each > 0
        return float((each[there] * np.log(each[there] / middle[there])).sum())

    return max((towards(one) + towards(other)) / 2, 0.0)


def robust_plan(
    model: Model,
    layers: Sequence[Layer],
    devices: int,
    memory: Optional[float] = None,
    failures: int = 1,
    calibration: Sequence[np.ndarray] = (),
    scores: Optional[Sequence[str]] = None,
    rotate: bool = False,
    linkage: str = HIERARCHY,
    by_layer: bool = False,
    threshold: Optional[float] = None,
    recover: int = 0,
    classes: Optional[Sequence[int]] = None,
    measured: Optional[Mapping[int, np.ndarray]] = None,
    interpreter: str = "auto",
    progress: Progress = SILENT,
) -> tuple[Plan, dict[str, Any]]:
    """Deal these layers to devices so that each has at most the share ``memory`` of the model's weights.

    By default, that is a quarter of the way from the least that is possible to the whole model.

    ``calibration`` are tokens of pictures; without them the only score is s1. ``scores`` are names of SCORES (default:
    all that can be had); ``measured`` are those of ``channel_scores``, in this order, if they are known already.
    With ``recover``, that share includes predictions for each set of up to so many dead devices (``passes.recover``).
    ``by_layer`` finds a threshold for each layer, with ``failures`` devices dead in mind; ``threshold`` states one, and
    memory follows. The second result is plain data for a report.

    Raises ValueError where the memory is too little, with what is possible, and ImportError without SciPy, which
    ``linkage="pass"`` does not need.
    """
    names = tuple(scores) if scores is not None else SCORES if len(calibration) else ("s1",)
    begin = time.perf_counter()
    if measured is None:
        measured = channel_scores(model, layers, calibration, names, classes, interpreter, progress)
    seconds = time.perf_counter() - begin
    table = table_of(model, layers, devices, measured, linkage, recover, rotate)
    budget = table.floor + (table.whole - table.floor) / 4 if memory is None else memory * table.whole
    if threshold is not None:
        dealt = table.at([threshold] * len(table.layers))
    elif by_layer:
        dealt = table.layer_by_layer(budget, failures)
    else:
        dealt = table.within(budget)
    parts = [deal(groups, devices, rotate) for groups in dealt.groups]
    plan = Plan(devices, "robust", tuple(LayerParts(each.first, own) for each, own in zip(table.layers, parts)))
    return plan, _figures(table, dealt, plan, meanings(model, names), seconds)


def table_of(
    model: Model,
    layers: Sequence[Layer],
    devices: int,
    measured: Mapping[int, np.ndarray],
    linkage: str = HIERARCHY,
    recover: int = 0,
    rotate: bool = False,
) -> Table:
    """What is to be dealt: scores normalised by layer, and the bytes that stay on every device."""
    scored = tuple(
        Scored(each.first, each.weight_bytes, normalized(measured[each.first]), widths(model, each)) for each in layers
    )
    whole = weight_bytes(model, [operator.index for operator in model.operators])
    return Table(scored, devices, max(whole - sum(each.weight_bytes for each in scored), 0), linkage, recover, rotate)


def _figures(table: Table, dealt: Dealt, plan: Plan, scores: dict[str, str], seconds: float) -> dict[str, Any]:
    """What a report says of a plan."""
    return {
        "scores": scores,
        "linkage": table.linkage,
        "memory": dealt.device_bytes / table.whole if table.whole else 0.0,
        "floor": table.floor / table.whole if table.whole else 0.0,
        "device_bytes": round(dealt.device_bytes),
        "seconds": round(seconds, 3),
        "layers": [
            {
                "first": scored.first,
                "channels": scored.channels,
                "threshold": threshold,
                "groups": len(groups),
                "copies": sum(map(len, own.parts)) - scored.channels,
                "lost": [round(share, 6) for share in burden(scored, own.parts)],
            }
            for scored, threshold, groups, own in zip(table.layers, dealt.thresholds, dealt.groups, plan.layers)
        ],
    }
