"""Slices compute, bit for bit, what their operators compute in the whole model."""

from __future__ import annotations

import importlib
import random
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eprune.formats.model_files import parse_model, read_model
from eprune.formats.models.boundary import boundary, weight_bytes
from eprune.formats.models.parts import Model
from eprune.formats.models.slices import slice_model
from eprune.formats.tflite import model as tflite_model
from eprune.formats.tflite.model import bonds, preparatory
from eprune.model.finding import EpruneError
from tests.kit import tiny_models

SHARED = Path(__file__).parents[3] / "shared" / "models"
PACKAGES = ("ai_edge_litert", "tflite_runtime")

#: Every model that an interpreter can run -> (rounds, cuts). A round is a random cut into pieces.
REAL = {
    "mobilenet_v1_0.25_128_quant": 4,
    "mobilenet_v2_1.0_224_quant": 2,
    "traffic_model": 2,
    "deeplabv3_257_mv_gpu": 2,
    "sample_4x4x4x4x4_two_input_one_output": 4,
    "feedback_tensor_test_model": 1,
    "keyword": 4,
    "lstm": 4,
    "split_concat": 4,
}
TINY = ("conv_pool_dense", "residual_split", "float16_weights", "sparse_weights", "reshape_like", "loop")


def interpreter(package: str, data: bytes, **options: Any) -> Any:
    module = importlib.import_module(f"{package}.interpreter")
    if options.pop("plain", False):  # no delegate
        options["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    made = module.Interpreter(model_content=data, num_threads=1, **options)
    made.allocate_tensors()
    return made


def invoke(runner: Any, values: Sequence[np.ndarray]) -> list[np.ndarray]:
    for detail, value in zip(runner.get_input_details(), values):
        if tuple(detail["shape"]) != value.shape:
            runner.resize_tensor_input(detail["index"], value.shape)
            runner.allocate_tensors()
        runner.set_tensor(detail["index"], value)
    runner.invoke()
    return [runner.get_tensor(detail["index"]) for detail in runner.get_output_details()]


def random_inputs(runner: Any, seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    values = []
    for detail in runner.get_input_details():
        if np.issubdtype(detail["dtype"], np.floating):
            values.append(generator.standard_normal(detail["shape"]).astype(detail["dtype"]))
        else:
            limits = np.iinfo(detail["dtype"])
            values.append(generator.integers(limits.min, limits.max, detail["shape"], detail["dtype"], endpoint=True))
    return values


def real_operators(model: Model) -> list[int]:
    return [operator.index for operator in model.operators if operator.index not in preparatory(model)]


def random_cut(model: Model, chooser: random.Random, contiguous: bool) -> list[list[int]]:
    """The operators cut into pieces that can run one after the other.

    Contiguous pieces are ranges of the file's order, the others of a random order that respects the data: a piece then
    takes operators from several branches.
    """
    order = real_operators(model)
    if not contiguous:
        waiting, order = order, []
        done = {tensor.index for tensor in model.tensors if tensor.constant or tensor.variable}.union(model.inputs)
        while waiting:
            needs = {index: boundary(model, [index])[0] for index in waiting}
            ready = [index for index in waiting if done.issuperset(needs[index])]
            order.append(chooser.choice(ready))
            waiting.remove(order[-1])
            done.update(model.operators[order[-1]].outputs)
    ends = sorted(chooser.sample(range(1, len(order)), min(5, len(order) - 1)))
    return [order[first:last] for first, last in zip([0, *ends], [*ends, len(order)])]


class Chain:
    """Runs the pieces of a model one after the other: the graph that a cut makes, without any of its machinery."""

    def __init__(self, package: str, model: Model, pieces: Iterable[Iterable[int]], **options: Any) -> None:
        self.model = model
        self.pieces = []
        for piece in map(list, pieces):
            runner = interpreter(package, slice_model(model, piece), **options)
            self.pieces.append((boundary(model, piece), runner))

    def invoke(self, values: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
        """Every tensor at a boundary, by its index in the model."""
        tensors = dict(zip(self.model.inputs, values))
        for (inputs, outputs), runner in self.pieces:
            tensors.update(zip(outputs, invoke(runner, [tensors[index] for index in inputs])))
        return tensors


def assert_same(expected: np.ndarray, actual: np.ndarray, what: str) -> None:
    assert (expected.dtype, expected.shape) == (actual.dtype, actual.shape), what
    assert expected.tobytes() == actual.tobytes(), f"{what} differs"


def assert_exact(package: str, model: Model, cuts: Sequence[list[list[int]]], frames: int, plain: bool) -> None:
    """The chains of these cuts compute the whole model's outputs over several frames, and all tensors in between.

    With a delegate the whole model's inner tensors cannot be read. They are then compared with those of a slice of all
    operators that has all of them as outputs.
    """
    whole = interpreter(package, model.data, plain=plain)
    crossing = sorted({index for cut in cuts for piece in cut for index in boundary(model, piece)[1]})
    everything = range(len(model.operators))
    wide = interpreter(package, slice_model(model, everything, outputs=crossing), plain=plain)
    chains = [Chain(package, model, cut, plain=plain) for cut in cuts]
    delivered = set(model.outputs) - {tensor.index for tensor in model.tensors if tensor.constant}
    for frame in range(frames):
        values = random_inputs(whole, frame)
        outputs = dict(zip(model.outputs, invoke(whole, values)))
        used = dict(zip(model.inputs, values))
        inner = dict(zip(crossing, invoke(wide, [used[index] for index in boundary(model, everything)[0]])))
        for cut, chain in zip(cuts, chains):
            tensors = chain.invoke(values)
            for index in delivered:
                assert_same(outputs[index], tensors[index], f"{cut}: frame {frame}: output {index}")
            for index in inner.keys() & tensors.keys():
                assert_same(inner[index], tensors[index], f"{cut}: frame {frame}: tensor {index}")


@pytest.mark.parametrize(
    ("name", "package", "plain"),
    [
        # Of a real model, one interpreter, as it is mostly used, will do.
        pytest.param(
            name, package, plain, marks=[pytest.mark.long] * (name in REAL and (plain or package != PACKAGES[0]))
        )
        for name in (*TINY, *REAL)
        for package in PACKAGES
        for plain in (False, True)
    ],
)
def test_every_cut_is_exact(name: str, package: str, plain: bool) -> None:
    pytest.importorskip(f"{package}.interpreter")
    if name in TINY:
        model = parse_model(getattr(tiny_models, name)(), name)
    else:
        path = SHARED / f"{name}.tflite"
        if not path.exists():
            pytest.skip(f"../shared/models/{name}.tflite is missing")
        model = read_model(str(path))
    chooser = random.Random(name)
    cuts = [[[index] for index in real_operators(model)]]
    cuts += [random_cut(model, chooser, contiguous=bool(number % 2)) for number in range(REAL.get(name, 4))]
    assert_exact(package, model, cuts, frames=3, plain=plain)


@pytest.mark.parametrize("package", PACKAGES)
def test_tensors_between_are_those_that_the_whole_model_computes(package: str) -> None:
    """Without a delegate the original file's own inner tensors can be read: no slice takes part in the reference."""
    pytest.importorskip(f"{package}.interpreter")
    model = parse_model(tiny_models.residual_split())
    whole = interpreter(package, model.data, plain=True, experimental_preserve_all_tensors=True)
    values = random_inputs(whole, 0)
    invoke(whole, values)
    tensors = Chain(package, model, [[0], [1], [2], [3], [4]], plain=True).invoke(values)
    assert len(tensors) == 8
    if package == "tflite_runtime":
        del tensors[model.operators[1].outputs[0]]  # ADD works in place there, even where all tensors are to be kept
    for index, value in tensors.items():
        assert_same(whole.get_tensor(index), value, f"tensor {index}")


@pytest.mark.parametrize("package", PACKAGES)
def test_outputs_of_all_sorts_come_out_in_the_order_asked_for(package: str) -> None:
    pytest.importorskip(f"{package}.interpreter")
    model = parse_model(tiny_models.residual_split())
    whole = interpreter(package, model.data)
    values = random_inputs(whole, 0)
    expected = invoke(whole, values)
    same = interpreter(package, slice_model(model, range(5), model.inputs, model.outputs))
    turned = interpreter(package, slice_model(model, range(5), model.inputs[::-1], model.outputs[::-1]))
    for position, (one, other) in enumerate(zip(invoke(same, values), invoke(turned, values[::-1])[::-1])):
        assert_same(expected[position], one, f"output {position}")
        assert_same(expected[position], other, f"output {position}, turned around")
    (detail,) = interpreter(package, slice_model(model, [3], outputs=[model.outputs[1]])).get_output_details()
    assert detail["name"] == model.tensors[model.outputs[1]].name, "one of two outputs may be left out"


def test_a_slice_holds_just_what_it_needs() -> None:
    model = parse_model(tiny_models.conv_pool_dense())
    part = parse_model(slice_model(model, [0, 1]))
    assert [operator.name for operator in part.operators] == ["CONV_2D", "MAX_POOL_2D"]
    assert len(part.tensors) == 5
    assert sum(tensor.nbytes for tensor in part.tensors) == 4 * (3 * 3 * 3 * 4 + 4)
    root = tiny_models.schema.ModelT.InitFromPackedBuf(part.data)
    assert (len(root.operatorCodes), len(root.buffers)) == (2, 3)
    assert (root.description, root.version) == (b"made by eprune's tests", 3)
    again = parse_model(slice_model(part, range(2)))
    assert again.data == part.data, "a slice of a whole slice is the slice"


def test_shared_weights_are_stored_once() -> None:
    model = parse_model(tiny_models.float16_weights())
    assert len(slice_model(model, [2, 3])) < len(slice_model(model, [2])) + 1000


@pytest.mark.parametrize("name", [*TINY, "counter"])
def test_constants_keep_their_bytes_and_are_aligned(name: str) -> None:
    model = parse_model(getattr(tiny_models, name)())
    part = slice_model(model, range(len(model.operators)))
    root = tiny_models.schema.Model.GetRootAs(part)
    start = np.frombuffer(part, np.uint8).ctypes.data
    for index in range(1, root.BuffersLength()):
        assert (root.Buffers(index).DataAsNumpy().ctypes.data - start) % 16 == 0
    by_name = {tensor.name: tensor for tensor in parse_model(part).tensors}
    before, after = (tiny_models.schema.ModelT.InitFromPackedBuf(data) for data in (model.data, part))
    for tensor in model.tensors:
        if tensor.constant and tensor.name in by_name:
            kept = after.buffers[by_name[tensor.name].buffer].data
            assert before.buffers[tensor.buffer].data.tobytes() == kept.tobytes()


def plain_values(table: Any) -> Any:
    """A flatbuffer object as plain data that can be compared."""
    if isinstance(table, np.ndarray):
        return table.tolist()
    if isinstance(table, list):
        return [plain_values(entry) for entry in table]
    return {name: plain_values(value) for name, value in vars(table).items()} if hasattr(table, "__dict__") else table


def test_quantisation_sparsity_and_options_travel_unchanged() -> None:
    m = tiny_models.ModelBuilder()
    schema = tiny_models.schema
    per_channel, per_tensor = schema.QuantizationParametersT(), schema.QuantizationParametersT()
    per_channel.scale, per_channel.zeroPoint, per_channel.quantizedDimension = [0.25, 1 / 3], [0, 0], 3
    per_tensor.scale, per_tensor.zeroPoint, per_tensor.min, per_tensor.max = [0.1], [-7], [-12.1], [13.4]
    sparsity = schema.SparsityParametersT()
    sparsity.traversalOrder, sparsity.blockMap = [1, 0], [0]
    source = m.tensor((1, 4), "int8", quantization=per_tensor)
    weights = m.tensor((2, 4), "int8", np.arange(8, dtype=np.int8), quantization=per_channel, sparsity=sparsity)
    out = m.tensor((1, 2), "int8", quantization=per_tensor, shapeSignature=[-1, 2], hasRank=True)
    middle = m.tensor((), "int32", quantization=per_tensor)
    dense = m.operator(
        "FULLY_CONNECTED", [source, weights, -1], [out], "FullyConnectedOptions", keepNumDims=True, version=9
    )
    dense.intermediates, dense.mutatingVariableInputs = [middle], [True, False, False]
    dense.customOptions, dense.customOptionsFormat = [1, 2, 3], 0
    last = m.tensor((1, 2), "int8", quantization=per_tensor)
    m.operator("CUSTOM", [out], [last])
    m.model.operatorCodes[1].customCode = "Mine"
    model = parse_model(m.build([source], [last]))
    assert [str(operator) for operator in model.operators] == ["operator 0 (FULLY_CONNECTED)", "operator 1 (Mine)"]
    assert model.operators[0].inputs == (source, weights, -1)
    before = schema.ModelT.InitFromPackedBuf(model.data)
    after = schema.ModelT.InitFromPackedBuf(slice_model(model, [0]))
    kept, was = after.subgraphs[0], before.subgraphs[0]
    assert plain_values(kept.operators[0]) == plain_values(was.operators[0])
    assert plain_values(after.operatorCodes[0]) == plain_values(before.operatorCodes[0])
    assert plain_values(kept.tensors) == plain_values(was.tensors[:4])


def test_metadata_that_chooses_a_precision_is_kept_and_the_rest_is_not() -> None:
    m = tiny_models.ModelBuilder()
    source, out = m.tensor((4,)), m.tensor((4,))
    m.operator("NEG", [source], [out], "NegOptions")
    m.model.metadata = []
    for name in ("min_runtime_version", "reduced_precision_support"):
        entry, buffer = tiny_models.schema.MetadataT(), tiny_models.schema.BufferT()
        entry.name, entry.buffer = name, len(m.model.buffers)
        buffer.data = np.frombuffer(name.encode(), np.uint8)
        m.model.buffers.append(buffer)
        m.model.metadata.append(entry)
    part = tiny_models.schema.ModelT.InitFromPackedBuf(slice_model(parse_model(m.build([source], [out])), [0]))
    (entry,) = part.metadata
    assert entry.name == b"reduced_precision_support"
    assert part.buffers[entry.buffer].data.tobytes() == b"reduced_precision_support"


def test_weights_behind_the_flatbuffer_are_found() -> None:
    """Converters may store buffers at offsets in the file, behind the flatbuffer proper."""
    m = tiny_models.ModelBuilder()
    source, out = m.tensor((4,)), m.tensor((4,))
    m.operator("ADD", [source, m.constant(np.zeros(4, np.float32))], [out], "AddOptions")
    m.model.buffers[1].data = None
    m.model.buffers[1].offset, m.model.buffers[1].size = 2**10, 16
    values = np.array([1, 2, 3, 4], np.float32)
    file = m.build([source], [out]).ljust(2**10, b"\0") + values.tobytes()
    model = parse_model(file)
    assert model.tensors[2].nbytes == 16
    root = tiny_models.schema.ModelT.InitFromPackedBuf(slice_model(model, [0]))
    assert (root.buffers[1].data.tobytes(), root.buffers[1].offset) == (values.tobytes(), 0)
    with pytest.raises(EpruneError, match="corrupt"):
        parse_model(file[:-1])


def test_same_arguments_give_the_same_bytes_in_any_process() -> None:
    code = (
        "import hashlib; from eprune.formats.model_files import parse_model;"
        "from eprune.formats.models.slices import slice_model;"
        "from tests.kit import tiny_models;"
        "m = parse_model(tiny_models.loop()); print(hashlib.sha256(slice_model(m, {2, 1, 0})).hexdigest())"
    )
    root = Path(__file__).parents[2]
    digests = {
        subprocess.run([sys.executable, "-c", code], cwd=root, env={"PYTHONHASHSEED": seed}, capture_output=True).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1 and len(digests.pop()) == 65


def test_graphs_that_an_operator_calls_come_with_it_and_others_do_not() -> None:
    model = parse_model(tiny_models.loop())
    assert model.operators[1].subgraphs == (1, 2)
    assert parse_model(slice_model(model, [1])).subgraphs == 3
    assert parse_model(slice_model(model, [0])).subgraphs == 1


@pytest.mark.parametrize("package", PACKAGES)
def test_state_stays_with_its_operators(package: str) -> None:
    pytest.importorskip(f"{package}.interpreter")
    model = parse_model(tiny_models.counter())
    with pytest.raises(EpruneError, match=r"operator 3 \(READ_VARIABLE\) shares state with operator 5 \(ASSIGN"):
        slice_model(model, [2, 3])
    (bond,) = bonds(model)
    assert_exact(package, model, [[[1], [*bond, 4], [6]]], frames=4, plain=False)


@pytest.mark.parametrize("package", PACKAGES)
def test_each_slice_begins_with_the_state_that_the_model_begins_with(package: str) -> None:
    pytest.importorskip(f"{package}.interpreter")
    model = parse_model(tiny_models.two_streams())
    assert_exact(package, model, [[[3, 6, 7], [8], [4, 5, 9, 10], [11]]], frames=4, plain=False)
    assert_exact(package, model, [[[3, 6, 7, 8], [4, 5, 9, 10, 11]]], frames=4, plain=True)


def test_interfaces_that_cannot_be_are_refused() -> None:
    model = parse_model(tiny_models.residual_split())
    image, other = model.inputs
    product, _, first, _, constant = model.outputs
    for inputs, outputs, text in (
        ([other], None, rf"operator 0 \(CONV_2D\) needs tensor {image} \(t0\), which is not among the inputs"),
        ([image, constant], None, "it is constant"),
        ([image, first], None, "it is produced by the slice itself"),
        ([image, image], None, "it is named twice"),
        (None, [product], f"tensor {product} .* cannot be an output: the slice does not produce it"),
        (None, [99], "has no tensor 99"),
        ([image, -1], None, "has no tensor -1"),
        (None, [], "compute nothing"),
    ):
        with pytest.raises(EpruneError, match=text):
            slice_model(model, [0, 1], inputs, outputs)
    with pytest.raises(EpruneError, match="compute nothing that other operators wait for"):
        slice_model(parse_model(tiny_models.float16_weights()), [0, 1])
    assert len(parse_model(slice_model(model, [0], [image, other])).inputs) == 2, "an input more than needed is no harm"


def test_fields_that_the_schema_does_not_know_are_not_lost_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    model = parse_model(tiny_models.conv_pool_dense())
    schema = tiny_models.schema
    monkeypatch.setattr(schema, "Conv2DOptionsStart", lambda builder: builder.StartObject(2))  # an old schema
    slice_model(model, [1])
    with pytest.raises(EpruneError, match="has Conv2DOptions fields that the installed ai-edge-litert does not know"):
        slice_model(model, [0])


@pytest.mark.parametrize("zero_points", [-1, 0])
def test_scales_that_only_a_quantisation_detail_names_travel_with_the_weights(zero_points: int) -> None:
    pytest.importorskip("ai_edge_litert.interpreter")
    model = parse_model(tiny_models.blockwise(zero_points=zero_points))
    assert_exact("ai_edge_litert", model, [[[0], [1], [2]], [[0, 1], [2]], [[0], [1, 2]]], frames=3, plain=False)
    part = parse_model(slice_model(model, [2]))
    (weights,) = [tensor for tensor in part.tensors if tensor.type == "INT4"]
    scales = part.tensors[weights.details[0]]
    assert (scales.shape, scales.dtype) == ((64, 2), "float16")
    whole = model.operators[2].inputs[1]
    assert constant(part, scales.index) == constant(model, model.tensors[whole].details[0])
    assert weight_bytes(model, [2]) == weight_bytes(part, [0]) == 64 * 64 // 2 + 64 * 2 * 2


def test_details_of_another_kind_travel_as_well() -> None:
    model = parse_model(tiny_models.blockwise("MultiAxisQuantization"))
    part = parse_model(slice_model(model, [2]))
    (weights,) = [tensor for tensor in part.tensors if tensor.type == "INT4"]
    assert part.tensors[weights.details[0]].shape == (64, 2)


def test_details_of_a_kind_that_nobody_knows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(tflite_model.DETAILS, "MultiAxisQuantization")
    with pytest.raises(EpruneError, match="has quantization details of a kind that is not known: MultiAxis"):
        parse_model(tiny_models.blockwise("MultiAxisQuantization"))


def test_details_that_name_what_is_no_constant_are_refused() -> None:
    unpacked = tiny_models.schema.ModelT.InitFromObj(tiny_models.schema.Model.GetRootAs(tiny_models.blockwise()))
    weights = [tensor for tensor in unpacked.subgraphs[0].tensors if tensor.quantization]
    for index in (0, 10**6):
        weights[0].quantization.details.scales = index
        builder = tiny_models.flatbuffers.Builder(0)
        builder.Finish(unpacked.Pack(builder), b"TFL3")
        with pytest.raises(EpruneError, match=f"names tensor {index}, which is no constant"):
            parse_model(bytes(builder.Output()))


def constant(model: Model, tensor: int) -> bytes:
    """The bytes of a constant."""
    root = tflite_model.load_schema(model.path).Model.GetRootAs(model.data)
    return tflite_model.buffer_bytes(model.data, root, model.tensors[tensor].buffer).tobytes()
