"""Units: engines, threads and delegates compute what they should, and say clearly why they cannot."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from eprune.formats.model_files import read_model
from eprune.runtime.fire import openvino, tflite
from eprune.runtime.fire.engines import ModelEngine
from eprune.runtime.fire.segment import Model
from eprune.runtime.kernel.errors import UsageError
from tests.kit import tiny_models
from tests.kit.accelerator import NEEDS_CC, accelerator
from tests.kit.programs import finish, start_command

ROOT = Path(__file__).resolve().parents[2]
VEHICLE = ROOT / "graphs" / "vehicle.tflite"
MODELS = ROOT.parent / "shared" / "models"

EACH_INTERPRETER = pytest.mark.parametrize("interpreter", tflite.INTERPRETERS)
NEEDS_OPENVINO = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed (pip install eprune[openvino])"
)
#: Models that keep nothing from one invocation to the next.
SHARED = (
    "deeplabv3_257_mv_gpu",
    "mobilenet_v1_0.25_128_quant",
    "mobilenet_v2_1.0_224_quant",
    "nmp",
    "split_concat",
    "traffic_model",
)
#: The one that threads do change: its sums over a whole piece of sound are added up in parts.
VARYING = {("nmp", "tflite-runtime")}


def computed(engine: ModelEngine, model: bytes, seed: int = 1) -> list[np.ndarray]:
    """The outputs of a model for random inputs."""
    interpreter = engine.load(model)
    rng = np.random.default_rng(seed)
    for detail in interpreter.get_input_details():
        values = rng.random(tuple(detail["shape"]))
        scale = 1 if np.issubdtype(detail["dtype"], np.floating) else 255
        interpreter.set_tensor(detail["index"], (values * scale).astype(detail["dtype"]))
    engine.invoker(interpreter)()
    return [np.array(interpreter.get_tensor(detail["index"])) for detail in interpreter.get_output_details()]


def largest(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    assert [each.shape for each in one] == [each.shape for each in other]
    return max(float(np.abs(a.astype(float) - b.astype(float)).max()) for a, b in zip(one, other))


@EACH_INTERPRETER
@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.long if each != SHARED[1] else ()) for each in SHARED]
)
def test_threads_do_not_change_a_bit(interpreter: str, name: str) -> None:
    path = MODELS / f"{name}.tflite"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    one, *others = (computed(ModelEngine(interpreter=interpreter, threads=n), path.read_bytes()) for n in (1, 2, 4))
    if (name, interpreter) in VARYING:
        assert 0 < max(largest(one, other) for other in others) < 1e-3
        return
    for other in others:
        assert [each.tobytes() for each in other] == [each.tobytes() for each in one]


@NEEDS_CC
@EACH_INTERPRETER
def test_a_delegate_computes_the_operators_that_it_takes(interpreter: str) -> None:
    model = VEHICLE.read_bytes()
    plain = ModelEngine(interpreter=interpreter)
    right = computed(plain, model)
    assert 0 < largest(right, computed(plain._replace(delegate=accelerator()), model)) < 1e-5
    wrong = plain._replace(delegate=accelerator(), options={"wrong": "50"})
    assert largest(right, computed(wrong, model)) > 0.01


@NEEDS_CC
def test_a_delegate_is_named_with_its_hash(tmp_path: Path) -> None:
    engine = ModelEngine(delegate=accelerator(), options={"slow": "0"})
    digest = tflite.library(accelerator())[1]
    assert engine.describe().endswith(f" with {Path(accelerator()).name} {digest[:16]}")
    assert engine.record()["sha256"] == digest
    others = [engine._replace(options={}), engine._replace(delegate=""), engine]
    assert len({each.identity() for each in others}) == 3


@NEEDS_CC
def test_a_model_that_a_class_calls_names_the_delegate_that_fails() -> None:
    called = Model(tiny_models.conv_pool_dense, ModelEngine(delegate=accelerator(), options={"fail": "invoke"}))
    with pytest.raises(RuntimeError, match=r"^delegate .*fails on request"):
        called(np.zeros((1, 8, 8, 3), np.float32))


@NEEDS_CC
@EACH_INTERPRETER
@pytest.mark.parametrize(
    ("delegate", "options", "message"),
    [
        ("/nowhere.so", {}, "delegate /nowhere.so: cannot open shared object file: No such file or directory"),
        ("libm.so.6", {}, "it is no delegate for TFLite: it lacks the function tflite_plugin_create_delegate"),
        (__file__, {}, "invalid ELF header"),
        ("", {"fail": "device"}, "no device (options: fail=device)"),
        ("", {"colour": "red"}, "unknown option colour (options: colour=red)"),
        ("", {"fail": "prepare"}, "does not prepare on request"),
        ("", {"fail": "invoke"}, "fails on request; Node number"),
    ],
)
def test_each_failure_of_a_delegate_is_one_clear_message(
    interpreter: str, delegate: str, options: dict[str, str], message: str
) -> None:
    engine = ModelEngine(interpreter=interpreter, delegate=delegate or accelerator(), options=options)
    with pytest.raises((UsageError, RuntimeError), match="delegate ") as caught:
        engine.describe()
        computed(engine, VEHICLE.read_bytes())
    text = str(caught.value)
    assert message in text
    assert "\n" not in text


@pytest.fixture
def vehicle(tmp_path: Path):
    """Runs the vehicle classifier with the dense layers on a second unit; gives the record, or what it says."""

    def run(unit: str, *options: str):
        platform, mapping, records = tmp_path / "platform.xml", tmp_path / "mapping.xml", tmp_path / "records"
        platform.write_text(f'<platform name="endpoint"><unit name="cpu"/><unit name="npu" {unit}/></platform>')
        places = {"Input": "cpu", "L1": "cpu", "L2": "cpu", "L3": "npu", "L4-L5": "npu", "Sink": "cpu"}
        maps = "".join(f'<map actor="{actor}" unit="{unit}"/>' for actor, unit in places.items())
        mapping.write_text(f'<mapping application="vehicle" platform="endpoint">{maps}</mapping>')
        app = str(ROOT / "graphs" / "vehicle.xml")
        command = [
            sys.executable,
            "-m",
            "eprune",
            "run",
            app,
            "-p",
            str(platform),
            "-m",
            str(mapping),
            "--record",
            str(records),
            *options,
        ]
        code, out, err = finish(start_command(*command, "--frames", "3"))
        if code:
            return err
        return json.loads((records / "endpoint.json").read_text()), [json.loads(line) for line in out.splitlines()[:3]]

    return run


@NEEDS_CC
def test_a_run_with_a_delegate_is_recorded_and_can_be_slow(vehicle) -> None:
    record, lines = vehicle(f'delegate="{accelerator()}" options="slow=0.01" threads="2"')
    digest = tflite.library(accelerator())[1]
    used = record["engines"]["npu"]
    assert (used["delegate"], used["sha256"], used["threads"]) == (accelerator(), digest, 2)
    assert digest[:16] in record["interpreter"]
    assert record["actors"]["L3+L4-L5"]["busy_s"] > 3 * 0.03  # three operators, three frames, 10 ms each
    assert [line["frame"] for line in lines] == [0, 1, 2]


@NEEDS_CC
def test_a_run_whose_delegate_fails_says_so_and_ends(vehicle) -> None:
    said = vehicle(f'delegate="{accelerator()}" options="fail=1"')
    assert "actor 'L3+L4-L5' failed in fire: RuntimeError: delegate " in said
    assert "Traceback" not in said


def test_an_engine_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("importlib.import_module", missing)
    for engine in ("openvino", "onnxruntime"):
        with pytest.raises(UsageError, match=rf"^engine {engine}: No module named '{engine}'; install it"):
            ModelEngine(engine).describe()


@NEEDS_OPENVINO
@pytest.mark.parametrize("threads", [1, 2])
def test_openvino_computes_float32_nearly_as_tflite(threads: int) -> None:
    model = VEHICLE.read_bytes()
    assert largest(computed(ModelEngine(), model), computed(ModelEngine("openvino", threads=threads), model)) < 1e-5


@NEEDS_OPENVINO
def test_openvino_has_several_inputs_and_outputs_in_their_order() -> None:
    m = tiny_models.ModelBuilder()
    one, other, first, second = m.tensor((1, 4)), m.tensor((1, 4)), m.tensor((1, 4)), m.tensor((1, 4))
    m.operator("SUB", [other, one], [second], "SubOptions")
    m.operator("NEG", [one], [first], "NegOptions")
    model = m.build([one, other], [first, second])
    assert largest(computed(ModelEngine(), model), computed(ModelEngine("openvino"), model)) == 0


@NEEDS_OPENVINO
def test_openvino_says_what_it_does_not_take() -> None:
    with pytest.raises(RuntimeError, match=r"^OpenVINO: "):
        ModelEngine("openvino").load(b"no model")


@pytest.mark.parametrize("name", ["mobilenet_v1_0.25_128_quant", "traffic_model", "deeplabv3_257_mv_gpu"])
def test_zero_points_are_read_as_tflite_has_them(name: str) -> None:
    path = MODELS / f"{name}.tflite"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    model = read_model(str(path))
    details = tflite.load(tflite.choose(), model.data).get_input_details()
    found = openvino.zero_points(model.data)
    assert [found.get(position, 0) for position in range(len(details))] == [
        detail["quantization"][1] for detail in details
    ]
