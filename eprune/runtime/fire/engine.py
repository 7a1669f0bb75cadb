"""Threads: one for each crew of actors, pinned to its unit's core; how they start and how they end.

Start: listen, initialize the actors, connect, and only when all of that is done, fire. A connection runs as soon as it
is made. An orderly end travels along the FIFOs: an actor whose input or whose consumer has ended ends, too. A failure
stops everything: peers are informed, every FIFO is woken, and threads that do not stop within a grace period are left
behind and named.
"""

from __future__ import annotations

import gc
import math
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Callable, Optional, Protocol, Union

from eprune.runtime.fire.firing import RunningActor
from eprune.runtime.kernel.bell import Bell
from eprune.runtime.kernel.errors import ActorError, Interrupted, RunError, unexpected
from eprune.runtime.tell.journal import Journal

#: Seconds that threads have to stop after a failure.
GRACE = 5.0
#: A signal that comes just before the main thread waits is handled only once that returns.
_SIGNAL_POLL = 0.5


Event = Union[str, RunError]


class Network(Protocol):
    """What the engine asks of the connections with other platforms. Each reports 'opened' and 'ended' as an event."""

    def listen(self) -> None:
        """Open the listening sockets. Raises LinkError."""

    def open(self, deadline: float) -> None:
        """Begin to connect until ``deadline`` (time.monotonic)."""

    def abort(self, message: str) -> None:
        """Inform the peers that this run failed, and break the connections."""

    def close(self) -> None:
        """Release their resources."""


class Kept(Protocol):
    """The end of a FIFO whose producer keeps the tokens of an iteration until it is over."""

    def complete(self) -> None:
        """All that was taken so far belongs to iterations that are over."""


@dataclass(frozen=True)
class Crew:
    """What one thread fires: clusters, each of which is actors that fire in this order, over and over.

    Where there are several clusters, each goes on whenever its next actor can fire without waiting, so that none waits
    for another. ``cores`` are what the thread is pinned to, ``bell`` its bell. Of a multi-rate graph a cluster is the
    firings of an iteration, and ``kept`` are the ends of FIFOs that learn when one is over.
    """

    clusters: Sequence[Sequence[RunningActor]]
    cores: frozenset[int] = frozenset()
    bell: Bell = field(default_factory=Bell)
    kept: Sequence[Kept] = ()

    @property
    def actors(self) -> list[RunningActor]:
        """All of them."""
        return list(dict.fromkeys(actor for cluster in self.clusters for actor in cluster))

    def __str__(self) -> str:
        first, *others = self.actors
        return f"actor {first.name!r}" + (f" and {len(others)} more" if others else "")

    @property
    def busy(self) -> str:
        """The actor that is doing something now."""
        return next((f"actor {actor.name!r}" for actor in self.actors if actor.stage), str(self))


@dataclass
class _Round:
    """The actors of a cluster that go on, the next one to fire first."""

    actors: list[RunningActor]
    kept: Sequence[Kept] = ()

    def over(self) -> None:
        """All of them have fired as often as they do in an iteration."""
        for end in self.kept:
            end.complete()

    def leave(self, place: int) -> None:
        """The actor at that place has ended. The others go on in the same order, from there on."""
        gone = self.actors[place]
        turned = [*self.actors[place + 1 :], *self.actors[:place]]
        self.actors = [actor for actor in turned if actor is not gone]


class Engine:
    """Runs the actors of one platform, and its ``count`` connections, once."""

    def __init__(
        self,
        crews: Sequence[Crew],
        network: Network,
        count: int,
        events: SimpleQueue[Event],
        journal: Journal,
        on_start: Callable[[], None] = lambda: None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_ready`` is called when all actors are initialized, ``on_start`` when the peers are there, too."""
        self._crews = crews
        self._network = network
        self._count = count
        #: what threads report to the main thread: 'initialized', 'opened', 'ended', or a failure
        self._events = events
        self._journal = journal
        self._on_start = on_start
        self._on_ready = on_ready
        self._gate = threading.Event()
        self._stopping = False
        self._threads: dict[threading.Thread, Crew] = {}
        #: the threads that did not stop after a failure
        self.left_behind: list[str] = []

    def run(self, timeout: float) -> None:
        """Run until every actor and connection has ended.

        ``timeout`` is in seconds, for connecting. Raises RunError with the first failure; after that every thread has
        stopped, or was reported as left behind.
        """
        try:
            self._start(timeout)
            self._await("ended", len(self._threads) + self._count)
        except RunError as failure:
            self._stop(failure)
            raise
        except Exception as error:
            internal = unexpected(error)
            self._stop(internal)
            raise internal from error
        finally:
            gc.unfreeze()
            self._network.close()

    def _start(self, timeout: float) -> None:
        self._network.listen()
        for crew in self._crews:
            thread = threading.Thread(target=self._run, args=(crew,), name=str(crew), daemon=True)
            thread.start()
            self._threads[thread] = crew
        deadline = time.monotonic() + timeout
        self._network.open(deadline)
        self._await("initialized", len(self._crews), deadline)
        self._on_ready()
        self._await("opened", self._count)
        self._on_start()
        gc.freeze()  # what there is now stays: nobody looks for garbage in it while actors fire
        self._gate.set()

    def _await(self, what: str, count: int, deadline: float = math.inf) -> None:
        """Wait for ``count`` events; raises the first failure. Events of other kinds are kept for later."""
        later: list[Event] = []
        while count:
            if time.monotonic() > deadline:
                actors = [actor for crew in self._crews for actor in crew.actors]
                # Those behind one that hangs, in its thread, have not begun; on a busy machine perhaps nobody has.
                late = [actor for actor in actors if actor.stage == "initialize"]
                late = late or [actor for actor in actors if not actor.initialized] or actors
                raise RunError(_too_long([repr(actor.name) for actor in late]))
            try:
                event = self._events.get(timeout=min(_SIGNAL_POLL, max(deadline - time.monotonic(), 0.0)))
            except Empty:
                continue
            if isinstance(event, RunError):
                raise event
            if event == what:
                count -= 1
            else:
                later.append(event)
        for event in later:
            self._events.put(event)

    def _run(self, crew: Crew) -> None:
        """The body of a crew's thread. Whatever happens in it becomes an event for the main thread."""
        if crew.cores:
            os.sched_setaffinity(0, crew.cores)
        begun: list[RunningActor] = []
        failed = True
        try:
            for actor in crew.actors:
                begun.append(actor)
                if not actor.initialized:
                    actor.initialized = True
                    actor.run("initialize", actor.behaviour.initialize)
            self._events.put("initialized")
            self._gate.wait()
            self._fire(crew, begun)
            failed = False
        except RunError as error:
            self._events.put(error)
        for actor in begun:
            self._finalize(actor, orderly=not failed)
        self._events.put("ended")

    def _fire(self, crew: Crew, going: list[RunningActor]) -> None:
        """Fire the actors until all have ended. One that has ended leaves ``going``, and is finalized."""
        rounds = [_Round(list(cluster), crew.kept) for cluster in crew.clusters]
        try:
            if len(rounds) == 1:
                self._go_round(rounds[0], going)
            else:
                self._go_rounds(rounds, going, crew.bell)
        except RunError:
            raise
        except BaseException as error:  # whatever a behaviour raises, SystemExit too, must end the run
            name = next((actor.name for actor in crew.actors if actor.stage), crew.actors[0].name)
            raise ActorError(name, "fire", error) from error

    def _go_round(self, turn: _Round, going: list[RunningActor]) -> None:
        """Fire the actors of one cluster in turn; each waits until it can fire."""
        while turn.actors and not self._stopping:
            for place, actor in enumerate(turn.actors):
                if not actor.step():
                    self._retire(place, turn, going)
                    break
            else:
                turn.over()

    def _go_rounds(self, rounds: list[_Round], going: list[RunningActor], bell: Bell) -> None:
        """The same for several clusters, each of them as far as it gets without waiting."""

        def there() -> bool:
            return self._stopping or any(turn.actors[0].ready for turn in rounds)

        while rounds and not self._stopping:
            fired = False
            for turn in list(rounds):
                for _ in range(len(turn.actors)):
                    actor = turn.actors[0]
                    if not actor.ready:
                        break
                    fired = True
                    if actor.step():
                        turn.actors.append(turn.actors.pop(0))
                    else:
                        self._retire(0, turn, going)
                if not turn.actors:
                    rounds.remove(turn)
            if rounds and not fired:
                waiting = [turn.actors[0].matching for turn in rounds]
                moments = [each.until for each in waiting if each is not None and each.until is not None]
                bell.wait(there, min(moments, default=None))

    def _retire(self, place: int, turn: _Round, going: list[RunningActor]) -> None:
        """The actor at that place of a round has ended."""
        actor = turn.actors[place]
        going.remove(actor)
        self._finalize(actor, orderly=True)
        turn.leave(place)
        turn.over()

    def _finalize(self, actor: RunningActor, orderly: bool) -> None:
        """Only an orderly end travels along the FIFOs; for a failure see _stop."""
        try:
            if not actor.stays:
                if orderly and not self._stopping:
                    actor.finish()
                else:
                    actor.run("finalize", actor.behaviour.finalize)
        except RunError as error:
            self._events.put(error)
        else:
            if orderly and not self._stopping:
                actor.end()

    def _stop(self, failure: RunError) -> None:
        self._stopping = True
        self._network.abort("interrupted" if isinstance(failure, Interrupted) else str(failure))
        for crew in self._crews:
            for actor in crew.actors:
                actor.wake()
        self._gate.set()
        self._join(GRACE)
        stuck = [crew.busy for thread, crew in self._threads.items() if thread.is_alive()]
        for name in stuck:
            self._journal.log("warning", f"{name} did not stop within {GRACE:g} s and is left behind")
        self.left_behind = stuck

    def _join(self, patience: float) -> None:
        deadline = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def finalize(actors: Sequence[RunningActor]) -> tuple[list[RunError], list[str]]:
    """At the end of a service, finalize the actors that have kept their state; the failures, and who is left behind."""
    failures: list[RunError] = []

    def act(actor: RunningActor) -> None:
        try:
            actor.finish()
        except RunError as error:
            failures.append(error)

    idle = [actor for actor in actors if actor.stays and actor.initialized and not actor.stage]
    threads = [threading.Thread(target=act, args=(actor,), name=f"actor {actor.name!r}", daemon=True) for actor in idle]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + GRACE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return failures, [thread.name for thread in threads if thread.is_alive()]


def _too_long(actors: Sequence[str]) -> str:
    who = f"actor {actors[0]} has" if len(actors) == 1 else f"actors {', '.join(actors)} have"
    return f"{who} not returned from initialize in time; --timeout S allows more"


class Signals:
    """While in force, SIGINT, SIGTERM and SIGHUP become an event; a second one ends the process at once.

    SIGHUP stays ignored where it was (nohup).
    """

    def __init__(self, events: SimpleQueue[Event]) -> None:
        self._events = events
        self._seen = False
        self._saved: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            hangup = getattr(signal, "SIGHUP", signal.SIGTERM)  # Windows has none
            ignored = signal.getsignal(hangup) is signal.SIG_IGN
            for number in (signal.SIGINT, signal.SIGTERM, *[hangup] * (not ignored)):
                self._saved[number] = signal.signal(number, self._handle)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._saved.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: Optional[FrameType]) -> None:
        if self._seen:
            os._exit(130)
        self._seen = True
        self._events.put(Interrupted(f"interrupted by {signal.Signals(number).name}"))
