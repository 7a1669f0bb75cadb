"""A network of which each frame decides how much runs on the device: the pass, its actors, and the same answers."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from eprune import face
from eprune.analysis.check import check
from eprune.codegen.lower import lower
from eprune.explore.space import mapping
from eprune.formats.system import read_system, write_system
from eprune.measure.executor import Executor
from eprune.model.finding import has_errors
from eprune.model.platform import Platform, Unit
from eprune.model.system import System
from eprune.passes import fuse, offload, relocate

ROOT = Path(__file__).resolve().parents[2]
GRAPHS = ROOT / "graphs"
BLOCKS = ["L1", "L2", "L3", "L4-L5"]


@pytest.fixture(scope="module")
def vehicle():
    """The vehicle classifier on its two platforms, all on the endpoint, with few frames."""
    files = [str(GRAPHS / "endpoint.xml"), str(GRAPHS / "server.xml")]
    system = read_system(str(GRAPHS / "vehicle.xml"), files)
    homes = dict.fromkeys((each.name for each in system.graph.actors), "endpoint")
    return replace(system, mappings=tuple(mapping(system.graph, each, homes) for each in system.platforms[:1]))


def with_parameters(system, **settings):
    actors = tuple(
        replace(each, parameters=tuple({**dict(each.parameters), **settings.get(each.name, {})}.items()))
        for each in system.graph.actors
    )
    return replace(system, graph=replace(system.graph, actors=actors))


def made(system, folder, **options):
    """What the pass makes, written and read again."""
    result = offload.apply(system, offload.Options("endpoint", ("server",), **options))
    written = write_system(relocate.apply(result.system, relocate.Options(str(folder))).system, str(folder))
    return face.load(written.application, written.platforms, written.mappings, allow_outside=True), result.report


def answers(system, frames):
    """What a sequential executor computes, all on one platform."""
    platform = Platform("near", (Unit("cpu"),))
    homes = dict.fromkeys((each.name for each in system.graph.actors), "near")
    alone = replace(system, platforms=(platform,), mappings=(mapping(system.graph, platform, homes),))
    (program,) = lower(fuse.apply(alone).system)
    with Executor(program) as executor:
        for _ in executor.run(frames):
            pass


def test_the_answers_are_the_same_wherever_a_frame_is_cut(vehicle, tmp_path):
    whole = tmp_path / "whole.jsonl"
    answers(with_parameters(vehicle, Sink={"path": str(whole)}), 6)
    system, report = made(vehicle, tmp_path / "off")
    assert not has_errors(check(system))
    assert report.figures == {"blocks": [[name] for name in BLOCKS], "bytes": [110600, 294920, 73736, 408]}
    # Answers on their way to the sink hold up no frame.
    assert next(fifo for fifo in system.graph.fifos if fifo.target.actor == "Sink").capacity == 10
    for fixed in range(5):
        path = tmp_path / f"{fixed}.jsonl"
        answers(with_parameters(system, Decide={"fixed": str(fixed)}, Sink={"path": str(path)}), 6)
        assert path.read_text() == whole.read_text(), fixed


def test_over_two_platforms_too_and_what_is_computed_here_sends_nothing(vehicle, tmp_path):
    system, _ = made(vehicle, tmp_path / "off")
    sent = {}
    for fixed in (2, 4):
        settings = {"Decide.fixed": str(fixed), "Sink.path": str(tmp_path / f"{fixed}.jsonl")}
        run = face.run(system, frames=12, settings=settings)
        sent[fixed] = run.links["endpoint", "server"].bytes_per_frame
    assert (tmp_path / "2.jsonl").read_text() == (tmp_path / "4.jsonl").read_text()
    assert sent == {2: 73736, 4: 0}


def test_blocks_of_several_slices_are_fused_and_cuts_may_be_chosen(vehicle, tmp_path):
    system, report = made(vehicle, tmp_path / "off", cut=("L2",))
    assert report.figures["blocks"] == [["L1", "L2"], ["L3", "L4-L5"]]
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    answers(with_parameters(vehicle, Sink={"path": str(whole)}), 4)
    for fixed in range(3):
        answers(with_parameters(system, Decide={"fixed": str(fixed)}, Sink={"path": str(cut)}), 4)
        assert cut.read_text() == whole.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "edge"}, "there is no platform 'edge'; there are endpoint, server"),
        ({"server": ("endpoint",)}, "the device and the server are both 'endpoint'"),
        ({"cut": ("Input",)}, "--cut Input: the network consists of L1, L2, L3, L4-L5"),
        ({"here": "0.1,0.2"}, "--here 0.1,0.2: the network has 4 blocks"),
    ],
)
def test_what_cannot_be_offloaded_is_refused(vehicle, options, message):
    with pytest.raises(ValueError, match=message):
        offload.apply(vehicle, replace(offload.Options("endpoint", ("server",)), **options))


def test_a_graph_without_a_model_is_refused(vehicle):
    graph = vehicle.graph
    bare = replace(graph, actors=tuple(replace(each, behaviour=None) for each in graph.actors))
    with pytest.raises(ValueError, match="no slices of a model"):
        offload.apply(System(bare, vehicle.platforms), offload.Options("endpoint", ("server",)))


def test_of_a_network_that_has_an_exit_already_what_is_behind_it_is_shared_out():
    files = [str(GRAPHS / "endpoint.xml"), str(GRAPHS / "server.xml")]
    system = read_system(str(GRAPHS / "vehicle_exit.xml"), files)
    made = offload.apply(system, offload.Options("endpoint", ("server",))).system
    assert [dpg.inside for dpg in made.graph.dpgs] == ["", "Deep", "Offload"]
    assert {"L4-L5", "L4-L5-server"} <= {actor.name for actor in made.graph.actors}


def test_the_pass_states_limits_and_watts(vehicle):
    with pytest.raises(ValueError, match="platform 'endpoint' does not state the watts of its unit"):
        offload.apply(vehicle, offload.Options("endpoint", ("server",), objective=offload.Objective.ENERGY))
    unit = replace(vehicle.platforms[0].units[0], watts=4.0, idle=1.5)
    endpoint = replace(vehicle.platforms[0], units=(unit,))
    system = replace(vehicle, platforms=(endpoint, *vehicle.platforms[1:]))
    options = offload.Options("endpoint", ("server",), objective=offload.Objective.ENERGY, latency="50ms")
    given = dict(offload.apply(system, options).system.graph.actor("Decide").parameters)
    assert (given["watts"], given["within"], given["objective"]) == ("4,1.5,0", "0.05", "energy")


def test_the_class_of_the_page_decides_and_what_it_imports_is_beside_it(vehicle, tmp_path):
    text = (ROOT / "docs/how-to/offload.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n# thrifty.py\n(.*?)```", text, re.DOTALL)
    folder = tmp_path / "off"
    made(vehicle, folder)
    for name in ("offload_decider.py", "offload_costs.py", "offload_log.py", "checks.py"):
        assert name in text
        shutil.copy(ROOT / "actors" / name, folder)
    (folder / "thrifty.py").write_text(block.replace('"capacity"', f'"{tmp_path / "capacity"}"'))
    application = folder / "application.xml"
    named = application.read_text().replace("offload_decider.py:OffloadDecider", "thrifty.py:Thrifty")
    application.write_text(named)
    own = face.load(str(application), str(folder / "platforms"), str(folder / "mappings"), allow_outside=True)
    assert own.graph.actor("Decide").behaviour.class_name == "Thrifty"
    for capacity, cuts in ((50, {"4"}), (10, {"0"})):
        (tmp_path / "capacity").write_text(str(capacity))
        log = tmp_path / "log.csv"
        # By these figures, everything runs here as a rule.
        settings = {"log": str(log), "rest": "9,9,9,9", "probe": "0"}
        answers(with_parameters(own, Decide=settings, Sink={"path": str(tmp_path / "lines")}), 8)
        assert {row.split(",")[1] for row in log.read_text().splitlines()[1:]} == cuts
