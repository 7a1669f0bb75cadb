"""Who waits for a branch that may be away, and for how long: the ends at actors that follow control tokens (L5)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from eprune.runtime.fire import skipping
from eprune.runtime.fire.matched_ports import PROBATION
from eprune.runtime.fire.skipping import MISSING, AwaitedInput, SkippingOutput
from eprune.runtime.kernel.fifo import Fifo

T = 0.3


class Clock:
    """In the place of the time, and of a thread that waits: what is to come, comes in time. ``pauses``: the waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.coming: list = []
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def go(self, until: float, there=lambda: False) -> None:
        while not there() and self.coming and self.coming[0][0] <= until:
            at, act = self.coming.pop(0)
            self.now = max(self.now, at)
            act()
        if not there():
            self.now = max(self.now, until)

    def wait(self, there, until=None) -> None:
        begin = self.now
        self.go(begin if until is None else until, there)
        if self.now > begin:
            self.pauses.append(round(self.now - begin, 6))

    asleep = False

    def look(self) -> None:
        pass

    def ring(self) -> None:
        pass


@pytest.fixture()
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(skipping, "time", made)
    return made


class Exit:
    """An actor behind a branch, which it waits for; ``come``: when the token of an index does."""

    def __init__(self, clock: Clock, capacity: int = 3) -> None:
        self.clock, self.fifo = clock, Fifo("f", "int32", (), capacity)
        self.fifo.reader = clock
        self.end = AwaitedInput("in", self.fifo, 1, T)
        self.end.rates = SimpleNamespace(index=0)

    def come(self, index: int, at: float) -> None:
        self.clock.coming.append((at, lambda: self.fifo.commit(1, index)))

    def fires(self, index: int, at: float) -> bool:
        """Whether the firing of that index, which could begin then, has its token."""
        self.clock.go(at)
        self.end.rates.index = index
        there = self.end.acquire() is not MISSING
        self.end.release()
        return there


def test_a_branch_that_was_late_and_is_a_little_behind_then_is_waited_for_again_after_two_firings(clock):
    actor = Exit(clock)
    assert not actor.fires(0, at=0.0)
    for index in range(1, 6):
        actor.come(index, at=1.005 + 0.02 * index)
    assert [actor.fires(index, at=1.0 + 0.02 * index) for index in range(1, 6)] == [False, False, True, True, True]
    assert clock.pauses == [T, 0.005, 0.005, 0.005]


def test_so_is_one_whose_firings_are_further_apart_than_the_time_out(clock):
    """Nobody looks in between, so the tokens may have been in time."""
    actor = Exit(clock)
    assert not actor.fires(0, at=0.0)
    for index in range(1, 5):
        actor.come(index, at=index + 0.005)
    assert [actor.fires(index, at=float(index)) for index in range(1, 5)] == [False, False, True, True]


def test_a_token_that_never_came_is_no_proof(clock):
    actor = Exit(clock)
    assert not actor.fires(0, at=0.0)
    for index in (1, 3, 5, 7):
        actor.come(index, at=1.005 + 0.02 * index)
    assert not any(actor.fires(index, at=1.0 + 0.02 * index) for index in range(1, 9))
    assert clock.pauses == [T]


def test_who_is_late_again_is_not_waited_for_during_twenty_time_outs(clock):
    """Two firings have their tokens and the third has not, again and again: that costs two pauses in that time."""
    actor = Exit(clock)
    period, firings = 0.5, 600
    for index in range(firings):
        if index % 3:
            actor.come(index, at=index * period)
    for index in range(firings):
        actor.fires(index, at=index * period)
    assert set(clock.pauses) == {T}
    assert 10 < len(clock.pauses) <= 2 + 2 * clock.now / (PROBATION * T)


def test_a_branch_that_was_lost_is_used_as_its_tokens_come_and_costs_no_time_out(clock):
    actor = Exit(clock)
    actor.fifo.lost = True
    assert not actor.fires(0, at=0.0)
    actor.fifo.lost = False
    actor.come(2, at=0.2)
    assert [actor.fires(index, at=index / 10) for index in (1, 2, 3)] == [False, True, False]
    assert not clock.pauses


def test_room_that_came_too_late_is_waited_for_again_after_two_firings_that_had_it(clock):
    fifo = Fifo("f", "int32", (), 1)
    fifo.writer = clock
    end = SkippingOutput("out", fifo, 1, T)

    def fires(room: bool) -> bool:
        if room:
            fifo.release(fifo.written - fifo.released)
        end.acquire()
        before = fifo.written
        end.commit(0)
        return fifo.written > before

    assert [fires(True), fires(False)] == [True, False]
    assert clock.pauses == [T]
    assert [fires(True), fires(False)] == [True, False]
    assert clock.pauses == [T]  # one firing that had room is no proof
    assert [fires(True), fires(True), fires(False)] == [True, True, False]
    assert clock.pauses == [T, T]
