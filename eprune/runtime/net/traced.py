"""Trails between platforms: a frame before each token of a FIFO on the way of a requirement.

Times are in microseconds since the epoch, by the sender's clock: ``{"at": handed over, "legs": {source: [birth, unsure,
[[what, how long], ...]]}}``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from typing import Any, Optional

import numpy as np

from eprune.runtime.kernel.ages import UNBORN
from eprune.runtime.kernel.errors import ProtocolError
from eprune.runtime.kernel.fifo import Fifo
from eprune.runtime.kernel.trails import Leg, Traced, Trail
from eprune.runtime.net import clocks, wire
from eprune.runtime.net.ends import HeldRxFifo, NewestTxFifo, RxFifo, TxFifo

#: Characters that the name of a part has at most, and the microseconds that a number may stand for.
_NAME, _MOST = 200, 2**62


def pack(trail: Trail) -> bytes:
    """A trail as the payload of a frame. One that is too long is sent without its parts, or without legs."""
    at = clocks.since_epoch(trail.at)
    for parts, legs in ((True, trail.legs), (False, trail.legs), (False, {})):
        data = {
            source: [
                None if leg.birth is None else clocks.since_epoch(leg.birth),
                leg.unsure // 1000,
                [[what, took // 1000] for what, took in leg.parts.items()] if parts else [],
            ]
            for source, leg in legs.items()
        }
        payload = json.dumps({"at": at, "legs": data}, separators=(",", ":")).encode()
        if len(payload) <= wire.MAX_TRAIL:
            break
    return payload


def unpack(payload: bytes) -> tuple[int, dict[str, tuple[Optional[int], int, list[tuple[str, int]]]]]:
    """When the token was handed over, and source -> birth, unsure, parts. Raises ProtocolError for anything else."""
    try:
        data = json.loads(payload)
        legs = {
            str(source): (
                None if birth is None else _number(birth),
                _number(unsure),
                [(_clean(what), _number(took)) for what, took in parts],
            )
            for source, (birth, unsure, parts) in data["legs"].items()
        }
        return _number(data["at"]), legs
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ProtocolError("a trail that is none") from None


def _number(value: Any) -> int:
    if type(value) is not int or not -_MOST < value < _MOST:
        raise ValueError
    return value


def _clean(what: Any) -> str:
    return "".join(char if char.isprintable() else "?" for char in str(what)[:_NAME])


class _Sent(Traced, TxFifo):
    """A sending end whose frames are preceded by those of the trails."""

    def frames(self, first: int, count: int, credited: int = wire.NONE, fired: int = 0) -> list[memoryview]:
        """As of others; what belongs to one token stays together."""
        buffers = super().frames(first, count, credited, fired)
        for place in range(count):
            slot = (first + place) % self.capacity
            birth = self.births[slot]
            if isinstance(birth, Trail):
                frame = wire.trail_frame(self.number, self.firings[slot], pack(birth))
                buffers[2 * place] = memoryview(frame + bytes(buffers[2 * place]))
        return buffers


class TracedTxFifo(_Sent):
    """The sending end of a FIFO on the way of a requirement."""

    uneven = True


class TracedNewestTxFifo(_Sent, NewestTxFifo):
    """The same of one that keeps the newest."""

    uneven = True


class _Arriving(Fifo):
    """Tokens that have arrived get the trails that came before them."""

    #: what the link is called, whose trails count, and by how many microseconds the peer's clock is ahead
    link = ""
    sources: Collection[str] = ()
    offset: Optional[int] = None
    uncertainty: Optional[int] = None
    _coming: Optional[tuple[int, bytes]] = None

    def trail(self, firing: int, payload: bytes) -> None:
        """The trail of the next token."""
        self._coming = firing, payload

    def commit(self, count: int, firing: int, birth: int = UNBORN) -> None:
        """A token has arrived."""
        super().commit(count, firing, self._with_trail(firing, birth))

    def _with_trail(self, firing: int, birth: int) -> int:
        coming, self._coming = self._coming, None
        if coming is None or coming[0] != firing:
            return birth
        now = time.perf_counter_ns()
        at, told = unpack(coming[1])
        offset, unsure = self.offset, 1000 * (self.uncertainty or 0)
        took = 0 if offset is None else max(now - clocks.moment(at, offset), 0)
        legs = {
            source: Leg(
                None if began is None or offset is None else clocks.moment(began, offset),
                1000 * doubt + unsure,
                {what: 1000 * each for what, each in parts},
            ).then([(self.link, took)])
            for source, (began, doubt, parts) in told.items()
            if source in self.sources
        }
        return Trail(birth, now, legs)


class TracedRxFifo(RxFifo, _Arriving):
    """The receiving end of a FIFO on the way of a requirement: what RxFifo hands over to Fifo passes _Arriving."""

    uneven = True

    def trail(self, firing: int, payload: bytes) -> None:
        """The trail of the next token."""
        _Arriving.trail(self, firing, payload)

    def arrived_together(self, tokens: np.ndarray, firings: list[int], births: list[int]) -> None:
        """Many tokens have arrived: the first may have a trail."""
        super().arrived_together(tokens, firings, [self._with_trail(*each) for each in zip(firings, births)])


class TracedHeldRxFifo(TracedRxFifo, HeldRxFifo):
    """The same of one into an input on hold."""
