"""A network of which each frame decides how much runs on the device: the pass, its actors, and the same answers."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from eprune.runtime.main.files import Files
from tests.actors.driver import fired, prepared

ROOT = Path(__file__).resolve().parents[2]
GRAPHS = ROOT / "graphs"
BLOCKS = ["L1", "L2", "L3", "L4-L5"]


def actor(name):
    return Files(__file__).load_class(f"{ROOT / 'actors' / name}")


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
    result = offload.apply(system, offload.Options("endpoint", "server", **options))
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
        ({"server": "endpoint"}, "the device and the server are both 'endpoint'"),
        ({"cut": ("Input",)}, "--cut Input: the network consists of L1, L2, L3, L4-L5"),
        ({"here": "0.1,0.2"}, "--here 0.1,0.2: the network has 4 blocks"),
    ],
)
def test_what_cannot_be_offloaded_is_refused(vehicle, options, message):
    with pytest.raises(ValueError, match=message):
        offload.apply(vehicle, replace(offload.Options("endpoint", "server"), **options))


def test_a_graph_without_a_model_is_refused(vehicle):
    graph = vehicle.graph
    bare = replace(graph, actors=tuple(replace(each, behaviour=None) for each in graph.actors))
    with pytest.raises(ValueError, match="no slices of a model"):
        offload.apply(System(bare, vehicle.platforms), offload.Options("endpoint", "server"))


# The decider.


def decider(**parameters):
    given = {"here": "1,1,1", "there": "0.1,0.1,0.1", "bytes": "300,100,10", "bandwidth": "100", **parameters}
    made = actor("offload_decider.py:OffloadDecider")(**given)
    token = "float32[4]"
    return prepared(made, {"in": token, "report": "float64[2]"}, {"local": token, "raw": token})


def test_the_cheapest_cut_is_chosen_for_each_objective():
    # Seconds: 0 + 3 + .3, 1 + 1 + .2, 2 + .1 + .1, 3.
    assert decider().costs() == pytest.approx([3.3, 2.2, 2.2, 3])
    assert decider(latency="0.1").decide() in (1, 2)
    assert decider(bandwidth="1e9").decide() == 0
    assert decider(bandwidth="1").decide() == 3
    assert decider(objective="endpoint").decide() == 0
    assert decider(objective="bytes").decide() == 3


def test_energy_counts_computing_waiting_and_sending():
    # 5 W while it computes, 1 W while it waits, 10 W more while it sends.
    each = decider(objective="energy", watts="5,1,10")
    assert each.costs() == pytest.approx([3.3 + 30, 5 + 1.2 + 10, 10 + 0.2 + 1, 15])


def test_a_limit_leaves_the_objective_the_cuts_that_keep_it():
    each = decider(objective="bytes", within="2.5")
    assert each.costs() == [math.inf, 100, 10, math.inf]
    assert each.decide() == 2
    # Where none keeps it, the fastest.
    assert decider(objective="bytes", within="0.1", latency="0.1").decide() == 1


def test_the_pass_states_limits_and_watts(vehicle):
    with pytest.raises(ValueError, match="platform 'endpoint' does not state the watts of its unit"):
        offload.apply(vehicle, offload.Options("endpoint", "server", objective=offload.Objective.ENERGY))
    unit = replace(vehicle.platforms[0].units[0], watts=4.0, idle=1.5)
    endpoint = replace(vehicle.platforms[0], units=(unit,))
    system = replace(vehicle, platforms=(endpoint, *vehicle.platforms[1:]))
    options = offload.Options("endpoint", "server", objective=offload.Objective.ENERGY, latency="50ms")
    given = dict(offload.apply(system, options).system.graph.actor("Decide").parameters)
    assert (given["watts"], given["within"], given["objective"]) == ("4,1.5,0", "0.05", "energy")


def test_a_new_choice_must_be_better_by_a_margin_for_some_frames():
    each = decider(bandwidth="1e9")
    assert each.decide() == 0
    each.slower["far"] = 9.0  # 2.7 seconds there, 3 here
    assert each.decide() == 0
    each.slower["far"] = 12.0
    assert [each.decide() for _ in range(4)] == [0, 0, 3, 3]


def test_how_long_frames_took_changes_the_choice_and_a_probe_finds_the_server_again():
    each = decider(bandwidth="1e9", probe="5")
    report = np.zeros(2)
    now = [0.0]

    def frame(there):
        """One frame, answered before the next one; the server takes ``there`` times what was expected."""
        chosen = each.control({"in": np.zeros(4, np.float32), "report": report})
        choice, _ = each.under_way.pop()
        each.under_way.append((choice, now[0]))
        taken = each.near[chosen] + there * each.far[chosen]
        report[:] = report[0] + 1, now[0] + taken
        return chosen

    assert [frame(1) for _ in range(5)] == [0] * 5
    slow = [frame(40) for _ in range(30)]
    assert slow[0] == 0 and slow.count(3) >= 20
    assert any(chosen < 3 for chosen in slow[10:]), "no probe"
    fast = [frame(1) for _ in range(60)]
    assert fast[-1] == 0


def test_a_frame_goes_to_the_first_block_or_as_it_is():
    each = decider()
    outputs = fired(each, **{"in": [1, 2, 3, 4], "report": [0, 0]})
    assert outputs["local"].tolist() == outputs["raw"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "parameters",
    [
        {"here": "1,2"},
        {"bandwidth": "0"},
        {"objective": "speed"},
        {"watts": "1,2"},
        {"objective": "energy"},
        {"fixed": "4"},
        {"probe": "-1"},
        {"there": "a,b,c"},
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters):
    with pytest.raises(ValueError, match="watts" if parameters == {"objective": "energy"} else next(iter(parameters))):
        decider(**parameters)


# The cut.


@given(st.integers(0, 2), st.integers(0, 255))
def test_what_is_packed_is_opened_where_it_belongs(block, value):
    types = {"block0": "uint8[7]", "block1": "float32[2,3]", "block2": "int16[4]"}
    packer = prepared(actor("cut_packer.py:CutPacker")(), types, {"cut": "uint8[<=40]"})
    opener = prepared(actor("cut_opener.py:CutOpener")(), {"cut": "uint8[<=40]"}, types)
    port = packer.inputs[f"block{block}"]
    tensor = np.full(port.shape, value, port.dtype)
    room = np.zeros(40, np.uint8).view(_room())
    packer.fire({f"block{block}": tensor}, {"cut": room})
    token = np.asarray(room)[: room.used]
    assert len(token) == 8 + tensor.nbytes
    assert opener.control({"cut": token}) == block
    out = np.empty(port.shape, port.dtype)
    opener.fire({"cut": token}, {f"block{block}": out})
    assert (out == tensor).all()


def _room():
    from eprune.runtime.kernel.variable import VariableRoom

    return VariableRoom


@pytest.mark.parametrize("token", [b"", b"\1\0\0"])
def test_a_token_that_names_no_block_is_refused(token):
    opener = prepared(actor("cut_opener.py:CutOpener")(), {"cut": "uint8[<=40]"}, {"block0": "uint8[7]"})
    with pytest.raises(ValueError, match="names no block"):
        opener.control({"cut": np.frombuffer(token, np.uint8)})


def test_a_tensor_of_another_size_is_refused():
    opener = prepared(actor("cut_opener.py:CutOpener")(), {"cut": "uint8[<=40]"}, {"block0": "uint8[7]"})
    with pytest.raises(ValueError, match="a tensor of 3 bytes for block0, which takes 7"):
        opener.fire({"cut": np.zeros(11, np.uint8)}, {"block0": np.zeros(7, np.uint8)})


def test_the_answer_is_that_of_whoever_computed_it_and_its_time_is_reported():
    each = prepared(
        actor("offload_answer.py:OffloadAnswer")(),
        {"local": "float32[2]", "remote": "float32[2]"},
        {"out": "float32[2]", "report": "float64[2]"},
    )
    out, report = np.zeros(2, np.float32), np.zeros(2)
    each.fire({"remote": np.array([1, 2], np.float32)}, {"out": out, "report": report})
    assert out.tolist() == [1, 2] and report[0] == 1 and report[1] > 0
    assert json.dumps(out.tolist())
