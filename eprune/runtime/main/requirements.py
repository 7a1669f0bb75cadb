"""The requirements of a run: who measures them, and what is told of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from eprune.runtime.fire.engine import Crew
from eprune.runtime.fire.firing import RunningActor
from eprune.runtime.fire.traced import TracedActor
from eprune.runtime.kernel.trails import Shift, Traced
from eprune.runtime.main.declared import Declared, owner
from eprune.runtime.net.traced import TracedRxFifo
from eprune.runtime.tell.journal import Journal
from eprune.runtime.tell.judge import DegradedRecord, Judge, Miss, RequirementRecord, Tally, judged


class Requirements:
    """Wraps the actors of a program whose tokens something is required of; does nothing to any other."""

    def __init__(self, declared: Declared, actors: Sequence[RunningActor]) -> None:
        """Actors do not know their threads yet: see `share`."""
        names = {actor.name for actor in actors}
        self._judges = [Judge(each) for each in declared.required if owner(each.target) in names]
        self._actors: dict[str, TracedActor] = {}
        #: dynamic processing graph -> the actor that chooses its rows, where there is one for late frames
        self._leading: dict[str, TracedActor] = {}
        self._told: dict[str, int] = {}
        if not declared.required and not declared.late:
            return
        control = frozenset(fifo.name for fifo in declared.fifos if fifo.control)
        sources = {each.source for each in declared.required}
        rows = {fifo.source and owner(fifo.source): each for each in declared.late for fifo in declared.fifos
                if fifo.control == each.dpg}  # fmt: skip
        for actor in actors:
            own = {
                port.name: judges
                for port in actor.inputs
                if (judges := [each for each in self._judges if each.required.target == f"{actor.name}.{port.name}"])
            }
            late = rows.get(actor.name)
            self._actors[actor.name] = traced = TracedActor(actor, declared.traced, own, control, late)
            if late is not None:
                self._leading[late.dpg] = traced
            for output in actor.outputs:
                end = f"{actor.name}.{output.name}"
                if isinstance(output.fifo, Traced) and end in sources:
                    output.fifo.source = end
            for arriving in [port.fifo for port in actor.inputs if isinstance(port.fifo, TracedRxFifo)]:
                peer = next(fifo.peer for fifo in declared.fifos if fifo.name == arriving.name)
                arriving.link, arriving.sources = f"link {peer} -> {declared.platform}", sources

    def share(self, crews: Sequence[Crew]) -> None:
        """The actors that one thread fires wait for each other."""
        for crew in crews if self._actors else ():
            shift = Shift()
            for actor in crew.actors:
                self._actors[actor.name].shift = shift

    def tell(self, journal: Journal) -> None:
        """Tell the journal what was late since it was told."""
        for judge in self._judges:
            misses, required = judge.misses(), judge.required
            number = judge.tally().late - self._told.get(str(required), 0)
            if misses and number > 0:
                self._told[str(required)] = judge.tally().late
                journal.log_repeated("late", "tokens", number, **_about(judge, misses))
        for dpg, leading in self._leading.items():
            number = leading.taken - self._told.get(dpg, 0)
            if number > 0:
                self._told[dpg] = leading.taken
                age, leading.worst = leading.worst, 0
                row = leading.late.value if leading.late is not None else 0
                journal.log_repeated("degraded", "frames", number, dpg=dpg, row=row, age_ms=round(age / 1e6, 3))

    def record(self) -> dict[str, RequirementRecord]:
        """Requirement -> how it was met."""
        return {str(judge.required): judge.record() for judge in self._judges}

    def degraded(self) -> dict[str, DegradedRecord]:
        """Dynamic processing graph -> how often its row for late frames was taken."""
        records = {dpg: leading.record() for dpg, leading in self._leading.items()}
        return {dpg: record for dpg, record in records.items() if record is not None}

    def tallies(self) -> dict[str, Tally]:
        """Requirement -> its counters now."""
        return {str(judge.required): judge.tally() for judge in self._judges}

    def recent(self, name: str, counts: Tally, seconds: float) -> RequirementRecord:
        """How a requirement was met in so many seconds, in which so much was counted."""
        judge = next(each for each in self._judges if str(each.required) == name)
        return judged(judge.required, counts, counts.tokens / seconds, judge.record().uncertainty_ms, {})


def _about(judge: Judge, misses: Sequence[Miss]) -> dict[str, Any]:
    """What an event says: the oldest token, and what took the time of most."""
    required = judge.required
    named: dict[Optional[str], list[Miss]] = {}
    for miss in misses:
        named.setdefault(miss.by, []).append(miss)
    by = max(named, key=lambda each: len(named[each]))
    worst = max(named[by], key=lambda miss: miss.age_ms)
    details: dict[str, Any] = {
        "requirement": str(required),
        "limit_ms": round(1e3 * (required.latency or 0), 6),
        "age_ms": round(max(miss.age_ms for miss in misses), 3),
    }
    if by is not None and worst.ms is not None:
        details.update(by=by, by_ms=round(worst.ms, 3))
        if worst.usual_ms is not None:
            details["usual_ms"] = round(worst.usual_ms, 3)
    return details
