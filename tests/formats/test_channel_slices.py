"""Slices of channels compute, bit for bit, these channels of what their operators compute."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from eprune.analysis.check import check
from eprune.analysis.fusing import wirings
from eprune.cli.main import cli
from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.formats.model_files import parse_model, read_model
from eprune.formats.models.boundary import boundary
from eprune.formats.models.parts import Model, Operator
from eprune.formats.models.slices import slice_channels, slice_model
from eprune.formats.system import read_system
from eprune.formats.tflite.channels import HEADS, layers, narrow, refusal, role
from eprune.formats.xml.application import write_application
from eprune.model.finding import EpruneError
from eprune.model.mapping import Mapping, Placement
from eprune.model.platform import Platform, Unit
from eprune.passes import fuse
from tests.kit import channel_models, tiny_models

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "models"
PACKAGES = ("ai_edge_litert", "tflite_runtime")
#: models of which a cheap selection is compared in each run of the tests: shared ones, and the examples'
CHEAP = ("mobilenet_v1_0.25_128_quant", "keyword")
FILES = sorted([*SHARED.glob("*.tflite"), *(ROOT / "graphs").glob("*.tflite")])


def outputs(package: str, data: bytes, values: Sequence[np.ndarray], plain: bool = False) -> list[np.ndarray]:
    module = importlib.import_module(f"{package}.interpreter")
    kernels = {"experimental_op_resolver_type": module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}
    made = module.Interpreter(model_content=data, num_threads=1, **(kernels if plain else {}))
    made.allocate_tensors()
    for detail, value in zip(made.get_input_details(), values):
        made.set_tensor(detail["index"], value)
    made.invoke()
    return [made.get_tensor(detail["index"]) for detail in made.get_output_details()]


def random_values(model: Model, tensors: Sequence[int], random: np.random.Generator) -> list[np.ndarray]:
    made = []
    for tensor in (model.tensors[index] for index in tensors):
        if tensor.dtype == "float32":
            made.append(random.standard_normal(tensor.shape).astype(np.float32))
        else:
            bounds = np.iinfo(tensor.dtype)
            made.append(random.integers(bounds.min, bounds.max, tensor.shape, endpoint=True).astype(tensor.dtype))
    return made


def compare(model: Model, operators: Sequence[int], channels: Sequence[int], packages: Sequence[str]) -> int:
    """Assert that these channels are those of the whole, in each interpreter; how often that was done."""
    inputs, results = boundary(model, operators)
    left = {
        tensor: kept
        for one in narrow(model, operators, tuple(channels)).values()
        for tensor, kept in one.tensors.items()
    }
    values = random_values(model, inputs, np.random.default_rng(len(channels)))
    given = [value[..., list(left[index])] if index in left else value for value, index in zip(values, inputs)]
    whole, part = slice_model(model, operators), slice_channels(model, operators, channels)
    for package in packages:
        for plain in (False, True):
            want = outputs(package, whole, values, plain)
            got = outputs(package, part, given, plain)
            for index, right, found in zip(results, want, got):
                kept = right[..., list(left[index])]
                if plain and right.dtype == np.float32:
                    assert np.abs(found - kept).max() <= 1e-4 * max(1, np.abs(right).max()), (operators, channels)
                else:
                    assert found.shape == kept.shape and found.tobytes() == kept.tobytes(), (operators, channels)
    return 2 * len(packages)


def sliceable(model: Model) -> Iterator[Operator]:
    for operator in model.operators:
        if operator.name in HEADS and role(model, operator) is not None and not refusal(model, operator):
            yield operator


def subsets(count: int, devices: Sequence[int], random: np.random.Generator) -> Iterator[list[int]]:
    """For each number of devices a random part of the channels, in random order."""
    for number in devices:
        yield random.permutation(count)[: max(1, count // number)].tolist()


@pytest.mark.parametrize("file", [ROOT / "graphs/vehicle.tflite", *(SHARED / f"{name}.tflite" for name in CHEAP)])
def test_channels_of_an_operator_are_those_of_the_whole(file: Path) -> None:
    if not file.exists():
        pytest.skip(f"{file} is not there")
    model = read_model(str(file))
    random = np.random.default_rng(0)
    for number, operator in enumerate(sliceable(model)):
        count = model.tensors[operator.outputs[0]].shape[-1]
        for channels in subsets(count, (2 + number % 3,), random):
            assert compare(model, [operator.index], channels, PACKAGES)


@pytest.mark.long
@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_channels_of_every_operator_of_every_model_are_those_of_the_whole(file: Path) -> None:
    model = read_model(str(file))
    random = np.random.default_rng(1)
    for operator in sliceable(model):
        count = model.tensors[operator.outputs[0]].shape[-1]
        for channels in subsets(count, (2, 2, 3, 3, 4, 4), random):
            compare(model, [operator.index], channels, PACKAGES)


@pytest.mark.parametrize("file", [file for file in FILES if file.stem in (*CHEAP, "vehicle", "vehicle_skipping")])
def test_channels_go_through_a_whole_layer(file: Path) -> None:
    model = read_model(str(file))
    random = np.random.default_rng(2)
    for layer in layers(model):
        for channels in subsets(layer.channels, (2,), random):
            compare(model, layer.operators, channels, PACKAGES[:1])


@pytest.mark.long
@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_channels_go_through_every_layer_of_every_model(file: Path) -> None:
    model = read_model(str(file))
    random = np.random.default_rng(3)
    for layer in layers(model):
        for channels in subsets(layer.channels, (2, 3, 4), random):
            compare(model, layer.operators, channels, PACKAGES)


@pytest.mark.parametrize(
    ("make", "operators", "channels"),
    [
        (channel_models.per_channel, [0], [5, 0, 6]),
        (channel_models.per_channel, [1], [5, 0, 6]),
        (channel_models.per_channel, [0, 1, 2], [7, 1]),
        (channel_models.multiplied, [0], [4, 1]),
        (channel_models.multiplied, [1], [2, 3, 8, 9]),
        (channel_models.multiplied, [0, 1], [5, 2]),
        (channel_models.grouped, [0], [3, 4, 5]),
        (channel_models.grouped, [0], [4]),
        (channel_models.grouped, [0], [0, 2, 3, 5]),
        (channel_models.transposed, [0], [4, 0, 1]),
        (channel_models.local, [0, 1, 2, 3, 4, 5, 6, 7, 8], [5, 2, 3]),
        (channel_models.local, [3, 4, 5], [1, 5]),
        (channel_models.branches, [1, 2, 3], [3, 0]),
        (tiny_models.float16_weights, [2], [63, 0, 7]),
        (tiny_models.conv_pool_dense, [0, 1], [2]),
    ],
)
def test_each_kind_of_operator(make: Any, operators: list[int], channels: list[int]) -> None:
    compare(parse_model(make()), operators, channels, PACKAGES)


def test_int4_weights_are_taken_out_of_shared_bytes() -> None:
    compare(parse_model(channel_models.four_bits()), [0], [5, 2, 1], PACKAGES[:1])


def test_a_slice_holds_the_weights_of_its_channels_only_and_no_shape_signature_of_them() -> None:
    model = parse_model(channel_models.multiplied())
    part = parse_model(slice_channels(model, [1], [2, 3, 8, 9]))
    assert sorted(t.nbytes for t in part.tensors if t.constant) == [16, 9 * 16]
    assert [t.shape for t in part.tensors if not t.constant] == [(1, 6, 6, 2), (1, 6, 6, 4)]
    assert not any(t.open for t in part.tensors if t.index != part.inputs[0])
    # the float16 weights of one of two layers that share them
    part = parse_model(slice_channels(parse_model(tiny_models.float16_weights()), [2], [1, 2]))
    assert [operator.name for operator in part.operators] == ["DEQUANTIZE", "DEQUANTIZE", "FULLY_CONNECTED"]
    assert sorted(t.nbytes for t in part.tensors if t.constant) == [4, 256]


@pytest.mark.parametrize(
    ("make", "operators", "channels", "words"),
    [
        (
            tiny_models.sparse_weights,
            [1],
            [0],
            "operator 1 (FULLY_CONNECTED) cannot be sliced by channels: * are sparse",
        ),
        (tiny_models.blockwise, [1], [0], "are quantized by blocks"),
        (channel_models.shuffled, [0], [0], "its weights are shuffled"),
        (channel_models.local, [8, 9], [0], "operator 9 (SOFTMAX) does not work channel by channel"),
        (channel_models.local, [0], [6], "operator 0 (CONV_2D) has no channel 6"),
        (channel_models.local, [0], [1, 1], "to keep a channel twice"),
        (channel_models.grouped, [0], [0, 3, 4], "to keep parts of groups of different size"),
        (channel_models.branches, [0, 1], [0, 1], "operator 1 (CONV_2D) mixes channels"),
        (
            channel_models.multiplied,
            [0],
            [3],
            "operator 0 (DEPTHWISE_CONV_2D) is to keep one channel of several of a group",
        ),
        (channel_models.multiplied, [1], [3, 8], "to keep one channel of several of a group"),
    ],
)
def test_what_cannot_be_kept_alone_is_refused_by_name(
    make: Any, operators: list[int], channels: list[int], words: str
) -> None:
    model = parse_model(make())
    with pytest.raises(EpruneError) as caught:
        slice_channels(model, operators, channels)
    (finding,) = caught.value.findings
    assert all(word.strip() in finding.message for word in words.split("*")), finding.message
    assert finding.hint


def test_layers_are_what_stays_partitioned_together() -> None:
    def found(make: Any) -> list[tuple[tuple[int, ...], int, tuple[int, ...]]]:
        return [(each.operators, each.channels, each.outputs) for each in layers(parse_model(make()))]

    assert found(tiny_models.conv_pool_dense) == [((0, 1), 4, (4,)), ((2,), 5, (5,))]
    # A resize makes more bytes, but the mean behind it fewer: all are in front of the exchange.
    assert [operators for operators, *_ in found(channel_models.local)] == [tuple(range(9))]
    # Both branches are added before anyone else needs them; the first convolution's result is needed whole.
    assert [operators for operators, *_ in found(channel_models.branches)] == [(0,), (1, 2, 3)]
    assert (
        found(channel_models.multiplied)
        == found(channel_models.grouped)
        == found(channel_models.shuffled)
        == found(tiny_models.sparse_weights)
        == []
    )


def test_a_layer_counts_the_weights_that_its_channels_share_among_them() -> None:
    (conv, dense) = layers(parse_model(tiny_models.conv_pool_dense()))
    assert (conv.weight_bytes, conv.macs) == (4 * (4 * 9 * 3 + 4), 64 * 4 * 27)
    assert (dense.weight_bytes, dense.macs) == (4 * (5 * 64 + 5), 5 * 64)


APPLICATION = """<application name="half">
  <actor name="In" class="tensor_source.py:TensorSource"><param name="path" value=""/>
    <out name="out" token="float32[1,8,8,3]"/></actor>
  <actor name="Conv" model="m.tflite" operators="0" channels="{conv}">
    <in name="in" token="float32[1,8,8,3]"/><out name="out" token="float32[1,8,8,2]"/></actor>
  <actor name="Pool" model="m.tflite" operators="1" channels="{pool}">
    <in name="in" token="float32[1,8,8,2]"/><out name="out" token="float32[1,4,4,2]"/></actor>
  <actor name="Out" class="tensor_sink.py:TensorSink"><in name="half" token="float32[1,4,4,2]"/></actor>
  <fifo name="f1" from="In.out" to="Conv.in"/>
  <fifo name="f2" from="Conv.out" to="Pool.in"/>
  <fifo name="f3" from="Pool.out" to="Out.half"/>
</application>
"""


def application(folder: Path, conv: str = "3,0", pool: str = "3,0") -> str:
    (folder / "m.tflite").write_bytes(tiny_models.conv_pool_dense())
    (folder / "app.xml").write_text(APPLICATION.format(conv=conv, pool=pool))
    return str(folder / "app.xml")


def test_an_application_states_channels_and_its_slices_become_one_segment(tmp_path: Path) -> None:
    system = read_system(application(tmp_path))
    assert check(system) == []
    conv = system.graph.actors[1]
    assert isinstance(conv.behaviour, ModelSlice)
    assert conv.behaviour.label == "m.tflite 0 channels 3,0" and conv.behaviour.channels == (3, 0)
    assert conv.behaviour.attributes() == {"model": "m.tflite", "operators": "0", "channels": "3,0"}
    assert conv.behaviour.identity({}) != read_system(application(tmp_path, "0,3")).graph.actors[1].behaviour.identity(
        {}
    )
    assert system.interfaces["Conv"].weight_bytes == 4 * 2 * (27 + 1)
    placed = tuple(Placement(actor.name, unit="cpu") for actor in system.graph.actors)
    local = replace(system, platforms=(Platform("here", (Unit("cpu"),)),), mappings=(Mapping("half", "here", placed),))
    assert fuse.choose(local) == [("Conv", "Pool")]
    text = write_application(system.graph)
    assert 'operators="0" channels="3,0"' in text


def test_slices_of_different_channels_do_not_fit(tmp_path: Path) -> None:
    system = read_system(application(tmp_path, pool="0,3"))
    (finding,) = check(system)
    assert finding.rule == "G2" and "FIFO 'f2': the slices at its ends have different channels" in finding.message
    wires = wirings(system.graph, system.interfaces)
    assert wires["Conv"].clash(wires["Pool"]) == "its slices have different channels of tensor 1"


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        ("3,9", "has no channel 9"),
        ("3-0", "channels 3-0 are not indices and ranges"),
        ("0-999999999", "are not indices and ranges"),
        ("0-2", "port 'out'"),
    ],
)
def test_wrong_channels_are_a_finding_at_the_actor(tmp_path: Path, channels: str, words: str) -> None:
    found = check(read_system(application(tmp_path, channels)))
    assert found and found[0].rule == "G2" and words in found[0].message
    assert found[0].where.line in (4, 5)


def test_verify_compares_slices_of_channels_with_the_model(tmp_path: Path) -> None:
    app = application(tmp_path)
    result = CliRunner().invoke(cli, ["verify", app, "--model", str(tmp_path / "m.tflite"), "--frames", "2"])
    assert result.exit_code == 0, result.output
