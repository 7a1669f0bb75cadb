"""ONNX files: what is read of them, what slices hold, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from eprune.formats.model_files import parse_model, read_model  # noqa: E402
from eprune.formats.models.boundary import boundary, weight_bytes  # noqa: E402
from eprune.formats.models.cuts import layers, pieces, why_not  # noqa: E402
from eprune.formats.models.flow import flow  # noqa: E402
from eprune.formats.models.slices import restated, slice_model  # noqa: E402
from eprune.measure.probe import open_types  # noqa: E402
from eprune.model.finding import EpruneError  # noqa: E402
from tests.kit import onnx_models  # noqa: E402
from tests.kit.onnx_cuts import differences, random_inputs, run  # noqa: E402
from tests.kit.onnx_models import Builder  # noqa: E402

SHARED = Path(__file__).parents[3] / "shared" / "models" / "onnx"


def model_of(data: bytes, path: str = "m.onnx") -> Any:
    return parse_model(data, path)


def test_operators_are_the_nodes_but_those_that_give_constants() -> None:
    model = model_of(onnx_models.network())
    names = [operator.name for operator in model.operators]
    assert "Constant" not in names
    assert names[:3] == ["Conv", "BatchNormalization", "Relu"]
    assert [str(model.tensors[index].token) for index in model.inputs] == ["float32[1,3,8,8]"]
    assert [str(model.tensors[index].token) for index in model.outputs] == ["float32[1,4]"]
    conv = model.operators[0]
    assert weight_bytes(model, [0]) == 4 * (8 * 3 * 3 * 3 + 8)
    assert model.format.macs(model, conv) == 8 * 8 * 8 * 27


@pytest.mark.parametrize("name", ["network", "quantized", "branching", "looping"])
def test_every_cut_of_a_model_computes_the_same_bits(name: str) -> None:
    tried = dict(differences(model_of(getattr(onnx_models, name)())))
    assert tried and not any(tried.values())


def test_an_if_is_one_operator_that_reads_what_its_branches_use() -> None:
    model = model_of(onnx_models.branching())
    (chosen,) = [operator for operator in model.operators if operator.name == "If"]
    read = {model.tensors[index].name for index in chosen.inputs}
    moved = model.tensors[model.operators[0].outputs[0]].name
    assert moved in read, "both branches use it, and no input of the node is called so"
    inputs, _ = boundary(model, [chosen.index])
    assert moved in {model.tensors[index].name for index in inputs}
    part = slice_model(model, [chosen.index])
    sign = model.tensors[chosen.inputs[0]].name
    x = np.array([[1, -2, 3, -4]], np.float32)
    assert next(iter(run(part, {moved: x, sign: np.array(False)}).values())).tolist() == (-x).tolist()


def test_shapes_that_are_stated_are_constants_of_a_slice(tmp_path: Path) -> None:
    """So nobody sends a tensor that is asked for its shape alone."""
    (tmp_path / "m.onnx").write_bytes(onnx_models.asking())
    opened = read_model(str(tmp_path / "m.onnx"))
    assert opened.tensors[opened.inputs[0]].open == (0,)
    model = model_of(restated(opened, open_types(opened)))
    assert str(model.tensors[model.inputs[0]].token) == "float32[1,3,4,4]"
    (reshape,) = [operator.index for operator in model.operators if operator.name == "Reshape"]
    part = slice_model(model, [reshape])
    graph = onnx.load_model_from_string(part).graph
    assert [node.op_type for node in graph.node] == ["Slice", "Concat", "Reshape"]
    assert len(graph.input) == 1
    given = {graph.input[0].name: np.arange(64, dtype=np.float32).reshape(1, 4, 4, 4)}
    assert next(iter(run(part, given).values())).shape == (1, 64)


def test_a_layer_is_an_operator_with_weights_and_what_finishes_it() -> None:
    model = model_of(onnx_models.network())
    flows = flow(model)
    found = layers(model, flows, pieces(model, flows))
    names = [[model.operators[index].name for index in piece] for piece in found]
    assert names[0] == ["Conv", "BatchNormalization", "Relu"]
    assert ["MatMul", "Add", "Softmax"] in names
    reasons = why_not(model, flows, pieces(model, flows))
    assert "are one operator in onnxruntime" in reasons[0]


def test_same_arguments_give_the_same_bytes() -> None:
    model = model_of(onnx_models.network())
    assert slice_model(model, [0, 1]) == slice_model(model_of(onnx_models.network()), {1, 0})
    whole = model_of(slice_model(model, range(len(model.operators))))
    assert [each.name for each in whole.operators] == [each.name for each in model.operators]


def test_slices_of_slices_are_slices() -> None:
    model = model_of(onnx_models.network())
    part = model_of(slice_model(model, range(5)))
    again = model_of(slice_model(part, range(2, 5)))
    given = random_inputs(again)
    assert {n: v.tobytes() for n, v in run(again.data, given).items()} == {
        n: v.tobytes() for n, v in run(slice_model(model, range(2, 5)), given).items()
    }


def large_weights() -> tuple[bytes, bytes, Any]:
    """A model whose weights are to lie in another file, these, and the tensor that says where."""
    b = Builder()
    weights = b.random.standard_normal((8, 3, 3, 3)).astype(np.float32)
    name = b.constant(weights)
    b.nodes.append(helper.make_node("Conv", ["x", name], ["y"], pads=[1] * 4))
    model = onnx.load_model_from_string(b.build([("x", [1, 3, 8, 8])], [("y", [1, 8, 8, 8])]))
    whole: bytes = model.SerializeToString()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    return whole, weights.tobytes(), model


def placed(model: Any, **entries: str) -> bytes:
    tensor = model.graph.initializer[0]
    del tensor.external_data[:]
    for key, value in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    data: bytes = model.SerializeToString()
    return data


def test_weights_in_another_file_of_the_folder_are_inside_of_a_slice(tmp_path: Path) -> None:
    whole, weights, model = large_weights()
    (tmp_path / "m.weights").write_bytes(b"....." + weights)
    path = tmp_path / "m.onnx"
    path.write_bytes(placed(model, location="m.weights", offset="5", length=str(len(weights))))
    read = read_model(str(path))
    assert weight_bytes(read, [0]) == len(weights)
    given = {"x": np.ones((1, 3, 8, 8), np.float32)}
    expected = run(whole, given)["y"].tobytes()
    assert run(slice_model(read, [0]), given)["y"].tobytes() == expected
    assert run(restated(read, {}), given)["y"].tobytes() == expected


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "..", "", "inner/../../secret"])
def test_weights_outside_of_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    _, _, model = large_weights()
    (tmp_path / "secret").write_bytes(bytes(1000))
    folder = tmp_path / "models"
    (folder / "inner").mkdir(parents=True)
    (folder / "m.onnx").write_bytes(placed(model, location=location))
    with pytest.raises(EpruneError, match="outside of its folder"):
        read_model(str(folder / "m.onnx"))


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    _, weights, model = large_weights()
    (tmp_path / "secret").write_bytes(weights)
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "m.weights").symlink_to(tmp_path / "secret")
    (folder / "m.onnx").write_bytes(placed(model, location="m.weights"))
    with pytest.raises(EpruneError, match="outside of its folder"):
        read_model(str(folder / "m.onnx"))


@pytest.mark.parametrize(
    "entries", [{"offset": "-1"}, {"offset": "10", "length": "1000000"}, {"length": "x"}, {"location": "missing"}]
)
def test_weights_that_are_not_there_are_one_clear_message(tmp_path: Path, entries: dict[str, str]) -> None:
    _, weights, model = large_weights()
    (tmp_path / "m.weights").write_bytes(weights)
    (tmp_path / "m.onnx").write_bytes(placed(model, **{"location": "m.weights", **entries}))
    with pytest.raises(EpruneError) as caught:
        read_model(str(tmp_path / "m.onnx"))
    assert "has the weights" in str(caught.value)


def varint(value: int) -> bytes:
    groups = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes(group | 0x80 for group in groups[:-1]) + bytes(groups[-1:])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not an ONNX model"),
        (b"\xff" * 40, "is not an ONNX model"),
        (onnx_models.network()[:1000], "is not an ONNX model, or cut short"),
        (b"\x08\x08", "is not an ONNX model: it has no graph"),
        (b"\x08\x08" + b"\x3a" + varint(2 * 2**12) + 2**12 * b"\x0a\x00", "it has more than 1000 parts"),
        (b"\x08\x08\x3a\x7f\x0a", "a part is longer than what it is in"),
    ],
)
def test_what_is_no_model_is_said_to_be_none(data: bytes, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eprune.formats.onnx.wire.MOST", 1000)
    with pytest.raises(EpruneError, match=message):
        model_of(data)


def changed(change: Any) -> bytes:
    model = onnx.load_model_from_string(onnx_models.network())
    change(model.graph)
    data: bytes = model.SerializeToString()
    return data


def bad_input(graph: Any) -> None:
    graph.node[0].input[0] = "nowhere"


def later(graph: Any) -> None:
    graph.node[0].input[0] = graph.node[3].output[0]


def twice(graph: Any) -> None:
    graph.node[1].output[0] = graph.node[0].output[0]


def no_end(graph: Any) -> None:
    graph.output[0].name = "nowhere"


def short(graph: Any) -> None:
    graph.initializer[0].raw_data = graph.initializer[0].raw_data[:-4]


def huge(graph: Any) -> None:
    graph.initializer[0].dims[0] = 2**40


def negative(graph: Any) -> None:
    graph.initializer[0].dims[0] = -1


def deep(graph: Any) -> None:
    for _ in range(30):
        inner = onnx.GraphProto()
        inner.CopyFrom(graph)
        del graph.node[:]
        graph.node.append(helper.make_node("Loop", ["x"], ["y"], body=inner))
        del graph.initializer[:]
        del graph.value_info[:]


@pytest.mark.parametrize("change", [bad_input, later, twice, no_end, short, huge, negative, deep])
def test_a_corrupt_graph_is_one_clear_message(change: Any) -> None:
    with pytest.raises(EpruneError) as caught:
        model_of(changed(change))
    assert "error[FILE]" in str(caught.value)
    assert "\n" not in str(caught.value).partition("\n    hint")[0]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_is_in_a_file_is_read_or_refused(data: st.DataObject) -> None:
    good = bytearray(onnx_models.quantized())
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(good) - 1))
        good[place] = data.draw(st.integers(0, 255))
    try:
        model = model_of(bytes(good))
        flows = flow(model)
        for piece in pieces(model, flows):
            slice_model(model, piece)
    except EpruneError:
        pass


def test_constants_are_found_where_they_lie() -> None:
    model = model_of(onnx_models.network())
    dense = model.operators[-3]
    part = slice_model(model, [dense.index, dense.index + 1])
    spans = model.format.constant_spans(part)
    weights = numpy_helper.to_array(onnx.load_model_from_string(part).graph.initializer[0])
    assert weights.tobytes() in [part[span] for span in spans]


CASES = {
    "ch_ppocr_mobile_v2.0_cls_infer": {"x": (1, 3, 48, 192)},
    "ch_PP-OCRv4_det_infer": {"x": (1, 3, 64, 96)},
    "magika": {},
    "nmp": {},
    "silero_vad_16k_op15": {"input": (1, 576)},
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "magika" else pytest.mark.long) for name in CASES]
)
def test_every_cut_of_every_shared_model_computes_the_same_bits(name: str) -> None:
    from eprune.measure.stated import stated

    path = SHARED / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    shapes = [f"{key}={','.join(map(str, shape))}" for key, shape in CASES[name].items()]
    model = stated(str(path), shapes=shapes).model
    tried = dict(differences(model))
    assert len(tried) > 10 and not any(tried.values())
    if name.startswith("ch_ppocr"):
        assert len(tried) > 150, "of 229 places 34 are between a convolution and its normalisation"
