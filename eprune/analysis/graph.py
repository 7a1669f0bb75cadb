"""Rules G1 to G5: a graph is well formed.

All of them look at every object by itself, so one wrong thing hides no other. A FIFO's ends are compared where both
exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Optional

from eprune.analysis.lookup import Guesser, joined, port_table, rate_text, some
from eprune.analysis.rules import violation
from eprune.model.finding import Finding, Location
from eprune.model.graph import Actor, Direction, FaultPolicy, Fifo, Graph, Port, PortRef
from eprune.model.interface import Interface


def names(graph: Graph) -> Iterator[Finding]:
    """G1: there are actors; they, their ports and parameters, FIFOs and dynamic processing graphs have unique names."""
    if not graph.actors:
        yield violation("G1", graph.where, f"application '{graph.name}' has no actors", 'add <actor name="..." .../>')
    yield from _unique("actor", ((actor.name, actor.where) for actor in graph.actors))
    yield from _unique("FIFO", ((fifo.name, fifo.where) for fifo in graph.fifos))
    yield from _unique("dynamic processing graph", ((dpg.name, dpg.where) for dpg in graph.dpgs))
    for actor in graph.actors:
        yield from _unique(f"actor '{actor.name}': port", ((port.name, port.where) for port in actor.ports))
        yield from _unique(f"actor '{actor.name}': parameter", ((name, actor.where) for name, _ in actor.parameters))


def _unique(what: str, named: Iterable[tuple[str, Location]]) -> Iterator[Finding]:
    first: dict[str, Location] = {}
    for name, where in named:
        if name in first:
            yield violation(
                "G1",
                where,
                f"{what} '{name}' is defined twice",
                "rename one of them",
                related=((first[name], f"'{name}' is first defined here"),),
            )
        else:
            first[name] = where


def references(graph: Graph) -> Iterator[Finding]:
    """G1: a FIFO runs from an output to an input that exist, and every port is on exactly one FIFO."""
    table = port_table(graph)
    guesser = Guesser()
    fifo_of: dict[tuple[str, str], Fifo] = {}
    for fifo in graph.fifos:
        for ref, direction in ((fifo.source, Direction.OUT), (fifo.target, Direction.IN)):
            finding, named = _resolve(fifo, ref, direction, table, guesser)
            other = fifo_of.setdefault(named, fifo) if named else fifo
            if finding is not None:
                yield finding
            elif other is not fifo:
                yield violation(
                    "G1",
                    fifo.where,
                    f"FIFO '{fifo.name}': port {ref} is already on FIFO '{other.name}'",
                    "a port is on exactly one FIFO; give the actor a port for each",
                    related=((other.where, f"FIFO '{other.name}' joins {ref}"),),
                )
    for actor in graph.actors:
        ports = table.pop(actor.name, {})  # of two actors with one name, only the first was asked
        for port in ports.values():
            if (actor.name, port.name) not in fifo_of:
                end = "to" if port.direction is Direction.IN else "from"
                yield violation(
                    "G1",
                    port.where,
                    f"actor '{actor.name}': {port.direction.value}put port '{port.name}' is on no FIFO",
                    f'every port is on exactly one FIFO: add one {end}="{actor.name}.{port.name}", or remove the port',
                )


def _resolve(
    fifo: Fifo, ref: PortRef, direction: Direction, table: Mapping[str, Mapping[str, Port]], guesser: Guesser
) -> tuple[Optional[Finding], Optional[tuple[str, str]]]:
    """What is wrong with one end of a FIFO, if anything, and the port that it names or most likely means."""
    port = table.get(ref.actor, {}).get(ref.port)
    if port is not None and port.direction is direction:
        return None, (ref.actor, ref.port)
    end = f"FIFO '{fifo.name}': {'from' if direction is Direction.OUT else 'to'}=\"{ref}\""
    if ref.actor not in table:
        meant = guesser.guess(ref.actor, table)
        hint = f"did you mean '{meant}'?" if meant else "define the actor, or name another"
        named = (meant, ref.port) if ref.port in table.get(meant, {}) else None
        return violation("G1", fifo.where, f"{end}: there is no actor '{ref.actor}'", hint), named
    if port is None:
        fitting = [other.name for other in table[ref.actor].values() if other.direction is direction]
        meant = guesser.guess(ref.port, fitting)
        message = f"{end}: actor '{ref.actor}' has no {direction.value}put port '{ref.port}'"
        hint = f"did you mean '{ref.actor}.{meant}'?" if meant else f"it has {some(fitting) or 'none'}"
        return violation("G1", fifo.where, message, hint), ((ref.actor, meant) if meant else None)
    hint = "a FIFO runs from an output port to an input port; are its ends exchanged?"
    return violation("G1", fifo.where, f"{end} is an {port.direction.value}put port", hint), (ref.actor, ref.port)


def parameters(graph: Graph, interfaces: Mapping[str, Interface]) -> Iterator[Finding]:
    """G1: the parameters of an actor are those that its behaviour takes, and none that it needs is missing."""
    guesser = Guesser()
    for actor in graph.actors:
        interface = interfaces.get(actor.name)
        behaviour = actor.behaviour
        if behaviour is None:
            continue
        what = f"actor '{actor.name}': {behaviour.owner}"
        given = [name for name, _ in actor.parameters]
        if given and not behaviour.takes_parameters:
            names = ", ".join(f"'{name}'" for name in given)
            yield violation("G1", actor.where, f"{what} takes no parameters, but {names} is given", "remove <param>")
            continue
        if interface is None or interface.parameters is None:
            continue
        for name in given:
            if name not in interface.parameters:
                hint = guesser.hint(name, interface.parameters)
                yield violation("G1", actor.where, f"{what} takes no parameter '{name}'", hint)
        for name, required in interface.parameters.items():
            if required and name not in given:
                hint = f'add <param name="{name}" value="..."/>'
                yield violation("G1", actor.where, f"{what} needs a parameter '{name}'", hint)


def methods(graph: Graph, interfaces: Mapping[str, Interface]) -> Iterator[Finding]:
    """FILE: the class of an actor has the methods that are called: ``fire``, and ``control`` where it chooses rows."""
    takes = {"fire": "fire(self, inputs, outputs)", "control": "control(self, inputs)"}
    for actor in graph.actors:
        interface = interfaces.get(actor.name)
        if interface is None or actor.behaviour is None:
            continue
        for method, near in interface.lacks.items():
            message = f"actor '{actor.name}': {actor.behaviour.owner} has no method '{method}'"
            hint = f"is '{near}' meant to be '{method}'?" if near else f"write def {takes.get(method, method)}"
            yield violation("FILE", actor.where, message, hint)


def tokens(graph: Graph, interfaces: Mapping[str, Interface]) -> Iterator[Finding]:
    """G2: token types agree at both ends of a FIFO, and with the actor's model or class where it declares them.

    So do the channels of a model's tensor between two slices of them.
    """
    made_of = {actor.name: actor.behaviour and (actor.behaviour.path or actor.behaviour.file) for actor in graph.actors}
    for actor in graph.actors:
        interface = interfaces.get(actor.name)
        if interface is not None:
            yield from _declared(actor, Direction.IN, interface)
            yield from _declared(actor, Direction.OUT, interface)
    for fifo, source, target in joined(graph):
        if source.token != target.token:
            yield violation(
                "G2",
                fifo.where,
                f"FIFO '{fifo.name}': token {source.token} at {fifo.source}, {target.token} at {fifo.target}",
                "both ends of a FIFO carry the same token type",
                related=_ends(fifo, source, target),
            )
        elif made_of[fifo.source.actor] == made_of[fifo.target.actor] and _differ(fifo, interfaces):
            yield violation(
                "G2",
                fifo.where,
                f"FIFO '{fifo.name}': the slices at its ends have different channels of the same tensor",
                'write the same channels="..." at both, in the same order',
                related=_ends(fifo, source, target),
            )


def _differ(fifo: Fifo, interfaces: Mapping[str, Interface]) -> bool:
    """Whether slices of channels at both ends carry other ones of one tensor."""
    ends = [(interfaces.get(ref.actor), ref.port) for ref in (fifo.source, fifo.target)]
    known = [(one.tensors.get(port), one.channels.get(port)) for one, port in ends if one is not None]
    return (
        len(known) == 2
        and known[0][0] == known[1][0]
        and known[0][1] != known[1][1]
        and None not in known[0] + known[1]
    )


def _declared(actor: Actor, direction: Direction, interface: Interface) -> Iterator[Finding]:
    """Compare an actor's ports of one direction with what its behaviour says of them."""
    declared = interface.inputs if direction is Direction.IN else interface.outputs
    whose = actor.behaviour.owner if actor.behaviour else "behaviour"
    otherwise = ", or choose other operators" if actor.is_slice else ""
    ports = {port.name: port for port in actor.ports if port.direction is direction}
    for name, token in declared.items():
        port = ports.get(name)
        if port is None:
            message = f"actor '{actor.name}' lacks the {direction.value}put port '{name}' of its {whose}"
            yield violation("G2", actor.where, message, f'add <{direction.value} name="{name}" token="{token}"/>')
        elif port.token != token:
            message = f"actor '{actor.name}': token {port.token} at port '{name}', {token} in its {whose}"
            yield violation("G2", port.where, message, f'write token="{token}"{otherwise}')


def rates(graph: Graph) -> Iterator[Finding]:
    """G3: 0 <= lrl <= url and url >= 1, and the initial active rate lies between the limits."""
    for ref, port in graph.ports():
        if not 0 <= port.lrl <= port.url or port.url < 1:
            yield violation(
                "G3",
                port.where,
                f"port {ref}: rate {rate_text(port)} is none: 0 <= lower limit <= upper limit, and upper limit >= 1",
                'write for example rate="1" or, for a dynamic port, rate="0..2"',
            )
        elif not port.lrl <= port.atr <= port.url:
            message = f"port {ref}: initial rate {port.atr} is outside of {rate_text(port)}"
            yield violation("G3", port.where, message, f'write atr="{port.url}", or leave atr out')


def symmetry(graph: Graph) -> Iterator[Finding]:
    """G4: both ends of a FIFO have the same rate limits, and the same initial rate. Rates have no phases."""
    for fifo, source, target in joined(graph):
        multi_rate = source.static and target.static and not (source.control or target.control)
        if source.phases or target.phases or (source.lrl, source.url) != (target.lrl, target.url):
            what = f"rate {rate_text(source)} at {fifo.source}, {rate_text(target)} at {fifo.target}"
        elif source.atr != target.atr:
            what = f"initial rate {source.atr} at {fifo.source}, {target.atr} at {fifo.target}"
        else:
            continue
        yield violation(
            "G4",
            fifo.where,
            f"FIFO '{fifo.name}': {what}",
            "token rates are symmetric: write the same rate at both ends"
            + '; or read the graph as synchronous dataflow: <application model="sdf">, or --model sdf' * multi_rate,
            related=_ends(fifo, source, target),
        )


def symmetric_only(graph: Graph) -> Finding:
    """G4, where a graph that is read as synchronous dataflow is given to what reads symmetric rates only."""
    return violation(
        "G4",
        graph.where,
        f"application '{graph.name}' has rates of its own at each end of a FIFO, and only symmetric ones are read here",
        "'eprune apply expand' makes an application with symmetric rates of it",
    )


def capacities(graph: Graph) -> Iterator[Finding]:
    """G5: a FIFO holds its delay, and can take a firing's tokens beside it whenever that firing needs its consumer.

    For each possible rate r > delay the capacity must be at least delay + r; with r=2, delay 1 and capacity 2 the
    producer has no room for its first two tokens, and the consumer too few tokens to make any. The upper rate limit is
    the strictest rate. A self-loop has to have a firing's tokens and the room for the next ones at the same time. With
    NEWEST one firing's tokens are read while the next are written: those that are read cannot be dropped. Into an
    input on hold, those that are held stay until the next are there.
    """
    for fifo, source, target in joined(graph):
        rate = source.url
        if source.url != target.url or source.phases or target.phases or rate < 1:
            continue  # G3 or G4 says so
        what = f"FIFO '{fifo.name}'"
        if fifo.delay < 0:
            yield violation("G5", fifo.where, f"{what}: delay {fifo.delay} is negative", "write a delay of 0 or more")
        elif fifo.source.actor == fifo.target.actor:
            if fifo.delay < rate:
                message = f"{what} is a self-loop: delay {fifo.delay} < rate {rate}, so its actor can never fire"
                room = "" if fifo.capacity >= 2 * rate else f" and a capacity of {2 * rate}"
                yield violation("G5", fifo.where, message, f"give it a delay of {rate}{room}")
            elif fifo.capacity < fifo.delay + rate:
                message = f"{what} is a self-loop: capacity {fifo.capacity} < delay {fifo.delay} + rate {rate}"
                yield violation("G5", fifo.where, message, f"give it a capacity of {fifo.delay + rate}")
        elif fifo.policy is FaultPolicy.NEWEST and fifo.capacity < fifo.delay + 2 * rate:
            beside = f"delay {fifo.delay} + " * (fifo.delay > 0)
            message = f"{what}: capacity {fifo.capacity} < {beside}2 * rate {rate}: what is read cannot be dropped"
            hint = f"give it a capacity of {fifo.delay + 3 * rate}, so that a token is always ready"
            yield violation("G5", fifo.where, message, hint)
        elif target.hold and fifo.capacity < max(fifo.delay, rate) + rate:
            least = max(fifo.delay, rate) + rate
            message = f"{what}: capacity {fifo.capacity} < {least}: what is held stays until the next tokens are there"
            yield violation("G5", fifo.where, message, f"give it a capacity of {least}")
        elif fifo.capacity < fifo.delay:
            message = f"{what}: capacity {fifo.capacity} < delay {fifo.delay}"
            yield violation("G5", fifo.where, message, f"give it a capacity of {fifo.delay + rate}")
        elif fifo.delay < rate and fifo.capacity < fifo.delay + rate:
            message = f"{what}: capacity {fifo.capacity} < delay {fifo.delay} + rate {rate}, so it blocks for ever"
            yield violation("G5", fifo.where, message, f"give it a capacity of {fifo.delay + rate}")


def roomy(graph: Graph) -> Graph:
    """The graph with the room, and of self-loops the delays, that G5 asks for: what else is wrong with it shows."""
    mended = {}
    for fifo, source, target in joined(graph):
        rate, itself = source.url, fifo.source.actor == fifo.target.actor
        delay = max(fifo.delay, rate if itself else 0)
        newest = fifo.policy is FaultPolicy.NEWEST
        beside = itself or newest or target.hold or delay < rate or fifo.capacity < delay
        twice = newest or (target.hold and delay < rate)
        least = delay + beside * (1 + twice) * rate
        mended[fifo.name] = replace(fifo, delay=delay, capacity=max(fifo.capacity, least))
    return replace(graph, fifos=tuple(mended.get(fifo.name, fifo) for fifo in graph.fifos))


def _ends(fifo: Fifo, source: Port, target: Port) -> tuple[tuple[Location, str], ...]:
    return ((source.where, f"{fifo.source} is here"), (target.where, f"{fifo.target} is here"))


def check_graph(graph: Graph, interfaces: Mapping[str, Interface]) -> list[Finding]:
    """All findings of the rules of this module; ``interfaces``: actor name -> that of its behaviour, where known."""
    return [
        *names(graph),
        *references(graph),
        *parameters(graph, interfaces),
        *methods(graph, interfaces),
        *tokens(graph, interfaces),
        *rates(graph),
        *(() if graph.is_sdf else (*symmetry(graph), *capacities(graph))),
    ]
