"""Rules G6, G7, D1, D2, D6 and a part of N1: who plays which part in dynamic processing graphs, and what joins them.

None of them looks at rates: the control tables are analysis/table.py's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

from eprune.analysis.lookup import Guesser, joined, port_table, rate_text, some
from eprune.analysis.nests import Nests, region
from eprune.analysis.rules import violation
from eprune.model.finding import Finding
from eprune.model.graph import Actor, ActorType, Direction, Dpg, Graph, Port, PortRef
from eprune.model.token import TokenType

#: what people call an actor of each type
_A = {ActorType.SPA: "an SPA", ActorType.DA: "a DA", ActorType.DPA: "a DPA", ActorType.CA: "a CA"}
CONTROL_TOKEN = TokenType("int32")


def roles(graph: Graph) -> Iterator[Finding]:
    """G1: the actors and ports that a dynamic processing graph names exist, and each is named once. Else D1 and D6.

    D1: a DA, DPA or CA belongs to exactly one dynamic processing graph, which has one control source, one entry and
    one exit DA. D6: they share no actors.
    """
    table = port_table(graph)
    guesser = Guesser()
    unknown = False
    named = {dpg.name: dpg for dpg in graph.dpgs}
    for dpg in graph.dpgs:
        what = f"dynamic processing graph '{dpg.name}'"
        parts = [("control", dpg.control), ("entry", dpg.entry), ("exit", dpg.exit)]
        for part, name in parts + [("member", name) for name in dpg.members]:
            if name not in table:
                unknown = True
                message = f"{what}: there is no actor '{name}', which is to be its {part}"
                yield violation("G1", dpg.where, message, guesser.hint(name, table))
        for port in dpg.ports:
            if port.port not in table.get(port.actor, {}):
                whole = (f"{actor}.{own}" for actor, ports in table.items() for own in ports)
                yield violation("G1", dpg.where, f"{what}: there is no port {port}", guesser.hint(str(port), whole))
        if dpg.inside and dpg.inside not in named:
            unknown = True
            message = f"{what}: there is no dynamic processing graph '{dpg.inside}', which it is to be inside of"
            yield violation("G1", dpg.where, message, guesser.hint(dpg.inside, named))
        for name in {name: None for name in dpg.members if dpg.members.count(name) > 1}:
            message = f"{what}: its member '{name}' is named twice"
            yield violation("G1", dpg.where, message, "name it once")
    if not unknown:
        actors = {actor.name: actor for actor in reversed(graph.actors)}
        for dpg in graph.dpgs:
            yield from _parts(dpg, actors)
        yield from _strays(graph)
        yield from _overlaps(graph)
        yield from _rings(graph)


def _parts(dpg: Dpg, actors: dict[str, Actor]) -> Iterator[Finding]:
    """D1: each actor has the type that its part in a dynamic processing graph asks for."""
    what = f"dynamic processing graph '{dpg.name}'"
    source = actors[dpg.control].type
    if dpg.control != dpg.entry and source is not ActorType.CA:
        message = f"{what}: its control source '{dpg.control}' is {_A[source]}, and not its entry"
        hint = f'make it a CA (type="CA"), or let the entry choose the rates: control="{dpg.entry}"'
        yield violation("D1", dpg.where, message, hint)
    for part, name in (("entry", dpg.entry), ("exit", dpg.exit)):
        if actors[name].type is not ActorType.DA:
            message = f"{what}: its {part} '{name}' is {_A[actors[name].type]}"
            yield violation("D1", dpg.where, message, f"the {part} of a dynamic processing graph is a DA")
    if dpg.entry == dpg.exit:
        message = f"{what}: '{dpg.entry}' is its entry and its exit"
        yield violation("D1", dpg.where, message, "data goes in through one DA and out through another")
    for name in dict.fromkeys(dpg.members):
        if actors[name].type not in (ActorType.SPA, ActorType.DPA):
            message = f"{what}: its member '{name}' is {_A[actors[name].type]}"
            hint = "members are DPAs and SPAs; a DA begins or ends a dynamic processing graph, a CA is its control"
            yield violation("D1", dpg.where, message, hint)


def _strays(graph: Graph) -> Iterator[Finding]:
    """D1: each DA, DPA and CA has a part in a dynamic processing graph, and a CA in only one."""
    placed = {name for dpg in graph.dpgs for name in (dpg.control, *region(dpg))}
    parts = {ActorType.DA: "entry or exit", ActorType.DPA: "one of the members", ActorType.CA: "control"}
    for actor in graph.actors:
        if actor.type is not ActorType.SPA and actor.name not in placed:
            message = f"actor '{actor.name}' is {_A[actor.type]}, and belongs to no dynamic processing graph"
            yield violation("D1", actor.where, message, f"name it as {parts[actor.type]} of a <dpg>, or make it an SPA")
    first: dict[str, Dpg] = {}
    for dpg in graph.dpgs:
        other = first.setdefault(dpg.control, dpg)
        if other is not dpg and dpg.control != dpg.entry:
            message = f"'{dpg.control}' is the control source of the dynamic processing graphs "
            hint = "a control source sets the rates of one graph: give each its own"
            related = ((other.where, f"'{other.name}' is here"),)
            yield violation("D1", dpg.where, f"{message}'{other.name}' and '{dpg.name}'", hint, related=related)


def _overlaps(graph: Graph) -> Iterator[Finding]:
    """D6: dynamic processing graphs have no actor in common."""
    homes: dict[str, list[Dpg]] = {}
    for dpg in graph.dpgs:
        for name in region(dpg):
            homes.setdefault(name, []).append(dpg)
    shared: dict[tuple[str, str], list[str]] = {}
    for name, dpgs in homes.items():
        for pair in combinations((dpg.name for dpg in dpgs), 2):
            shared.setdefault(pair, []).append(name)
    named = {dpg.name: dpg for dpg in graph.dpgs}
    for (one, other), names in shared.items():
        ends = {named[one].entry, named[one].exit, named[other].entry, named[other].exit}
        hint = (
            f"a choice within a choice is more rows of one table: make '{one}' and '{other}' one; one that needs what "
            "the outer branch computes is a graph of other actors, which states inside"
        )
        if ends.issuperset(names):
            hint = (
                "a choice that follows a choice begins with an entry of its own, to which the first one's exit sends "
                "static tokens; a choice within a choice is more rows of one table"
            )
        yield violation(
            "D6",
            named[other].where,
            f"the dynamic processing graphs '{one}' and '{other}' share {_actors(names)}",
            hint,
            related=((named[one].where, f"'{one}' is here"),),
        )


def _rings(graph: Graph) -> Iterator[Finding]:
    """N1: no dynamic processing graph is inside of itself."""
    nests = Nests(graph)
    for dpg in graph.dpgs:
        around = nests.chain(dpg)
        if dpg.inside and nests.dpgs[around[-1].inside or dpg.name] in around and around[-1].inside:
            way = " inside of ".join(f"'{each.name}'" for each in (*around, nests.dpgs[around[-1].inside]))
            yield violation(
                "N1", dpg.where, f"a dynamic processing graph is inside of itself: {way}", "leave inside out at one"
            )


def _actors(names: list[str]) -> str:
    return f"the actors {some(names)}" if len(names) > 1 else f"the actor {some(names)}"


def port_kinds(graph: Graph) -> Iterator[Finding]:
    """G6: the ports of each actor are of the kinds that its type, and its part in a dynamic processing graph, ask for.

    SPA: static data ports. CA: static data ports and control outputs. DPA: one control input and dynamic data ports;
    static ones may be beside them. A DPA with data inputs may lack the control input; what its rates are then is for
    table.py to ask. DA: one control input and dynamic data ports, but the control source has control outputs instead
    of the control input, and static inputs; an entry is dynamic at outputs only, an exit at inputs only. The ports at
    the border of a graph inside of another are that one's affair.
    """
    sources = {dpg.control for dpg in graph.dpgs}
    entries = {dpg.entry for dpg in graph.dpgs}
    exits = {dpg.exit for dpg in graph.dpgs}
    border = set(Nests(graph).border)
    for actor in graph.actors:
        if border:
            kept = tuple(port for port in actor.ports if PortRef(actor.name, port.name) not in border)
            actor = replace(actor, ports=kept)
        source = actor.type is ActorType.CA or (actor.type is ActorType.DA and actor.name in sources)
        yield from _control_ports(actor, source)
        if actor.type is ActorType.DA and (actor.name in entries) is not (actor.name in exits):
            fixed = Direction.IN if actor.name in entries else Direction.OUT
            part = "entry" if actor.name in entries else "exit"
            yield from _dynamic_ports(actor, f"the {part} of a dynamic processing graph", (fixed,))
        elif actor.type is ActorType.DPA:
            yield from _dynamic_ports(actor, "a DPA", ())
        elif actor.type is not ActorType.DA:
            yield from _dynamic_ports(actor, _A[actor.type], tuple(Direction))


def _control_ports(actor: Actor, source: bool) -> Iterator[Finding]:
    follower = actor.type in (ActorType.DA, ActorType.DPA) and not source
    what = f"actor '{actor.name}': {_A[actor.type]}"
    if source and actor.type is ActorType.DA:
        what += " that is the control source itself"
    allowed = {Direction.IN: int(follower), Direction.OUT: len(actor.ports) if source else 0}
    for direction, most in allowed.items():
        ports = [port for port in actor.ports if port.control and port.direction is direction]
        for port in ports[most:]:
            if most == 0:
                message = f"{what} has no control {direction.value}put, as '{port.name}' is"
                hint = "leave control out, or change the actor's type"
            else:
                message = f"{what} has one control input, and '{port.name}' is another"
                hint = "one control token sets all its rates: remove one of the two"
            yield violation("G6", port.where, message, hint)
        takes_data = actor.type is ActorType.DPA and any(not port.control for port in actor.inputs)
        if most and not ports and not takes_data:
            yield violation(
                "G6",
                actor.where,
                f"{what} lacks a control {direction.value}put",
                f'add <{direction.value} name="..." token="{CONTROL_TOKEN}" control="true"/>, and a FIFO to it'
                if follower
                else "it sets the rates of others: add a control output, and a FIFO, for each of them",
            )


def _dynamic_ports(actor: Actor, kind: str, fixed: tuple[Direction, ...]) -> Iterator[Finding]:
    """G6: an actor of that kind has only static data ports in the ``fixed`` directions, and dynamic ones in others."""
    data = [port for port in actor.ports if not port.control]
    for port in data:
        if port.direction in fixed and port.lrl < port.url:
            where = "port" if len(fixed) == 2 else f"{port.direction.value}put"
            message = f"actor '{actor.name}': {kind} has no dynamic {where}, as '{port.name}' is with rate "
            hint = f'write one rate, such as rate="{port.url}"'
            if actor.type is ActorType.SPA:
                hint += ", or make it a DPA of a dynamic processing graph"
            yield violation("G6", port.where, message + rate_text(port), hint)
    free = [direction for direction in Direction if direction not in fixed]
    if free and not any(port.direction in free and port.lrl < port.url for port in data):
        where = f"{free[0].value}put" if len(free) == 1 else "data port"
        message = f"actor '{actor.name}': {kind} has a dynamic {where}, and it has none"
        yield violation("G6", actor.where, message, 'write for example rate="0..1" at its ports, or make it an SPA')


def delays(graph: Graph) -> Iterator[Finding]:
    """G7: no delay on a dynamic or a control FIFO: tokens would meet those of other iterations, control tokens too."""
    delayed = replace(graph, fifos=tuple(fifo for fifo in graph.fifos if fifo.delay > 0))
    for fifo, *ends in joined(delayed) if delayed.fifos else ():
        control = any(port.control for port in ends)
        if control or any(port.lrl < port.url for port in ends):
            kind = "control" if control else "dynamic"
            why = "shift every later row" if control else "mix data of different iterations"
            hint = "leave delay out" if control else "leave delay out; put the delay on a static FIFO"
            message = f"FIFO '{fifo.name}' is {kind}: its delay of {fifo.delay} would {why}"
            yield violation("G7", fifo.where, message, hint)


def control_fifos(graph: Graph) -> Iterator[Finding]:
    """D2: each dynamic actor gets int32 scalars at rate 1 from its graph's control source, and no one else does.

    That each has a control input, if it needs one, is G6, that each port has a FIFO is G1; so it is enough to look at
    the FIFOs' ends.
    """
    for ref, port in graph.ports():
        if port.control and not _fit(port):
            message = f"control port {ref} has token {port.token} at rate {rate_text(port)}"
            yield violation(
                "D2", port.where, message, f'a control token is one {CONTROL_TOKEN} per firing: token="int32"'
            )
    leads = {dpg.control: dpg for dpg in graph.dpgs}
    followed = {name: dpg for dpg in graph.dpgs for name in region(dpg)}
    dynamic = {actor.name for actor in graph.actors if actor.type in (ActorType.DA, ActorType.DPA)}
    for fifo, source, target in joined(graph):
        ends = ((source.where, f"{fifo.source} is here"), (target.where, f"{fifo.target} is here"))
        controlled = fifo.target.actor
        if source.control is not target.control:
            control, data = (fifo.source, fifo.target) if source.control else (fifo.target, fifo.source)
            message = f"FIFO '{fifo.name}' joins the control port {control} to the data port {data}"
            yield violation("D2", fifo.where, message, 'write control="true" at both ends or at none', related=ends)
        elif source.control and fifo.source.actor in leads and controlled in followed and controlled in dynamic:
            lead, own = leads[fifo.source.actor], followed[controlled]
            if lead is not own:
                message = (
                    f"control FIFO '{fifo.name}' leads from '{lead.control}', the control source of '{lead.name}', to "
                    f"'{controlled}' of '{own.name}'"
                )
                hint = f"'{controlled}' takes its rates from '{own.control}'; let the FIFO come from there"
                yield violation("D2", fifo.where, message, hint, related=ends)


def _fit(port: Port) -> bool:
    return port.token == CONTROL_TOKEN and port.lrl == port.url == 1


def check_dynamic(graph: Graph) -> list[Finding]:
    """All findings of the rules of this module. What asks for an actor's part begins once the parts are clear."""
    unclear = list(roles(graph))
    kinds = [] if unclear else [*port_kinds(graph)]
    if graph.dpgs and not unclear:
        kinds += control_fifos(graph)
    return [*unclear, *kinds, *delays(graph)]
