"""What is different about a program of a multi-rate graph: its threads, its actors' rates, what is left at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Optional

from eprune.runtime.fire.firing import RunningActor
from eprune.runtime.fire.schedules import Phases
from eprune.runtime.kernel.fifo import Fifo, Input, Output
from eprune.runtime.main.declared import Declared, DeclaredFifo
from eprune.runtime.net.ends import RxFifo

Crews = Iterator[tuple[frozenset[int], list[list[RunningActor]]]]


def crews(
    declared: Declared, actors: Sequence[RunningActor], cores: Mapping[str, frozenset[int]], together: bool
) -> Crews:
    """The cores of each thread, and what it fires in an iteration; not ``together``: a thread for each actor."""
    named = {actor.name: actor for actor in actors}
    units = {actor.name: actor.unit for actor in declared.actors}
    for names in declared.schedules:
        apart = [(name,) * names.count(name) for name in dict.fromkeys(names)]
        for part in [names] if together else apart:
            yield cores[units[part[0]]], [[named[name] for name in part]]


def phases(
    inputs: Sequence[Input],
    outputs: Sequence[Output],
    consumed: Mapping[str, DeclaredFifo],
    produced: Mapping[str, DeclaredFifo],
) -> Optional[Phases]:
    """How the rates of an actor's ports change from firing to firing; None if none does."""
    takes = {port: fifo.takes for port, fifo in consumed.items()}
    gives = {port: fifo.gives for port, fifo in produced.items()}
    changing = any(len(each) > 1 for each in (*takes.values(), *gives.values()))
    return Phases(inputs, outputs, takes, gives) if changing else None


def kept(clusters: Sequence[Sequence[RunningActor]]) -> list[RxFifo]:
    """The ends of FIFOs whose producers keep the tokens of an iteration until it is over."""
    actors = dict.fromkeys(actor for cluster in clusters for actor in cluster)
    ends = (port.fifo for actor in actors for port in actor.inputs)
    return [fifo for fifo in ends if isinstance(fifo, RxFifo) and fifo.completed is not None]


def left_over(declared: Declared, fifos: Mapping[str, Fifo]) -> Iterator[str]:
    """A line about each FIFO whose producer ended within an iteration, with tokens that nobody took."""
    for each in declared.fifos if declared.schedules else ():
        fifo = fifos[each.name]
        counts = fifo.summary()
        left = counts.tokens - counts.consumed
        if each.target is not None and fifo.ended and 0 < left < max(each.takes):
            few = "1 token" if left == 1 else f"{left} tokens"
            yield f"FIFO {each.name!r}: the stream ended with {few}, too few for another firing"
