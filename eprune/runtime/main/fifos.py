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


class Maker:
    """Makes FIFOs, and this platform's ends of those to and from others. ``adaptive``: for time-outs that are ranges.

    ``by_cluster``: whether one thread fires the actors of a cluster.
    """

    def __init__(self, declared: Declared, adaptive: AdaptiveTimeout, by_cluster: bool) -> None:
        self._declared, self._adaptive = declared, adaptive
        self._by_cluster = by_cluster and not declared.schedules and not declared.aligned
        self._held = declared.on_hold()
        self._routed = {actor.name for actor in declared.actors if actor.live.relays or actor.live.answers}

    def make(self, fifo: DeclaredFifo, make_end: Callable[[DeclaredFifo, Optional[np.ndarray]], Fifo]) -> Fifo:
        """A FIFO within the platform, or what ``make_end`` makes of another one and of its initial tokens.

        Raises UsageError where there is no memory for it, or its initial tokens cannot be read.
        """
        initial = None
        if fifo.initial is not None:
            shape = (fifo.delay, *fifo.shape)
            initial = self._declared.files.tokens(fifo.initial, f"FIFO {fifo.name!r}", fifo.dtype, shape)
        try:
            return make_end(fifo, initial) if fifo.peer else self._within(fifo, initial)
        except MemoryError as error:
            raise UsageError(f"FIFO {fifo.name!r}: {error}") from None

    def end(self, fifo: DeclaredFifo, initial: Optional[np.ndarray]) -> Fifo:
        """This platform's end of a FIFO, over a connection of ours."""
        return self._sending(fifo) if fifo.target is None else self._receiving(fifo, initial)

    def _sending(self, fifo: DeclaredFifo) -> Fifo:
        kind = (fifo.name, fifo.dtype, fifo.shape, fifo.capacity)
        traced = fifo.name in self._declared.traced
        if fifo.policy == NEWEST:
            return (TracedNewestTxFifo if traced else NewestTxFifo)(*kind, fifo.rate)
        end_kind = TracedTxFifo if traced else TxFifo
        made = end_kind(*kind, fifo.policy, fifo.ack == "fired", fifo.window, fifo.iteration)
        made.adaptive = self._adaptive if fifo.range else None
        return made

    def _receiving(self, fifo: DeclaredFifo, initial: Optional[np.ndarray]) -> Fifo:
        traced = fifo.name in self._declared.traced
        end_kind: type[RxFifo] = TracedRxFifo if traced else RxFifo
        if fifo.policy == NEWEST:
            return end_kind(fifo.name, fifo.dtype, fifo.shape, 2 * fifo.rate, NEWEST)
        if fifo.target in self._held:
            end_kind = TracedHeldRxFifo if traced else HeldRxFifo
        kind = (fifo.name, fifo.dtype, fifo.shape, fifo.capacity)
        made = end_kind(*kind, fifo.policy, fifo.window, fifo.delay, initial)
        if isinstance(made, Held):
            made.hold(fifo.rate)
        made.completed = 0 if fifo.iteration else None
        made.need = max(fifo.gives)
        if fifo.range:
            made.adaptive, made.range, made.peer = self._adaptive, fifo.range, fifo.peer
        made.unordered = owner(fifo.target) in self._routed
        made.prompt = made.stride > 1 and (made.prompt or fifo.route is not None)
        return made

    def _within(self, fifo: DeclaredFifo, initial: Optional[np.ndarray]) -> Fifo:
        kind = (fifo.name, fifo.dtype, fifo.shape, fifo.capacity)
        traced = fifo.name in self._declared.traced
        if fifo.policy == NEWEST:
            return (TracedNewestFifo if traced else NewestFifo)(*kind, fifo.rate)
        if fifo.target in self._held:
            held = (TracedHeld if traced else Held)(*kind, fifo.delay, initial)
            held.hold(fifo.rate)
            return held
        return (Traced if traced else Fifo)(*kind, fifo.delay, initial, self._at_most(fifo))

    def _at_most(self, fifo: DeclaredFifo) -> int:
        """How many tokens are in a FIFO at most, if that is known: in a cluster its ends fire in turn. Else 0."""
        if not self._by_cluster or not isinstance(fifo.rates, int):
            return 0
        ends = {owner(fifo.source), owner(fifo.target)}
        together = any(ends.issubset(names) for names in self._declared.clusters)
        return fifo.delay + fifo.rates if together else 0
