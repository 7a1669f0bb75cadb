"""The rules of a multi-rate graph: G5, G8, C1 and C2 by repetition vector and execution, others as for any graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Optional

from eprune.analysis.faults import declarations
from eprune.analysis.graph import check_graph
from eprune.analysis.liveness import advice, connections
from eprune.analysis.lookup import joined, rate_text, slot_bytes, some
from eprune.analysis.mapping import groups, links, memory, placements
from eprune.analysis.precedence import Edge, Precedence, components, short_cycle
from eprune.analysis.repair import Repair
from eprune.analysis.requirements import requirements
from eprune.analysis.rules import violation
from eprune.analysis.sdf.execution import Net, Obstacle, least_capacity, least_loop
from eprune.analysis.sdf.repetition import repetition
from eprune.analysis.units import units
from eprune.model.finding import Finding, has_errors
from eprune.model.graph import ActorType, FaultPolicy, Fifo, Graph
from eprune.model.system import System

#: How many executions a search for the smallest repair may take.
_TRIES = 400


def check_sdf(system: System) -> list[Finding]:
    """What is wrong with a system whose graph is to be read as synchronous dataflow, stage by stage as in ``check``."""
    graph = system.graph
    findings = [*check_graph(graph, system.interfaces), *plain(system), *declarations(graph)]
    findings += requirements(graph)
    if not has_errors(findings):
        findings += repetition(graph).contradictions
    if not has_errors(findings):
        findings += capacities(graph)
        findings += [*deadlocks(_roomy(graph)), *connections(graph), *placements(system)]
    if not has_errors(findings):
        findings += [*links(system), *groups(system), *memory(system), *units(system)]
    return findings


def plain(system: System) -> Iterator[Finding]:
    """G8: rates are constant, in phases or not, and nothing is lost."""
    graph = system.graph
    kinds = {ActorType.DA: "a DA", ActorType.DPA: "a DPA", ActorType.CA: "a CA"}
    for actor in graph.actors:
        if actor.type is not ActorType.SPA:
            message = f"actor '{actor.name}' is {kinds[actor.type]}: with --model sdf no control token changes rates"
            yield violation("G8", actor.where, message, "make it an SPA, or leave --model out")
        if actor.match is not None:
            message = f"actor '{actor.name}' states how its inputs are matched, which has no meaning with --model sdf"
            yield violation("G8", actor.where, message, "leave match out: tokens come in their order")
        for port in actor.ports:
            ref = f"{actor.name}.{port.name}"
            if not port.static:
                hint = 'write one rate, or those of one firing after the other: rate="1,0,0"'
                yield violation("G8", port.where, f"port {ref}: rate {rate_text(port)} is not constant", hint)
            elif actor.is_slice and port.rates != (1,):
                message = f"port {ref}: rate {rate_text(port)}, and a slice of a model takes and gives one token"
                yield violation("G8", port.where, message, "let a class beside it gather the tokens into one")
            for what, stated in (("control", port.control), ("hold", port.hold), ("max-age", port.max_age is not None)):
                if stated:
                    message = f"port {ref} states {what}, which has no meaning with --model sdf"
                    yield violation("G8", port.where, message, f"leave {what} out")
            if not port.required:
                message = f"port {ref} is optional: with --model sdf nothing is lost"
                yield violation("G8", port.where, message, 'leave required="false" out')
    for dpg in graph.dpgs:
        message = f"dynamic processing graph '{dpg.name}': with --model sdf no control token changes rates"
        yield violation("G8", dpg.where, message, "leave it out, or --model")
    for fifo in graph.fifos:
        if fifo.policy not in (FaultPolicy.STOP, FaultPolicy.WAIT):
            message = f"FIFO '{fifo.name}': policy {fifo.policy.value} may lose tokens, and its reader counts on each"
            yield violation("G8", fifo.where, message, "with --model sdf it is stop or wait")
        if fifo.route is not None:
            message = f"FIFO '{fifo.name}': a route has no meaning with --model sdf"
            yield violation("G8", fifo.where, message, "leave route out")
    for mapping in system.mappings:
        for placement in mapping.placements:
            if placement.segment is not None:
                message = f"actor '{placement.actor}' is to be in segment '{placement.segment}'"
                hint = "with --model sdf each slice runs by itself: leave segment out"
                yield violation("G8", placement.where, message, hint)


def capacities(graph: Graph) -> Iterator[Finding]:
    """G5: a FIFO by itself holds its delay, and has room enough that its two ends do not block for ever."""
    for fifo, source, target in joined(graph):
        what = f"FIFO '{fifo.name}'"
        rates = f"rates {rate_text(source)} and {rate_text(target)}"
        if fifo.delay < 0:
            yield violation("G5", fifo.where, f"{what}: delay {fifo.delay} is negative", "write a delay of 0 or more")
        elif fifo.source.actor == fifo.target.actor:
            delay, capacity = least_loop((source.rates, target.rates), fifo.delay)
            if fifo.delay < delay:
                message = f"{what} is a self-loop: delay {fifo.delay} < {delay}, so its actor stops for ever ({rates})"
                room = "" if fifo.capacity >= capacity else f" and a capacity of {capacity}"
                yield violation("G5", fifo.where, message, f"give it a delay of {delay}{room}")
            elif fifo.capacity < capacity:
                message = f"{what} is a self-loop: capacity {fifo.capacity} < {capacity} ({rates}, delay {fifo.delay})"
                yield violation("G5", fifo.where, message, f"give it a capacity of {capacity}")
        else:
            least = least_capacity((source.rates, target.rates), fifo.delay)
            if fifo.capacity < least:
                message = (
                    f"{what}: capacity {fifo.capacity} < {least}, so it blocks for ever ({rates}, delay {fifo.delay})"
                )
                yield violation("G5", fifo.where, message, f"give it a capacity of {least}")


def _roomy(graph: Graph) -> Graph:
    """The graph with what G5 asks for: what else is wrong with it shows."""
    mended = []
    for fifo, source, target in joined(graph):
        if fifo.source.actor == fifo.target.actor:
            delay, capacity = least_loop((source.rates, target.rates), max(fifo.delay, 0))
        else:
            delay, capacity = 0, least_capacity((source.rates, target.rates), max(fifo.delay, 0))
        mended.append(replace(fifo, delay=max(fifo.delay, delay), capacity=max(fifo.capacity, capacity)))
    return replace(graph, fifos=tuple(mended))


def deadlocks(graph: Graph) -> Iterator[Finding]:
    """C2: an iteration completes. A ring of actors that wait for each other in it, and what mends the graph."""
    try:
        net = Net(graph)
    except ValueError as error:
        hint = "choose rates with a greater common divisor, such as blocks of samples for samples"
        yield violation("C2", graph.where, f"not proved live: {error}", hint)
        return
    stopped = net.run()
    if not stopped.obstacles:
        return
    ring = _ring(net, graph.fifos, stopped.obstacles)
    names = [edge.source for edge in ring]
    who = f"actors {some(names)} wait for each other" if len(ring) > 1 else f"actor {some(names)} waits for itself"
    why = {(each.actor, graph.fifos[each.fifo].name, each.kind): each for each in stopped.obstacles}
    fifos = {fifo.name: fifo for fifo in graph.fifos}
    related = tuple(
        (fifos[edge.fifo].where, _reason(edge, fifos[edge.fifo], why[edge.target, edge.fifo, edge.kind], net))
        for edge in ring
    )
    where = min(fifos[edge.fifo].where for edge in ring)
    yield violation("C2", where, f"deadlock: {who}", advice(repaired(graph, net), fifos), related)


def _ring(net: Net, fifos: Sequence[Fifo], obstacles: Sequence[Obstacle]) -> tuple[Edge, ...]:
    """A shortest ring: each that is stuck waits for one that is."""
    edges = net.edges([fifo.name for fifo in fifos], obstacles)
    stuck = Precedence(tuple(dict.fromkeys(each.actor for each in obstacles)), edges)
    return short_cycle(components(stuck)[0])


def _reason(edge: Edge, fifo: Fifo, obstacle: Obstacle, net: Net) -> str:
    due = net.repetition.firings[edge.target]
    firing = f"firing {obstacle.firing + 1} of {due} of '{edge.target}'"
    if edge.kind == "token":
        tokens = "a token" if obstacle.needed == 1 else f"{obstacle.needed} tokens"
        return f"{firing} needs {tokens} of '{edge.source}' over {fifo.name}, which has {obstacle.there}"
    room = "room for a token" if obstacle.needed == 1 else f"room for {obstacle.needed} tokens"
    return (
        f"{firing} needs {room} in {fifo.name} that '{edge.source}' makes: it has room for {obstacle.there}, capacity "
        f"{fifo.capacity}"
    )


def repaired(graph: Graph, net: Net) -> Repair:
    """The smallest change of one FIFO after which an iteration completes, else changes of several that are enough.

    Added bytes are what is small: those of initial tokens and of buffer. A delay keeps the room that there is.
    """
    sizes = [slot_bytes(graph)[fifo.name] for fifo in graph.fifos]
    mend = _Mending(graph, net)
    ring = _ring(net, graph.fifos, net.run().obstacles)
    number = {fifo.name: index for index, fifo in enumerate(graph.fifos)}
    options = [fifo for edge in ring for fifo in mend.alone(number[edge.fifo], edge.kind)]
    if options:

        def cost(fifo: Fifo) -> int:
            index = number[fifo.name]
            old = graph.fifos[index]
            return (fifo.delay - old.delay + fifo.capacity - old.capacity) * sizes[index]

        options.sort(key=cost)
        delays = options[0].delay != graph.fifos[number[options[0].name]].delay
        other = (each for each in options if (each.delay != graph.fifos[number[each.name]].delay) != delays)
        return Repair((options[0],), alternative=next(other, None))
    return Repair(mend.several(), smallest=False)


class _Mending:
    """The tries of one search."""

    def __init__(self, graph: Graph, net: Net) -> None:
        self._fifos = list(graph.fifos)
        self._net = net
        self._tries = _TRIES

    def _live(self, fifos: Sequence[Fifo]) -> bool:
        self._tries -= 1
        return self._net.live([fifo.capacity for fifo in fifos], [fifo.delay for fifo in fifos])

    def alone(self, index: int, kind: str) -> list[Fifo]:
        """The least change of that kind of that FIFO that is enough, if one is."""
        found = self._least(self._fifos, index, self._change(kind, index))
        return [] if found is None else [found]

    def _change(self, kind: str, index: int) -> Callable[[Fifo, int], Fifo]:
        if kind == "room":
            return lambda fifo, more: replace(fifo, capacity=fifo.capacity + more)
        return lambda fifo, more: replace(fifo, delay=fifo.delay + more, capacity=fifo.capacity + more)

    def _least(self, fifos: Sequence[Fifo], index: int, change: Callable[[Fifo, int], Fifo]) -> Optional[Fifo]:
        """More never hurts: the least is found by halving."""
        through = self._net.through[index]

        def live(more: int) -> bool:
            changed = list(fifos)
            changed[index] = change(fifos[index], more)
            return self._live(changed)

        low, high = 0, max(through, 1)
        if not live(high):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if live(middle) else (middle, high)
        return change(fifos[index], high)

    def several(self) -> tuple[Fifo, ...]:
        """Changes that together are enough: of a FIFO of one ring after the other, and no more of each than needed."""
        fifos, net = list(self._fifos), self._net
        number = {fifo.name: index for index, fifo in enumerate(fifos)}
        changed: dict[int, str] = {}
        while True:
            stopped = net.run([fifo.capacity for fifo in fifos], [fifo.delay for fifo in fifos])
            if not stopped.obstacles:
                break
            ring = _ring(net, fifos, stopped.obstacles)
            rooms = [edge for edge in ring if edge.kind == "room"]
            edge = (rooms or list(ring))[0]
            index = number[edge.fifo]
            changed.setdefault(index, edge.kind)
            fifos[index] = self._change(edge.kind, index)(fifos[index], net.through[index])
        for index, kind in changed.items():
            start = [*fifos[:index], self._fifos[index], *fifos[index + 1 :]]
            if self._tries > 0 and self._live(start):
                fifos[index] = self._fifos[index]
            elif self._tries > 0:
                fifos[index] = self._least(start, index, self._change(kind, index)) or fifos[index]
        return tuple(fifo for fifo, old in zip(fifos, self._fifos) if fifo != old)
