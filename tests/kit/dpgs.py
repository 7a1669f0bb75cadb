"""Random applications with dynamic processing graphs that follow every rule: what the analyzer must accept, and run.

They have one to three dynamic processing graphs, side by side and one after another, with a CA or led by their entry;
members in chains and nested branches, rates above 1, SPAs that always run inside, and state that is fed back. Actors
have no behaviours. ``Src`` is the only actor without inputs. A control source (a CA, or an entry that leads itself) has
control outputs ``to_<actor>``, the others have a control input ``mode``; what is data has the token type ``DATA``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

from eprune.model.graph import Actor, ActorType, Direction, Dpg, Fifo, Graph, Port, PortRef, Row
from eprune.model.token import TokenType

DATA, CONTROL = TokenType("int64", (1,)), TokenType("int32", ())


@dataclass
class Sketch:
    """A graph that grows: actors by name, their ports, and FIFOs named f0, f1, ... in the order of ``join``."""

    types: dict[str, ActorType] = field(default_factory=dict)
    ports: dict[str, list[Port]] = field(default_factory=dict)
    fifos: list[Fifo] = field(default_factory=list)
    dpgs: list[Dpg] = field(default_factory=list)

    def actor(self, name: str, type_: ActorType = ActorType.SPA) -> str:
        self.types[name] = type_
        self.ports[name] = []
        return name

    def join(
        self, source: str, target: str, limits: tuple[int, int] = (1, 1), delay: int = 0, spare: int = 0
    ) -> tuple[PortRef, PortRef]:
        """A FIFO with a port of its own at each end, and room for one firing and ``spare`` tokens beside its delay."""
        name = f"f{len(self.fifos)}"
        refs = PortRef(source, f"o{len(self.fifos)}"), PortRef(target, f"i{len(self.fifos)}")
        for ref, direction in zip(refs, (Direction.OUT, Direction.IN)):
            self.ports[ref.actor].append(Port(ref.port, direction, DATA, *limits, atr=limits[1]))
        self.fifos.append(Fifo(name, *refs, capacity=delay + limits[1] + spare, delay=delay))
        return refs

    def tell(self, source: str, target: str, capacity: int) -> None:
        """A control FIFO."""
        refs = PortRef(source, f"to_{target}"), PortRef(target, "mode")
        for ref, direction in zip(refs, (Direction.OUT, Direction.IN)):
            self.ports[ref.actor].append(Port(ref.port, direction, CONTROL, control=True))
        self.fifos.append(Fifo(f"f{len(self.fifos)}", *refs, capacity=capacity))

    def graph(self) -> Graph:
        actors = tuple(Actor(name, tuple(ports), self.types[name]) for name, ports in self.ports.items())
        return Graph("app", actors, tuple(self.fifos), tuple(self.dpgs))


@st.composite
def dynamic_graphs(draw: st.DrawFn, most_dpgs: int = 3, most_members: int = 4, tangled: bool = False) -> Graph:
    """A graph that follows the rules. If ``tangled``, all but C2: rows and dynamic processing graphs may form rings."""
    sketch = Sketch()
    sources = [sketch.actor("Src")]
    count = draw(st.integers(1, most_dpgs))
    for number in range(count):
        before = sources[draw(st.integers(0, len(sources) - 1))]
        sources.append(_add_dpg(draw, sketch, f"D{number}", before, most_members, tangled))
    sketch.actor("Sink")
    fed = {fifo.source.actor for fifo in sketch.fifos}
    for name in sources:
        if name not in fed or draw(st.booleans()):
            sketch.join(name, "Sink", spare=draw(st.integers(0, 2)))
    if tangled:
        for _ in range(draw(st.integers(0, 3))):
            ends = draw(st.sampled_from(sketch.dpgs)), draw(st.sampled_from(sketch.dpgs))
            delay = draw(st.integers(0, 1))
            sketch.join(ends[0].exit, ends[1].entry, delay=delay, spare=draw(st.integers(-delay, 1)))
    return sketch.graph()


def _add_dpg(draw: st.DrawFn, sketch: Sketch, name: str, before: str, most_members: int, tangled: bool) -> str:
    """Add a dynamic processing graph behind an actor; its exit's name."""
    spare = st.integers(0, 2)
    led_by_entry = draw(st.booleans())
    control = entry = f"{name}in"
    exit_ = f"{name}out"
    rows = _rows(draw, entry, exit_, [f"{name}m{k}" for k in range(draw(st.integers(0, most_members)))], tangled)
    members = sorted({actor for row in rows for pair in row for actor in pair} - {entry, exit_})
    if not led_by_entry:
        control = sketch.actor(f"{name}ca", ActorType.CA)
    sketch.actor(entry, ActorType.DA)
    for member in members:
        sketch.actor(member, ActorType.DPA)
    sketch.actor(exit_, ActorType.DA)

    sketch.join(before, entry, (draw(st.integers(1, 2)),) * 2, spare=draw(spare))
    if not led_by_entry and draw(st.booleans()):
        sketch.join(before, control, spare=draw(spare))
    for follower in (*members, exit_) if led_by_entry else (entry, *members, exit_):
        sketch.tell(control, follower, draw(st.integers(1, 3)))
    columns: dict[PortRef, list[int]] = {}
    for pair in dict.fromkeys(pair for row in rows for pair in row):
        rates = [row.get(pair, 0) for row in rows]
        limits = (min(min(rates), max(rates) - 1), max(rates) + draw(st.integers(0, 1)))
        for ref in sketch.join(*pair, limits, spare=draw(spare)):
            columns[ref] = rates

    always = []
    if draw(st.booleans()):
        # One that always runs, beside the members; perhaps a step behind.
        always = [sketch.actor(f"{name}spa")]
        for pair in ((entry, always[0]), (always[0], exit_)):
            delay = draw(st.integers(0, 2))
            tight = delay > 0 and tangled and draw(st.booleans())
            sketch.join(*pair, delay=delay, spare=-1 if tight else draw(spare))
    if draw(st.booleans()):
        sketch.join(exit_, control if draw(st.booleans()) else entry, delay=draw(st.integers(1, 2)), spare=draw(spare))
    values = draw(st.lists(st.integers(-2, 9), min_size=len(rows), max_size=len(rows), unique=True))
    table = tuple(Row(value, tuple(column[k] for column in columns.values())) for k, value in enumerate(values))
    order = draw(st.permutations((*members, *always)))
    sketch.dpgs.append(Dpg(name, control, entry, exit_, tuple(order), tuple(columns), table))
    return exit_


def _rows(
    draw: st.DrawFn, entry: str, exit_: str, members: list[str], tangled: bool
) -> list[dict[tuple[str, str], int]]:
    """For each row the FIFOs in use, as pairs of actors, with their rates: paths from entry to exit.

    A row's paths visit members in one order, so they make no ring, unless they are ``tangled``. Another row may have
    another order.
    """
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        order = draw(st.permutations(members))
        row: dict[tuple[str, str], int] = {}
        for _ in range(draw(st.integers(0, 3))):
            order = draw(st.permutations(members)) if tangled else order
            stops = [entry, *(member for member in order if draw(st.booleans())), exit_]
            for pair in zip(stops, stops[1:]):
                row.setdefault(pair, draw(st.integers(1, 3)))
        rows.append(row)
    if not any(rows):
        rows.append({(entry, exit_): 1})
    return rows


def control_sequences(graph: Graph, length: int) -> st.SearchStrategy[dict[str, list[int]]]:
    """Dynamic processing graph -> as many control values, each of some row."""
    return st.fixed_dictionaries(
        {
            dpg.name: st.lists(st.sampled_from([row.value for row in dpg.rows]), min_size=length, max_size=length)
            for dpg in graph.dpgs
        }
    )
