"""What a program reports of itself: while it runs, and at the end."""

from __future__ import annotations

import os
import platform as host
import time
from typing import Any

from eprune.runtime.fire.aligned_dynamic import AlignedLeader
from eprune.runtime.fire.dynamic import DynamicThread
from eprune.runtime.fire.engine import ActorThread
from eprune.runtime.kernel.fifo import Fifo
from eprune.runtime.main.assembly import Assembly
from eprune.runtime.main.declared import Declared, DeclaredFifo, DeclaredSegment
from eprune.runtime.net.ends import TxFifo
from eprune.runtime.tell import record
from eprune.runtime.tell.journal import Journal

#: States of a connection, those first that matter most for its platform.
_STATES = ("lost", "waiting", "connected", "closed")


class Reporter:
    """Reports on one run, from counters that others write."""

    def __init__(self, assembly: Assembly, journal: Journal) -> None:
        self._assembly = assembly
        self._journal = journal
        self._begin = time.time()
        #: FIFO -> tokens dropped and resent that the journal was fields of
        self._logged: dict[tuple[str, str], int] = {}

    def snapshot(self) -> dict[str, Any]:
        """How the run fares now; what has changed is fields to the journal."""
        journal, declared = self._journal, self._assembly.declared
        self.tally()
        state, since = journal.state
        return {
            "time": time.time(),
            "application": declared.application,
            "platform": declared.platform,
            "pid": os.getpid(),
            "state": state,
            "since": since,
            "failure": journal.failure,
            "firings": {actor.name: actor.activity.count for actor in self._assembly.actors},
            "fifos": {fifo.name: self._counts(fifo) for fifo in declared.fifos if fifo.peer},
            "peers": self._peers(),
        }

    def tally(self, last: bool = False) -> None:
        """Tell the journal what was dropped and resent since it was fields; ``last``: the rest, too."""
        for declared in self._assembly.declared.fifos:
            fifo = self._assembly.fifos[declared.name]
            if isinstance(fifo, TxFifo):
                sending = fifo.sending
                for event, number in (("dropped", sending.given_up), ("resent", sending.resent)):
                    fields = self._logged.get((event, fifo.name), 0)
                    if number > fields:
                        self._logged[event, fifo.name] = number
                        self._journal.log_repeated(event, "tokens", number - fields, fifo=fifo.name, peer=declared.peer)
        self._journal.flush(last)

    def _counts(self, declared: DeclaredFifo) -> dict[str, Any]:
        """Of a TX FIFO: ``tokens`` = ``confirmed`` + ``waiting`` + ``dropped``, where its peer confirms any."""
        fifo = self._assembly.fifos[declared.name]
        fields: dict[str, Any] = {"kind": _kind(declared), "peer": declared.peer, "tokens": fifo.tokens}
        if isinstance(fifo, TxFifo):
            sending = fifo.sending
            confirmed, dropped = sending.confirmed, sending.given_up
            made = sending.made  # read last: the others only follow it
            fields.update(tokens=made, confirmed=confirmed, waiting=made - confirmed - dropped, dropped=dropped)
            fields["resent"] = sending.resent
        return fields

    def _peers(self) -> dict[str, Any]:
        """Platform -> the state of its connections, the worst one, and since when."""
        peers: dict[str, tuple[int, float]] = {}
        for link in (*self._assembly.links.values(), *self._assembly.connections):
            state, since = self._journal.links.get(str(link), ("waiting", self._begin))
            found = (_STATES.index(state), since)
            peers[link.peer] = min(found, peers.get(link.peer, found))
        return {peer: {"state": _STATES[state], "since": since} for peer, (state, since) in sorted(peers.items())}

    def record(self) -> dict[str, Any]:
        """The run record."""
        assembly, journal, greeting = self._assembly, self._journal, self._assembly.greeting
        fifos, crossing = assembly.declared.fifos, assembly.crossing
        return {
            "application": greeting.application,
            "platform": greeting.platform,
            "digest": greeting.digest,
            "incarnation": assembly.incarnation,
            **({"interpreter": greeting.interpreter} if greeting.interpreter else {}),
            "host": host.node(),
            "python": host.python_version(),
            "machine": host.machine(),
            "begin": self._begin,
            "wall_s": time.time() - self._begin,
            "failure": journal.failure,
            "emulated": assembly.emulation.record() if assembly.emulation else None,
            "actors": {actor.name: _actor_record(assembly.declared, actor) for actor in assembly.actors},
            "fifos": {fifo.name: _fifo_record(fifo, assembly.fifos[fifo.name]) for fifo in fifos},
            "links": {fifo.name: {"peer": fifo.peer, **crossing[fifo.name].summary()} for fifo in fifos if fifo.peer},
            "events": list(journal.events),
            "events_omitted": journal.count - len(journal.events),
            **record.usage(),
        }


def _actor_record(program: Declared, actor: ActorThread) -> dict[str, Any]:
    declared = next(declared for declared in program.actors if declared.name == actor.name)
    role = "source" if not actor.inputs else "sink" if not actor.outputs else "inner"
    members = list(declared.actors) if isinstance(declared, DeclaredSegment) else [declared.name]
    fields = {"unit": declared.unit, "role": role, "members": members, **actor.activity.summary()}
    if isinstance(actor, (DynamicThread, AlignedLeader)):
        fields["modes"] = {str(value): mode.firings for value, mode in actor.modes.items()}
    return fields


def _kind(declared: DeclaredFifo) -> str:
    return "tx" if declared.target is None else "rx" if declared.source is None else "local"


def _fifo_record(declared: DeclaredFifo, fifo: Fifo) -> dict[str, Any]:
    return {"kind": _kind(declared), "peer": declared.peer, **fifo.summary()}
