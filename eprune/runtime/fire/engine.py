"""Threads: one per actor, pinned to its unit's core, and those of the connections; how they start and how they end.

Start: listen, initialize the actors, connect, and only when all of that is done, fire. A connection runs as soon as it
is made. An orderly end travels along the FIFOs: an actor whose input or whose consumer has ended ends, too. A failure
stops everything: peers are informed, every FIFO is woken, and threads that do not stop within a grace period are left
behind and named.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Callable, Optional, Protocol, Union

from eprune.runtime.kernel.actor import Actor, EndOfStream
from eprune.runtime.kernel.errors import ActorError, Interrupted, RunError, unexpected
from eprune.runtime.kernel.fifo import Input, Output
from eprune.runtime.kernel.outputs import Outputs
from eprune.runtime.tell.journal import Journal
from eprune.runtime.tell.record import Activity

#: Seconds that threads have to stop after a failure: first politely, then with their connections cut.
GRACE = (1.0, 4.0)
#: A signal that comes just before the main thread waits is handled only once that returns.
_SIGNAL_POLL = 0.5


class ActorThread:
    """An actor at run time: its behaviour, its ends of FIFOs, its counters, its thread."""

    def __init__(
        self,
        name: str,
        behaviour: Actor,
        core: Optional[int],
        inputs: Sequence[Input],
        outputs: Sequence[Output],
        limit: Optional[int] = None,
        fire: Optional[Callable[..., None]] = None,
    ) -> None:
        self.name = name
        self.behaviour = behaviour
        self.core = core
        self.inputs = inputs
        self.outputs = outputs
        self.limit = limit
        #: what firing calls; the behaviour's own, unless its unit is emulated
        self.fire = fire or behaviour.fire
        self.activity = Activity()
        #: what its behaviour is doing and since when (perf_counter_ns), for the watch; '' while it does nothing
        self.stage, self.since_ns = "", 0

    def begin(self, stage: str) -> None:
        """The behaviour begins a stage."""
        self.since_ns = time.perf_counter_ns()
        self.stage = stage

    def fire_until_end(self, stopping: Callable[[], bool]) -> None:
        """Fire whenever all inputs have tokens and all outputs have room, until one of them ends."""
        inputs, outputs, activity, now = self.inputs, self.outputs, self.activity, time.perf_counter_ns
        fire, limit = self.fire, self.limit
        tokens: dict[str, Any] = {}
        buffers, put = Outputs(), dict.__setitem__
        firing = 0
        while firing != limit:
            asked = now()
            for port in inputs:
                view = port.acquire()
                if view is None:
                    return
                tokens[port.name] = view
            for output in outputs:
                view = output.acquire()
                if view is None:
                    return
                put(buffers, output.name, view)
            if stopping():
                return
            self.since_ns = begin = now()
            self.stage = "fire"
            try:
                fire(tokens, buffers)
            except EndOfStream:
                return
            self.stage = ""
            end = now()
            for output in outputs:
                output.commit(firing)
            for port in inputs:
                port.release()
            activity.add(begin, end, 1, begin - asked)
            firing += 1


Event = Union[str, RunError]


class PeerConnection(Protocol):
    """What the engine asks of a connection with another platform. ``str`` names it for people."""

    #: a note for the user once it is connected, or ''
    note: str
    #: whether the peer's application had been running when it was met
    running: bool

    def listen(self) -> None:
        """Open the listening socket, if this end has one. Raises LinkError."""

    def open(self, deadline: float, known: Callable[[], bool]) -> None:
        """Connect until ``deadline`` (time.monotonic); ``known()``: some peer's application had been running.

        Raises LinkError where that fails, Interrupted if stopped meanwhile.
        """

    def bodies(self) -> dict[str, Callable[[], None]]:
        """Role -> body, of its threads."""

    def abort(self, message: str) -> None:
        """Inform the peer that this run failed, and stop."""

    def cut(self) -> None:
        """Break the connection, so that no thread stays blocked on it."""

    def close(self) -> None:
        """Release its resources; its threads have ended."""


class Engine:
    """Runs the actors and connections of one platform once."""

    def __init__(
        self,
        actors: Sequence[ActorThread],
        connections: Sequence[PeerConnection],
        events: SimpleQueue[Event],
        journal: Journal,
        on_start: Callable[[], None] = lambda: None,
    ) -> None:
        self._actors = actors
        self._connections = connections
        #: what threads report to the main thread: 'initialized', 'opened', 'ended', or a failure
        self._events = events
        self._journal = journal
        self._on_start = on_start
        self._gate = threading.Event()
        self._stopping = False
        self._threads: dict[threading.Thread, str] = {}
        #: threads that did not stop after a failure: in foreign code, which cannot be stopped
        self.left_behind: list[str] = []

    def run(self, timeout: float) -> None:
        """Run until every actor and connection has ended.

        ``timeout`` is in seconds, for initializing and connecting. Raises RunError with the first failure; after that
        every thread has stopped, or was reported and is among those ``left_behind``.
        """
        try:
            self._start(timeout)
            self._await("ended", len(self._threads))
        except RunError as failure:
            self._stop(failure)
            raise
        except Exception as error:
            internal = unexpected(error)
            self._stop(internal)
            raise internal from error
        finally:
            for connection in self._connections:
                connection.close()

    def _start(self, timeout: float) -> None:
        for connection in self._connections:
            connection.listen()
        for actor in self._actors:
            self._spawn(f"actor {actor.name!r}", self._run_actor, actor)
        deadline = time.monotonic() + timeout
        openers = [
            threading.Thread(target=self._open, args=(connection, deadline), name=f"open {connection}", daemon=True)
            for connection in self._connections
        ]
        for opener in openers:
            opener.start()
        self._await("initialized", len(self._actors), deadline)
        self._await("opened", len(self._connections))
        for connection in self._connections:
            if connection.note:
                self._journal.log("note", f"{connection}: {connection.note}")
        self._on_start()
        self._gate.set()

    def _spawn(self, name: str, body: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=body, args=arguments, name=name, daemon=True)
        thread.start()
        self._threads[thread] = name

    def _await(self, what: str, count: int, deadline: float = math.inf) -> None:
        """Wait for ``count`` events; raises the first failure. Events of other kinds are kept for later."""
        later: list[Event] = []
        while count:
            try:
                event = self._events.get(timeout=max(min(_SIGNAL_POLL, deadline - time.monotonic()), 0.01))
            except Empty:
                late = [repr(actor.name) for actor in self._actors if actor.stage == "initialize"]
                if late and time.monotonic() >= deadline:
                    raise RunError(_too_long(late)) from None
                continue
            if isinstance(event, RunError):
                raise event
            if event == what:
                count -= 1
            else:
                later.append(event)
        for event in later:
            self._events.put(event)

    def _open(self, connection: PeerConnection, deadline: float) -> None:
        self._guard(lambda: self._join_in(connection, deadline), "opened")

    def _join_in(self, connection: PeerConnection, deadline: float) -> None:
        """Connect. From then on the connection runs: the peer gets heartbeats however long the start takes."""
        connection.open(deadline, lambda: any(other.running for other in self._connections))
        for role, body in connection.bodies().items():
            self._spawn(f"{connection} ({role})", self._run_connection, body)

    def _run_connection(self, body: Callable[[], None]) -> None:
        self._guard(body, "ended")

    def _guard(self, body: Callable[[], None], done: str) -> None:
        """The body of a connection's thread. Whatever happens in it becomes an event for the main thread."""
        try:
            body()
        except RunError as error:
            self._events.put(error)
        except Exception as error:
            self._events.put(unexpected(error, threading.current_thread().name))
        self._events.put(done)

    def _run_actor(self, actor: ActorThread) -> None:
        if actor.core is not None:
            os.sched_setaffinity(0, {actor.core})
        actor.begin("initialize")
        stage = "initialize"
        try:
            actor.behaviour.initialize()
            actor.stage = ""
            try:
                self._events.put("initialized")
                self._gate.wait()
                stage = "fire"
                if not self._stopping:
                    actor.fire_until_end(lambda: self._stopping)
                stage = "finalize"
            finally:
                actor.begin("finalize")
                actor.behaviour.finalize()
        except RunError as error:
            self._events.put(error)
        except BaseException as error:  # whatever a behaviour raises, SystemExit too, must end the run
            self._events.put(ActorError(actor.name, stage, error))
        else:
            # Only an orderly end travels along the FIFOs; for a failure see _stop.
            if not self._stopping:
                for port in actor.inputs:
                    port.fifo.leave()
                for output in actor.outputs:
                    output.fifo.end()
        actor.stage = ""
        self._events.put("ended")

    def _stop(self, failure: RunError) -> None:
        self._stopping = True
        message = "interrupted" if isinstance(failure, Interrupted) else str(failure)
        for connection in self._connections:
            connection.abort(message)
        for actor in self._actors:
            for port in actor.inputs:
                port.fifo.end()
            for output in actor.outputs:
                output.fifo.leave()
        self._gate.set()
        if not self._join(GRACE[0]):
            for connection in self._connections:
                connection.cut()
            self._join(GRACE[1])
        stuck = [name for thread, name in list(self._threads.items()) if thread.is_alive()]
        for name in stuck:
            self._journal.log("warning", f"{name} did not stop within {sum(GRACE):g} s and is left behind")
        self.left_behind = stuck

    def _join(self, patience: float) -> bool:
        deadline = time.monotonic() + patience
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in list(self._threads))


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
