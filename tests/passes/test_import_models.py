"""Where models can be cut, and the graphs that come of it."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from eprune.analysis.check import check
from eprune.formats.behaviours import inspect
from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.model_files import parse_model, read_model
from eprune.formats.models.boundary import boundary
from eprune.formats.models.cuts import balanced, cut_after, label, layers, pieces
from eprune.formats.models.flow import crossing, flow
from eprune.formats.models.slices import slice_model
from eprune.formats.tflite import shapes
from eprune.formats.tflite.cost import macs
from eprune.formats.tflite.model import bonds
from eprune.formats.xml.application import read_application, write_application
from eprune.model.finding import EpruneError
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes.import_ import end_names, graph_of, parse_feedback
from tests.kit import tiny_models
from tests.kit.tiny_models import ModelBuilder, schema

SHARED = Path(__file__).parents[3] / "shared" / "models"
REAL = (
    *("deeplabv3_257_mv_gpu", "feedback_tensor_test_model", "keyword", "lstm", "mobilenet_v1_0.25_128_quant"),
    *("mobilenet_v2_1.0_224_quant", "split_concat"),
)
TINY = (
    *(
        "conv_pool_dense",
        "counter",
        "float16_weights",
        "loop",
        "reshape_like",
        "residual_split",
        "sparse_weights",
        "two_streams",
    ),
)


def model_of(name):
    if name in TINY:
        return parse_model(getattr(tiny_models, name)(), f"{name}.tflite")
    path = SHARED / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return read_model(str(path))


def import_model(model, facts, slices, name, file, feedback=None):
    """The graph of these slices, and its files of initial tokens."""
    graph, files = graph_of(model, facts, slices, name, file, feedback or {})
    return SimpleNamespace(graph=graph, initial=files)


def cut(model, types=None):
    facts = flow(model, types)
    return facts, pieces(model, facts)


def names(model, ranges):
    return [" ".join(model.operators[index].name for index in operators) for operators in ranges]


def problem(function, *arguments):
    with pytest.raises(EpruneError) as error:
        function(*arguments)
    (finding,) = error.value.findings
    return f"{finding.message} ({finding.hint})" if finding.hint else finding.message


def findings(graph, model_path):
    """What the analyzer says of an imported graph, with its files where they are."""
    from eprune.formats.library import find

    actors = []
    for actor in graph.actors:
        path = model_path if isinstance(actor.behaviour, ModelSlice) else find("", actor.behaviour.file, True)
        actors.append(replace(actor, behaviour=replace(actor.behaviour, path=path)))
    graph = replace(graph, actors=tuple(actors))
    interfaces, found = inspect(graph)
    return [str(finding) for finding in check(System(graph, interfaces=interfaces, problems=tuple(found)))]


@pytest.mark.parametrize("name", REAL + TINY)
def test_imported_graphs_are_sound_at_every_granularity(name, tmp_path):
    model = model_of(name)
    (tmp_path / "m.tflite").write_bytes(model.data)
    facts, smallest = cut(model)
    for ranges in (smallest, layers(model, facts, smallest), balanced(model, facts, smallest, 1)):
        graph = import_model(model, facts, ranges, name, "m.tflite").graph
        assert findings(graph, str(tmp_path / "m.tflite")) == []
        (tmp_path / "app.xml").write_text(write_application(graph))
        assert read_application(str(tmp_path / "app.xml")) == graph


@pytest.mark.parametrize("name", REAL + TINY)
def test_a_slice_takes_and_gives_what_a_cut_makes_it(name):
    model = model_of(name)
    facts, smallest = cut(model)
    graph = import_model(model, facts, smallest, name, "m.tflite").graph
    for actor in graph.actors:
        if isinstance(actor.behaviour, ModelSlice):
            inputs, outputs = boundary(model, actor.behaviour.operators)
            assert sorted(port.tensor for port in actor.inputs) == sorted(inputs)
            assert {port.tensor for port in actor.outputs} == set(outputs)
            slice_model(model, actor.behaviour.operators)


@pytest.mark.parametrize("name", REAL + TINY)
def test_every_number_of_balanced_actors_is_that_many(name):
    model = model_of(name)
    facts, smallest = cut(model)
    for count in range(1, len(smallest) + 1):
        ranges = balanced(model, facts, smallest, count)
        assert len(ranges) == count
        assert [piece[-1] for piece in smallest if any(piece[-1] == each[-1] for each in ranges)] == [
            each[-1] for each in ranges
        ]


def chain_of_dense(*sizes):
    """FULLY_CONNECTED operators, from one size to the next."""
    m = ModelBuilder()
    last = m.tensor((1, sizes[0]))
    for inputs, outputs in zip(sizes, sizes[1:]):
        last = m.dense(last, inputs, outputs)
    return parse_model(m.build([0], [last]), "chain.tflite")


def test_the_largest_of_balanced_actors_is_as_small_as_can_be():
    model = chain_of_dense(10, 10, 10, 10, 30, 30, 10)
    facts, smallest = cut(model)
    work = [macs(model, operator) for operator in model.operators]
    assert work == [100, 100, 100, 300, 900, 300]
    assert [list(each) for each in balanced(model, facts, smallest, 3)] == [[0, 1, 2, 3], [4], [5]]


def test_more_actors_than_operators_are_refused_with_the_number_that_there_can_be():
    model = chain_of_dense(4, 4, 4)
    facts, smallest = cut(model)
    assert problem(balanced, model, facts, smallest, 3) == (
        "cannot be cut into 3 actors: it has 2 operators in 2 pieces "
        "(ask for 2 at most; --list shows where a cut is possible)"
    )


def test_a_layer_has_its_padding_and_activation_but_not_what_joins_branches():
    m = ModelBuilder()
    image = m.tensor((1, 4, 4, 2))
    padded = m.tensor((1, 6, 6, 2))
    m.operator("PAD", [image, m.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))], [padded], "PadOptions")
    features = m.conv(padded, (1, 6, 6, 3), 2)
    scaled, active, total, pooled = (m.tensor((1, 6, 6, 3)) for _ in range(4))
    m.operator("MUL", [features, m.weights(3)], [scaled], "MulOptions")
    m.operator("RELU", [scaled], [active])
    m.operator("ADD", [active, features], [total], "AddOptions")
    options = {"strideW": 1, "strideH": 1, "filterWidth": 1, "filterHeight": 1}
    m.operator("MAX_POOL_2D", [total], [pooled], "Pool2DOptions", **options)
    other = m.conv(active, (1, 6, 6, 3), 3)
    joined = m.tensor((1, 6, 6, 3))
    m.operator("ADD", [other, pooled], [joined], "AddOptions")
    model = parse_model(m.build([image], [joined]), "m.tflite")
    facts, smallest = cut(model)
    ranges = layers(model, facts, smallest)
    assert names(model, ranges) == ["PAD CONV_2D MUL RELU ADD", "MAX_POOL_2D", "CONV_2D", "ADD"]
    graph = import_model(model, facts, ranges, "m", "m.tflite").graph
    assert [actor.name for actor in graph.actors] == ["t0", "conv2d_1", "max_pool2d_5", "conv2d_6", "add_7", "Output"]


def test_operators_that_share_state_are_one_piece():
    model = model_of("counter")
    _, smallest = cut(model)
    assert [list(piece) for piece in smallest] == [[1], [3, 4, 5], [6]]


def test_each_resource_ties_its_own_operators_only():
    """What reads a variable goes to what writes it, though the file reads all of them first."""
    model = model_of("two_streams")
    facts, smallest = cut(model)
    assert facts.work == (3, 6, 7, 8, 4, 5, 9, 10, 11)
    assert [list(piece) for piece in smallest] == [[3, 6, 7], [8], [4, 5, 9, 10], [11]]
    graph = import_model(model, facts, smallest, "m", "m.tflite").graph
    spans = [actor.behaviour.span for actor in graph.actors if isinstance(actor.behaviour, ModelSlice)]
    assert spans == ["3,6-7", "8", "4-5,9-10", "11"]
    assert bonds(model) == ((3, 7), (4, 10))
    part = parse_model(slice_model(model, [4, 5, 9, 10]))
    assert [operator.name for operator in part.operators] == (
        ["CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "MUL", "ADD", "ASSIGN_VARIABLE"]
    )
    assert crossing(facts, 8) == model.operators[8].outputs, "nothing of the second state is read before"


def test_variables_that_nobody_writes_tie_nothing():
    m = ModelBuilder()
    x, handle, value, half, out = m.tensor((4,)), m.tensor((1,), "resource"), *(m.tensor((4,)) for _ in range(3))
    variable = {"container": "", "sharedName": "table"}
    m.operator("CALL_ONCE", [], [], "CallOnceOptions", initSubgraphIndex=1)
    m.operator("VAR_HANDLE", [], [handle], "VarHandleOptions", **variable)
    m.operator("READ_VARIABLE", [handle], [value], "ReadVariableOptions")
    m.operator("ADD", [x, value], [half], "AddOptions")
    m.operator("READ_VARIABLE", [handle], [again := m.tensor((4,))], "ReadVariableOptions")
    m.operator("MUL", [half, again], [out], "MulOptions")
    m.ends([x], [out])
    m.graph()
    inner = m.tensor((1,), "resource")
    m.operator("VAR_HANDLE", [], [inner], "VarHandleOptions", **variable)
    m.operator("ASSIGN_VARIABLE", [inner, m.weights(4)], [], "AssignVariableOptions")
    model = parse_model(m.build([], []), "m.tflite")
    assert bonds(model) == ()
    assert [list(piece) for piece in cut(model)[1]] == [[2], [3], [4], [5]]


def test_state_of_which_the_file_does_not_tell_whose_it_is_is_one_bond():
    """A handle comes out of a WHILE: it may be any."""
    m = ModelBuilder()
    x, handle, other, value, out = (
        m.tensor((4,)),
        m.tensor((1,), "resource"),
        m.tensor((1,), "resource"),
        *(m.tensor((4,)) for _ in range(2)),
    )
    m.operator("VAR_HANDLE", [], [handle], "VarHandleOptions", container="", sharedName="a")
    m.operator("WHILE", [handle], [other], "WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=1)
    m.operator("ASSIGN_VARIABLE", [other, x], [], "AssignVariableOptions")
    m.operator("NEG", [x], [value], "NegOptions")
    m.operator("READ_VARIABLE", [handle], [out], "ReadVariableOptions")
    m.ends([x], [value, out])
    m.graph()
    model = parse_model(m.build([], []), "m.tflite")
    assert bonds(model) == ((1, 2, 4),)


def test_preparatory_operators_are_no_pieces():
    model = model_of("float16_weights")
    _, smallest = cut(model)
    assert [list(piece) for piece in smallest] == [[2], [3]]


def test_the_shape_of_a_static_tensor_is_a_constant_for_which_no_tensor_crosses():
    """SHAPE of the second input gives RESHAPE its shape: nobody reads that input, and no slice has the SHAPE."""
    model = model_of("reshape_like")
    facts, smallest = cut(model)
    other = model.inputs[1]
    assert not any(other in reads for reads in facts.reads.values())
    assert [names(model, [piece])[0] for piece in smallest] == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    part = parse_model(slice_model(model, smallest[1]))
    assert [operator.name for operator in part.operators] == ["RESHAPE"]
    assert part.inputs == (0,)
    shape = part.tensors[part.operators[0].inputs[1]]
    assert (shape.constant, shape.nbytes) == (True, 8)
    graph = import_model(model, facts, smallest, "m", "m.tflite").graph
    assert [actor.name for actor in graph.actors] == ["t0", "conv2d_0", "reshape_2", "fully_connected_3", "Output"]


def test_shapes_that_are_not_known_and_shapes_that_are_results_are_computed():
    model = parse_model(tiny_models.open_batch(), "m.tflite")
    assert shapes.fixed(model) == {}, "the file leaves the batch open"
    m = ModelBuilder()
    x, y, shape, rank = m.tensor((2, 3)), m.tensor((2, 3)), m.tensor((2,), "int32"), m.tensor((), "int32", hasRank=True)
    m.operator("NEG", [x], [y], "NegOptions")
    m.operator("SHAPE", [y], [shape], "ShapeOptions", outType=schema.TensorType.INT32)
    m.operator("RANK", [y], [rank], "RankOptions")
    model = parse_model(m.build([x], [y, shape]), "m.tflite")
    assert shapes.fixed(model) == {rank: (2,)}, "a result of the model has to be written"
    facts, smallest = cut(model)
    assert [list(piece) for piece in smallest] == [[0], [1]]
    assert facts.reads[1] == (y,)


def test_a_tensor_of_unknown_size_stays_inside_a_piece():
    model = parse_model(tiny_models.open_batch(), "m.tflite")
    _, result = model.outputs[0], TokenType("float32", (1, 2048))
    inside = next(operator for operator in model.operators if operator.name == "RESHAPE").outputs[0]
    known = {model.outputs[0]: result}
    assert names(model, cut(model, known)[1]) == ["CONV_2D SHAPE STRIDED_SLICE PACK RESHAPE NEG"]
    features = model.operators[0].outputs[0]
    known = {**known, features: TokenType("float32", (1, 16, 16, 8)), inside: result}
    assert names(model, cut(model, known)[1]) == ["CONV_2D", "RESHAPE", "NEG"]
    odd = {**known, inside: TokenType("float32", (2, 2048))}
    assert names(model, cut(model, odd)[1]) == ["CONV_2D", "RESHAPE NEG"], "a slice would expect the file's shape"


def test_an_output_of_unknown_size_is_refused_with_its_operator():
    model = parse_model(tiny_models.open_batch(), "m.tflite")
    assert problem(cut, model).startswith("output 't12' of operator 5 (NEG) cannot be a token: its shape depends on")


def test_an_output_that_several_actors_read_has_a_port_for_each():
    model = model_of("residual_split")
    facts, smallest = cut(model)
    graph = import_model(model, facts, smallest, "r", "m.tflite").graph
    first = graph.actor("conv2d_0")
    assert [(port.name, port.tensor) for port in first.outputs] == [
        ("out_2_conv2d_1", 2),
        ("out_2_add_2", 2),
        ("out_2_Output", 2),
    ]
    assert [str(fifo.target) for fifo in graph.fifos if fifo.source.actor == "conv2d_0"] == [
        "conv2d_1.in",
        "add_2.in_2",
        "Output.t2",
    ]


def test_an_input_passed_straight_through_goes_from_its_source_to_the_sink():
    model = model_of("residual_split")
    facts, smallest = cut(model)
    graph = import_model(model, facts, smallest, "r", "m.tflite").graph
    assert ("t1.out", "Output.t1") in [(str(fifo.source), str(fifo.target)) for fifo in graph.fifos]
    assert graph.actor("t1").behaviour == PythonBehaviour("tensor_source.py", "TensorSource")


def test_what_a_cut_sends_is_all_that_is_needed_behind_it():
    model = model_of("residual_split")
    facts, _ = cut(model)
    a, b, first = *model.inputs, model.operators[0].outputs[0]
    second = model.operators[1].outputs[0]
    assert crossing(facts, 0) == tuple(sorted({b, first}))
    assert crossing(facts, 1) == tuple(sorted({b, first, second}))
    assert a not in crossing(facts, 0)


def test_cuts_are_named_by_number_label_or_tensor():
    model = model_of("conv_pool_dense")
    facts, smallest = cut(model)
    pooled = model.tensors[model.operators[1].outputs[0]].name
    for place in ("1", "max_pool2d_1", pooled):
        assert [list(each) for each in cut_after(model, facts, smallest, [place])] == [[0, 1], [2, 3]]
    assert [list(each) for each in cut_after(model, facts, smallest, ["2", "0", "2"])] == [[0], [1, 2], [3]]


def test_cuts_that_cannot_be_say_why_and_where_instead():
    model = model_of("conv_pool_dense")
    facts, smallest = cut(model)
    assert problem(cut_after, model, facts, smallest, ["conv2d_10"]) == (
        "has no operator 'conv2d_10' to cut after (did you mean 'conv2d_0'?)"
    )
    assert problem(cut_after, model, facts, smallest, ["77"]).startswith(
        "has no operator '77' to cut after (it has operators 0"
    )
    assert "it is the last that computes anything" in problem(cut_after, model, facts, smallest, ["3"])
    counter = model_of("counter")
    facts, smallest = cut(counter)
    assert problem(cut_after, counter, facts, smallest, ["3"]) == (
        "cannot be cut after operator 3 (READ_VARIABLE): operators 3, 5 share variable 'sum' "
        "(the nearest places: mul_1, assign_variable_5)"
    )
    prepared = model_of("float16_weights")
    facts, smallest = cut(prepared)
    assert "it only prepares weights or shapes" in problem(cut_after, prepared, facts, smallest, ["0"])


def stateful(zero_point=0, output_shape=(1, 4)):
    """ADD of ``x`` and ``state_in`` to ``state:0``, NEG-like QUANTIZE of it to ``y``; int8."""
    m = ModelBuilder()

    def tensor(name, shape=(1, 4)):
        quantization = schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = [0.5], [zero_point]
        index = m.tensor(shape, "int8", quantization=quantization)
        m.current.tensors[index].name = name
        return index

    x, state, following, y = tensor("x"), tensor("state_in"), tensor("state:0", output_shape), tensor("y")
    m.operator("ADD", [x, state], [following], "AddOptions")
    m.operator("QUANTIZE", [following], [y], "QuantizeOptions")
    return parse_model(m.build([x, state], [y, following]), "s.tflite")


@pytest.mark.parametrize("text", ["state:0:state_in", "1:1", "state:0:1", "1:state_in"])
def test_a_fed_back_output_becomes_a_fifo_with_one_token(text, tmp_path):
    model = stateful()
    facts, smallest = cut(model)
    pairs = parse_feedback(model, facts, [text])
    imported = import_model(model, facts, smallest, "s", "s.tflite", pairs)
    (fifo,) = [fifo for fifo in imported.graph.fifos if fifo.delay]
    assert (fifo.source.actor, str(fifo.target), fifo.delay, fifo.capacity) == ("add_0", "add_0.in_1", 1, 3)
    assert fifo.initial is None
    assert [actor.name for actor in imported.graph.actors] == ["x", "add_0", "quantize_1", "Output"]
    assert [port.name for port in imported.graph.actor("Output").ports] == ["y"]
    (tmp_path / "s.tflite").write_bytes(model.data)
    assert findings(imported.graph, str(tmp_path / "s.tflite")) == []


def test_the_first_token_fed_back_is_the_zero_point():
    model = stateful(zero_point=-3)
    facts, smallest = cut(model)
    imported = import_model(model, facts, smallest, "s", "s.tflite", parse_feedback(model, facts, ["1:1"]))
    (fifo,) = [fifo for fifo in imported.graph.fifos if fifo.delay]
    assert list(imported.initial) == [fifo.initial]
    values = np.load(io.BytesIO(imported.initial[fifo.initial]))
    assert (values.dtype, values.tolist()) == (np.int8, [[[-3, -3, -3, -3]]])


def test_all_readers_of_what_is_fed_back_begin_with_one_file():
    m = ModelBuilder()
    quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = [0.5], [7]
    x, state, total, y = (m.tensor((1, 4), "int8", quantization=quantization) for _ in range(4))
    m.operator("ADD", [x, state], [total], "AddOptions")
    m.operator("ADD", [total, state], [y], "AddOptions")
    model = parse_model(m.build([x, state], [y]), "m.tflite")
    facts, smallest = cut(model)
    imported = import_model(model, facts, smallest, "m", "m.tflite", {state: y})
    assert [fifo.initial for fifo in imported.graph.fifos if fifo.delay] == ["t1.npy", "t1.npy"]
    assert list(imported.initial) == ["t1.npy"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("state", "--feedback 'state' is not of the form OUTPUT:INPUT"),
        ("y:stat_in", "--feedback y:stat_in: the model has no input 'stat_in' (did you mean 'state_in'?)"),
        ("z:state_in", "--feedback z:state_in: the model has no output 'z' (its outputs are 0: y, 1: state:0)"),
        ("1:2", "--feedback 1:2: the model has no input '2' (its inputs are 0: x, 1: state_in)"),
    ],
)
def test_feedback_that_does_not_exist_says_what_there_is(text, message):
    model = stateful()
    facts, _ = cut(model)
    assert problem(parse_feedback, model, facts, [text]) == message


def test_feedback_must_fit():
    model = stateful()
    facts, _ = cut(model)
    assert "is fed twice" in problem(parse_feedback, model, facts, ["y:x", "1:x"])
    other = chain_of_dense(4, 8)
    facts, _ = cut(other)
    assert "the output is float32[1,8], the input float32[1,4]" in problem(parse_feedback, other, facts, ["0:0"])
    through = model_of("residual_split")
    facts, _ = cut(through)
    assert "is an input of the model, and never changes" in problem(parse_feedback, through, facts, ["3:1"])
    assert "is a constant, and never changes" in problem(parse_feedback, through, facts, ["4:1"])


def test_ends_get_short_legal_and_different_names():
    m = ModelBuilder()
    texts = ["serving_default_image:0", "a/b:0", "a_b:0", "Call:0", "Call:1", "", "é"]
    tensors = [m.tensor((1,)) for _ in texts]
    for index, text in zip(tensors, texts):
        m.current.tensors[index].name = text
    out = m.tensor((1,))
    m.operator("ADD", [tensors[0], tensors[1]], [out], "AddOptions")
    model = parse_model(m.build(tensors, [out]), "m.tflite")
    names = end_names(model, model.inputs)
    assert names[0] == "image"
    assert len(set(names)) == len(texts)
    assert names == ["image", "a_b_0", "a_b_0_2", "Call_0", "Call_1", "tensor5", "model"]


def test_macs_of_known_operators():
    model = model_of("conv_pool_dense")
    assert [macs(model, operator) for operator in model.operators] == [8 * 8 * 4 * 3 * 3 * 3, 0, 64 * 5, 0]
    assert label(model.operators[0]) == "conv2d_0"


@pytest.mark.parametrize(
    ("left", "right", "result", "expected"),
    [
        ((2, 3, 4), (2, 4, 5), (2, 3, 5), 2 * 3 * 4 * 5),
        ((3, 4), (7, 4, 5), (7, 3, 5), 7 * 3 * 4 * 5),
        ((1, 3, 4), (7, 4, 5), (7, 3, 5), 7 * 3 * 4 * 5),
        ((6, 1, 3, 4), (2, 4, 5), (6, 2, 3, 5), 12 * 3 * 4 * 5),
        ((2, 4, 3), (2, 5, 4), (2, 3, 5), 2 * 3 * 4 * 5),  # both stored the other way round
    ],
)
def test_macs_of_products_of_batches_of_matrices(left, right, result, expected):
    m = ModelBuilder()
    a, b, out = m.tensor(left), m.tensor(right), m.tensor(result)
    m.operator("BATCH_MATMUL", [a, b], [out], "BatchMatMulOptions")
    model = parse_model(m.build([a, b], [out]))
    assert macs(model, model.operators[0]) == expected


@pytest.mark.parametrize(
    ("name", "millions"), [("mobilenet_v1_0.25_128_quant", 14), ("mobilenet_v2_1.0_224_quant", 300)]
)
def test_macs_of_real_models_are_those_that_are_published(name, millions):
    model = model_of(name)
    total = sum(macs(model, operator) for operator in model.operators)
    assert total / 1e6 == pytest.approx(millions, rel=0.035)


def test_hostile_files_give_a_graph_or_a_message():
    """Cut short, or with bytes changed: never a traceback from here, nor a graph that contradicts itself."""
    chooser = random.Random(1)
    outcomes = {"graph": 0, "message": 0}
    for name in ("residual_split", "counter", "reshape_like", "loop", "two_streams", "blockwise", "two_signatures"):
        data = getattr(tiny_models, name)()
        for _ in range(150):
            broken = bytearray(data[: chooser.randrange(len(data))] if chooser.random() < 0.2 else data)
            for _ in range(chooser.randrange(4)):
                if broken:
                    broken[chooser.randrange(len(broken))] ^= 1 << chooser.randrange(8)
            try:
                model = parse_model(bytes(broken), "broken.tflite")
                facts, smallest = cut(model)
                for ranges in (smallest, layers(model, facts, smallest)):
                    graph = import_model(model, facts, ranges, "broken", "broken.tflite").graph
                    write_application(graph)
                outcomes["graph"] += 1
            except EpruneError:
                outcomes["message"] += 1
    assert min(outcomes.values()) > 50
