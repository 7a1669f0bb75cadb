"""What a matcher decides: to fire, to wait, or to end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional, Union

from eprune.runtime.fire.matched_ports import Port


class Fire:
    """Fire now. The matcher reuses the object: it holds until the next decision.

    Lists go parallel to the matcher's inlets and outlets. ``index``: the firing's; None for a source,
    which numbers what it has made. ``tokens[i]``: slots, None where there are none; ``indices[i]``: the
    index of the producer's firing that made them; ``held[i]``: whether they were given before. ``zeros[i]``: zeros take
    their place. ``use[o]``: whether the output is written; else what is made for it is dropped.

    When the firing has ended, the owner releases the slots in ``tokens`` of all inlets without ``hold``.
    """

    __slots__ = ("held", "index", "indices", "tokens", "use", "zeros")

    def __init__(self, inlets: int, outlets: int) -> None:
        self.index: Optional[int] = None
        self.tokens: list[Optional[list[int]]] = [None] * inlets
        self.indices = [-1] * inlets
        self.held = [False] * inlets
        self.zeros = [False] * inlets
        self.use = [True] * outlets


class Wait:
    """Decide again when something has happened, or at ``until`` (None: not before), having looked at all sockets.

    If ``until`` is past, only such a look is missing. ``lacking``: the ports that are waited for, all or some of them.
    """

    __slots__ = ("lacking", "until")

    def __init__(self, until: Optional[float], lacking: Sequence[Port]) -> None:
        self.until = until
        self.lacking = lacking


class Starved(Wait):
    """As Wait; there is no firing before a lost producer is back. The consumers are to be notified.

    Tokens that still come are thrown away, so that nobody else waits for this actor.
    """

    __slots__ = ()


class Ended:
    """The actor has fired for the last time. ``by``: the ports that have ended it."""

    __slots__ = ("by",)

    def __init__(self, by: Sequence[Port]) -> None:
        self.by = by


Decision = Union[Fire, Wait, Ended]
