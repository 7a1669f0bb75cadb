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
        if not found and each.target not in reached(graph, each.source):
            message = f"{_name(each)}: no tokens get from {each.source} to {each.target}"
            found.append(violation("T1", each.where, message, "name the two ends of one way"))
        elif not found and each.latency is not None and each.target not in reached(graph, each.source, False):
            message = f"{_name(each)}: all tokens that get there pass a FIFO with a delay, and are of other firings"
            found.append(violation("T1", each.where, message, "such tokens have no age: require a rate only"))
        yield from found


def reached(graph: Graph, source: PortRef, delays: bool = True) -> set[PortRef]:
    """The inputs that tokens of an output get to, or what is made of them; with ``delays``, over these, too."""
    behind: dict[str, list[PortRef]] = {}
    found: set[PortRef] = set()
    for fifo in graph.fifos:
        if delays or not fifo.delay:
            behind.setdefault(fifo.source.actor, []).append(fifo.target)
            if fifo.source == source:
                found.add(fifo.target)
    stack = list(found)
    while stack:
        fresh = [ref for ref in behind.get(stack.pop().actor, ()) if ref not in found]
        found.update(fresh)
        stack += fresh
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
