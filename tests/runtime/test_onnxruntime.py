"""onnxruntime as an engine of slices: the same interface as TFLite's interpreter, and clear messages."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from eprune.runtime.fire import onnxruntime
from eprune.runtime.fire.engines import ModelEngine
from eprune.runtime.fire.segment import Model
from eprune.runtime.kernel.errors import UsageError
from tests.kit import onnx_models, tiny_models

X = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)


def answer(engine: ModelEngine, x: np.ndarray = X) -> np.ndarray:
    interpreter = engine.load(onnx_models.network())
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    engine.invoker(interpreter)()
    found: np.ndarray = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return found


def test_it_computes_what_a_session_does() -> None:
    session = onnxruntime.load(onnx_models.network(), 1).session
    assert answer(ModelEngine("onnxruntime")).tobytes() == session.run(None, {"x": X})[0].tobytes()


def test_threads_do_not_change_a_bit() -> None:
    one, *others = (answer(ModelEngine("onnxruntime", threads=count)) for count in (1, 2, 4))
    assert all(one.tobytes() == other.tobytes() for other in others)


def test_tensors_stay_where_they_are_and_begin_at_64_bytes() -> None:
    interpreter = onnxruntime.load(onnx_models.network(), 1)
    room = interpreter.tensor(0)
    room()[...] = X
    interpreter.invoke()
    result = interpreter.tensor(1)()
    first = result.copy()
    room()[...] = 2 * X
    interpreter.invoke()
    assert interpreter.tensor(1)() is result, "the next run writes where the last one did"
    assert result.tobytes() != first.tobytes()
    assert [array.ctypes.data % 64 for array in (room(), result)] == [0, 0]


def test_a_plain_engine_runs_each_model_by_the_library_of_its_format() -> None:
    plain = ModelEngine()
    assert plain.of("a/m.onnx").describe().startswith("onnxruntime ")
    assert plain.of("a/m.tflite").name == "tflite"
    assert plain.load(onnx_models.network()).get_input_details()[0]["name"] == "x"
    assert plain.load(tiny_models.conv_pool_dense()).get_input_details()[0]["dtype"] is np.float32


def test_a_behaviour_that_calls_a_model_gets_several_tokens_computed_at_once() -> None:
    """The batch is open in the file, and stated when it is loaded."""
    model = Model(onnx_models.asking, ModelEngine("onnxruntime"))
    tokens = [np.full((1, 3, 4, 4), value, np.float32) for value in (1, 2, 3)]
    single = [model(token)[0] for token in tokens]
    assert [each.tobytes() for each in model.batch(tokens, 4)] == [each.tobytes() for each in single]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimization": "most"}, "optimization=most: expected disabled, basic, extended, all"),
        ({"provider": "NoSuchProvider"}, "it has no provider NoSuchProvider here; it has "),
    ],
)
def test_options_that_it_does_not_take_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        ModelEngine("onnxruntime", options=options).load(onnx_models.network())
    assert message in str(caught.value)


@pytest.mark.parametrize("level", onnxruntime.LEVELS)
def test_each_level_computes_nearly_the_same(level: str) -> None:
    plain = answer(ModelEngine("onnxruntime", options={"optimization": "disabled"}))
    assert np.abs(answer(ModelEngine("onnxruntime", options={"optimization": level})) - plain).max() < 1e-5


def test_what_is_no_model_and_what_is_no_input_is_one_clear_message() -> None:
    with pytest.raises(RuntimeError, match=r"^onnxruntime: ") as caught:
        ModelEngine("onnxruntime").load(b"no model")
    assert "ONNXRuntimeError" not in str(caught.value)
    interpreter = onnxruntime.load(onnx_models.network(), 1)
    with pytest.raises(ValueError, match=r"input 'x' is float32\[1, 3, 8, 8\], not float32\[1, 3, 8, 9\]"):
        interpreter.set_tensor(0, np.zeros((1, 3, 8, 9), np.float32))
