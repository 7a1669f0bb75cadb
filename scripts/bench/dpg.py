"""Analysis time as the number of dynamic processing graphs, and of rows in their control tables, grows."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Optional

from eprune.analysis.check import check
from eprune.analysis.precedence import components, precedence
from eprune.model.graph import Actor, ActorType, Direction, Dpg, Fifo, Graph, Port, PortRef, Row
from eprune.model.system import System
from eprune.model.token import TokenType
from scripts.bench.harness import period, program, ratios, run, say

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


def dynamic(folder: Path) -> None:
    """An iteration of five actors on one core that compute nothing: three of them dynamic, against all static.

    The entry leads, so that two control tokens an iteration go to the member and to the exit.
    """
    chain = ("Source", "Split", "Work", "Merge", "Sink")
    varying = {"Split", "Work"}

    def five(name: str, value: Optional[int]) -> Path:
        kinds = dict.fromkeys(chain, "Idle")
        lines = []
        for actor, kind in {**kinds, "Sink": "Discard"}.items():
            choose = actor == "Split" and value is not None
            behaviour, more = ("Choose", f", {{'value': '{value}'}}") if choose else (kind, "")
            lines.append(f"actor({actor!r}, 'ACTORS:{behaviour}', 'cpu0'{more})")
        for source, target in zip(chain, chain[1:]):
            rate = ", rate=(0, 1)" if source in varying and value is not None else ""
            lines.append(f"fifo('{source}', '{source}.out', '{target}.in', 'uint8', (64,), capacity=4{rate})")
        if value is not None:
            lines += [f"row('Deep', {row}, {{'Split': {row}, 'Work': {row}}})" for row in (0, 1)]
            for actor in ("Work", "Merge"):
                ends = f"'Split.to{actor}', '{actor}.mode'"
                lines.append(f"fifo('c{actor}', {ends}, 'int32', (), capacity=4, control='Deep')")
        return program(folder, name, *lines)

    programs = [five("static", None), five("active", 1), five("idle", 0)]

    def iteration(path: Path) -> float:
        return period(run(folder, path, arguments=("--frames", "20000"))[0], "Sink")

    say("an iteration of five firings", "static, us", "dynamic, us", "ratio")
    say("---", "---", "---", "---")
    for what, path in (("the branch is active", programs[1]), ("the branch is idle", programs[2])):
        ratio, static_s, dynamic_s = ratios(7, lambda: iteration(programs[0]), lambda path=path: iteration(path))
        say(what, f"{static_s * 1e6:.1f}", f"{dynamic_s * 1e6:.1f}", f"{ratio:.2f}")
