"""Segments run models exactly, under either interpreter, and refuse what does not fit."""

import json
import threading

import numpy as np
import pytest

from eprune.runtime import PortType
from eprune.runtime.fire import tflite
from eprune.runtime.fire.engines import ModelEngine
from eprune.runtime.fire.segment import Interpreters, SegmentActor
from eprune.runtime.kernel.errors import UsageError
from tests.kit import tiny_models
from tests.kit.programs import run, write_program

EACH_INTERPRETER = pytest.mark.parametrize("interpreter", tflite.INTERPRETERS)


def segment(model, interpreter, inputs, outputs):
    engine = ModelEngine(interpreter=interpreter)
    made = SegmentActor(lambda: model, engine, dict.fromkeys(inputs, 0), dict.fromkeys(outputs, 0))
    made.inputs, made.outputs = inputs, outputs
    return made


@EACH_INTERPRETER
def test_a_segment_gives_the_interpreters_own_bits(interpreter):
    model = tiny_models.conv_pool_dense()
    bare = tflite.load(interpreter, model)
    feed, fetch = bare.get_input_details()[0], bare.get_output_details()[0]
    inputs = {"in": PortType(feed["dtype"].__name__, tuple(feed["shape"]), 1)}
    outputs = {"out": PortType(fetch["dtype"].__name__, tuple(fetch["shape"]), 1)}
    ours = segment(model, interpreter, inputs, outputs)
    ours.initialize()
    rng = np.random.default_rng(3)
    for _ in range(5):
        token = rng.standard_normal(feed["shape"]).astype(feed["dtype"])
        result = np.empty(fetch["shape"], fetch["dtype"])
        ours.fire({"in": token}, {"out": result})
        bare.set_tensor(feed["index"], token)
        bare.invoke()
        assert result.tobytes() == bare.get_tensor(fetch["index"]).tobytes()


def test_segments_that_share_an_interpreter_give_their_own_bits_at_once():
    """Many threads, one interpreter: a model's weights are in memory once."""
    model, interpreter = tiny_models.conv_pool_dense(), tflite.choose()
    bare = tflite.load(interpreter, model)
    feed, fetch = bare.get_input_details()[0], bare.get_output_details()[0]
    inputs = {"in": PortType(feed["dtype"].__name__, tuple(feed["shape"]), 1)}
    outputs = {"out": PortType(fetch["dtype"].__name__, tuple(fetch["shape"]), 1)}
    tokens = np.random.default_rng(3).standard_normal((4, *feed["shape"])).astype(feed["dtype"])
    shared, wrong = Interpreters(), []

    def work(token):
        ours = segment(model, interpreter, inputs, outputs)
        ours.interpreters = shared
        ours.initialize()
        wanted = None
        for _ in range(200):
            result = np.empty(fetch["shape"], fetch["dtype"])
            ours.fire({"in": token}, {"out": result})
            wanted = result.tobytes() if wanted is None else wanted
            if result.tobytes() != wanted:
                wrong.append(token)
        results.append((token, wanted))

    results = []
    threads = [threading.Thread(target=work, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(results) == 4
    for token, result in results:
        bare.set_tensor(feed["index"], token)
        bare.invoke()
        assert result == bare.get_tensor(fetch["index"]).tobytes()
    assert shared.load(interpreter, model)[0] is shared.load(interpreter, bytes(model))[0]


@EACH_INTERPRETER
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8", "int16", "int32", "bool"])
def test_tokens_of_every_type_and_rank_pass(interpreter, dtype):
    for shape in ((), (6,), (2, 3), (1, 2, 3), (1, 2, 1, 3), (1, 2, 1, 3, 1), (1, 1, 2, 1, 3, 1)):
        other = (1,) if shape == () else (3, 2)
        for first, last in ((shape, other), (other, shape)):
            made = segment(
                tiny_models.reshapes(dtype, first, last),
                interpreter,
                {"in": PortType(dtype, first, 1)},
                {"out": PortType(dtype, last, 1)},
            )
            made.initialize()
            token = np.asarray(np.random.default_rng(1).integers(0, 2, first), dtype)
            token.flags.writeable = False
            result = np.empty(last, dtype)
            made.fire({"in": token}, {"out": result})
            assert result.tobytes() == token.tobytes()


@EACH_INTERPRETER
def test_a_model_of_another_shape_is_refused_by_name(interpreter):
    wrong = {"in": PortType("float32", (9, 9), 1)}
    with pytest.raises(ValueError, match=r"port 'in' is float32\[9, 9\], the model's tensor float32"):
        segment(tiny_models.conv_pool_dense(), interpreter, wrong, {}).initialize()


def test_a_model_that_is_no_model_fails_the_run_with_one_message(tmp_path):
    (tmp_path / "broken.tflite").write_bytes(b"TFL3" * 100)
    program = write_program(tmp_path, "host", "segment('S', 'broken.tflite', 'cpu', ('S',), {}, {})")
    code, _, err = run(program)
    assert code == 1
    assert "actor 'S' failed in initialize: ValueError" in err
    assert len(err.splitlines()) == 1


def test_a_model_that_is_missing_is_named(tmp_path):
    program = write_program(tmp_path, "host", "segment('S', 'gone.tflite', 'cpu', ('S',), {}, {})")
    code, _, err = run(program)
    assert code == 2
    assert "gone.tflite: No such file or directory; generate the program again" in err


@EACH_INTERPRETER
def test_the_interpreter_can_be_chosen_and_the_record_names_it(tmp_path, interpreter):
    (tmp_path / "m.tflite").write_bytes(tiny_models.conv_pool_dense())
    program = write_program(tmp_path, "host", "segment('S', 'm.tflite', 'cpu', ('S',), {}, {})")
    record = tmp_path / "record.json"
    run_it = run(program, "--interpreter", interpreter, "--record", str(record), "--frames", "1")
    assert run_it == (0, "", "")
    assert json.loads(record.read_text())["interpreter"].startswith(f"{interpreter} ")
    assert run(program, "--record", str(record), "--frames", "1", EPRUNE_INTERPRETER=interpreter)[0] == 0
    assert json.loads(record.read_text())["interpreter"].startswith(f"{interpreter} ")


def test_an_interpreter_that_is_unknown_or_missing_is_said(monkeypatch):
    with pytest.raises(UsageError, match="known are auto, ai-edge-litert, tflite-runtime"):
        tflite.choose("tensorflow")
    monkeypatch.setattr(tflite, "INTERPRETERS", {"not-there": "not_there.interpreter"})
    with pytest.raises(UsageError, match="pip install not-there"):
        tflite.choose()
