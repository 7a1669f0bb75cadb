"""Analysis time as the number of dynamic processing graphs, and of rows in their control tables, grows."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from eprune.analysis.check import check
from eprune.analysis.precedence import components, precedence
from eprune.model.graph import Actor, ActorType, Direction, Dpg, Fifo, Graph, Port, PortRef, Row
from eprune.model.system import System
from eprune.model.token import TokenType
from scripts.bench.imported import say

DATA, CONTROL = TokenType("float32", (4,)), TokenType("int32")
BRANCHES = 4


def graph(count: int, rows: int, ring: bool) -> Graph:
    """Dynamic processing graphs one after another, each with four branches of two actors, of which a row has one.

    In a ``ring``, odd rows go from the second actor of a branch to the first: cyclic at the upper rate limits, live in
    every row.
    """
    ports: dict[str, list[Port]] = {"Src": []}
    types = {"Src": ActorType.SPA}
    fifos: list[Fifo] = []
    dpgs = []

    def join(source: str, target: str, lrl: int, control: bool = False) -> tuple[PortRef, PortRef]:
        refs = PortRef(source, f"o{len(fifos)}"), PortRef(target, f"i{len(fifos)}")
        for ref, direction in zip(refs, (Direction.OUT, Direction.IN)):
            token = CONTROL if control else DATA
            ports[ref.actor].append(Port(ref.port, direction, token, lrl=lrl, control=control))
        fifos.append(Fifo(f"f{len(fifos)}", *refs))
        return refs

    before = "Src"
    for number in range(count):
        entry, exit_ = f"in{number}", f"out{number}"
        members = [(f"a{number}-{branch}", f"b{number}-{branch}") for branch in range(BRANCHES)]
        types.update({entry: ActorType.DA, exit_: ActorType.DA})
        types.update({name: ActorType.DPA for pair in members for name in pair})
        ports.update({name: [] for name in (entry, exit_, *(name for pair in members for name in pair))})
        join(before, entry, 1)
        columns: dict[PortRef, tuple[int, ...]] = {}
        for branch, (one, other) in enumerate(members):
            ways = [[entry, one, other, exit_], [entry, other, one, exit_]] if ring else [[entry, one, other, exit_]]
            for way, stops in enumerate(ways):
                on = tuple(
                    int(row % BRANCHES == branch and (not ring or row // BRANCHES % 2 == way)) for row in range(rows)
                )
                for pair in zip(stops, stops[1:]):
                    columns.update(dict.fromkeys(join(*pair, 0), on))
        for name in (*(name for pair in members for name in pair), exit_):
            join(entry, name, 1, control=True)
        table = tuple(Row(row, tuple(column[row] for column in columns.values())) for row in range(rows))
        names = tuple(name for pair in members for name in pair)
        dpgs.append(Dpg(f"D{number}", entry, entry, exit_, names, tuple(columns), table))
        before = exit_
    actors = tuple(Actor(name, tuple(own), types[name]) for name, own in ports.items())
    return Graph("bench", actors, tuple(fifos), tuple(dpgs))


def dpg(folder: Path) -> None:
    """Analysis time of dynamic processing graphs: all rules, processor time, median of five."""
    say("rows are looked at", "DPGs", "rows in each", "combinations", "actors", "ms", "ms a DPG", "us a row")
    say(*["---"] * 8)
    for ring in (False, True):
        for count, rows in ((10, 16), (20, 16), (40, 16), (80, 16), (20, 8), (20, 32), (20, 64), (20, 128)):
            application = graph(count, rows, ring)
            assert bool(components(precedence(application))) is ring
            times = []
            for _ in range(5):
                begin = time.process_time()
                assert not check(System(application))
                times.append(time.process_time() - begin)
            seconds = statistics.median(times)
            shown = (f"{seconds * 1e3:.0f}", f"{seconds / count * 1e3:.2f}", f"{seconds / count / rows * 1e6:.0f}")
            say("yes" if ring else "no", f"{count}", f"{rows}", f"{rows}^{count}", f"{len(application.actors)}", *shown)
