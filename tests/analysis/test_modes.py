"""C2 of dynamic processing graphs is exact over every sequence of rows, and so are its repairs: against brute force."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eprune.analysis.check import check
from eprune.analysis.liveness import deadlocks, diagnose
from eprune.analysis.lookup import fifo_rates, token_bytes
from eprune.analysis.precedence import Precedence, components, precedence
from eprune.analysis.repair import Repair, apply
from eprune.analysis.simulate import simulate
from eprune.model.finding import Severity
from eprune.model.graph import Actor, ActorType, Direction, Dpg, Fifo, Graph, Port, PortRef, Row
from eprune.model.system import System
from tests.kit.dpgs import DATA, Sketch, dynamic_graphs
from tests.kit.effort import examples


@st.composite
def knotted(draw: st.DrawFn, most_dpgs: int = 2) -> Graph:
    """Tangled graphs with up to four more static FIFOs within dynamic processing graphs, that break no rule but C2."""
    graph = draw(dynamic_graphs(most_dpgs=most_dpgs, most_members=2, tangled=True))
    for _ in range(draw(st.integers(0, 4))):
        dpg = draw(st.sampled_from(graph.dpgs))
        inside = st.sampled_from((dpg.entry, *dpg.members, dpg.exit))
        rate = draw(st.integers(1, 2))
        delay = draw(st.integers(0, 2))
        room = draw(st.integers(0, 2))
        graph = _joined(
            graph, draw(inside), draw(inside), rate, delay, max(delay + room, delay + (delay < rate) * rate)
        )
    assume({finding.rule for finding in check(System(graph)) if finding.severity is Severity.ERROR} <= {"C2"})
    return graph


def branch(members: tuple[str, ...]) -> Sketch:
    """A CA, an entry, an exit and members of one dynamic processing graph, joined by control FIFOs only."""
    sketch = Sketch()
    for name, type_ in (("C", ActorType.CA), ("E", ActorType.DA), ("X", ActorType.DA)):
        sketch.actor(name, type_)
    for name in members:
        sketch.actor(name, ActorType.DPA)
    for name in ("E", "X", *members):
        sketch.tell("C", name, 1)
    return sketch


@st.composite
def alternating(draw: st.DrawFn) -> Graph:
    """One dynamic processing graph whose rows lead to and fro; most static FIFOs, which tie its members, are ahead."""
    members = tuple(f"D{number}" for number in range(draw(st.integers(1, 3))))
    sketch = branch(members)
    count = draw(st.integers(2, 3))
    columns: dict[PortRef, list[int]] = {}
    pairs = [(one, other) for one in ("E", *members) for other in (*members, "X") if one != other]
    for ends in [("E", "X"), *((name, draw(st.sampled_from((*members, "X")))) for name in members)]:
        if ends in pairs:
            rates = [draw(st.integers(0, 1)) for _ in range(count)]
            columns.update(dict.fromkeys(sketch.join(*ends, (0, 1)), rates))
    inside = st.sampled_from(("E", "X", *members))
    for name in members:
        for ends in ((draw(inside), name), (name, draw(inside))):
            delay = draw(st.sampled_from((0, 1, 1, 1)))
            tight = (delay and draw(st.booleans())) or ends[0] == ends[1]
            sketch.join(*ends, delay=delay, spare=-1 if tight and ends[0] != ends[1] else draw(st.integers(0, 1)))
    if draw(st.booleans()):
        sketch.actor("A")
        for ends in (("X", "A"), ("A", "E")) if draw(st.booleans()) else (("E", "A"), ("A", "X")):
            sketch.join(*ends, delay=draw(st.integers(0, 1)))
    table = tuple(Row(value, tuple(column[value] for column in columns.values())) for value in range(count))
    sketch.dpgs.append(Dpg("P", "C", "E", "X", members, tuple(columns), table))
    graph = sketch.graph()
    assume({finding.rule for finding in check(System(graph)) if finding.severity is Severity.ERROR} <= {"C2"})
    return graph


@st.composite
def branches(draw: st.DrawFn) -> Graph:
    """One dynamic processing graph of branches that are there or not; some members have no control input."""
    sketch = Sketch()
    for name, type_ in (("S", ActorType.SPA), ("E", ActorType.DA), ("X", ActorType.DA)):
        sketch.actor(name, type_)
    sketch.join("S", "E")
    sketch.tell("E", "X", draw(st.integers(1, 2)))
    count = draw(st.integers(1, 3))
    members: list[str] = []
    columns: dict[PortRef, list[int]] = {}
    for branch in range(draw(st.integers(1, 3))):
        chain = [f"D{branch}{place}" for place in range(draw(st.integers(0, 2)))]
        members += chain
        for name in chain:
            sketch.actor(name, ActorType.DPA)
            if draw(st.booleans()):
                sketch.tell("E", name, draw(st.integers(1, 2)))
        rate = draw(st.integers(1, 2))
        rates = [rate * draw(st.integers(0, 1)) for _ in range(count)]
        for ends in zip(("E", *chain), (*chain, "X")):
            columns.update(dict.fromkeys(sketch.join(*ends, (0, rate), spare=draw(st.integers(0, 1))), rates))
    if draw(st.booleans()):
        sketch.join("X", "E", delay=draw(st.integers(0, 1)), spare=draw(st.integers(0, 1)))
    table = tuple(Row(value, tuple(column[value] for column in columns.values())) for value in range(count))
    sketch.dpgs.append(Dpg("P", "E", "E", "X", tuple(members), tuple(columns), table))
    graph = sketch.graph()
    assert {finding.rule for finding in check(System(graph)) if finding.severity is Severity.ERROR} <= {"C2"}
    return graph


def _joined(graph: Graph, source: str, target: str, rate: int, delay: int, capacity: int) -> Graph:
    number = len(graph.fifos)
    refs = PortRef(source, f"o{number}"), PortRef(target, f"i{number}")
    actors = list(graph.actors)
    for ref, direction in zip(refs, (Direction.OUT, Direction.IN)):
        at = next(index for index, actor in enumerate(actors) if actor.name == ref.actor)
        port = Port(ref.port, direction, DATA, rate, rate, rate)
        actors[at] = Actor(ref.actor, (*actors[at].ports, port), actors[at].type)
    fifo = Fifo(f"f{number}", *refs, capacity=max(capacity, 1), delay=delay)
    return replace(graph, actors=tuple(actors), fifos=(*graph.fifos, fifo))


def choices(graph: Graph) -> Iterator[dict[str, Row]]:
    """Each row of each dynamic processing graph with each of the others."""
    for rows in itertools.product(*(dpg.rows for dpg in graph.dpgs)):
        yield {dpg.name: row for dpg, row in zip(graph.dpgs, rows)}


def rates_of(graph: Graph, rows: Mapping[str, Row]) -> dict[str, int]:
    given = {ref: rate for dpg in graph.dpgs for ref, rate in dpg.rates(rows[dpg.name]).items()}
    limits = fifo_rates(graph)
    return {fifo.name: given.get(fifo.source, limits[fifo.name]) for fifo in graph.fifos}


def is_live(graph: Graph, without: tuple[str, ...] = ()) -> bool:
    """No choice of rows draws a cycle, the edges of some FIFOs left out."""
    for rows in choices(graph):
        drawn = precedence(graph, rates_of(graph, rows))
        edges = tuple(edge for edge in drawn.edges if edge.fifo not in without)
        if components(Precedence(drawn.nodes, edges)):
            return False
    return True


def runs(graph: Graph, length: int, most: int) -> Iterator[dict[str, list[int]]]:
    """Sequences of rows: all of a length, as far as they are ``most``."""
    for sequence in itertools.islice(itertools.product(list(choices(graph)), repeat=length), most):
        yield {dpg.name: [rows[dpg.name].value for rows in sequence] for dpg in graph.dpgs}


def blocks(graph: Graph, length: int = 2, most: int = 64) -> bool:
    return any(
        simulate(graph, length + 1, lambda events: events[-1], control).deadlocked
        for control in runs(graph, length, most)
    )


def static(graph: Graph) -> list[Fifo]:
    ports = dict(graph.ports())
    return [fifo for fifo in graph.fifos if ports[fifo.source].static and not ports[fifo.source].control]


def repaired(graph: Graph) -> tuple[Graph, list[Repair]]:
    repairs = [repair for _, repair in diagnose(graph) if repair is not None]
    fifos = graph.fifos
    for repair in repairs:
        fifos = apply(repair.changes, fifos)
    return replace(graph, fifos=fifos), repairs


def check_verdict(graph: Graph) -> None:
    refused = bool(list(deadlocks(graph)))
    assert refused is not is_live(graph)
    assert refused is any(blocks(graph, length) for length in (1, 2))


def check_witnesses(graph: Graph) -> None:
    """Each cycle is there in every mode that is named, every mode that has one is named; nothing is told twice."""
    found = list(diagnose(graph))
    for stuck, _ in found:
        named = {dpg.name: rows for dpg, rows in stuck.when}
        closing = [
            rows for rows in choices(graph) if set(stuck.cycle) <= set(precedence(graph, rates_of(graph, rows)).edges)
        ]
        right = [rows for rows in choices(graph) if all(rows[name] in named[name] for name in named)]
        assert closing == right and closing
    told = [stuck.nodes for stuck, repair in found if repair is not None]
    assert all(not one & other for one, other in itertools.combinations(told, 2))
    texts = [reason for finding in deadlocks(graph) for _, reason in finding.related]
    assert not any("0 tokens" in text or "needs -" in text for text in texts)


def check_repair(graph: Graph) -> None:
    """All hints together make it live; where they claim to be the smallest, no fewer or cheaper changes do."""
    found = list(diagnose(graph))
    if not found or any(repair is None for _, repair in found):
        return  # a cycle of dynamic FIFOs alone: no delay or capacity can mend it
    mended, repairs = repaired(graph)
    assert not {finding.rule for finding in check(System(mended)) if finding.severity is Severity.ERROR}
    assert is_live(mended) and not blocks(mended)
    changes = [fifo for repair in repairs for fifo in repair.changes]
    assert all(repair.changes for repair in repairs) and len({fifo.name for fifo in changes}) == len(changes)
    if not all(repair.smallest for repair in repairs):
        return
    free = static(graph)
    for fewer in itertools.combinations([fifo.name for fifo in free], len(changes) - 1):
        assert not is_live(graph, fewer)
    if len(changes) <= 2:
        assert added(graph, changes) == min(cheap_repairs(graph, free, len(changes)))


def added(graph: Graph, changes: list[Fifo]) -> int:
    before, sizes = {fifo.name: fifo for fifo in graph.fifos}, token_bytes(graph)
    return sum(
        (new.delay - before[new.name].delay + new.capacity - before[new.name].capacity) * sizes[new.name]
        for new in changes
    )


def cheap_repairs(graph: Graph, free: list[Fifo], count: int) -> Iterator[int]:
    """The cost of each change of ``count`` FIFOs that is enough, and breaks no rule of capacities."""
    rates = fifo_rates(graph)
    named = itertools.combinations(free, count)
    for fifos in named:
        if not is_live(graph, tuple(fifo.name for fifo in fifos)):
            continue
        several = [
            [
                replace(fifo, delay=delay, capacity=capacity)
                for delay in {fifo.delay, max(fifo.delay, rates[fifo.name])}
                for capacity in range(max(fifo.capacity, delay), max(fifo.capacity, delay + rates[fifo.name]) + 1)
                if delay >= rates[fifo.name] or capacity >= delay + rates[fifo.name]
            ]
            for fifo in fifos
        ]
        for changes in itertools.product(*several):
            if is_live(replace(graph, fifos=apply(changes, graph.fifos))):
                yield added(graph, list(changes))


@settings(max_examples=examples(150), derandomize=True, deadline=None, database=None)
@given(knotted() | alternating())
def test_accepted_exactly_if_every_sequence_of_rows_runs(graph):
    check_verdict(graph)


@settings(max_examples=examples(150), derandomize=True, deadline=None, database=None)
@given(knotted() | alternating())
def test_each_cycle_is_there_in_the_rows_that_are_named_and_nothing_is_told_twice(graph):
    check_witnesses(graph)


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(knotted() | alternating())
def test_all_hints_together_make_it_live_with_the_fewest_changes(graph):
    check_repair(graph)


@settings(max_examples=examples(150), derandomize=True, deadline=None, database=None)
@given(branches(), st.data())
def test_members_without_a_control_input_are_judged_and_fire_as_their_rows_say(graph, data):
    check_verdict(graph)
    check_repair(graph)
    if not list(deadlocks(graph)):
        (dpg,) = graph.dpgs
        values = data.draw(st.lists(st.sampled_from([row.value for row in dpg.rows]), min_size=5, max_size=5))
        for choice in (lambda events: events[0], lambda events: events[-1]):
            result = simulate(graph, 5, choice, {"P": values})
            assert not result.blocked
            passed = {name: count for name, count in result.passed.items() if count != 5}
            rates = [dpg.rates(row) for value in values for row in dpg.rows if row.value == value]
            ports = {ref: sum(rate[ref] for rate in rates) for ref in dpg.ports}
            wanted = {fifo.name: ports[fifo.source] for fifo in graph.fifos if fifo.source in ports}
            assert {name: result.passed[name] for name in wanted} == wanted and passed.keys() <= wanted.keys()
            for actor in graph.actors:
                alone = actor.type is ActorType.DPA and not any(port.control for port in actor.ports)
                active = sum(any(rate[ref] for ref in dpg.ports if ref.actor == actor.name) for rate in rates)
                assert result.firings[actor.name] == (active if alone else 5)


@pytest.mark.long
@settings(max_examples=examples(500), deadline=None, database=None)
@given(knotted(most_dpgs=3) | alternating())
def test_thousands_more_are_judged_and_mended_right(graph):
    check_verdict(graph)
    check_witnesses(graph)
    check_repair(graph)


# Single graphs.


def pair(rows: tuple[tuple[int, int], ...], *fifos: tuple[str, str, int, int], inside: tuple[str, ...] = ()) -> Graph:
    """A CA, an entry E and an exit X with two dynamic FIFOs: E -> X, and from the first member to the second."""
    sketch = branch(inside)
    columns: dict[PortRef, list[int]] = {}
    for index, ends in enumerate((("E", "X"), inside)[: 1 + bool(inside)]):
        for ref in sketch.join(*ends, (0, 1)):
            columns[ref] = [row[index] for row in rows]
    for source, target, delay, capacity in fifos:
        sketch.join(source, target, delay=delay, spare=capacity - delay - 1)
    table = tuple(Row(value, tuple(column[value] for column in columns.values())) for value in range(len(rows)))
    sketch.dpgs.append(Dpg("P", "C", "E", "X", inside, tuple(columns), table))
    return sketch.graph()


def test_two_rows_of_one_graph_are_never_in_one_iteration():
    """Row 0 leads from the exit to the entry, over two members; row 1 from the entry to the exit."""
    back = [("X", "D1", 0, 1), ("E", "D2", 1, 1), ("D1", "E", 1, 2), ("D2", "E", 1, 2)]
    graph = pair(((0, 1), (1, 0)), *back, inside=("D1", "D2"))
    assert not list(deadlocks(graph)) and not blocks(graph, 3)
    both = pair(((0, 1), (1, 1)), *back, inside=("D1", "D2"))
    (finding,) = deadlocks(both)
    assert finding.message.startswith("deadlock in row 1 of 'P': ") and blocks(both)


def test_a_loop_closed_in_some_rows_is_one_finding_with_one_repair():
    (finding,) = deadlocks(pair(((0, 0), (1, 0)), ("X", "E", 0, 1)))
    assert finding.message == "deadlock in row 1 of 'P': actors 'E' and 'X' wait for each other"
    assert finding.hint == "give f3 a delay of 1"


def test_the_repair_is_enough_for_all_rows():
    """Without row 1, a delay of either static FIFO would do."""
    (finding,) = deadlocks(pair(((0, 0), (1, 0)), ("E", "X", 0, 1), ("X", "E", 0, 1)))
    assert finding.message == "deadlock: actors 'E' and 'X' wait for each other"
    assert finding.hint == "give f4 a delay of 1"


def test_a_repair_inside_a_graph_counts():
    """A ring through a graph is broken by a FIFO between its entry and its exit where that is cheaper."""
    graph = pair(((0, 0), (0, 0)), ("E", "X", 0, 1))
    graph = replace(graph, actors=(*graph.actors, Actor("A", ())))
    graph = _joined(_joined(graph, "X", "A", 3, 0, 3), "A", "E", 3, 0, 3)
    (finding,) = deadlocks(graph)
    assert finding.message == "deadlock: actors 'E', 'X' and 'A' wait for each other"
    assert finding.hint == "give f3 a delay of 1"
