"""Choices within choices: analysis by depth, what a level costs at run time, and what a decision costs."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import numpy as np

from eprune.analysis.check import check
from eprune.model.graph import Actor, ActorType, Direction, Dpg, Fifo, Graph, Port, PortRef, Row
from eprune.model.system import System
from eprune.model.token import TokenType
from scripts.bench.harness import ROOT, period, program, ratios, run, say

DATA, CONTROL = TokenType("float32", (4,)), TokenType("int32")
ROWS = 10
DECISIONS = 20_000


def graph(depth: int) -> Graph:
    """Graphs inside of one another: nine branches of an actor each, and as the tenth the next graph."""
    ports: dict[str, list[Port]] = {}
    types: dict[str, ActorType] = {}
    fifos: list[Fifo] = []
    dpgs: list[Dpg] = []

    def actor(name: str, kind: ActorType = ActorType.SPA) -> str:
        types[name], ports[name] = kind, []
        return name

    def join(source: str, target: str, lrl: int, control: bool = False) -> tuple[PortRef, PortRef]:
        refs = PortRef(source, f"o{len(fifos)}"), PortRef(target, f"i{len(fifos)}")
        for ref, direction in zip(refs, (Direction.OUT, Direction.IN)):
            ports[ref.actor].append(Port(ref.port, direction, CONTROL if control else DATA, lrl=lrl, control=control))
        fifos.append(Fifo(f"f{len(fifos)}", *refs))
        return refs

    for level in range(depth):
        actor(f"in{level}", ActorType.DA)
        actor(f"out{level}", ActorType.DA)
    for level in range(depth):
        entry, leave = f"in{level}", f"out{level}"
        members = [actor(f"m{level}-{row}", ActorType.DPA) for row in range(ROWS - 1)]
        columns: dict[PortRef, tuple[int, ...]] = {}
        for row, member in enumerate(members):
            for pair in ((entry, member), (member, leave)):
                columns.update(dict.fromkeys(join(*pair, 0), tuple(int(each == row) for each in range(ROWS))))
        last = level == depth - 1
        ways = [(entry, leave)] if last else [(entry, f"in{level + 1}"), (f"out{level + 1}", leave)]
        for pair in ways:
            columns.update(dict.fromkeys(join(*pair, 0), tuple(int(each == ROWS - 1) for each in range(ROWS))))
        for follower in (*members, leave):
            join(entry, follower, 1, control=True)
        table = tuple(Row(row, tuple(column[row] for column in columns.values())) for row in range(ROWS))
        inside = f"D{level - 1}" if level else ""
        dpgs.append(Dpg(f"D{level}", entry, entry, leave, tuple(members), tuple(columns), table, inside))
    join(actor("Src"), "in0", 1)
    join("out0", actor("Sink"), 1)
    actors = tuple(Actor(name, tuple(own), types[name]) for name, own in ports.items())
    return Graph("bench", actors, tuple(fifos), tuple(dpgs))


def nests(folder: Path) -> None:
    """Choices within choices: analysis by depth (ten rows each), an iteration by depth, and a decision to offload."""
    say("levels", "actors", "combinations of rows", "analysis, ms")
    say(*["---"] * 4)
    for depth in (1, 2, 5, 10, 20):
        application = graph(depth)
        times = []
        for _ in range(5):
            begin = time.process_time()
            assert not check(System(application))
            times.append(time.process_time() - begin)
        say(f"{depth}", f"{len(application.actors)}", f"{ROWS}^{depth}", f"{1e3 * statistics.median(times):.0f}")
    programs = {depth: _running(folder, depth) for depth in (1, 2, 3, 4)}

    def iteration(depth: int) -> float:
        return period(run(folder, programs[depth], arguments=("--frames", "10000"))[0], "Sink")

    say("levels", "an iteration, us", "of that of one level")
    say("---", "---", "---")
    for depth in (2, 3, 4):
        ratio, one_s, here_s = ratios(5, lambda: iteration(1), lambda depth=depth: iteration(depth))
        if depth == 2:
            say("1", f"{1e6 * one_s:.1f}", "1")
        say(f"{depth}", f"{1e6 * here_s:.1f}", f"{ratio:.2f}")
    say("blocks", "a decision, us (aim: 50)", "with exits behind every other block, us")
    say("---", "---", "---")
    for blocks in (4, 30):
        say(f"{blocks}", *(f"{1e6 * _decision(blocks, exits):.1f}" for exits in (False, True)))


def _running(folder: Path, depth: int) -> Path:
    """A program in which each level's entry hands its token to the next level's, and the innermost one to its exit."""
    lines = ["actor('Src', 'ACTORS:Idle', 'cpu0')", "actor('Sink', 'ACTORS:Discard', 'cpu0')"]
    kind = "'uint8', (64,), capacity=4"
    ways = [("Src", "in0", "")]
    for level in range(depth):
        nested = ", nested=True" if level else ""
        lines.append(f"actor('in{level}', 'ACTORS:Choose', 'cpu0', {{'value': '1'}}{nested})")
        lines.append(f"actor('out{level}', 'ACTORS:Idle', 'cpu0')")
        control = f"'int32', (), capacity=4, control='D{level}'"
        lines.append(f"fifo('c{level}', 'in{level}.to', 'out{level}.mode', {control})")
        inner = (f"in{level + 1}", f"out{level + 1}") if level + 1 < depth else ()
        stops = [f"in{level}", *inner, f"out{level}"]
        own = [(stops[0], stops[1], "dynamic"), *([(stops[2], stops[3], "dynamic")] if inner else [])]
        rates = ", ".join(f"'{source}': 1" for source, _, _ in own)
        lines.append(f"row('D{level}', 1, {{{rates}}})")
        ways += own
    ways.append(("out0", "Sink", ""))
    for source, target, dynamic in ways:
        rate = ", rate=(0, 1)" if dynamic else ""
        lines.append(f"fifo('{source}', '{source}.out', '{target}.from_{source}', {kind}{rate})")
    return program(folder, f"nest{depth}", *lines)


def _decision(blocks: int, with_exits: bool) -> float:
    """Seconds of a decision, learning from an earlier frame included; ``with_exits`` behind every other block."""
    sys.path.append(str(ROOT / "actors"))
    from offload_decider import OffloadDecider

    def listed(value: float) -> str:
        return ",".join([str(value)] * blocks)

    rest = ",".join(str(0.001 * (blocks - number)) for number in range(blocks))
    exits = ",".join(map(str, range(1, blocks, 2))) if with_exits else ""
    decider = OffloadDecider(listed(0.01), rest, listed(100_000), "1e7", "0.001", exits=exits)
    decider.tell = lambda _: None
    frame, report = np.zeros(4, np.float32), np.zeros(6)
    begin = time.perf_counter()
    for count in range(DECISIONS):
        now = time.perf_counter()
        report[:] = count, now, now - 0.01, 0, 100_008, 0.005
        decider.control({"in": frame, "report": report})
    return (time.perf_counter() - begin) / DECISIONS
