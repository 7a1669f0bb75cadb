"""Deal a model's layers to devices by output channels, so that inference goes on when some of them fail.

Each device has a part of a layer's weights, and what is channel-local behind it: activations, pools, depthwise
convolutions. In front of what mixes channels, an exchange on each device gathers the parts of all. A part that is
missing, because its device is dead or late, is 0 in the result, or the zero point; nobody coordinates, and every device
that lives has a result, with a table of what was missing. Layers that are cheap in weights and have large results stay
whole on every device, and so does the last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import PurePath
from typing import Any, Optional

from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.formats.model_files import parse_model, read_model
from eprune.formats.models.boundary import weight_bytes
from eprune.formats.models.flow import OperatorFlow
from eprune.formats.models.flow import flow as find_flow
from eprune.formats.models.parts import Model
from eprune.formats.tflite.channels import Layer, layers, ranges
from eprune.formats.tflite.coding import Coded, cdc, coded, linear_layers, relabelled
from eprune.formats.tflite.dealing import (
    CODED,
    Piece,
    chained,
    dealable,
    full,
    lop,
    pieces,
    resident_bytes,
    widths,
    worth,
)
from eprune.model.partition import LayerParts, Plan, failure_sets, prediction_bytes
from eprune.model.platform import Link
from eprune.model.quantity import parse_frequency, parse_timeouts
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes._mesh import Mesh, Settings, tensor_of
from eprune.passes.base import Report, Result, carries, option

__all__ = ["LayerParts", "Method", "Options", "Plan", "apply", "chosen_layers", "model_of"]

MODELS = True
UNMAPPED = True


class Method(str, Enum):
    """How channels are dealt."""

    ROBUST = "robust"
    LOP = "lop"
    CHAINED = "chained"
    CDC = "cdc"
    FULL = "full"


class Results(str, Enum):
    """Which devices give their result."""

    ALL = "all"
    DESIGNATED = "designated"


@dataclass(frozen=True)
class Options:
    """How many devices, how channels are dealt, and how long a device waits for another.

    ``made`` is a plan that was measured or read before (``measure.plans.partition``), ``figures`` what is known of it.
    """

    devices: int = option(help="How many devices.", metavar="N")
    method: Method = option(
        Method.LOP,
        help="lop (default): contiguous blocks of channels; chained: each block on several successive devices; robust: "
        "by importance, the important ones copied; cdc: blocks, and on the last device their sum, by which a block "
        "that is missing is restored (floats only); full: every layer on every device.",
    )
    memory: float = option(
        0.0,
        help="The most that a device holds, as a part of the model's bytes of weights: 0.4. By default a layer is "
        "dealt if that saves a device more bytes of weights than it then receives per frame.",
        metavar="FRACTION",
    )
    failures: int = option(
        1,
        help="chained: the failures with which the result is still exact; robust: those to plan for (1).",
        metavar="K",
    )
    recover: int = option(
        0,
        help="Count in --memory what eprune apply recover --failures K then adds: predictions for each set of up to K "
        "dead devices.",
        metavar="K",
    )
    calibration: str = option(
        "", help="robust: pictures to score channels on (without: by weights only, s1).", metavar="DIR|FILE.npy"
    )
    scores: str = option("", help="robust: the scores to use, of s1, s2 and s3: s1,s3.", metavar="SCORES")
    rotate: bool = option(False, help="robust: begin each group's deal at the next device.")
    plan: str = option("", help="Use the plan in this file, and measure nothing.", metavar="PLAN.json")
    timeout: str = option(
        "20ms..200ms",
        help="How long a device waits for a part that is late: one time, or the least and the most of a time-out that "
        "follows what parts take (20ms..200ms).",
        metavar="TIME[..TIME]",
    )
    result: Results = option(
        Results.ALL,
        help="all (default): every device gives its result, and says whether it is the designated one; designated: "
        "only the first device that lives gives its result.",
    )
    clock: str = option(
        "",
        help="A source on every device, numbered by this clock, 30/s: of the same scene, or the same file (default: "
        "sources on the first device only).",
        metavar="RATE",
    )
    port: int = option(Link.port, help="The first TCP port; each pair of devices has one (5100).", metavar="PORT")
    made: Optional[Plan] = None
    figures: Mapping[str, Any] = field(default_factory=dict)


@carries
def apply(system: System, options: Options) -> Result:
    """The system with ``options.devices`` devices, each with its part of the model and copies of all other actors.

    The application must be one model, cut anyhow, with sources before it and sinks behind it. Raises ValueError, with a
    message for the user, for one that is not, for numbers that do not fit, and where nothing can be dealt.
    """
    _check_numbers(options)
    model, file = model_of(system)
    types = _types(system, model)
    plan = options.made or _plan(model, find_flow(model, types), options)
    if plan.devices != options.devices:
        raise ValueError(f"the plan is for {plan.devices} devices, and --devices is {options.devices}")
    files = dict(system.files)
    run, own, found, sums = model, plan, layers(model), ""
    if plan.method == CODED:
        run, own, made = _coded(model, found, plan)
        stem = PurePath(file).stem
        sums = f"{stem}_sums.tflite"
        files.pop(file, None)
        file = f"{stem}_linear.tflite"
        files.update({file: made.linear, sums: made.sums})
        found = linear_layers(run, layers(run))
    flow = find_flow(run, types)
    dealt = pieces(run, flow, found, own)
    clock = parse_frequency(options.clock) if options.clock else None
    floor, timeout = parse_timeouts(options.timeout)
    only = options.result is Results.DESIGNATED
    settings = Settings(options.devices, timeout, clock, options.port, sums, floor, only)
    mesh = Mesh(replace(system, files=files), run, file, flow, dealt, settings)
    return Result(mesh.system(), _report(run, plan, dealt, mesh, options))


def chosen_layers(system: System, options: Options) -> tuple[Model, tuple[Layer, ...]]:
    """The model, and the layers of it to deal: what a plan is made of. Raises ValueError if there are none."""
    model, _ = model_of(system)
    return model, _chosen(model, find_flow(model, _types(system, model)), options)


def _chosen(model: Model, flow: OperatorFlow, options: Options) -> tuple[Layer, ...]:
    found, parts = layers(model), options.devices
    if options.method is Method.CDC:
        found, parts = linear_layers(model, found), options.devices - 1
    copies = options.failures + 1 if options.method is Method.CHAINED else 1
    able = dealable(model, flow, found, parts)
    chosen = worth(model, flow, able, parts, options.memory, copies, options.recover)
    if not chosen:
        kind = "layer of floats" if options.method is Method.CDC else "layer"
        costs = "it costs, predictions included" if options.recover else "it costs"
        why = f"none saves more than {costs}; state --memory" if able else f"no {kind} has channels to deal"
        raise ValueError(f"nothing of {PurePath(model.path).name} is to be partitioned: {why}")
    return chosen


def _coded(model: Model, found: Sequence[Layer], plan: Plan) -> tuple[Model, Plan, Coded]:
    """The model that runs, and the plan of it."""
    able = {layer.first for layer in linear_layers(model, found)}
    other = [each.first for each in plan.layers if each.first not in able]
    if other or plan.devices < 3:
        what = f"the layer at operator {other[0]} is not one of floats" if other else "it takes 3 devices at least"
        raise ValueError(f"--method cdc: {what}")
    made = coded(model, plan)
    return parse_model(made.linear, model.path), relabelled(plan, made.place), made


def model_of(system: System) -> tuple[Model, str]:
    """The model of which the application is made, and what the graph calls its file. Raises ValueError if it is not."""
    slices = [actor for actor in system.graph.actors if actor.is_slice]
    names = {actor.behaviour.file for actor in slices if actor.behaviour is not None}
    if len(names) != 1:
        raise ValueError(f"has slices of {len(names)} models; partition is for one model")
    (file,) = names
    behaviour = slices[0].behaviour
    assert behaviour is not None  # as was asked
    data = system.files.get(file)
    model = read_model(behaviour.path or file) if data is None else parse_model(data, file)
    covered = sorted(index for actor in slices if actor.behaviour for index in actor.behaviour.operators)
    work = set(find_flow(model).work)
    if len(set(covered)) < len(covered) or not work.issubset(covered) or system.graph.dpgs:
        raise ValueError(f"is not one whole model {file}, with each operator once, outside of dynamic graphs")
    if any(isinstance(actor.behaviour, ModelSlice) and actor.behaviour.channel_ranges for actor in slices):
        raise ValueError("has slices of channels already")
    return model, file


def _check_numbers(options: Options) -> None:
    if not 1 < options.devices < 100:
        raise ValueError(f"--devices {options.devices}: there are 2 to 99")
    if not 0 < options.failures < options.devices:
        raise ValueError(f"--failures {options.failures}: with {options.devices} devices 1 to {options.devices - 1}")
    if not 0 <= options.memory <= 1:
        raise ValueError(f"--memory {options.memory:g}: a part of the model's weights is more than 0, and at most 1")
    if options.method is Method.CDC and (options.devices < 3 or options.failures > 1):
        raise ValueError("--method cdc takes 3 devices at least, and is for one failure")
    _check_recover(options)
    pairs = options.devices * (options.devices - 1) // 2
    if not 0 < options.port <= 65536 - pairs:
        raise ValueError(f"--port {options.port}: {pairs} links would need TCP ports above 65535")
    if options.method is not Method.ROBUST and (options.calibration or options.scores or options.rotate):
        raise ValueError("--calibration, --scores and --rotate are for --method robust")
    try:
        parse_timeouts(options.timeout)
    except ValueError as error:
        raise ValueError(f"--timeout {options.timeout}: {error}") from None
    if options.clock:
        try:
            parse_frequency(options.clock)
        except ValueError as error:
            raise ValueError(f"--clock {options.clock}: {error}") from None


def _check_recover(options: Options) -> None:
    if not options.recover:
        return
    if options.method in (Method.CDC, Method.FULL):
        raise ValueError(f"--recover: with --method {options.method.value} nothing is predicted")
    if not 0 < options.recover < options.devices:
        raise ValueError(f"--recover {options.recover}: with {options.devices} devices 1 to {options.devices - 1}")
    if options.method is Method.CHAINED and options.recover <= options.failures:
        raise ValueError(
            f"--recover {options.recover}: --method chained has all channels with {options.failures} dead: there is "
            "nothing to predict"
        )
    failure_sets(options.devices, options.recover)  # or there are too many


def _plan(model: Model, flow: OperatorFlow, options: Options) -> Plan:
    """The plan of a method that measures nothing."""
    if options.method is Method.FULL:
        return full(options.devices)
    if options.method is Method.ROBUST:
        raise ValueError("--method robust needs a plan that is measured first")
    chosen = _chosen(model, flow, options)
    if options.method is Method.CDC:
        return cdc(chosen, options.devices)
    if options.method is Method.CHAINED:
        return chained(chosen, options.devices, options.failures + 1)
    return lop(chosen, options.devices)


def _types(system: System, model: Model) -> dict[int, TokenType]:
    """What the graph says of tensors whose type the model does not state."""
    found = {}
    for actor in system.graph.actors:
        if actor.behaviour is not None and actor.behaviour.operators:
            for port in actor.ports:
                tensor = tensor_of(system, actor, port)
                if tensor is not None:
                    found[tensor] = port.token
    return found


def _report(model: Model, plan: Plan, found: Sequence[Piece], mesh: Mesh, options: Options) -> Report:
    """What each device holds and sends."""
    whole = weight_bytes(model, range(len(model.operators)))
    dealt = [piece for piece in found if piece.parts]
    predictions = _predictions(model, plan, options.recover)
    devices = []
    for device, name in enumerate(mesh.names):
        held = resident_bytes(model, found, device)
        share = (held + predictions[device]) / whole if whole else 1.0
        told: dict[str, Any] = {"device": name, "weight_bytes": held, "of_the_whole": share}
        if options.recover:
            told["recovery_bytes"] = predictions[device]
        devices.append({**told, "sent_bytes": mesh.sent(device)})
    lines = [
        f"{plan.method}: {len(dealt)} layers over {plan.devices} devices, {len(mesh.exchanged)} exchanges per frame",
        *(
            f"{each['device']}: {each['weight_bytes']} of {whole} bytes of weights"
            f"{' and {} of predictions'.format(each['recovery_bytes']) if options.recover else ''} "
            f"({each['of_the_whole']:.1%}), sends {each['sent_bytes']} bytes per frame"
            for each in devices
        ),
    ]
    if options.recover:
        lines.append(f"predictions are made by: eprune apply recover --failures {options.recover}")
    figures: dict[str, Any] = {
        "method": plan.method,
        "model_weight_bytes": whole,
        "layers": [
            {
                "layer": mesh.labels[found.index(piece)],
                "first": piece.operators[0],
                "parts": list(map(ranges, piece.parts)),
            }
            for piece in dealt
        ],
        "devices": devices,
        "plan": plan.to_json(),
        **options.figures,
    }
    return Report(tuple(lines), figures)


def _predictions(model: Model, plan: Plan, failures: int) -> list[int]:
    """Bytes of predictions that each device will have for sets of up to so many others that are dead."""
    by_first = {layer.first: layer for layer in layers(model)}
    total = [0] * plan.devices
    for dealt in plan.layers if failures else ():
        found = prediction_bytes(dealt.parts, failures, widths(model, by_first[dealt.first]))
        total = [known + nbytes for known, nbytes in zip(total, found)]
    return total
