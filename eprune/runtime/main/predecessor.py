"""The generation before, as the next one sees it; see ``succession``."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any, Callable, Optional

import numpy as np

from eprune.runtime.fire.firing import RunningActor
from eprune.runtime.fire.handover import Await
from eprune.runtime.kernel.errors import RunError
from eprune.runtime.main.assembly import Assembly
from eprune.runtime.main.legacy import Channel, delayed, has_state, unpack
from eprune.runtime.tell.journal import Journal


class Predecessor:
    """The generation before, as the next one sees it."""

    def __init__(self, descriptor: int, journal: Journal, fail: Callable[[RunError], None]) -> None:
        """``fail`` gets the error when the generation before has gone without handing over."""
        self._journal = journal
        self._fail = fail
        self._channel = Channel(socket.socket(fileno=descriptor))
        self._assembly: Optional[Assembly] = None
        self._awaits: dict[str, Await] = {}
        #: actor -> what has still to come for it, and what has come
        self._missing: dict[str, set[str]] = {}
        self._came: dict[str, dict[str, Any]] = {}
        self._ready = False
        #: called when this generation is the main one
        self.on_main: Callable[[], None] = lambda: None

    def follow(self, assembly: Assembly) -> None:
        """Let those actors of this generation wait that must not run beside their predecessors. Raises RunError."""
        said = self._channel.receive()
        if said is None:
            raise RunError("the generation before has gone")
        before, offered = set(said[0]["actors"]), set(said[0]["fifos"])
        self._assembly = assembly
        kept = {name: reader for name, reader in delayed(assembly).items() if name in offered}
        for actor in assembly.actors:
            fifos = {name for name, reader in kept.items() if reader == actor.name}
            alone = not actor.inputs or not actor.outputs or has_state(actor)
            wanted = {f"fifo {name}" for name in fifos} | ({f"actor {actor.name}"} if alone or fifos else set())
            if wanted and actor.name in before:
                self._missing[actor.name] = wanted
                self._awaits[actor.name] = Await(actor, self._begin)
        self._channel.send({"fifos": sorted(kept)})
        threading.Thread(target=self._listen, name="generation before", daemon=True).start()

    def ready(self) -> None:
        """All peers are there. A service says so of its first stream only."""
        if not self._ready:
            self._ready = True
            self._channel.send({"ready": True})

    def _listen(self) -> None:
        main = False
        while (said := self._channel.receive()) is not None:
            message, data = said
            if "begin" in message:
                self._number(message["begin"])
                self._channel.send({"agreed": message["number"]})
            elif "actor" in message:
                self._come(f"actor {message['actor']}", unpack(data))
            elif "fifo" in message:
                self._fill(message["fifo"], unpack(data))
                self._come(f"fifo {message['fifo']}", {})
            elif "main" in message:
                main = True
                self.on_main()
        if not main:
            self._fail(RunError("the generation before has ended without handing over"))

    def _number(self, begin: Optional[int]) -> None:
        assert self._assembly is not None
        if begin is not None:
            for actor in self._assembly.actors:
                actor.firing = begin

    def _fill(self, name: str, tokens: Mapping[str, Any]) -> None:
        """The tokens that are in a FIFO when its consumer begins: those that it had before."""
        assert self._assembly is not None
        fifo = self._assembly.fifos[name]
        left = [np.asarray(tokens[str(number)]) for number in range(len(tokens))]
        fits = len(left) == fifo.delay and all(fifo.fits(token) for token in left)
        if not fits:
            said = f"it was left with {len(left)} tokens" if len(left) != fifo.delay else "its tokens are others now"
            self._journal.log("warning", f"FIFO {name!r} begins anew: {said}")
            return
        for number, token in enumerate(left):
            fifo.begin_with(number, token)

    def _come(self, what: str, state: Mapping[str, Any]) -> None:
        for name, missing in self._missing.items():
            if what in missing:
                missing.remove(what)
                self._came.setdefault(name, {}).update(state)
                if not missing:
                    self._awaits[name].come(self._came[name])

    def _begin(self, actor: RunningActor, state: Mapping[str, Any]) -> None:
        """Called by the actor's thread, when its predecessor has ended."""
        if state:
            actor.run("resume", partial(actor.behaviour.resume, state))
        actor.run("initialize", actor.behaviour.initialize)
