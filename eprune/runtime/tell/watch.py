"""The watch over actors: one that is too long in a stage is named. Heartbeats only prove that a process has threads."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from eprune.runtime.tell.journal import Journal

#: Seconds in one stage after which an actor is stalled, unless the user or the actor states another limit.
STALL_AFTER = 60.0
#: Looks within the shortest limit, and seconds between two looks at least.
_LOOKS, _REST = 4, 0.05


class Watched(Protocol):
    """What an actor's own thread writes, by plain assignments: ``since_ns`` first, then ``stage``."""

    name: str
    #: ``initialize``, ``control``, ``fire`` or ``finalize``; '' while the behaviour is not running
    stage: str
    #: when the stage began, by time.perf_counter_ns
    since_ns: int


@dataclass(frozen=True)
class Stall:
    """A stage that takes too long: ``seconds`` so far."""

    stage: str
    seconds: float


class Watch:
    """Looks at actors now and then; events tell of those that stall and of those that go on.

    ``limits``: actor -> seconds in one stage after which it is stalled. An actor without a limit is not watched.
    """

    def __init__(self, actors: Sequence[Watched], limits: Mapping[str, float], journal: Journal) -> None:
        self._journal = journal
        #: actor -> its stage and when that began, of those that an event has named
        self._named: dict[str, tuple[str, int]] = {}
        #: actor -> its stall, at the last look
        self.stalled: dict[str, Stall] = {}
        self.follow(actors, limits)

    def follow(self, actors: Sequence[Watched], limits: Mapping[str, float]) -> None:
        """Look at these from now on."""
        self._watched = [(actor, limits[actor.name]) for actor in actors if actor.name in limits]
        #: seconds between two looks; None if there is nothing to look at
        self.period = max(min(limits.values()) / _LOOKS, _REST) if self._watched else None

    def look(self) -> None:
        """Look at every actor. Called by one thread."""
        stalled = {}
        for actor, limit in self._watched:
            stage = actor.stage  # before its time: a stage that has just begun must not look old
            since = actor.since_ns
            now = time.perf_counter_ns()
            named = self._named.get(actor.name)
            if named is not None and (stage, since) != named:
                del self._named[actor.name]
                seconds = round((now - named[1]) / 1e9, 1)
                self._journal.log("resumed", actor=actor.name, stage=named[0], seconds=seconds)
            seconds = (now - since) / 1e9
            if stage and seconds >= limit:
                stalled[actor.name] = Stall(stage, round(seconds, 1))
                if actor.name not in self._named:
                    self._named[actor.name] = (stage, since)
                    self._journal.log("stalled", actor=actor.name, stage=stage, seconds=round(seconds, 1))
        self.stalled = stalled
