"""A model whose layers are dealt to devices (``passes.partition``), beside the vertical cuts of an exploration.

What is compared is on the same platforms and links: each device is as fast as the exploration's endpoint, and the links
between devices are like the one from the endpoint to the server. The devices' actors run here, one after the other; the
time of the endpoint's own actors here, and as the exploration knows it, tells how much faster or slower it is.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Optional

import numpy as np

from eprune.explore.cost import Costs
from eprune.explore.plan import LinkFigures, Plan
from eprune.formats.model_files import read_model
from eprune.formats.models.boundary import weight_bytes
from eprune.formats.tflite.channels import narrow, narrowed_bytes
from eprune.formats.touching import placed
from eprune.measure.answers import SystemAnswers, alone
from eprune.measure.executor import Firing
from eprune.model.behaviour import Behaviour
from eprune.model.finding import EpruneError, Finding
from eprune.model.platform import Platform
from eprune.model.system import System
from eprune.passes.recover import PARAMETER, is_exchange

#: Frames that are timed, behind one that is not.
_FRAMES = 9


@dataclass(frozen=True)
class Beside:
    """A partitioned application's figures per frame, predicted: seconds and bytes. ``weights``: device -> bytes.

    ``period`` is that of the busiest device or link.
    """

    application: str
    devices: int
    endpoint: str
    link: tuple[str, str]
    latency: float
    period: float
    nbytes: int
    weights: Mapping[str, int]


def beside(system: System, explored: System, plan: Plan, costs: Costs) -> Beside:
    """The figures of a partitioned application; ``explored`` is the application of the exploration.

    Raises EpruneError where the first is no partition of the second one's model.
    """
    _check_model(system, explored)
    endpoint, server = plan.roles.endpoints[0], plan.roles.server
    own = {name for name, behaviour in _slices(explored)}
    known = costs.times[endpoint]
    ends = sum(seconds for name, seconds in known.items() if name not in own)
    here = sum(seconds for name, seconds in _Runs(alone(explored)).seconds.items() if name in own)
    slower = sum(known[name] for name in own) / max(here, 1e-9)
    link = costs.link(endpoint, server)
    runs = _Runs(replace(system, platforms=tuple(_like(each, slower, link) for each in system.platforms)))
    busy = dict.fromkeys(system.homes.values(), ends)
    for name, seconds in runs.seconds.items():
        busy[system.homes[name]] += slower * seconds
    carried = [nbytes / link.bandwidth for nbytes in runs.nbytes.values()] if link and link.bandwidth else []
    return Beside(
        system.graph.name,
        len(system.platforms),
        endpoint,
        (endpoint, server),
        runs.latency + ends,
        max([*busy.values(), *carried]),
        round(sum(runs.nbytes.values())),
        platform_weights(system, system.homes),
    )


class _Runs:
    """Some frames of noise: ``latency``, as the platforms' figures make it, ``seconds`` of each actor here, medians.

    ``nbytes`` are those over each link.
    """

    def __init__(self, system: System) -> None:
        taken: dict[str, list[float]] = {}
        random = np.random.default_rng(1)

        def note(firing: Firing) -> None:
            taken.setdefault(firing.node, []).append(firing.seconds)

        with SystemAnswers(system, fused=False, observe=note) as answers:
            shape, kind = answers.token.shape, np.dtype(answers.token.dtype)
            values = random.random(shape) if kind.kind == "f" else random.integers(0, 127, shape)
            frames = [answers.frame(values.astype(kind)) for _ in range(_FRAMES + 1)][1:]
        self.latency = statistics.median(frame.seconds for frame in frames)
        self.seconds = {name: statistics.median(seconds[1:]) for name, seconds in taken.items()}
        self.nbytes = frames[0].nbytes


def _like(platform: Platform, slower: float, link: Optional[LinkFigures]) -> Platform:
    """A device as fast as the endpoint, whose links are like the endpoint's."""
    units = tuple(replace(unit, slowdown=slower) for unit in platform.units)
    bandwidth, latency = (link.bandwidth, link.latency) if link else (None, None)
    links = tuple(replace(each, bandwidth=bandwidth, latency=latency) for each in platform.links)
    return replace(platform, units=units, links=links)


def _slices(system: System) -> list[tuple[str, Behaviour]]:
    """The actors that are slices of a model."""
    found = [(actor.name, actor.behaviour) for actor in system.graph.actors]
    return [(name, behaviour) for name, behaviour in found if behaviour is not None and behaviour.operators]


def platform_weights(system: System, homes: Mapping[str, str]) -> dict[str, int]:
    """Bytes of weights on each platform: of slices, as far as they keep their channels, and of predictions."""
    total: dict[str, int] = {}
    for actor in system.graph.actors:
        behaviour = actor.behaviour
        nbytes = 0
        if behaviour is not None and behaviour.operators:
            model = read_model(behaviour.path)
            nbytes = weight_bytes(model, behaviour.operators)
            channels = tuple(getattr(behaviour, "channels", ()))
            if channels:
                whole, kept = narrowed_bytes(model, narrow(model, behaviour.operators, channels))
                nbytes += kept - whole
        file = dict(actor.parameters).get(PARAMETER, "") if is_exchange(actor) else ""
        path = placed(actor, "read", file) if file else None
        if path is not None:
            with np.load(path) as predictions:
                nbytes += sum(predictions[name].nbytes for name in predictions.files if not name.endswith(":low"))
        total[homes[actor.name]] = total.get(homes[actor.name], 0) + nbytes
    return total


def _check_model(system: System, explored: System) -> None:
    """Both are of one model. Of a coded one (--method cdc), which computes with other files, nobody knows."""
    models = [
        {read_model(path).data for path in {behaviour.path for _, behaviour in _slices(each)}}
        for each in (system, explored)
    ]
    if len(models[0]) < 2 and models[0] != models[1]:
        message = "is no partition of the model that was explored"
        raise EpruneError(Finding("FILE", system.graph.where, message, "partition the application that was explored"))
