"""The FIFOs of a program, as it declares them: which kind each is, and its memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

import numpy as np

from eprune.runtime.kernel.adaptive import AdaptiveTimeout
from eprune.runtime.kernel.errors import UsageError
from eprune.runtime.kernel.fifo import Fifo
from eprune.runtime.kernel.held import Held
from eprune.runtime.kernel.newest import NewestFifo
from eprune.runtime.kernel.policy import NEWEST
from eprune.runtime.kernel.trails import Traced, TracedHeld, TracedNewestFifo
from eprune.runtime.main.declared import Declared, DeclaredFifo, owner
from eprune.runtime.net.ends import HeldRxFifo, NewestTxFifo, RxFifo, TxFifo
from eprune.runtime.net.traced import TracedHeldRxFifo, TracedNewestTxFifo, TracedRxFifo, TracedTxFifo


def make_fifo(
    fifo: DeclaredFifo,
    declared: Declared,
    make_end: Callable[[DeclaredFifo, Optional[np.ndarray]], Fifo],
    by_cluster: bool,
) -> Fifo:
    """A FIFO within the platform, or what ``make_end`` makes of one to or from another, and of its initial tokens.

    ``by_cluster``: whether one thread fires the actors of a cluster. Raises UsageError where there is no memory for it,
    or its initial tokens cannot be read.
    """
    initial = None
    if fifo.initial is not None:
        shape = (fifo.delay, *fifo.shape)
        initial = declared.files.tokens(fifo.initial, f"FIFO {fifo.name!r}", fifo.dtype, shape)
    try:
        return make_end(fifo, initial) if fifo.peer else _within(fifo, declared, initial, by_cluster)
    except MemoryError as error:
        raise UsageError(f"FIFO {fifo.name!r}: {error}") from None


def sending_end(fifo: DeclaredFifo, declared: Declared, adaptive: AdaptiveTimeout) -> Fifo:
    """The sending end of a FIFO to another platform, over a connection of ours."""
    kind = (fifo.name, fifo.dtype, fifo.shape, fifo.capacity)
    traced = fifo.name in declared.traced
    if fifo.policy == NEWEST:
        return (TracedNewestTxFifo if traced else NewestTxFifo)(*kind, fifo.rate)
    made = (TracedTxFifo if traced else TxFifo)(*kind, fifo.policy, fifo.ack == "fired", fifo.window, fifo.iteration)
    made.adaptive = adaptive if fifo.range else None
    return made


def receiving_end(
    fifo: DeclaredFifo, declared: Declared, initial: Optional[np.ndarray], adaptive: AdaptiveTimeout
) -> Fifo:
    """The receiving end of one from another platform."""
    traced = fifo.name in declared.traced
    if fifo.policy == NEWEST:
        return (TracedRxFifo if traced else RxFifo)(fifo.name, fifo.dtype, fifo.shape, 2 * fifo.rate, NEWEST)
    kind: type[RxFifo] = TracedRxFifo if traced else RxFifo
    if declared.on_hold(fifo):
        kind = TracedHeldRxFifo if traced else HeldRxFifo
    made = kind(fifo.name, fifo.dtype, fifo.shape, fifo.capacity, fifo.policy, fifo.window, fifo.delay, initial)
    if isinstance(made, Held):
        made.hold(fifo.rate)
    made.completed = 0 if fifo.iteration else None
    made.need = max(fifo.gives)
    if fifo.range:
        made.adaptive, made.range, made.peer = adaptive, fifo.range, fifo.peer
    routed = (actor.name for actor in declared.actors if actor.live.relays or actor.live.answers)
    made.unordered = owner(fifo.target) in routed
    made.prompt = made.stride > 1 and (made.prompt or fifo.route is not None)
    return made


def _within(fifo: DeclaredFifo, declared: Declared, initial: Optional[np.ndarray], by_cluster: bool) -> Fifo:
    kind = (fifo.name, fifo.dtype, fifo.shape, fifo.capacity)
    traced = fifo.name in declared.traced
    if fifo.policy == NEWEST:
        return (TracedNewestFifo if traced else NewestFifo)(*kind, fifo.rate)
    if declared.on_hold(fifo):
        held = (TracedHeld if traced else Held)(*kind, fifo.delay, initial)
        held.hold(fifo.rate)
        return held
    return (Traced if traced else Fifo)(*kind, fifo.delay, initial, _at_most(fifo, declared) if by_cluster else 0)


def _at_most(fifo: DeclaredFifo, declared: Declared) -> int:
    """How many tokens are in a FIFO at most, if that is known: in a cluster its ends fire in turn. Else 0."""
    if declared.schedules or declared.aligned or not isinstance(fifo.rates, int):
        return 0
    ends = {owner(fifo.source), owner(fifo.target)}
    return fifo.delay + fifo.rates if any(ends.issubset(names) for names in declared.clusters) else 0
