"""`eprune verify`: equal, or the first actor that differs; and the verifier itself notices what is wrong."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from eprune.formats.model_files import read_model
from eprune.formats.models.slices import slice_model
from tests.kit import tiny_models

VERIFY = ("verify", "app/application.xml", "--model", "m.tflite")


@pytest.fixture
def imported(tmp_path, monkeypatch, eprune):
    """Imports a small model, an actor an operator, in the current folder."""
    monkeypatch.chdir(tmp_path)

    def make(name, *options):
        Path("m.tflite").write_bytes(getattr(tiny_models, name)())
        done = eprune("import", "m.tflite", "-o", "app", "--per", "operator", *options)
        assert done.code == 0, done.err

    return make


@pytest.mark.parametrize(
    "name", ["conv_pool_dense", "residual_split", "counter", "float16_weights", "sparse_weights", "two_streams"]
)
@pytest.mark.parametrize("interpreter", ["ai-edge-litert", "tflite-runtime"])
def test_an_imported_model_is_equal(imported, eprune, name, interpreter):
    imported(name)
    done = eprune(*VERIFY, "--interpreter", interpreter)
    assert done.code == 0, done.out
    assert done.out.startswith("equal, bit for bit: 3 frames, ")
    assert interpreter in done.out


def test_an_application_may_come_from_stdin(imported, eprune, monkeypatch):
    imported("conv_pool_dense")
    monkeypatch.chdir("app")
    done = eprune("verify", "-", "--model", "../m.tflite", stdin=Path("application.xml").read_text())
    assert done.code == 0, done.err
    assert done.out.startswith("equal, bit for bit: 3 frames, ")


def test_a_changed_weight_is_found_in_the_actor_that_has_it(imported, eprune):
    imported("conv_pool_dense")
    path = Path("app/m.tflite")
    model = read_model(str(path))
    weights = model.operators[2].inputs[1]
    data = bytearray(path.read_bytes())
    values = tiny_models_constant(model, weights)
    data[data.find(values) + 3] ^= 0x40  # the exponent of the first weight
    path.write_bytes(data)

    done = eprune(*VERIFY)
    assert done.code == 1
    assert done.out.startswith("app/application.xml:14: different: 'fully_connected_2' is the first actor that differs")
    told = json.loads(eprune(*VERIFY, "--format", "json").out)
    assert (told["equal"], told["first"]["actor"], told["first"]["frame"]) == (False, "fully_connected_2", 0)
    assert told["first"]["elements"] == 1
    assert told["first"]["largest_difference"] > 0


def tiny_models_constant(model, tensor):
    """The bytes of a constant."""
    from eprune.formats.tflite.model import buffer_bytes, load_schema

    root = load_schema(model.path).Model.GetRootAs(model.data)
    return buffer_bytes(model.data, root, model.tensors[tensor].buffer).tobytes()


def test_slices_that_are_wired_wrongly_are_found(imported, eprune):
    imported("residual_split")
    path = Path("app/application.xml")
    right = path.read_text()
    # The product of the two halves becomes that of one half with itself.
    wrong = right.replace(
        'name="out_10_mul_4" token="float32[1,4,4,2]" tensor="10"',
        'name="out_10_mul_4" token="float32[1,4,4,2]" tensor="9"',
    )
    assert wrong != right
    path.write_text(wrong)
    done = eprune(*VERIFY)
    assert done.code == 1
    assert "different: 'mul_4' is the first actor that differs, at port 'out'" in done.out


def test_inputs_come_from_a_folder(imported, eprune):
    imported("residual_split")
    Path("in").mkdir()
    np.save("in/t0.npy", np.ones((4, 4, 4, 4), np.float32))
    done = eprune(*VERIFY, "--inputs", "in")
    assert (done.code, "in: error[FILE]: has no t1.npy" in done.err) == (2, True)
    np.save("in/t1.npy", np.ones((5, 1, 2), np.float32))
    assert "its files have 4 and 5 frames" in eprune(*VERIFY, "--inputs", "in").err
    np.save("in/t1.npy", np.ones((4, 1, 2), np.float64))
    assert "is float64[4, 1, 2], not float32[N,1,2]" in eprune(*VERIFY, "--inputs", "in").err
    np.save("in/t1.npy", np.ones((4, 1, 2), np.float32))
    assert "equal, bit for bit: 4 frames" in eprune(*VERIFY, "--inputs", "in").out
    assert "equal, bit for bit: 2 frames" in eprune(*VERIFY, "--inputs", "in", "--frames", "2").out
    Path("in/t1.npy").write_bytes(b"\x93NUMPY")
    assert "is not a .npy file of plain numbers" in eprune(*VERIFY, "--inputs", "in").err


def test_state_that_is_fed_back_is_followed(tmp_path, monkeypatch, eprune):
    monkeypatch.chdir(tmp_path)
    m = tiny_models.ModelBuilder()
    x, state, total, half = (m.tensor((1, 4)) for _ in range(4))
    m.operator("ADD", [x, state], [total], "AddOptions")
    m.operator("MUL", [total, m.weights(4)], [half], "MulOptions")
    Path("m.tflite").write_bytes(m.build([x, state], [half, total]))
    assert eprune("import", "m.tflite", "-o", "app", "--per", "operator", "--feedback", "0:1").code == 0
    done = eprune(*VERIFY, "--frames", "5")
    assert (done.code, done.out[:29]) == (0, "equal, bit for bit: 5 frames,")
    # The same FIFO, begun with other values: the whole model is given these, too.
    np.save("app/ones.npy", np.ones((1, 1, 4), np.float32))
    path = Path("app/application.xml")
    path.write_text(path.read_text().replace('delay="1"', 'delay="1" initial="ones.npy"'))
    assert eprune(*VERIFY).code == 0


@pytest.mark.parametrize("told", ["it crashes (SIGSEGV)", "it does not come to an end within 1 s"])
def test_a_model_that_crashes_an_interpreter_does_not_crash_eprune(imported, eprune, tmp_path, monkeypatch, told):
    imported("conv_pool_dense")
    # An interpreter that crashes, or hangs, on this very model; corrupt files do that to real ones.
    fake = tmp_path / "fake" / "ai_edge_litert"
    fake.mkdir(parents=True)
    (fake / "__init__.py").touch()
    does = "os.kill(os.getpid(), 11)" if "crashes" in told else "time.sleep(60)"
    (fake / "interpreter.py").write_text(f"import os, time\ndef Interpreter(**_):\n    {does}\n")
    monkeypatch.setenv("PYTHONPATH", str(fake.parent))
    monkeypatch.setattr("eprune.measure.probe.TIMEOUT", 1 if "come" in told else 60)
    done = eprune(*VERIFY, "--interpreter", "ai-edge-litert")
    assert done.code == 2
    assert "m.tflite: error[FILE]: refused by ai-edge-litert" in done.err and told in done.err


@pytest.mark.parametrize("when", ["load", "invoke"])
def test_a_slice_that_crashes_an_interpreter_is_named(imported, eprune, tmp_path, monkeypatch, when):
    """The whole model runs, one of its slices does not: what a part of the file that no cut knows of can lead to."""
    imported("conv_pool_dense")
    fake = tmp_path / "fake" / "ai_edge_litert"
    fake.mkdir(parents=True)
    real = Path(importlib.util.find_spec("ai_edge_litert").origin).parent
    (fake / "__init__.py").write_text(f"__path__.append({str(real)!r})\n")
    loads = "self.own = real.Interpreter(**options)\n        self.bad = len(options['model_content']) == SIZE"
    crash = "os.kill(os.getpid(), 11)"
    size = len(slice_model(read_model("m.tflite"), [2]))
    (fake / "interpreter.py").write_text(
        f"import importlib.util, os, sys\nSIZE = {size}\n"
        f"spec = importlib.util.spec_from_file_location('ai_edge_litert.real', {str(real / 'interpreter.py')!r})\n"
        "real = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(real)\n"
        f"class Interpreter:\n    def __init__(self, **options):\n        {loads}\n"
        f"        if self.bad and {when == 'load'}: {crash}\n"
        f"    def invoke(self):\n        if self.bad: {crash}\n        self.own.invoke()\n"
        "    def __getattr__(self, name):\n        return getattr(self.own, name)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(fake.parent))
    done = eprune(*VERIFY, "--interpreter", "ai-edge-litert")
    assert done.code == 2
    assert "app/application.xml:14: error[FILE]: refused by ai-edge-litert" in done.err
    assert "it crashes (SIGSEGV) in the slice of 'fully_connected_2', though the whole model runs" in done.err


def test_another_model_is_refused(imported, eprune):
    imported("conv_pool_dense")
    Path("other.tflite").write_bytes(tiny_models.counter())
    done = eprune("verify", "app/application.xml", "--model", "other.tflite")
    assert done.code == 2
    assert "no actor is a slice of a model like 'other.tflite'" in done.err
