"""Two generations of a program side by side on one platform, and the hand-over from one to the other.

The generation that runs starts the next one as its child, which connects to its peers of the next generation and waits.
When all platforms are ready, their sources are held before a firing that all of them have agreed on, and only then
are they told to stop there. What is under way is worked off by the generation before; sources, sinks and whatever
has state of the next one begin when their predecessors have ended, and go on from what those leave. Everybody else of
it needs no predecessor, and has begun already. Until the last word anything that goes wrong leaves the generation that
runs as it is, and ends the other one.

``TRANSITIONS`` says what may happen when; whatever is not in it is refused.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Callable, Optional

from eprune.runtime.fire.firing import RunningActor
from eprune.runtime.fire.handover import Halt, next_index
from eprune.runtime.fire.matched import Matched
from eprune.runtime.kernel.errors import RunError
from eprune.runtime.main.assembly import Assembly
from eprune.runtime.main.legacy import Channel, delayed, has_state, pack
from eprune.runtime.tell.journal import Journal

#: Seconds for the next generation to set the index that was agreed on.
_AGREE = 5.0
#: Seconds for which sources are held at most, and how long before their end nothing is decided any more.
HOLD, LATE = 5.0, 1.0

ALONE, STARTING, READY, HELD, COMMITTED = "alone", "starting", "ready", "held", "committed"
#: (state, event) -> the next state; whatever is not here is refused
TRANSITIONS = {
    (ALONE, "start"): STARTING,
    (STARTING, "ready"): READY,
    (READY, "hold"): HELD,
    (HELD, "hold"): HELD,
    (HELD, "release"): READY,
    (HELD, "commit"): COMMITTED,
    **{(state, "cancel"): ALONE for state in (STARTING, READY, HELD)},
    **{(state, "lost"): ALONE for state in (STARTING, READY, HELD, COMMITTED)},
}


class Refused(Exception):
    """A request that cannot be met now; the message says why."""


class Succession:
    """The change to the next generation, as the one that runs sees it.

    ``status`` and ``control`` are the files that the program keeps its status in and is asked on.
    """

    def __init__(self, journal: Journal, status: Optional[str], control: str) -> None:
        self._journal = journal
        self._status, self._control = status, control
        self._lock = threading.RLock()
        self._state = ALONE
        self._changed = threading.Condition(self._lock)
        self._assembly: Optional[Assembly] = None
        self._halts: dict[str, Halt] = {}
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._channel: Optional[Channel] = None
        self._fifos: list[str] = []
        self._reset: frozenset[str] = frozenset()
        self._agreed: Optional[int] = None
        self._told = 0
        self._stopped = False  # whether a source has stopped for a generation that is no more
        self._until = 0.0  # when the sources go on by themselves (time.monotonic)
        #: why the next generation ended, if it did
        self.problem = ""
        #: the process of the next generation once it has taken over
        self.successor: Optional[int] = None
        #: called when the service is to end although it waits for a stream
        self.on_leave: Callable[[], None] = lambda: None

    def follow(self, assembly: Assembly) -> None:
        """These are the actors that run now."""
        with self._lock:
            self._assembly = assembly
            for actor in assembly.actors:
                actor.heir = partial(self._leave, actor)

    @property
    def leaving(self) -> bool:
        """Whether this generation ends when what it works on has ended."""
        return self._state == COMMITTED

    def _go(self, event: str) -> None:
        following = TRANSITIONS.get((self._state, event))
        if following is None:
            why = f": {self.problem}" if self.problem else ""
            raise Refused(f"there is no {event!r} while the change is {self._state!r}{why}")
        self._state = following
        self._changed.notify_all()

    # What is asked for.

    def describe(self) -> dict[str, Any]:
        """How far the change is, and what there is to be handed over."""
        with self._lock:
            assembly = self._assembly
            actors = assembly.actors if assembly else []
            return {
                "change": self._state,
                "problem": self.problem,
                "process": os.getpid(),
                "actors": [actor.name for actor in actors],
                "states": [actor.name for actor in actors if has_state(actor)],
                "fifos": delayed(assembly) if assembly else {},
                "sources": {actor.name: self._source(actor) for actor in actors if not actor.inputs},
            }

    @staticmethod
    def _source(actor: RunningActor) -> dict[str, Any]:
        """The index of its next firing, and by whom it is counted: a clock, itself, or everybody."""
        matched = actor.matching if isinstance(actor.matching, Matched) else None
        clock = matched.numbering.clock if matched else None
        return {"next": next_index(actor), "clock": clock, "own": matched is not None and not clock}

    def start(self, command: Sequence[str], reset: Collection[str] = ()) -> int:
        """Start the next generation, in which the actors ``reset`` begin anew; its process. Raises Refused."""
        with self._lock:
            self._go("start")
            self.problem = ""
            near, far = socket.socketpair()
            status = [f"--status={other_status(self._status)}"] if self._status else []
            try:
                self._process = subprocess.Popen(
                    [*command, *status, f"--control={self._control}", f"--succeed={far.fileno()}"],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[far.fileno()],
                )
            except OSError as error:
                near.close()
                self.problem = f"{command[0]}: {error.strerror}"
                self._go("lost")
                raise Refused(self.problem) from None
            finally:
                far.close()
            self._channel = Channel(near)
            assert self._assembly is not None
            names = [actor.name for actor in self._assembly.actors]
            fifos = [name for name, reader in delayed(self._assembly).items() if reader not in reset]
            self._reset = frozenset(reset)
            self._channel.send({"actors": names, "fifos": sorted(fifos)})
            threading.Thread(target=self._listen, args=(self._channel, self._process), daemon=True).start()
            self._journal.log("note", f"the next generation starts: process {self._process.pid}")
            return self._process.pid

    def hold(self, at: Mapping[str, int], begin: Optional[int]) -> None:
        """Hold each source before this firing; the next generation begins with firing ``begin``. Raises Refused."""
        with self._lock:
            self._go("hold")
            assert self._assembly is not None and self._channel is not None
            self._agreed, self._told = None, self._told + 1
            self._channel.send({"begin": begin, "number": self._told})
            self._changed.wait_for(lambda: self._agreed == self._told or self._state != HELD, _AGREE)
            if self._agreed != self._told:
                raise Refused(f"the next generation does not answer{f': {self.problem}' if self.problem else ''}")
            self._until = time.monotonic() + HOLD
            for actor in self._assembly.actors:
                if not actor.inputs:
                    halt = self._halts.get(actor.name) or Halt(actor)
                    self._halts[actor.name] = halt
                    if actor.name not in at or not halt.hold(at[actor.name], self._until):
                        self.release()
                        raise Refused(f"source {actor.name!r} is at firing {next_index(actor)} already")

    def release(self) -> None:
        """The sources go on. Raises Refused."""
        with self._lock:
            self._go("release")
            self._let_go()

    def _let_go(self) -> None:
        for halt in self._halts.values():
            halt.release()
        self._halts = {}

    def commit(self) -> None:
        """From now on this generation is the one that leaves. Raises Refused."""
        with self._lock:
            if self._state == HELD and time.monotonic() > self._until - LATE:
                self.release()
                raise Refused(f"the sources have been held for {HOLD:g} s, and go on")
            self._go("commit")
            for halt in self._halts.values():
                halt.stop()
            self._journal.log("note", "this generation ends, and the next one takes over")
        self.on_leave()

    def cancel(self) -> None:
        """Whoever wanted the change has gone, or does not want it any more: the next generation ends."""
        with self._lock:
            if (self._state, "cancel") in TRANSITIONS:
                self._go("cancel")
                self._let_go()
                self._end_next()

    def _end_next(self) -> None:
        if self._channel is not None:
            self._channel.close()
        process = self._process
        if process is not None:
            process.terminate()
            threading.Thread(target=_reap, args=(process,), daemon=True).start()
        self._channel = self._process = None

    # What the next generation says.

    def _listen(self, channel: Channel, process: subprocess.Popen[bytes]) -> None:
        while (said := channel.receive()) is not None:
            message = said[0]
            with self._lock:
                if channel is not self._channel:
                    return
                if "ready" in message:
                    self._go("ready")
                elif "agreed" in message:
                    self._agreed = message["agreed"]
                    self._changed.notify_all()
                elif "fifos" in message:
                    self._fifos = message["fifos"]
        code = _reap(process)
        with self._lock:
            if channel is self._channel:
                self.problem = f"the next generation has ended with exit code {code}"
                self._journal.log("warning", self.problem)
                self._channel = self._process = None
                self._go("lost")
                self._stopped = any(halt.stopped for halt in self._halts.values())
                self._let_go()

    # What is handed over.

    def _leave(self, actor: RunningActor, state: Mapping[str, Any]) -> None:
        """An actor has ended in an orderly way, and leaves this. Called by its thread."""
        if self.leaving and self._channel is not None:
            try:
                data = pack(state) if state and actor.name not in self._reset else b""
            except ValueError as error:
                self._journal.log("warning", f"actor {actor.name!r} cannot hand over: {error}", actor=actor.name)
                data = b""
            self._channel.send({"actor": actor.name}, data)

    def conclude(self) -> None:
        """All has ended here: hand over what is left, and the process that is to be watched from now on.

        Raises RunError where this generation has stopped for one that is no more.
        """
        with self._lock:
            assembly, channel, process = self._assembly, self._channel, self._process
            if self._stopped:
                raise RunError(f"nobody takes over: {self.problem}")
            if not self.leaving or assembly is None or channel is None or process is None:
                return
            for name in self._fifos:
                fifo = assembly.fifos[name]
                tokens = [fifo.token(number) for number in range(fifo.released, fifo.written)]
                channel.send({"fifo": name}, pack({str(number): token for number, token in enumerate(tokens)}))
            self.successor = process.pid

    def name_main(self) -> None:
        """The next generation is the main one now."""
        if self._channel is not None and self.successor is not None:
            self._channel.send({"main": True})


def other_status(path: str) -> str:
    """Where the next generation keeps its status: beside that of this one, which is the next one's next."""
    stem, dot, end = path.rpartition(".")
    return stem.removesuffix(".2") + dot + end if stem.endswith(".2") else f"{stem}.2{dot}{end}"


def _reap(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a process that is told to end, or has."""
    try:
        return process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
