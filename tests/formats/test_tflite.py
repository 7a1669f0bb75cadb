"""What is read from a .tflite file, and what is said of one that cannot be read. Slices: test_tflite_slice.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eprune.formats.model_files import parse_model, read_model
from eprune.formats.models.boundary import boundary, weight_bytes
from eprune.formats.models.parts import Model
from eprune.formats.models.slices import slice_model
from eprune.formats.tflite.model import bonds, preparatory
from eprune.model.finding import EpruneError
from eprune.model.token import TokenType
from tests.kit import tiny_models
from tests.kit.effort import examples

CHAIN = tiny_models.conv_pool_dense()
BRANCHES = tiny_models.residual_split()


def message(error: EpruneError) -> str:
    """The text of the single finding, of rule FILE, that an error must carry."""
    (finding,) = error.findings
    assert finding.rule == "FILE"
    return f"{finding}; {finding.hint}"


def test_reading_tells_operators_tensors_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "chain.tflite"
    path.write_bytes(CHAIN)
    model = read_model(str(path))
    assert [operator.name for operator in model.operators] == ["CONV_2D", "MAX_POOL_2D", "FULLY_CONNECTED", "SOFTMAX"]
    assert all(operator.builtin for operator in model.operators)
    assert [model.tensors[index].token for index in model.inputs] == [TokenType("float32", (1, 8, 8, 3))]
    assert [model.tensors[index].token for index in model.outputs] == [TokenType("float32", (1, 5))]
    source, weights, bias = model.operators[0].inputs
    assert not model.tensors[source].constant
    assert model.tensors[weights].constant and model.tensors[weights].nbytes == 4 * 3 * 3 * 3 * 4
    assert model.tensors[bias].nbytes == 16
    assert (model.path, model.subgraphs) == (str(path), 1)


def test_a_boundary_is_what_enters_and_leaves() -> None:
    model = parse_model(BRANCHES)
    conv, _, add, split, mul = model.operators
    image, other = model.inputs
    product, high, first, passed, constant = model.outputs
    assert (first, passed) == (conv.outputs[0], other) and model.tensors[constant].constant
    assert boundary(model, [0]) == ((image,), (first,))
    assert boundary(model, [1, 2]) == ((first,), add.outputs)
    assert boundary(model, [3]) == (add.outputs, (high, split.outputs[0])), "graph outputs come first"
    assert boundary(model, [4]) == (split.outputs, (product,))
    assert boundary(model, range(5)) == ((image,), (product, high, first)), "the graph's order, not the operators'"
    assert boundary(model, [mul.index, 3, 3]) == (add.outputs, (product, high)), "operators in any order, also twice"


def test_weights_count_once_however_many_operators_share_them() -> None:
    model = parse_model(tiny_models.float16_weights())
    stored = 2 * (64 * 64 + 64)
    assert weight_bytes(model, [2]) == weight_bytes(model, [2, 3]) == weight_bytes(model, range(4)) == stored
    assert weight_bytes(parse_model(CHAIN), [1]) == 0


def test_what_is_known_before_the_run_belongs_to_whoever_needs_it() -> None:
    model = parse_model(tiny_models.float16_weights())
    assert preparatory(model) == {0, 1}
    assert boundary(model, [2]) == ((0,), model.operators[2].outputs), "unpacked weights do not cross"
    assert boundary(model, [0, 1])[1] == ()
    model = parse_model(tiny_models.open_batch())
    assert preparatory(model) == {1, 2, 3}
    features = model.operators[0].outputs
    assert boundary(model, [0]) == boundary(model, [0, 1]) == (model.inputs, features)
    assert boundary(model, [4])[0] == features, "its own copy of SHAPE reads the shape"


def test_open_dimensions_and_handles_are_no_tokens() -> None:
    model = parse_model(tiny_models.open_batch())
    assert model.tensors[model.inputs[0]].token == TokenType("float32", (1, 16, 16, 3)), "what an interpreter allocates"
    assert model.tensors[model.outputs[0]].token is None
    model = parse_model(tiny_models.counter())
    assert [tensor.token for tensor in model.tensors if tensor.type == "RESOURCE"] == [None]


def test_operators_that_share_state_are_bound() -> None:
    assert bonds(parse_model(tiny_models.counter())) == ((3, 5),)
    assert bonds(parse_model(CHAIN)) == bonds(parse_model(tiny_models.loop())) == ()


@pytest.mark.parametrize("operators", [[4], [-1], [0, 99], []])
def test_operators_that_are_not_there(operators: list[int]) -> None:
    model = parse_model(CHAIN, "chain.tflite")
    for ask in (boundary, slice_model, weight_bytes):
        with pytest.raises(EpruneError) as caught:
            ask(model, operators)
        text = message(caught.value)
        assert "chain.tflite: error[FILE]" in text and "operators 0..3" in text
        if operators:
            assert f"no operator {operators[-1]}" in text


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x1c\0\0\0TFL3", b"PK\3\4" + CHAIN, b"\xff" * 4 + b"TFL3" * 50])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(content)
    with pytest.raises(EpruneError) as caught:
        read_model(str(path))
    assert "broken.tflite" in message(caught.value)


def test_missing_files_folders_and_giants_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EpruneError, match="cannot be read"):
        read_model(str(tmp_path / "missing.tflite"))
    with pytest.raises(EpruneError, match="cannot be read"):
        read_model(str(tmp_path))
    giant = tmp_path / "giant.tflite"
    with giant.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(EpruneError, match="2 GiB"):
        read_model(str(giant))


def use_all(data: bytes) -> None:
    """Everything that can be asked of a model; EpruneError is the only answer that a bad one may give."""
    try:
        model = parse_model(data)
        for operator in model.operators:
            boundary(model, [operator.index])
        weight_bytes(model, range(len(model.operators)))
        slice_model(model, range(len(model.operators)))
    except EpruneError as error:
        message(error)


@pytest.mark.parametrize("length", range(0, len(BRANCHES), 97))
def test_a_file_cut_short_is_refused_or_read(length: int) -> None:
    use_all(BRANCHES[:length])


MODELS = (CHAIN, BRANCHES, tiny_models.loop(), tiny_models.sparse_weights())


@settings(max_examples=examples(300), deadline=1000, derandomize=True)
@given(st.sampled_from(MODELS), st.lists(st.tuples(st.integers(8, 2**14), st.integers(0, 255)), min_size=1, max_size=4))
def test_flipped_bytes_are_refused_or_read(data: bytes, flips: list[tuple[int, int]]) -> None:
    corrupt = bytearray(data)
    for position, value in flips:
        corrupt[position % (len(data) - 8) + 8] = value
    use_all(bytes(corrupt))


@settings(max_examples=100, deadline=1000, derandomize=True)
@given(st.binary(max_size=400))
def test_random_bytes_are_refused_or_read(data: bytes) -> None:
    use_all(b"\x08\0\0\0TFL3" + data)


def shared(m: tiny_models.ModelBuilder) -> bytes:
    """The model's file, in which every array is stored once, however many tables hold it."""
    written: dict[int, int] = {}

    class Sharing(tiny_models.flatbuffers.Builder):
        def CreateNumpyVector(self, x: np.ndarray) -> int:
            if id(x) not in written:
                written[id(x)] = super().CreateNumpyVector(x)
            return written[id(x)]

    builder = Sharing(2**20)
    builder.Finish(m.model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_many_tables_that_point_at_one_huge_vector_cost_no_more_than_the_file() -> None:
    huge = np.zeros(40_000, np.int32)
    m = tiny_models.ModelBuilder()
    source, out = m.tensor((4,)), m.tensor((4,))
    for _ in range(40):
        m.operator("ADD_N", [source], [out]).inputs = huge
    m.ends([source], [out])
    data = shared(m)
    assert len(data) < huge.nbytes + 20_000
    with pytest.raises(EpruneError, match="more bytes than the file has"):
        parse_model(data)

    m = tiny_models.ModelBuilder()
    quantization = tiny_models.schema.QuantizationParametersT()
    quantization.scale = huge.view(np.float32)
    tensors = [m.tensor((4,), quantization=quantization) for _ in range(40)]
    m.operator("ADD_N", tensors[1:], tensors[:1])
    m.ends(tensors[1:], tensors[:1])
    data = shared(m)
    assert len(data) < huge.nbytes + 20_000
    with pytest.raises(EpruneError, match="more bytes than the file has"):
        slice_model(parse_model(data), [0])


def test_wrong_order_and_wrong_indices_are_refused() -> None:
    def built(inputs: list[int], outputs: list[int], last: int) -> Model:
        m = tiny_models.ModelBuilder()
        for _ in range(3):
            m.tensor((4,))
        m.operator("NEG", inputs, outputs, "NegOptions")
        m.operator("NEG", [0], [2], "NegOptions")
        return parse_model(m.build([0], [last]))

    built([0], [1], 2)
    for inputs, outputs, last, text in (
        ([2], [1], 2, "before it is written"),
        ([0], [2], 2, "another has written"),
        ([0], [0], 2, "writes an input"),
        ([7], [1], 2, "tensor 7 of 3"),
        ([-2], [1], 2, "tensor -2 of 3"),
        ([0], [-1], 2, "tensor -1 of 3"),
        ([0], [1], 3, "not there"),
    ):
        with pytest.raises(EpruneError, match=text):
            built(inputs, outputs, last)


def test_reading_loads_no_interpreter() -> None:
    code = (
        "import sys, eprune.formats.model_files as t; assert 'numpy' not in sys.modules, 'importing costs numpy';"
        f"t.parse_model({CHAIN!r}); print([m for m in sys.modules if 'interpreter' in m and 'litert' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_result_without_shape_or_rank_has_no_type_whoever_writes_it():
    """Older converters write neither; a scalar says that it has a rank."""
    m = tiny_models.ModelBuilder()
    source, unknown, scalar = m.tensor((1, 4)), m.tensor(()), m.tensor((), hasRank=True)
    m.operator("NEG", [source], [unknown], "NegOptions")
    axes, factor, out = m.constant(np.array([0, 1], np.int32)), m.constant(np.float32(2)), m.tensor((1, 4))
    m.operator("SUM", [unknown, axes], [scalar], "ReducerOptions")
    m.operator("MUL", [unknown, factor], [out], "MulOptions")
    model = parse_model(m.build([source], [out, scalar]))
    assert model.tensors[unknown].token is None
    assert str(model.tensors[scalar].token) == "float32"
    assert str(model.tensors[factor].token) == "float32", "a constant has what it has"
