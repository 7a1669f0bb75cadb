"""Owns a matcher in a test: tells it what comes, looks at its sockets, and asks it for a verdict."""

from __future__ import annotations

from typing import Optional

from eprune.runtime.fire.decision import Fire, Wait
from eprune.runtime.fire.matched_ports import Inlet, Outlet
from eprune.runtime.fire.matching import Matcher
from eprune.runtime.fire.numbering import Numbering

#: time-outs in seconds, for tokens and for room
T = 1.0
ROOM = 0.2


class Owner:
    """Owns a matcher: tells it what comes, and looks at its sockets before it asks for a verdict."""

    def __init__(self, *inlets: Inlet, outlets: tuple[Outlet, ...] = (), **more: object) -> None:
        self.outlets = outlets or (Outlet("out"),)
        for outlet in self.outlets:
            outlet.free = 1000
        self.ports = {port.name: port for port in (*inlets, *self.outlets)}
        self.matcher = Matcher(inlets, self.outlets, numbering=Numbering(0.0), **more)  # type: ignore[arg-type]
        self.slot = 0
        self.unused: list[tuple[str, int]] = []

    def give(self, name: str, *indices: int, at: float = 0.0, age: float = 0.0) -> None:
        for index in indices:
            self.slot += 1
            inlet = self.ports[name]
            assert isinstance(inlet, Inlet)
            inlet.arrived(index, self.slot, at, age)

    def inlet(self, name: str) -> Inlet:
        inlet = self.ports[name]
        assert isinstance(inlet, Inlet)
        return inlet

    def decide(self, at: float = 0.0):
        decision = self.matcher.decide(at)
        self._clear()
        if isinstance(decision, Wait) and decision.until is not None and decision.until <= at:
            decision = self.matcher.decide(at, looked=True)
            self._clear()
        return decision

    def fires(self, at: float = 0.0) -> Optional[dict[str, int]]:
        """The input indices of the firing at that time; None if there is none."""
        decision = self.decide(at)
        if not isinstance(decision, Fire):
            return None
        used = zip(self.matcher.inlets, decision.tokens, decision.indices)
        return {inlet.name: index for inlet, slots, index in used if slots is not None}

    def _clear(self) -> None:
        self.unused += [(inlet.name, slot) for inlet, slot in self.matcher.unused]
        self.matcher.unused.clear()


def optional(name: str, line: int = 0, **more: object) -> Inlet:
    return Inlet(name, "drop", 1, False, T, line=line, **more)  # type: ignore[arg-type]


def late_once(owner: Owner, name: str = "a") -> None:
    """Its firing at time 1 has index 0 of ``name`` alone."""
    owner.give(name, 0)
    owner.fires(at=0.0)
    assert owner.fires(at=1.0) == {name: 0}
