"""What failures leave of results that are put together from parts: exact, degraded, or gone.

Where a model's layers are dealt to devices (the pass ``partition``), an exchange on each gathers the parts of a layer.
Its result is exact if for each channel there is a part that has it and is exact itself; of several copies an exchange
takes such a one. Everything else is exact if all that it gets is. So one walk in precedence order tells what becomes of
every sink, for each set of things that fail.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from eprune.analysis.failures import FaultModel, Outcome, Service, Thing
from eprune.model.graph import Actor


@dataclass(frozen=True)
class PartResult:
    """What is left of the essential sinks when these things fail: each of them is in one of the three.

    ``lost``: exchange -> the channels of its layer that no part has that it gets, and how many there are in all.
    """

    failed: tuple[Thing, ...]
    exact: tuple[str, ...]
    degraded: tuple[str, ...]
    gone: tuple[str, ...]
    lost: Mapping[str, tuple[tuple[int, ...], int]]

    def as_data(self, layers: Mapping[str, str]) -> dict[str, Any]:
        """For JSON; ``layers`` are those of the exchanges."""
        return {
            "failed": [{"kind": thing.kind, "name": thing.name} for thing in self.failed],
            "exact": list(self.exact),
            "degraded": list(self.degraded),
            "gone": list(self.gone),
            "lost": [
                {"exchange": name, "layer": layers[name], "channels": list(channels), "of": count}
                for name, (channels, count) in self.lost.items()
            ],
        }


@dataclass(frozen=True)
class Gathering:
    """An exchange: input -> the channels that it brings. ``coded`` is the input that brings sums of all others."""

    parts: Mapping[str, frozenset[int]]
    coded: str = ""

    @property
    def whole(self) -> frozenset[int]:
        """All channels."""
        return frozenset[int]().union(*self.parts.values())

    def lacks(self, there: Iterable[str]) -> frozenset[int]:
        """The channels that these inputs do not bring; one input's can be computed from the sums."""
        inputs = set(there)
        gone = [port for port in self.parts if port not in inputs]
        if self.coded in inputs and len(gone) == 1:
            return frozenset()
        return self.whole.difference(*(self.parts[port] for port in self.parts if port in inputs))


def exchanges(model: FaultModel) -> dict[str, Gathering]:
    """What is gathered by each exchange; empty for an application without exchanges."""
    found = {}
    for actor in model.graph.actors:
        if actor.behaviour is not None and actor.behaviour.label.endswith("exchange.py:Exchange"):
            stated = dict(actor.parameters)
            parts = dict(_parts(stated.get("parts", "")))
            coded = stated.get("coded", "")
            parts.pop(coded, None)
            if parts:
                found[actor.name] = Gathering(parts, coded)
    return found


def layer_names(model: FaultModel) -> dict[str, str]:
    """Exchange -> what its layer is called."""
    own = exchanges(model)
    return {a.name: dict(a.parameters).get("layer", a.name) for a in model.graph.actors if a.name in own}


def part_results(model: FaultModel, most: int, service: Service) -> tuple[PartResult, ...]:
    """What every set of at most ``most`` things leaves, small sets first; () for an application without exchanges."""
    known = exchanges(model)
    if not known:
        return ()
    order = _order(model)
    return tuple(
        _result(model, failed, service, known, order)
        for size in range(1, min(most, len(model.things)) + 1)
        for failed in combinations(model.things, size)
    )


def _result(
    model: FaultModel,
    failed: Sequence[Thing],
    service: Service,
    known: Mapping[str, Gathering],
    order: Sequence[Actor],
) -> PartResult:
    outcome = model.outcome(failed, service)
    dead = _dead(model, outcome)
    spoilt: set[str] = set()
    lost: dict[str, tuple[tuple[int, ...], int]] = {}
    for actor in order:
        if actor.name in dead:
            continue
        coming = [f for f in model.inputs[actor.name] if f.name not in outcome.broken and f.source.actor not in dead]
        if actor.name not in known:
            if any(fifo.source.actor in spoilt for fifo in coming):
                spoilt.add(actor.name)
            continue
        own = known[actor.name]
        there = {fifo.target.port: fifo.source.actor in spoilt for fifo in coming}
        missing = own.lacks(there)
        if own.lacks(port for port, bad in there.items() if not bad):
            spoilt.add(actor.name)
        if missing:
            lost[actor.name] = (tuple(sorted(missing)), len(own.whole))
    sinks = {sink: "gone" if sink in dead else "degraded" if sink in spoilt else "exact" for sink in service.essential}

    def those(state: str) -> tuple[str, ...]:
        return tuple(sink for sink, found in sinks.items() if found == state)

    return PartResult(tuple(failed), those("exact"), those("degraded"), those("gone"), lost)


def _dead(model: FaultModel, outcome: Outcome) -> set[str]:
    ended = {actor for actor, home in model.homes.items() if home in outcome.ended}
    return {*outcome.gone, *outcome.starved, *outcome.iterations, *ended}


def _order(model: FaultModel) -> list[Actor]:
    """The actors, each behind those that its tokens come from; delays aside."""
    waiting = {name: sum(not fifo.delay for fifo in fifos) for name, fifos in model.inputs.items()}
    actors = {actor.name: actor for actor in model.graph.actors}
    ready = [name for name, count in waiting.items() if not count]
    found = []
    while ready:
        name = ready.pop()
        found.append(actors[name])
        for fifo in model.outputs[name]:
            waiting[fifo.target.actor] -= not fifo.delay
            if not waiting[fifo.target.actor] and not fifo.delay:
                ready.append(fifo.target.actor)
    return found


def _parts(text: str) -> Iterator[tuple[str, frozenset[int]]]:
    """``own=0-15 device2=16-31``; nothing of what is written otherwise, for the class refuses it."""
    for part in text.split():
        port, _, channels = part.partition("=")
        if not re.fullmatch(r"\d{1,7}(-\d{1,7})?(,\d{1,7}(-\d{1,7})?)*", channels):
            return
        ends = [each.partition("-") for each in channels.split(",")]
        found = [range(int(first), int(last or first) + 1) for first, _, last in ends]
        yield port, frozenset(index for each in found for index in each)
