"""A branch that gets no control tokens, on another platform behind ``drop``: the others do without it."""

from __future__ import annotations

import json
import os
import signal
import textwrap
import time
from dataclasses import replace

import pytest

from eprune.analysis.check import check
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.model.graph import ActorType, Direction, Dpg, FaultPolicy, Fifo, Port, PortRef, Row
from eprune.model.system import System
from tests.kit.dpgs import CONTROL, Sketch
from tests.kit.dynamic import deploy, run_in_threads
from tests.kit.programs import finish, start
from tests.kit.waiting import freeze

BEHAVIOURS = '''
    import json
    import time
    from pathlib import Path

    from eprune.runtime import Actor, EndOfStream


    class Source(Actor):
        waits = True

        def __init__(self, count="20", period="0"):
            self.count, self.period, self.made = int(count), float(period), 0

        def fire(self, inputs, outputs):
            if self.made == self.count:
                raise EndOfStream
            time.sleep(self.period)
            for out in outputs.values():
                out[...] = self.made
            self.made += 1


    class Lead(Actor):
        """Row 1, but 0 for every third token."""

        def control(self, inputs):
            (token,) = inputs.values()
            return int(token[0]) % 3 > 0

        def fire(self, inputs, outputs):
            (token,) = inputs.values()
            for out in outputs.values():
                out[...] = token


    class Work(Lead):
        """Slow now and then, if it is to be."""

        def __init__(self, slow="0"):
            self.slow = float(slow)

        def control(self, inputs):
            return 1

        def fire(self, inputs, outputs):
            (token,) = inputs.values()
            time.sleep(self.slow)
            for out in outputs.values():
                out[...] = token


    class Join(Actor):
        """What came by the branch, -1 if nothing did, and what came past it."""

        def fire(self, inputs, outputs):
            outputs["o_out"][...] = inputs["branch"] if "branch" in inputs else -1


    class Sink(Actor):
        def __init__(self, path):
            self.path, self.got = path, []

        def fire(self, inputs, outputs):
            (token,) = inputs.values()
            self.got.append([int(token[0]), time.time()])

        def finalize(self):
            Path(self.path).write_text(json.dumps(self.got))
'''


def branched(folder, nested=True, lossy=True, count=20, period=0.0, slow=0.0, timeout=0.4):
    """Src, entry, a branch (an inner graph, or a DPA without control input), exit, Sink."""
    (folder / "behaviours.py").write_text(textwrap.dedent(BEHAVIOURS))
    sketch = Sketch()
    sketch.actor("Src")
    for name in ("Din", "Dout"):
        sketch.actor(name, ActorType.DA)
    sketch.join("Src", "Din", spare=2)
    sketch.tell("Din", "Dout", 4)
    columns = {}
    into = "Ain" if nested else "Work"
    out = "Aout" if nested else "Work"
    if nested:
        for name in ("Ain", "Aout"):
            sketch.actor(name, ActorType.DA)
        sketch.tell("Ain", "Aout", 2)
        way = sketch.join("Ain", "Aout", (0, 1), spare=1)
        sketch.dpgs.append(Dpg("A", "Ain", "Ain", "Aout", (), way, (Row(0, (0, 0)), Row(1, (1, 1))), "D"))
    else:
        sketch.actor("Work", ActorType.DPA)
    for pair in (("Din", into), (out, "Dout")):
        columns.update(dict.fromkeys(sketch.join(*pair, (0, 1), spare=2), (0, 1)))
        if lossy:
            sketch.fifos[-1] = replace(sketch.fifos[-1], policy=FaultPolicy.DROP, timeout=timeout)
    leaving = sketch.fifos[-1]
    table = tuple(Row(value, tuple(column[value] for column in columns.values())) for value in (0, 1))
    members = () if nested else ("Work",)
    sketch.dpgs.append(Dpg("D", "Din", "Din", "Dout", members, tuple(columns), table))
    sketch.actor("Sink")
    sketch.join("Dout", "Sink", spare=1)
    graph = sketch.graph()
    kinds = {"Src": "Source", "Din": "Lead", "Dout": "Join", "Sink": "Sink"}
    given = {"Src": {"count": str(count), "period": str(period)}, "Sink": {"path": str(folder / "sink.json")}}
    given["Aout" if nested else "Work"] = {"slow": str(slow)}
    renamed = {leaving.target: "branch", sketch.fifos[-1].source: "o_out"}
    actors = []
    for actor in graph.actors:
        behaviour = PythonBehaviour("behaviours.py", kinds.get(actor.name, "Work"), str(folder / "behaviours.py"))
        ports = []
        for port in actor.ports:
            ref = PortRef(actor.name, port.name)
            optional = lossy and ref == leaving.target
            ports.append(replace(port, name=renamed.get(ref, port.name), required=not optional))
        parameters = tuple(given.get(actor.name, {}).items())
        actors.append(replace(actor, ports=tuple(ports), behaviour=behaviour, parameters=parameters))

    def moved(ref):
        return replace(ref, port=renamed.get(ref, ref.port))

    fifos = tuple(replace(fifo, source=moved(fifo.source), target=moved(fifo.target)) for fifo in graph.fifos)
    dpgs = tuple(replace(dpg, ports=tuple(map(moved, dpg.ports))) for dpg in graph.dpgs)
    return replace(graph, actors=tuple(actors), fifos=fifos, dpgs=dpgs)


def told(graph):
    """The same with a control input at the member, under ``drop`` like all of its FIFOs."""
    control = Port("to_Work", Direction.OUT, CONTROL, control=True), Port("mode", Direction.IN, CONTROL, control=True)
    ends = {"Din": control[0], "Work": control[1]}
    actors = tuple(
        replace(actor, ports=(*actor.ports, ends[actor.name])) if actor.name in ends else actor
        for actor in graph.actors
    )
    fifo = Fifo("told", PortRef("Din", "to_Work"), PortRef("Work", "mode"), capacity=4, policy=FaultPolicy.DROP)
    return replace(graph, actors=actors, fifos=(*graph.fifos, replace(fifo, timeout=0.4)))


def homes(graph):
    return {actor.name: "server" if actor.name in ("Ain", "Aout", "Work") else "device" for actor in graph.actors}


def results(folder):
    return [value for value, _ in json.loads((folder / "sink.json").read_text())]


KINDS = {
    "inner graph": lambda folder, **options: branched(folder, True, **options),
    "member": lambda folder, **options: branched(folder, False, **options),
    "member that is told": lambda folder, **options: told(branched(folder, False, **options)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_branch_that_is_there_loses_nothing(kind, tmp_path):
    graph = KINDS[kind](tmp_path)
    assert not [each for each in check(System(graph)) if each.severity.value == "error"]
    run_in_threads(deploy(graph, homes(graph), tmp_path))
    assert results(tmp_path) == [number if number % 3 else -1 for number in range(20)]


@pytest.mark.parametrize("kind", [pytest.param(k, marks=[pytest.mark.long] * (k != "inner graph")) for k in KINDS])
def test_the_others_go_on_while_the_branch_is_away_and_it_counts_when_it_is_back(kind, tmp_path):
    graph = KINDS[kind](tmp_path, count=300, period=0.02)
    programs = deploy(graph, homes(graph), tmp_path)
    server, device = (start(programs[name], "--dead-after", "1", "--patience", "5") for name in ("server", "device"))
    time.sleep(2.0)
    server.send_signal(signal.SIGKILL)
    server.wait()
    time.sleep(1.0)
    again = start(programs["server"], "--dead-after", "1", "--patience", "5")
    code, _, errors = finish(device)
    assert code == 0, errors
    finish(again)
    found = results(tmp_path)
    assert len(found) == 300
    for number, value in enumerate(found):
        assert value in ((number, -1) if number % 3 else (-1,))
    wanted = [value >= 0 for number, value in enumerate(found) if number % 3]
    first_gone = wanted.index(False)
    assert all(wanted[:first_gone]) and first_gone > 20
    assert True in wanted[first_gone:], "it never counted again"
    assert wanted[-5:] == [True] * 5


@pytest.mark.parametrize(
    "nested", [pytest.param(True, id="inner graph"), pytest.param(False, id="member", marks=pytest.mark.long)]
)
def test_a_frozen_branch_costs_one_time_out_and_no_more(nested, tmp_path):
    graph = branched(tmp_path, nested, count=350, period=0.02, timeout=0.3)
    programs = deploy(graph, homes(graph), tmp_path)
    server, device = (start(programs[name], "--dead-after", "30", "--patience", "5") for name in ("server", "device"))
    time.sleep(2.0)
    freeze(server.pid)
    time.sleep(1.0)
    thawed = time.time()
    os.kill(server.pid, signal.SIGCONT)  # it has some seconds to be met again
    code, _, errors = finish(device)
    assert code == 0, errors
    finish(server)
    got = json.loads((tmp_path / "sink.json").read_text())
    times = [at for _, at in got]
    assert len(times) == 350
    longest = max(later - earlier for earlier, later in zip(times, times[1:]))
    assert longest < 0.3 + 0.06 + 0.6, longest  # the time-outs on the way, and a busy machine
    assert results(tmp_path)[-4] in (346, -1) and sum(value >= 0 for value in results(tmp_path)[-30:]) > 10
    assert min(at for value, at in got if value >= 0 and at > thawed) < thawed + 2


def test_a_branch_that_is_always_late_holds_up_nobody(tmp_path):
    """It takes a second for what is waited for 0.2 seconds: after the first time nobody waits for it."""
    graph = branched(tmp_path, False, count=60, period=0.01, slow=1.0, timeout=0.2)
    begin = time.monotonic()
    programs = deploy(graph, homes(graph), tmp_path)
    server, device = (start(programs[name], "--patience", "2") for name in ("server", "device"))
    assert finish(device)[0] == 0
    server.kill()
    server.wait()
    assert len(results(tmp_path)) == 60
    assert time.monotonic() - begin < 12  # sixty seconds if each were waited for


def findings(graph):
    return [(each.rule, each.message) for each in check(System(graph)) if each.severity.value == "error"]


def with_fifo(graph, name, **changes):
    return replace(graph, fifos=tuple(replace(f, **changes) if f.name == name else f for f in graph.fifos))


def test_what_leaves_a_branch_that_may_lose_tokens_may_be_missing(tmp_path):
    graph = branched(tmp_path)
    entering, leaving = (next(f for f in graph.fifos if f.source.actor == name) for name in ("Src", "Aout"))
    del entering
    (finding,) = findings(with_fifo(graph, leaving.name, policy=FaultPolicy.STOP))
    assert finding[0] == "F2" and f"FIFO '{leaving.name}' brings Dout.branch what may not be there" in finding[1]
    needed = tuple(replace(a, ports=tuple(replace(p, required=True) for p in a.ports)) for a in graph.actors)
    assert findings(replace(graph, actors=needed)) == [("F2", f"FIFO '{leaving.name}' may lose what Dout.branch needs")]


@pytest.mark.parametrize("policy", [FaultPolicy.ZERO, FaultPolicy.NEWEST])
def test_other_policies_at_a_branch_are_refused(policy, tmp_path):
    graph = branched(tmp_path)
    leaving = next(f for f in graph.fifos if f.source.actor == "Aout")
    found = findings(with_fifo(graph, leaving.name, policy=policy, capacity=4))
    assert ("F2", f"FIFO '{leaving.name}': policy {policy.value} at a branch that gets no control tokens") in found


def test_a_member_with_a_control_input_may_lose_all_of_its_tokens_or_none(tmp_path):
    graph = told(branched(tmp_path, False))
    assert findings(graph) == []
    found = findings(
        with_fifo(graph, next(f for f in graph.fifos if f.target.actor == "Work").name, policy=FaultPolicy.STOP)
    )
    assert ("F2", "FIFO 'told': policy drop on a control FIFO would shift every later row") in found


def test_nothing_is_lost_inside_of_a_branch_or_between_those_that_are_told(tmp_path):
    graph = branched(tmp_path)
    inside = next(
        f for f in graph.fifos if (f.source.actor, f.target.actor) == ("Ain", "Aout") and "to_" not in f.source.port
    )
    assert findings(with_fifo(graph, inside.name, policy=FaultPolicy.DROP)) == [
        ("F2", f"FIFO '{inside.name}': policy drop inside the dynamic processing graph 'A'")
    ]
