"""What a program reports about itself, while it runs and at the end."""

from __future__ import annotations

import dataclasses
import math
import os
import platform as host
import time
from typing import Callable, Optional

from eprune.runtime.fire.firing import RunningActor
from eprune.runtime.fire.matched import MatchedInput
from eprune.runtime.kernel.ages import Age
from eprune.runtime.kernel.fifo import Fifo
from eprune.runtime.main.assembly import Assembly
from eprune.runtime.main.declared import Declared, DeclaredFifo, DeclaredSegment
from eprune.runtime.net.ends import TxFifo
from eprune.runtime.tell.journal import Journal
from eprune.runtime.tell.recent import Counted, Window
from eprune.runtime.tell.record import ActorRecord, ClockRecord, FifoRecord, InputRecord, LinkRecord, RunRecord
from eprune.runtime.tell.status import FifoStatus, PeerStatus, StatusReport
from eprune.runtime.tell.tap import Taps
from eprune.runtime.tell.usage import Usage, UsageMeter
from eprune.runtime.tell.watch import Watch

#: States of a connection, those first that matter most for its platform.
_STATES = ("lost", "waiting", "connected", "closed")


class Reporter:
    """Reports on one run, from counters that others write. With ``measures`` also what the process uses."""

    def __init__(
        self, assembly: Assembly, journal: Journal, watch: Watch, measures: bool = False, stream: Optional[int] = None
    ) -> None:
        self._assembly = assembly
        self._journal = journal
        self._watch = watch
        self._stream = stream
        #: the number of status reports that were left out so far
        self.unreported: Callable[[], int] = lambda: 0
        #: the process of the next generation, once it has taken over
        self.successor: Callable[[], Optional[int]] = lambda: None
        self._measures = measures
        #: the taps of the run, if there can be some
        self.taps: Optional[Taps] = None
        self._window = Window(assembly.requirements.recent)
        self._count()
        #: FIFO -> tokens dropped and resent that the journal was fields of
        self._logged: dict[tuple[str, str], int] = {}

    def snapshot(self) -> StatusReport:
        """How the run fares now; what has changed goes into the journal."""
        journal, declared = self._journal, self._assembly.declared
        self.tally()
        state, since = journal.state
        return StatusReport(
            time=time.time(),
            application=declared.application,
            platform=declared.platform,
            pid=os.getpid(),
            state=state,
            since=_on_the_clock(since),
            stream=self._stream,
            failure=journal.failure,
            successor=self.successor(),
            firings={actor.name: actor.activity.count for actor in self._assembly.actors},
            ages={f"{actor.name}.{port}": age for actor in self._assembly.actors for port, age in _ages(actor).items()},
            fifos={fifo.name: self._counts(fifo) for fifo in declared.fifos},
            peers=self._peers(),
            stalled=self._watch.stalled,
            missing=self._missing() if state == "running" else (),
            taps=self.taps.status if self.taps is not None else {},
            requirements=self._assembly.requirements.record(),
            degraded=self._assembly.requirements.degraded(),
            recent=self._window.add(self._counted()),
            figures={
                each.name: dict(each.behaviour.figures) for each in self._assembly.actors if each.behaviour.figures
            },
            unlogged=journal.unlogged,
            unreported=self.unreported(),
            usage=self._usage.read() if self._usage else Usage(),
        )

    def begin(self) -> None:
        """All peers are there: of a service, this is when the stream begins, however long it has waited for it."""
        self._window = Window(self._assembly.requirements.recent)
        if self._stream is not None:
            self._count()

    def _count(self) -> None:
        self._begin, self._begun = time.time(), time.monotonic()
        self._usage = UsageMeter() if self._measures else None

    @property
    def frames(self) -> int:
        """The firings of the actor that has fired least; in a multi-rate graph, its iterations."""
        return min((actor.activity.count // (actor.repeats or 1) for actor in self._assembly.actors), default=0)

    @property
    def seconds(self) -> float:
        """How long this has lasted."""
        return time.monotonic() - self._begun

    def tally(self, last: bool = False) -> None:
        """Tell the journal what was dropped and resent since it was fields; ``last``: the rest, too."""
        for declared in self._assembly.declared.fifos:
            fifo = self._assembly.fifos[declared.name]
            if isinstance(fifo, TxFifo):
                lost = fifo.given_up if fifo.unanswered is None else fifo.unanswered
                for event, number in (("dropped", lost), ("resent", fifo.resent)):
                    logged = self._logged.get((event, fifo.name), 0)
                    if number > logged:
                        self._logged[event, fifo.name] = number
                        self._journal.log_repeated(event, "tokens", number - logged, fifo=fifo.name, peer=declared.peer)
        self._assembly.requirements.tell(self._journal)
        self._journal.flush(last)

    def _counts(self, declared: DeclaredFifo) -> FifoStatus:
        fifo = self._assembly.fifos[declared.name]
        kind, peer, fill = _kind(declared), declared.peer, fifo.fill
        if not isinstance(fifo, TxFifo):
            return FifoStatus(kind, peer, fifo.written - fifo.delay, fifo.capacity, fill, fifo.discarded)
        confirmed, dropped = fifo.confirmed, fifo.given_up
        made = fifo.made  # read last: the others only follow it
        waiting = made - confirmed - dropped
        return FifoStatus(kind, peer, made, fifo.capacity, fill, None, confirmed, waiting, dropped, fifo.resent)

    def _counted(self) -> Counted:
        """The counters from which follows what is recent."""
        actors, fifos = self._assembly.actors, self._assembly.fifos
        return Counted(
            time.monotonic(),
            {actor.name: (actor.activity.count, actor.activity.busy / 1e9) for actor in actors},
            {name: _flown(fifo) for name, fifo in fifos.items()},
            {f"{actor.name}.{port}": ages.counts() for actor in actors for port, ages in actor.ages.items()},
            self._assembly.requirements.tallies(),
        )

    def _missing(self) -> list[str]:
        """The ports whose producers are dead or starved, or whose consumers cannot be reached."""
        missing = []
        for actor in self._assembly.actors:
            ports = [port.name for port in actor.inputs if port.fifo.lost and not port.fifo.ended]
            ports += [port.name for port in actor.outputs if not port.fifo.connected and not port.fifo.left]
            missing += [f"{actor.name}.{port}" for port in ports]
        return missing

    def _peers(self) -> dict[str, PeerStatus]:
        """Platform -> the state of its connections, the worst one, and since when."""
        peers: dict[str, tuple[int, float]] = {}
        for connection in self._assembly.connections:
            state, since = self._journal.links.get(str(connection), ("waiting", self._begun))
            found = (_STATES.index(state), since)
            peers[connection.peer] = min(found, peers.get(connection.peer, found))
        clocks = self._clocks()
        return {
            peer: PeerStatus(_STATES[state], _on_the_clock(since), *dataclasses.astuple(clocks[peer]))
            for peer, (state, since) in sorted(peers.items())
        }

    def _clocks(self) -> dict[str, ClockRecord]:
        """Platform -> its clock, as the connection knows it that knows it best."""
        best: dict[str, tuple[int, int]] = {}
        for connection in self._assembly.connections:
            offset, uncertainty = connection.clocks.offset, connection.clocks.uncertainty
            if offset is not None and uncertainty is not None:
                best[connection.peer] = min((uncertainty, offset), best.get(connection.peer, (uncertainty, offset)))
        known = {peer: ClockRecord(offset / 1e3, uncertainty / 1e3) for peer, (uncertainty, offset) in best.items()}
        return {peer: known.get(peer, ClockRecord()) for peer in self._assembly.declared.peers}

    def record(self) -> RunRecord:
        """The run record."""
        assembly, journal, greeting = self._assembly, self._journal, self._assembly.greeting
        fifos, crossing = assembly.declared.fifos, assembly.crossing
        # Where an application ends by itself before as many firings again, all of them count.
        warm = 0 < 2 * assembly.warm_up <= self.frames
        return RunRecord(
            application=greeting.application,
            platform=greeting.platform,
            digest=greeting.digest,
            incarnation=assembly.incarnation,
            interpreter=greeting.interpreter or None,
            engines={unit: engine.record() for unit, engine in assembly.engines.items()},
            host=host.node(),
            python=host.python_version(),
            machine=host.machine(),
            begin=self._begin,
            wall_s=self.seconds,
            warm_up=assembly.warm_up if warm else 0,
            stream=self._stream,
            failure=journal.failure,
            emulated=assembly.emulation.record() if assembly.emulation else None,
            actors={actor.name: _actor_record(assembly.declared, actor, warm) for actor in assembly.actors},
            fifos={
                fifo.name: FifoRecord(_kind(fifo), fifo.peer, assembly.fifos[fifo.name].summary()) for fifo in fifos
            },
            links={fifo.name: LinkRecord(fifo.peer, crossing[fifo.name].summary(warm)) for fifo in fifos if fifo.peer},
            peers=self._clocks(),
            requirements=assembly.requirements.record(),
            degraded=assembly.requirements.degraded(),
            events=list(journal.events),
            events_omitted=journal.count - len(journal.events),
            unlogged=journal.unlogged,
            unreported=self.unreported(),
            usage=self._usage.read(last=True) if self._usage else Usage(),
        )


def _on_the_clock(moment: float) -> float:
    """When a moment of time.monotonic was, in seconds since the epoch by today's clock: it may have jumped since."""
    return math.floor(1000 * (time.time() - (time.monotonic() - moment))) / 1000


def _actor_record(program: Declared, actor: RunningActor, warm: bool) -> ActorRecord:
    declared = next(declared for declared in program.actors if declared.name == actor.name)
    role = "source" if not actor.inputs else "sink" if not actor.outputs else "inner"
    members = list(declared.actors) if isinstance(declared, DeclaredSegment) else [declared.name]
    modes = None
    if actor.rates is not None and not actor.repeats:
        modes = {str(value): mode.firings for value, mode in actor.rates.modes.items()}
    figures = dict(actor.behaviour.figures) or None
    counted = actor.activity.summary(warm)
    repeats = actor.repeats or None
    return ActorRecord(declared.unit, role, members, counted, modes, _inputs(actor), figures, repeats)


def _flown(fifo: Fifo) -> tuple[int, int, int]:
    """How many tokens were made, their bytes as far as they were written, and how many were lost."""
    if isinstance(fifo, TxFifo):
        return fifo.made, fifo.bytes_written, fifo.given_up
    return fifo.written - fifo.delay, fifo.bytes_written, fifo.discarded


def _ages(actor: RunningActor) -> dict[str, Age]:
    """Input -> how old its tokens were, of an actor without outputs."""
    ages = {port: ages.summary() for port, ages in actor.ages.items()}
    return {port: age for port, age in ages.items() if age is not None}


def _inputs(actor: RunningActor) -> dict[str, InputRecord]:
    """What the actor's firings had at its inputs, where they may lack tokens or the actor has no outputs."""
    ages, firings = _ages(actor), actor.activity.count
    records = {port: InputRecord(age=age) for port, age in ages.items()}
    for port in actor.inputs:
        if isinstance(port, MatchedInput):
            without = port.held + port.zeros + port.missing
            counts = (firings - without, port.held, port.zeros, port.missing)
            records[port.name] = InputRecord(*counts, ages.get(port.name))
    return records


def _kind(declared: DeclaredFifo) -> str:
    return "tx" if declared.target is None else "rx" if declared.source is None else "local"
