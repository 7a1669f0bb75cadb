"""A model dealt to devices computes what the whole model computes, and its system breaks no rule."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eprune.analysis.check import check
from eprune.codegen.lower import lower
from eprune.face import load as load_system
from eprune.formats.model_files import parse_model
from eprune.formats.system import write_system
from eprune.formats.tflite.channels import layers
from eprune.formats.tflite.dealing import blocks, chained, lop
from eprune.measure.executor import Executor
from eprune.measure.plans.partition import planned, read_plan
from eprune.measure.stated import stated
from eprune.model.finding import EpruneError, errors
from eprune.model.graph import FaultPolicy, Graph
from eprune.model.mapping import Mapping, Placement
from eprune.model.platform import Platform, Unit
from eprune.model.system import System
from eprune.passes import fuse, import_
from eprune.passes.partition import LayerParts, Method, Options, Plan, Results, apply
from eprune.runtime import PortType
from eprune.runtime.fire.tflite import load
from tests.kit import channel_models, tiny_models

sys.path.insert(0, str(Path(__file__).parents[2] / "actors"))
from exchange import Exchange

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "models"
VEHICLE = ROOT / "graphs/vehicle.tflite"
#: models in which there is something to deal
MODELS = [
    *(ROOT / f"graphs/{name}.tflite" for name in ("vehicle", "vehicle_skipping", "ssd_mobilenet")),
    *(SHARED / f"{name}.tflite" for name in ("mobilenet_v1_0.25_128_quant", "mobilenet_v2_1.0_224_quant", "keyword")),
    SHARED / "deeplabv3_257_mv_gpu.tflite",
]


def imported(file: Path) -> System:
    if not file.exists():
        pytest.skip(f"{file} is not there")
    found = stated(str(file))
    given = import_.Options(found.model, found.types, "operator", file=found.file)
    return import_.apply(System(Graph(file.stem)), given).system


def written(system: System, folder: Path) -> System:
    """The system as it is read again; it breaks no rule."""
    places = write_system(system, str(folder))
    read = load_system(places.application, places.platforms, places.mappings)
    assert not errors(check(read)), [f"{each.rule} {each.message}" for each in errors(check(read))][:3]
    return read


def results(system: System, frames: int) -> list[dict[str, Any]]:
    """Of each frame: sink's port -> what it gets, and ``source.port`` -> what the sources give; all in this process."""
    placed = tuple(Placement(actor.name, unit="cpu") for actor in system.graph.actors)
    here = (Platform("host", (Unit("cpu"),)),), (Mapping(system.graph.name, "host", placed),)
    (program,) = lower(fuse.apply(replace(system, platforms=here[0], mappings=here[1])).system)
    found = []
    with contextlib.redirect_stdout(io.StringIO()), Executor(program, "ai-edge-litert") as executor:
        for _ in range(frames):
            made = {}
            for node in executor.nodes:
                for name, value in executor.fire(node.name).outputs.items():
                    made[name if "." in name else f"{node.name}.{name}"] = np.array(value)
            for fifo in system.graph.fifos:
                if str(fifo.source) in made:
                    made[f"to {fifo.target}"] = made[str(fifo.source)]
            found.append(made)
    return found


def check_exact(file: Path, options: Options, folder: Path) -> None:
    """Every device has, bit for bit, the whole model's outputs."""
    before = imported(file)
    system = written(apply(before, options).system, folder)
    data = next(iter(before.files.values()))
    model = parse_model(data)
    whole = load("ai-edge-litert", data)
    sources = {port.tensor: f"{a.name}.{port.name}" for a in system.graph.actors if not a.inputs for port in a.outputs}
    ends = {
        tensor: fifo.target
        for fifo in before.graph.fifos
        if fifo.target.actor == "Output"
        for actor in before.graph.actors
        if actor.name == fifo.source.actor
        for tensor in [port.tensor for port in actor.outputs if port.name == fifo.source.port]
    }
    for frame in results(system, 2):
        for index, detail in zip(model.inputs, whole.get_input_details()):
            whole.set_tensor(detail["index"], frame[sources[index]])
        whole.invoke()
        for index, detail in zip(model.outputs, whole.get_output_details()):
            want = whole.get_tensor(detail["index"])
            for device in range(1, options.devices + 1):
                got = frame[f"to Output-{device}.{ends[index].port}"]
                assert got.tobytes() == want.tobytes(), (device, index)


@pytest.mark.parametrize(
    ("file", "options"),
    [
        (MODELS[0], Options(2)),
        (MODELS[0], Options(4, Method.CHAINED, failures=2)),
        (MODELS[0], Options(3, Method.FULL)),
        (MODELS[1], Options(3, memory=0.6)),
        (MODELS[1], Options(3, Method.CDC)),
        (MODELS[3], Options(3, Method.CHAINED)),
        (MODELS[3], Options(4)),
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else f"{value.method.value}{value.devices}",
)
def test_every_device_has_the_whole_models_result(file: Path, options: Options, tmp_path: Path) -> None:
    check_exact(file, options, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("devices", [2, 3, 4])
@pytest.mark.parametrize("method", [Method.LOP, Method.CHAINED])
@pytest.mark.parametrize("file", MODELS, ids=[file.stem for file in MODELS])
def test_every_model_dealt_any_way_has_the_whole_models_result(
    file: Path, method: Method, devices: int, tmp_path: Path
) -> None:
    check_exact(file, Options(devices, method), tmp_path)


@pytest.mark.parametrize("devices", [3, 4])
def test_sums_restore_the_part_of_any_device_but_for_rounding(devices: int, tmp_path: Path) -> None:
    system = written(apply(imported(VEHICLE), Options(devices, Method.CDC)).system, tmp_path)
    (frame,) = results(system, 1)
    gathering = [actor for actor in system.graph.actors if actor.name.startswith("exchange")]
    assert len(gathering) == 2 * devices
    for actor in gathering:
        whole = frame[next(f"{actor.name}.{port.name}" for port in actor.outputs if port.name.startswith("out"))]
        tokens = {port.name: frame[f"to {actor.name}.{port.name}"] for port in actor.inputs}
        for lost in (name for name in tokens if name.startswith("device")):
            made = Exchange(**dict(actor.parameters))
            made.inputs = {port.name: PortType(port.token.dtype, port.token.shape, 1) for port in actor.inputs}
            made.outputs = {"out": PortType("float32", whole.shape, 1), "table": PortType("uint8", (2, devices), 1)}
            made.initialize()
            outputs = {"out": np.empty_like(whole), "table": np.empty((2, devices), np.uint8)}
            made.fire({name: token for name, token in tokens.items() if name != lost}, outputs)
            assert np.abs(outputs["out"] - whole).max() <= 1e-5 * max(1, np.abs(whole).max())
            assert outputs["table"].max() == 1
    with pytest.raises(ValueError, match="takes 3 devices at least"):
        apply(imported(VEHICLE), Options(2, Method.CDC))
    with pytest.raises(ValueError, match="no layer of floats"):
        apply(imported(SHARED / "mobilenet_v1_0.25_128_quant.tflite"), Options(3, Method.CDC))


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_any_plan_that_has_each_channel_somewhere_is_exact(data: st.DataObject, tmp_path_factory: Any) -> None:
    makers = (channel_models.local, channel_models.branches, channel_models.flattened, tiny_models.conv_pool_dense)
    make = data.draw(st.sampled_from(makers))
    folder = tmp_path_factory.mktemp("any")
    (folder / "m.tflite").write_bytes(make())
    devices = data.draw(st.integers(2, 3))
    dealt = []
    for layer in layers(parse_model(make())):
        if layer.channels >= devices and data.draw(st.booleans()):
            own = [{channel for channel in range(layer.channels) if channel % devices == d} for d in range(devices)]
            more = data.draw(st.lists(st.sets(st.integers(0, layer.channels - 1)), min_size=devices, max_size=devices))
            dealt.append(LayerParts(layer.first, tuple(tuple(sorted(a | b)) for a, b in zip(own, more))))
    plan = Plan(devices, "drawn", tuple(dealt))
    check_exact(folder / "m.tflite", Options(devices, made=plan), folder / "out")


def test_a_map_is_gathered_before_it_is_flattened(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(channel_models.flattened())
    made = apply(imported(tmp_path / "m.tflite"), Options(2, memory=0.99)).system
    shapes = [port.token.shape for a in made.graph.actors if a.name.startswith("exchange") for port in a.outputs]
    assert (1, 3, 3, 4) in shapes and (1, 36) not in shapes
    check_exact(tmp_path / "m.tflite", Options(2, memory=0.7), tmp_path / "out")


def test_devices_hold_their_part_and_the_report_says_how_much() -> None:
    report = apply(imported(VEHICLE), Options(4)).report
    figures = report.figures
    assert [layer["layer"] for layer in figures["layers"]] == ["conv2d_2", "fully_connected_4", "fully_connected_6"]
    assert figures["layers"][0]["parts"] == ["0-7", "8-15", "16-23", "24-31"]
    assert all(0.25 <= device["of_the_whole"] < 0.26 for device in figures["devices"])
    # Three devices get each frame of the first; all send 8 of 32 and 25 of 100 channels, twice, to three others.
    parts = 3 * (24 * 24 * 8 + 25 + 25) * 4
    tables = 3 * 3 * 4
    assert [device["sent_bytes"] for device in figures["devices"]] == [
        3 * 110592 + parts + tables,
        *[parts + tables] * 3,
    ]
    assert len(report.lines) == 5 and "(25." in report.lines[1]


def test_a_device_is_sent_only_what_it_does_not_have_itself() -> None:
    def sent(copies: int) -> list[int]:
        method = Method.LOP if copies == 1 else Method.CHAINED
        report = apply(imported(VEHICLE), Options(4, method, failures=max(copies - 1, 1), clock="1/s")).report
        return [device["sent_bytes"] for device in report.figures["devices"]]

    block, tables = (24 * 24 * 8 + 25 + 25) * 4, 3 * 3 * 4
    assert sent(1) == [3 * block + tables] * 4
    # Of three others one has one of both blocks itself, on either side.
    assert sent(2) == [4 * block + 2 * tables] * 4
    # The lower bound is what all lack, once from each that has it.
    assert sent(4) == [0] * 4


def test_parts_come_from_peers_by_drop_in_a_group_each_with_longer_time_outs_further_down() -> None:
    made = apply(imported(VEHICLE), Options(3, timeout="80ms")).system
    crossing = [fifo for fifo in made.graph.fifos if fifo.group]
    assert {fifo.policy for fifo in crossing} == {FaultPolicy.DROP}
    assert {fifo.group for fifo in crossing} == {"device1-device2", "device1-device3", "device2-device3"}
    assert sorted({round(fifo.timeout or 0, 3) for fifo in crossing}) == [0.09, 0.1, 0.11]
    assert all(fifo.timeout_floor is None for fifo in crossing)
    assert all(link.shared for platform in made.platforms for link in platform.links)
    assert len({link.port for platform in made.platforms for link in platform.links}) == 3


def test_a_time_out_that_adapts_grows_at_both_ends(tmp_path: Path) -> None:
    made = written(apply(imported(VEHICLE), Options(3, timeout="8ms..80ms")).system, tmp_path)
    crossing = {(round(f.timeout_floor, 6), round(f.timeout, 6)) for f in made.graph.fifos if f.group}
    assert sorted(crossing) == [(0.009, 0.09), (0.01, 0.1), (0.011, 0.11)]
    # What a source sends to others is not waited for by peers, who then would wait for it again.
    assert all(fifo.timeout == 0.08 for fifo in made.graph.fifos if fifo.timeout and not fifo.group)


def test_every_device_says_whether_its_result_is_the_designated_one(tmp_path: Path) -> None:
    for result in Results:
        made = apply(imported(VEHICLE), Options(3, result=result)).system
        sinks = [actor for actor in made.graph.actors if actor.name.startswith("Output-")]
        assert len(sinks) == 3
        assert all(sink.port("designated") for sink in sinks)
        assert all((("only", "designated") in sink.parameters) == (result is Results.DESIGNATED) for sink in sinks)
    for frame in results(written(apply(imported(VEHICLE), Options(3)).system, tmp_path), 1):
        assert [int(frame[f"to Output-{device}.designated"][0]) for device in (1, 2, 3)] == [1, 0, 0]


def test_memory_deals_as_many_layers_as_are_needed() -> None:
    def dealt(**options: Any) -> int:
        return len(
            apply(imported(SHARED / "mobilenet_v1_0.25_128_quant.tflite"), Options(**options)).report.figures["layers"]
        )

    assert dealt(devices=4) == 9
    assert dealt(devices=4, memory=0.662) > 9
    with pytest.raises(ValueError, match=r"a device needs 0\.6\d+ of the model's 478812 bytes of weights at least"):
        dealt(devices=4, memory=0.5)


def test_a_source_on_every_device_with_a_clock() -> None:
    made = apply(imported(VEHICLE), Options(2, clock="30/s")).system
    sources = [actor for actor in made.graph.actors if not actor.inputs]
    assert [(actor.name, actor.clock) for actor in sources] == [("image-1", 30.0), ("image-2", 30.0)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"devices": 1}, "there are 2 to 99"),
        ({"devices": 3, "failures": 3}, "with 3 devices 1 to 2"),
        ({"devices": 3, "memory": 1.5}, "a part of the model's weights"),
        ({"devices": 3, "timeout": "soon"}, "--timeout soon"),
        ({"devices": 3, "clock": "30"}, "--clock 30"),
        ({"devices": 3, "port": 65535}, "3 links would need TCP ports"),
        ({"devices": 3, "scores": "s1"}, "are for --method robust"),
        ({"devices": 3, "made": Plan(2, "lop")}, "the plan is for 2 devices"),
        ({"devices": 2, "made": Plan(2, "x", (LayerParts(1, ((0,), (1,))),))}, "no such layer"),
        ({"devices": 2, "made": Plan(2, "x", (LayerParts(0, ((0,), (1,))),))}, "each channel has to be on a device"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        apply(imported(VEHICLE), Options(**options))


def test_a_model_of_which_nothing_can_be_dealt_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(channel_models.grouped())
    with pytest.raises(ValueError, match=r"nothing of m.tflite is to be partitioned: no layer has channels to deal"):
        apply(imported(tmp_path / "m.tflite"), Options(2))


def test_the_plans_of_blocks_and_chains() -> None:
    found = layers(parse_model(tiny_models.conv_pool_dense()))
    assert blocks(5, 3) == [(0, 1), (2, 3), (4,)]
    assert lop(found, 2).layers[1].parts == ((0, 1, 2), (3, 4))
    assert chained(found, 3, 2).layers[1].parts == ((0, 1, 4), (0, 1, 2, 3), (2, 3, 4))


def test_a_plan_is_read_as_it_was_printed(tmp_path: Path) -> None:
    system = imported(VEHICLE)
    first = apply(system, Options(3, Method.CHAINED))
    file = tmp_path / "plan.json"
    file.write_text(json.dumps({"application": "x", **first.report.figures}))
    again = apply(system, planned(system, Options(3, plan=str(file))))
    assert again.report.figures["plan"] == first.report.figures["plan"]
    assert again.system.graph == first.system.graph
    with pytest.raises(ValueError, match="--plan says it all"):
        planned(system, Options(3, plan=str(file), memory=0.5))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"devices": 2, "method": "lop", "layers": 3}',
        '{"devices": 2, "method": "lop", "layers": [{"first": 0, "parts": [[0]]}]}',
        '{"devices": 2, "method": "lop", "layers": [{"first": 0, "parts": [[1, 0], [2]]}]}',
        '{"devices": 2, "method": "lop", "layers": [{"first": 0, "parts": [[true], [2]]}]}',
        '{"devices": 0, "method": "lop", "layers": []}',
        "[" * 100_000,
    ],
)
def test_what_is_no_plan_is_an_error_about_the_file(text: str, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text(text)
    with pytest.raises(EpruneError) as caught:
        read_plan(str(file))
    assert "is no plan" in caught.value.findings[0].message


@pytest.mark.parametrize("method", [Method.LOP, Method.CHAINED])
def test_what_is_made_is_nothing_to_warn_of(tmp_path: Path, method: Method) -> None:
    """Time-outs that adapt may be shorter than that of the frame itself, for which everybody waits."""
    made = written(apply(imported(VEHICLE), Options(3, method)).system, tmp_path)
    assert [f"{each.rule} {each.message}" for each in check(made) if each.rule == "F4"] == []
