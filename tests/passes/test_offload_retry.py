"""A server that dies, freezes, slows down or returns while frames are offloaded to it: all frames are answered."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import replace

import numpy as np
import pytest

from eprune import face
from eprune.analysis.check import check
from eprune.analysis.failures import FaultModel, Service, Verdict
from eprune.codegen.digest import digest
from eprune.codegen.lower import lower
from eprune.deploy.build import write_program
from eprune.deploy.ports import link_ports
from eprune.explore.space import mapping
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.system import read_system, write_system
from eprune.model.finding import has_errors
from eprune.model.platform import Link, Platform, Unit
from eprune.passes import fuse, offload, relocate
from eprune.runtime.main.files import Files
from tests.actors.driver import prepared
from tests.kit.exits import exit_behind
from tests.kit.programs import ROOT, finish, start
from tests.kit.waiting import freeze

GRAPHS = ROOT / "graphs"


@pytest.fixture(scope="module")
def vehicle():
    """The vehicle classifier, all on the endpoint."""
    system = read_system(str(GRAPHS / "vehicle.xml"), [str(GRAPHS / f"{name}.xml") for name in ("endpoint", "server")])
    homes = dict.fromkeys((each.name for each in system.graph.actors), "endpoint")
    return replace(system, mappings=tuple(mapping(system.graph, each, homes) for each in system.platforms[:1]))


def offloaded(vehicle, **options):
    given = {"here": "0.005,0.01,0.003,0.0001", "there": ("0.0005,0.001,0.0003,0.0001",), "retry": "300ms", **options}
    return offload.apply(vehicle, offload.Options("endpoint", ("server",), **given)).system


CAMERA = f"""
import sys
import time

sys.path.insert(0, {str(ROOT / "actors")!r})
from frame_source import FrameSource


class Camera(FrameSource):
    def fire(self, inputs, outputs):
        time.sleep(0.04)
        super().fire(inputs, outputs)
"""


def star(names, ports=None):
    """An endpoint, and servers that it is joined to."""
    first, *others = names
    ports = ports or {name: 5300 + 10 * number for number, name in enumerate(others)}
    links = {name: Link(name, "127.0.0.1", ports[name]) for name in others}
    yield Platform(first, (Unit("cpu0"),), tuple(links.values()))
    for name in others:
        yield Platform(name, (Unit("cpu0"),), (replace(links[name], to=first),))


def deployed(system, folder, **settings):
    """Platform -> program, on free ports; there are 25 frames per second."""
    (folder / "camera.py").write_text(CAMERA)
    camera = PythonBehaviour("camera.py", "Camera", str(folder / "camera.py"))
    written = write_system(relocate.apply(system, relocate.Options(str(folder))).system, str(folder))
    system = face.load(written.application, written.platforms, written.mappings, allow_outside=True)
    names = [each.name for each in system.platforms]
    ports = link_ports({(names[0], other): 10 for other in names[1:]})
    platforms = tuple(star(names, {other: ports[names[0], other] for other in names[1:]}))
    actors = tuple(
        replace(
            each,
            behaviour=camera if each.name == "Input" else each.behaviour,
            parameters=tuple({**dict(each.parameters), **settings.get(each.name, {})}.items()),
        )
        for each in system.graph.actors
    )
    graph = replace(system.graph, actors=actors)
    homes = system.homes
    mappings = tuple(mapping(graph, each, homes) for each in platforms)
    system = replace(system, graph=graph, platforms=platforms, mappings=mappings)
    programs = {}
    for program in lower(fuse.apply(system).system, digest(system, {})):
        programs[program.platform] = folder / f"{program.platform}.py"
        write_program(program, str(programs[program.platform]))
    return programs


def test_it_is_sound_and_survives_its_server(vehicle):
    system = offloaded(vehicle)
    assert [each.message for each in check(system)] == []
    model = FaultModel(system)
    (server,) = [thing for thing in model.things if thing.name == "server"]
    assert model.outcome([server], Service(("Sink",))).verdict is Verdict.DEGRADED
    plain = FaultModel(offloaded(vehicle, retry=""))
    (server,) = [thing for thing in plain.things if thing.name == "server"]
    assert plain.outcome([server], Service(("Sink",))).verdict is Verdict.STOPS


def test_over_three_platforms_it_is_sound_too(vehicle):
    first, second = Link("server", "127.0.0.1", 5300), Link("cloud", "127.0.0.1", 5310)
    ways = {"endpoint": [first], "server": [replace(first, to="endpoint"), second]}
    ways["cloud"] = [replace(second, to="server")]
    platforms = tuple(Platform(name, (Unit("cpu0"),), tuple(links)) for name, links in ways.items())
    system = offload.apply(
        replace(vehicle, platforms=platforms), offload.Options("endpoint", ("server", "cloud"), retry="300ms")
    ).system
    assert not has_errors(check(system))
    model = FaultModel(system)
    for name in ("server", "cloud"):
        (gone,) = [thing for thing in model.things if thing.name == name]
        assert model.outcome([gone], Service(("Sink",))).verdict is Verdict.DEGRADED


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


def play(programs, folder, disturb, frames=60, record=None):
    """Run them; ``disturb`` gets the server's process once some answers are there. The device's answers and its log."""
    log = folder / "log.csv"
    options = ("--dead-after", "30", "--patience", "3")
    server = start(programs["server"], *options)
    more = ("--record", str(record)) if record else ()
    endpoint = start(programs["endpoint"], *options, "--frames", str(frames), "--set", f"Decide.log={log}", *more)
    assert endpoint.stdout is not None
    first = [endpoint.stdout.readline() for _ in range(frames // 4)]
    others = disturb(server) or []
    code, out, errors = finish(endpoint)
    for process in (server, *others):
        process.send_signal(signal.SIGCONT)
        finish(process)
    assert code == 0, errors
    assert all(first), errors
    return [json.loads(line) for line in first] + lines(out), log.read_text().splitlines()


@pytest.fixture(scope="module")
def expected(vehicle, tmp_path_factory):
    """What the whole network says of each frame."""
    folder = tmp_path_factory.mktemp("whole")
    path = folder / "whole.jsonl"
    system = offloaded(vehicle)
    programs = deployed(system, folder, Decide={"fixed": "4"}, Sink={"path": str(path)})
    server = start(programs["server"], "--patience", "3")
    assert finish(start(programs["endpoint"], "--frames", "60"))[0] == 0
    finish(server)
    return lines(path.read_text())


@pytest.mark.long
@pytest.mark.parametrize("cut", ["0", "2"])
def test_frames_that_a_dead_server_had_are_computed_on_the_device(cut, vehicle, expected, tmp_path):
    """With the same answers, in their order, wherever they were cut; what was chosen goes on being chosen."""
    programs = deployed(offloaded(vehicle), tmp_path, Decide={"fixed": cut})
    got, _ = play(programs, tmp_path, lambda server: server.send_signal(signal.SIGKILL))
    assert got == expected


@pytest.mark.long
def test_the_decider_keeps_to_the_device_while_the_server_is_dead_and_returns_to_it(vehicle, expected, tmp_path):
    programs = deployed(offloaded(vehicle, probe=10), tmp_path)

    def disturb(server):
        server.send_signal(signal.SIGKILL)
        server.wait()
        time.sleep(0.5)
        return [start(programs["server"], "--patience", "3")]

    got, log = play(programs, tmp_path, disturb)
    assert got == expected
    cuts = [int(line.split(",")[log[0].split(",").index("blocks")]) for line in log[1:]]
    assert 4 in cuts, cuts
    last = len(cuts) - 1 - cuts[::-1].index(4)
    assert any(cut < 4 for cut in cuts[cuts.index(4) : last + 1]) or cuts[-1] < 4, cuts


@pytest.mark.long
def test_frames_that_a_dead_server_had_take_the_answer_of_the_exit_they_have_passed(vehicle, expected, tmp_path):
    """The others, and the order, stay as they are; and the record says how many did."""
    exits = tuple(exit_behind(vehicle, name, 2.0) for name in ("L1", "L2"))
    system = offloaded(vehicle, made=exits, again=offload.Again.EXIT)
    (tmp_path / "early").mkdir()
    early = tmp_path / "early.jsonl"
    leaving = {"Decide": {"fixed": "4"}, "Exit2": {"threshold": "0"}, "Sink": {"path": str(early)}}
    programs = deployed(system, tmp_path / "early", **leaving)
    server = start(programs["server"], "--patience", "3")
    assert finish(start(programs["endpoint"], "--frames", "60"))[0] == 0
    finish(server)
    programs = deployed(system, tmp_path, Decide={"fixed": "3"})
    record = tmp_path / "record.json"
    got, _ = play(programs, tmp_path, lambda server: server.send_signal(signal.SIGKILL), record=record)
    by_exit = lines(early.read_text())
    assert len(got) == 60
    assert all(answer in (one, other) for answer, one, other in zip(got, expected, by_exit))
    assert got[:10] == expected[:10] and got[-20:] == by_exit[-20:]
    (told,) = [each["figures"] for each in json.loads(record.read_text())["actors"].values() if "figures" in each]
    assert told["answered"] + told["by_exit"] == 60 and told["again"] == 0


SECOND = {"beside": ("second",)}


def two_servers(vehicle):
    """The same with another server, of which the device has the choice."""
    system = replace(vehicle, platforms=tuple(star(("endpoint", "server", "second"))))
    return offloaded(system, **SECOND)


def test_of_two_servers_one_is_enough(vehicle):
    system = two_servers(vehicle)
    assert [each.message for each in check(system)] == []
    model = FaultModel(system)
    for names in (("server",), ("second",), ("server", "second")):
        gone = [thing for thing in model.things if thing.name in names]
        assert model.outcome(gone, Service(("Sink",))).verdict is Verdict.DEGRADED


def test_a_second_server_is_for_one_and_needs_a_time_after_which_it_is_tried(vehicle):
    system = replace(vehicle, platforms=tuple(star(("endpoint", "server", "second"))))
    for options in ({"retry": "", **SECOND}, {"beside": ("server",)}, {"beside": ("nowhere",)}):
        with pytest.raises(ValueError, match=r"--beside|there is no platform 'nowhere'"):
            offloaded(system, **options)


@pytest.mark.long
def test_when_one_of_two_servers_dies_the_other_one_computes(vehicle, expected, tmp_path):
    """But for the frames that were under way, which the device computes."""
    record = tmp_path / "second.json"
    programs = deployed(two_servers(vehicle), tmp_path, Decide={"fixed": "2"})
    second = start(programs["second"], "--patience", "3", "--record", str(record))
    got, _ = play(programs, tmp_path, lambda server: server.send_signal(signal.SIGKILL))
    finish(second)
    assert got == expected
    firings = json.loads(record.read_text())["actors"]
    (entry,) = [told for told in firings.values() if "Open" in str(told["members"])]
    assert entry["firings"] > 35


@pytest.mark.long
def test_a_frozen_server_costs_one_time_out(vehicle, expected, tmp_path):
    programs = deployed(offloaded(vehicle), tmp_path, Decide={"fixed": "2"})
    got, _ = play(programs, tmp_path, lambda server: freeze(server.pid))
    assert got == expected


def test_a_lost_server_is_tried_now_and_then():
    made = Files(__file__).load_class(f"{ROOT}/actors/offload_decider.py:OffloadDecider")(
        "1,1", "0.1,0.1", "10,10", bandwidth="1e6", probe="5"
    )
    made.tell = lambda text: None
    now = [0.0]
    made.clock = lambda: now[0]
    prepared(made, {"in": "float32[1]", "report": "float64[6]"}, {"local": "float32[1]", "raw": "float32[1]"})

    def frame(report):
        now[0] += 0.01
        return made.control({"in": np.zeros(1, np.float32), "report": np.array(report)})

    nothing = [0.0] * 6
    assert frame(nothing) == 0
    chosen = [frame([1, now[0], now[0], 0, 10, -1.0])]
    chosen += [frame([n, now[0], 0.0, 2, 0, 0.0]) for n in range(2, 12)]
    assert chosen.count(2) >= 8 and 0 < sum(cut < 2 for cut in chosen) <= 2
    assert frame([12, now[0], now[0], 0, 10, 0.05]) in (0, 1, 2) and made.lost is None
    assert frame(nothing) < 2
