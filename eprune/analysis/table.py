"""Rules D3, D4, D5, D7, N1 to N4 and a part of G6: control tables, and the borders within which they hold.

The graph must be sound by rules G1 to G7, D1, D2 and D6; D5 and D7 ask for D3 as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Optional

from eprune.analysis.lookup import joined, rate_text, some, untold
from eprune.analysis.nests import Nests
from eprune.analysis.rules import violation
from eprune.model.finding import Finding
from eprune.model.graph import ActorType, Direction, Dpg, Fifo, Graph, Port, PortRef, Row, rate_range

_INT32 = range(-(2**31), 2**31)


def totality(graph: Graph) -> Iterator[Finding]:
    """D3: a table has one row a value and one column a dynamic port, rates within limits, and equal ones at a FIFO."""
    ports = dict(graph.ports())
    nests = Nests(graph)
    columns: dict[str, list[PortRef]] = {dpg.name: [] for dpg in graph.dpgs}
    for ref, port in ports.items():
        level = nests.level(ref)
        if not port.control and port.lrl < port.url and level is not None:
            columns[level.name].append(ref)
    for each in graph.dpgs:
        yield from _columns(each, columns[each.name], ports)
        yield from _rows(each, {ref: ports[ref] for ref in columns[each.name]})
    rates = {dpg.name: [dpg.rates(row) for row in dpg.rows] for dpg in graph.dpgs}
    for fifo, *_ in joined(graph):
        dpg = nests.level(fifo.source)
        if dpg is None:
            continue
        for row, rate in zip(dpg.rows, rates[dpg.name]):
            if len({rate.get(fifo.source), rate.get(fifo.target)} - {None}) == 2:
                yield violation(
                    "D3",
                    row.where,
                    f"{_named(dpg, row)}, FIFO '{fifo.name}': rate {rate[fifo.source]} at {fifo.source}, "
                    f"{rate[fifo.target]} at {fifo.target}",
                    "token rates are symmetric in every row: write the same rate for both ends",
                    related=((fifo.where, f"FIFO '{fifo.name}' joins them"),),
                )


def _columns(dpg: Dpg, wanted: list[PortRef], ports: dict[PortRef, Port]) -> Iterator[Finding]:
    what = f"the control table of '{dpg.name}'"
    counted = Counter(dpg.ports)
    missing = [ref for ref in wanted if ref not in counted]
    if missing:
        message = f"{what} lacks {'a column' if len(missing) == 1 else 'columns'} for {some(map(str, missing))}"
        yield violation("D3", dpg.where, message, "add each dynamic port to ports, and its rate to each row")
    for ref, count in counted.items():
        if count > 1:
            yield violation("D3", dpg.where, f"{what} has {count} columns for {ref}", "leave one of them")
        elif ref not in wanted:
            port = ports[ref]
            kind = "a control port" if port.control else f"static, with rate {port.url}"
            if port.lrl < port.url:
                kind = "none of its actors' ports"
            hint = "columns are the dynamic data ports of the graph's own actors: take it out of ports and of each row"
            yield violation("D3", dpg.where, f"{what} has a column for {ref}, which is {kind}", hint)


def _rows(dpg: Dpg, dynamic: dict[PortRef, Port]) -> Iterator[Finding]:
    if not dpg.rows:
        message = f"the control table of '{dpg.name}' has no rows"
        yield violation("D3", dpg.where, message, "write a row for each value that a control token may have")
    first: dict[int, Row] = {}
    for row in dpg.rows:
        other = first.setdefault(row.value, row)
        if other is not row:
            message = f"'{dpg.name}' has two rows for the control value {row.value}"
            related = ((other.where, "the first is here"),)
            yield violation("D3", row.where, message, "a value has one row", related=related)
        if row.value not in _INT32:
            message = f"'{dpg.name}': the control value {row.value} is not an int32"
            yield violation("D3", row.where, message, "control tokens are int32 scalars: choose a smaller value")
        if len(row.rates) != len(dpg.ports):
            rates = f"{len(row.rates)} rate{'s' * (len(row.rates) != 1)}"
            message = f"{_named(dpg, row)} has {rates} for {len(dpg.ports)} ports"
            yield violation("D3", row.where, message, f"write one rate for each of {some(map(str, dpg.ports))}")
            continue
        for ref, rate in zip(dpg.ports, row.rates):
            port = dynamic.get(ref)
            if port is not None and not port.lrl <= rate <= port.url:
                message = f"{_named(dpg, row)}: rate {rate} of {ref} is outside of {rate_text(port)}"
                wider = rate_range(min(rate, port.lrl), max(rate, port.url))
                hint = f'write a rate within the limits, or widen them at both ends of its FIFO: rate="{wider}"'
                yield violation("D3", row.where, message, hint)


def borders(graph: Graph) -> Iterator[Finding]:
    """D4: data goes into a dynamic processing graph through its entry, and out of it through its exit."""
    nests = Nests(graph)
    inner = {name for dpg in graph.dpgs for name in dpg.members}
    for fifo, source, _ in joined(graph):
        one, other = nests.home.get(fifo.source.actor), nests.home.get(fifo.target.actor)
        ends = (fifo.source.actor, fifo.target.actor)
        if source.control or one is other:
            continue
        if nests.border and (nested := _past_a_border(fifo, nests)):
            yield nested
            continue
        levels = nests.level(fifo.source), nests.level(fifo.target)
        if levels[0] is levels[1] or not (source.lrl < source.url or inner.intersection(ends)):
            continue
        if fifo.target.actor in inner and other is not None:
            message = f"FIFO '{fifo.name}' leads from '{fifo.source.actor}' past the entry of '{other.name}' to "
            message += f"'{fifo.target.actor}'"
            hint = f"lead it through '{other.entry}', or make '{fifo.source.actor}' a member too"
        elif one is not None and fifo.source.actor in inner:
            message = f"FIFO '{fifo.name}' leads from '{fifo.source.actor}' past the exit of '{one.name}' to "
            message += f"'{fifo.target.actor}'"
            hint = f"lead it through '{one.exit}', or make '{fifo.target.actor}' a member too"
        else:
            message = f"FIFO '{fifo.name}' is dynamic and leads from one dynamic processing graph into another"
            hint = "what one graph's exit gives to the next one's entry has a static rate"
        yield violation("D4", fifo.where, message, hint)


def _past_a_border(fifo: Fifo, nests: Nests) -> Optional[Finding]:
    """N1: a FIFO leaves an inner graph at its exit and enters one at its entry or its CA, one level at a time."""
    left, entered = nests.crossed(fifo)
    for crossed, actor, doors in (
        (left, fifo.source.actor, [(each, (each.exit,)) for each in left]),
        (entered, fifo.target.actor, [(each, (each.entry, each.control)) for each in entered]),
    ):
        for dpg, names in doors:
            if dpg.inside and actor not in names:
                verb, door = ("leaves", "exit") if crossed is left else ("enters", "entry")
                message = f"FIFO '{fifo.name}' {verb} '{dpg.name}', which is inside of '{dpg.inside}', at '{actor}'"
                hint = f"lead it through its {door} '{names[0]}'"
                return violation("N1", fifo.where, message, hint)
        if len(crossed) > 1 and crossed[0].inside:
            message = f"FIFO '{fifo.name}' crosses the borders of {some(dpg.name for dpg in crossed)} at once"
            return violation("N1", fifo.where, message, f"join it to an actor of '{crossed[0].inside}'")
    return None


def nested(graph: Graph) -> Iterator[Finding]:
    """N1 to N4: what is at the border of inner graphs, and what the outer rows and the border make of them."""
    nests = Nests(graph)
    ports = dict(graph.ports())
    after: dict[str, list[str]] = {}
    for fifo in graph.fifos:
        if fifo.delay < ports[fifo.source].url:
            after.setdefault(fifo.source.actor, []).append(fifo.target.actor)
    for dpg in (each for each in graph.dpgs if each.inside):
        what = f"'{dpg.name}', which is inside of '{dpg.inside}'"
        owned = [ref for ref, owner in nests.border.items() if owner is dpg]
        static = [ref for ref in owned if ports[ref].static]
        for ref in static:
            rate = ports[ref].url
            message = f"{what}: port {ref} at its border is static, so it could never be dormant"
            hint = f'write rate="{rate_range(0, rate)}" at both ends, and give both a column in the table of '
            yield violation("N1", ports[ref].where, message, f"{hint}'{dpg.inside}'")
        if not any(ports[ref].direction is Direction.IN for ref in owned):
            message = f"{what}: no data comes to its entry or its CA from outside"
            yield violation(
                "N1", dpg.where, message, "what never gets a token can never work: lead a FIFO to its entry"
            )
        if not static:
            yield from _dormancy(dpg, nests, ports)
            yield from _reached(dpg, nests, ports, after)


def _dormancy(dpg: Dpg, nests: Nests, ports: Mapping[PortRef, Port]) -> Iterator[Finding]:
    """N2 and N3."""
    outer = nests.dpgs[dpg.inside]
    rates = nests.rates_at_border(dpg)
    for index, row in enumerate(outer.rows):
        here = {ref: each[index] for ref, each in rates}
        if any(here.values()) and any(rate != ports[ref].url for ref, rate in here.items()):
            stated = ", ".join(f"{rate} at {ref} of {rate_text(ports[ref])}" for ref, rate in here.items())
            yield violation(
                "N2",
                row.where,
                f"{_named(outer, row)}: the ports at the border of '{dpg.name}' are neither all idle nor all at their "
                f"limits: {stated}",
                "an inner graph works whole or not at all: write 0 for all of them, or their limits",
                related=((dpg.where, f"'{dpg.name}' is here"),),
            )
    if rates and not nests.activating(dpg):
        message = f"no row of '{dpg.inside}' activates '{dpg.name}', which is inside of it"
        yield violation("N3", dpg.where, message, "give the ports at its border a rate in some row, or take it out")


def _reached(
    dpg: Dpg, nests: Nests, ports: Mapping[PortRef, Port], after: Mapping[str, list[str]]
) -> Iterator[Finding]:
    """N4, where `after` maps an actor to those that wait for its tokens."""
    own = [name for name, home in nests.home.items() if dpg in nests.chain(home)]
    reached = {
        ref.actor for ref, owner in nests.border.items() if owner is dpg and ports[ref].direction is Direction.IN
    }
    stack = list(reached)
    while stack:
        fresh = {name for name in after.get(stack.pop(), ()) if name in own} - reached
        reached |= fresh
        stack += fresh
    free = [name for name in own if name not in reached]
    if free and reached:
        message = f"{some(free)} of '{dpg.name}' would fire although it is dormant: nothing leads there from its border"
        yield violation("N4", dpg.where, message, "lead a FIFO without a delay there from its entry or its CA")


def activity(graph: Graph) -> Iterator[Finding]:
    """D5: in each row a DPA is idle at all its data ports, or has an active input and an active output.

    Where it has no data inputs, or no data outputs, the other ones are enough. A slice of a model needs all its inputs.
    """
    actors = {actor.name: actor for actor in graph.actors}
    for dpg in graph.dpgs:
        members = [actors[name] for name in dpg.members if actors[name].type is ActorType.DPA]
        for row in dpg.rows:
            rates = dpg.rates(row)
            for actor in members:
                active: dict[Direction, list[str]] = {direction: [] for direction in Direction}
                for port in actor.ports:
                    if not port.control and rates.get(PortRef(actor.name, port.name), port.url):
                        active[port.direction].append(port.name)
                lacking = [
                    direction
                    for direction in Direction
                    if not active[direction] and any(not p.control and p.direction is direction for p in actor.ports)
                ]
                idle = [p.name for p in actor.inputs if not p.control and p.name not in active[Direction.IN]]
                if actor.behaviour and actor.behaviour.needs_all_inputs and idle and active[Direction.IN]:
                    yield violation(
                        "D5",
                        row.where,
                        f"{_named(dpg, row)}: '{actor.name}' runs a model, and has no token for its input {some(idle)}",
                        "a model needs all of its inputs: give each of them a rate, or none",
                        related=((actor.where, f"'{actor.name}' is here"),),
                    )
                if len(lacking) == 1 and any(active.values()):
                    has, lacks = sorted(Direction, key=lambda direction: direction in lacking)
                    yield violation(
                        "D5",
                        row.where,
                        f"{_named(dpg, row)}: '{actor.name}' has an active {has.value}put, {some(active[has])}, and no "
                        f"active {lacks.value}put",
                        "an actor that works in a row takes something and gives something: make it idle at all its "
                        f"data ports, or give an {lacks.value}put a rate",
                        related=((actor.where, f"'{actor.name}' is here"),),
                    )


def unasked(graph: Graph) -> Iterator[Finding]:
    """G6: a DPA without a control input is, in each row, idle at all its data ports, or at its one rate at all of them.

    So it need not know the row: it fires when its tokens are there. Its one rate at a port is the upper limit.
    """
    ports = dict(graph.ports())
    alone = untold(graph)
    for dpg in graph.dpgs:
        for name in (each for each in dpg.members if each in alone):
            own = [ref for ref, port in ports.items() if ref.actor == name and not port.control]
            static = [ref for ref in own if ports[ref].static]
            hint = "give it a control input, and a control FIFO to it"
            if static:
                message = (
                    f"actor '{name}': a DPA without a control input has only dynamic ports, and {static[0]} is static"
                )
                yield violation("G6", ports[static[0]].where, message, hint)
                continue
            for row in dpg.rows:
                rates = dpg.rates(row)
                if any(rates[ref] for ref in own) and any(rates[ref] != ports[ref].url for ref in own):
                    stated = ", ".join(f"{rates[ref]} at {ref} of {rate_text(ports[ref])}" for ref in own)
                    yield violation(
                        "G6",
                        row.where,
                        f"{_named(dpg, row)}: '{name}' has no control input to tell it its rates, which are neither "
                        f"all 0 nor all at their limits: {stated}",
                        hint,
                        related=((ports[own[0]].where, f"'{name}' is here"),),
                    )


def constants(graph: Graph) -> Iterator[Finding]:
    """D7, warnings: a dynamic port has several rates."""
    nests = Nests(graph)
    values: dict[PortRef, set[int]] = {}
    for dpg in graph.dpgs:
        for index, ref in enumerate(dpg.ports):
            values[ref] = {row.rates[index] for row in dpg.rows}
    for fifo, source, _ in joined(graph):
        rates = values.get(fifo.source, set())
        level = nests.level(fifo.source)
        if len(rates) == 1 and level is not None and not {fifo.source, fifo.target} & nests.border.keys():
            (rate,) = rates
            hint = f'write rate="{rate}" at both ends, and take both columns out of the table'
            if rate == 0:
                hint = "take the FIFO, its ports and their columns out: nothing ever passes"
            yield violation(
                "D7",
                source.where,
                f"FIFO '{fifo.name}' is dynamic, and its rate is {rate} in every row of "
                f"'{level.name}': ports {fifo.source} and {fifo.target} should be static",
                hint,
            )


def _named(dpg: Dpg, row: Row) -> str:
    return f"row {row.value} of '{dpg.name}'"
