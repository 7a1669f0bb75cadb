"""Rule T1: what a requirement names is there, and it asks for something that can be answered."""

from __future__ import annotations

from collections.abc import Iterator

from eprune.analysis.lookup import Guesser, port_table
from eprune.analysis.rules import violation
from eprune.model.finding import Finding
from eprune.model.graph import Direction, Graph, Port, PortRef, Requirement


def requirements(graph: Graph) -> Iterator[Finding]:
    """T1, of each requirement: its ends, what it asks for, and whether tokens get from one end to the other."""
    table = port_table(graph)
    guesser = Guesser()
    for each in graph.requirements:
        found = [*_ends(each, table, guesser), *_asks(each)]
        if not found and each.target.actor not in reached(graph, each.source):
            message = f"{_name(each)}: no tokens get from {each.source} to actor '{each.target.actor}'"
            found.append(violation("T1", each.where, message, "name the two ends of one way"))
        yield from found


def reached(graph: Graph, source: PortRef) -> set[str]:
    """The actors to which tokens of a port get, or what is made of them, over FIFOs with and without a delay."""
    behind: dict[str, list[str]] = {}
    for fifo in graph.fifos:
        behind.setdefault(fifo.source.actor, []).append(fifo.target.actor)
    stack = [fifo.target.actor for fifo in graph.fifos if fifo.source == source]
    found: set[str] = set()
    while stack:
        name = stack.pop()
        if name not in found:
            found.add(name)
            stack += behind.get(name, [])
    return found


def _ends(requirement: Requirement, table: dict[str, dict[str, Port]], guesser: Guesser) -> Iterator[Finding]:
    sides = (
        ("from", requirement.source, Direction.OUT, "a source, which has no inputs"),
        ("to", requirement.target, Direction.IN, "a sink, which has no outputs"),
    )
    for name, ref, direction, what in sides:
        end = f'{_name(requirement)}: {name}="{ref}"'
        ports = table.get(ref.actor)
        fitting = [port.name for port in (ports or {}).values() if port.direction is direction]
        if ports is None:
            message, hint = f"{end}: there is no actor '{ref.actor}'", guesser.hint(ref.actor, table)
        elif ref.port not in ports:
            message = f"{end}: actor '{ref.actor}' has no port '{ref.port}'"
            hint = guesser.hint(ref.port, fitting)
        elif ref.port not in fitting or len(fitting) < len(ports):
            message = f"{end} is not an {direction.value}put of {what}"
            hint = "the way that is required begins where tokens are made, and ends where they are used"
        else:
            continue
        yield violation("T1", requirement.where, message, hint)


def _asks(requirement: Requirement) -> Iterator[Finding]:
    if requirement.rate is None and requirement.latency is None:
        hint = 'write rate="30/s", latency="100ms", or both'
        yield violation("T1", requirement.where, f"{_name(requirement)}: it asks for nothing", hint)
    elif requirement.latency is None and requirement.share != 1:
        message = f"{_name(requirement)}: a share is that of the tokens that keep a latency, and none is stated"
        yield violation("T1", requirement.where, message, 'write latency="100ms", or leave the share out')


def _name(requirement: Requirement) -> str:
    return f"requirement from {requirement.source} to {requirement.target}"
