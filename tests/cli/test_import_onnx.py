"""ONNX models through the whole tool chain, as .tflite ones: imported, verified, split, explored, shipped."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from tests.kit import onnx_models, tiny_models  # noqa: E402


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with small models."""
    monkeypatch.chdir(tmp_path)
    for name in ("network", "quantized", "branching", "looping", "asking"):
        (tmp_path / f"{name}.onnx").write_bytes(getattr(onnx_models, name)())
    (tmp_path / "unstated.onnx").write_bytes(onnx_models.network(states=False))
    return tmp_path


@pytest.mark.parametrize("name", ["network", "unstated", "quantized", "branching", "looping"])
def test_an_import_analyzes_clean_equals_the_model_and_runs(folder, eprune, eprune_process, name):
    done = eprune("import", f"{name}.onnx", "-o", "app", "--per", "operator")
    assert done.code == 0, done.err
    assert eprune("analyze", "app/application.xml", "-p", "app", "-m", "app", "--strict").code == 0
    verified = eprune("verify", "app/application.xml", "--model", f"{name}.onnx", "--format", "json")
    report = json.loads(verified.out)
    assert (verified.code, report["equal"]) == (0, True)
    assert report["interpreter"].startswith("onnxruntime ")
    ran = eprune_process("run", "app/application.xml", "-p", "app", "-m", "app", "--frames", "2")
    assert [json.loads(line)["frame"] for line in ran.out.splitlines()] == [0, 1], ran.err


def test_shapes_that_are_open_are_asked_for_and_stated(folder, eprune):
    done = eprune("import", "asking.onnx", "-o", "app")
    assert "input 'x' is float32[?,3,4,4], and taken as [1,3,4,4]; --shape x=... gives it another shape" in done.err
    assert (folder / "app/asking_stated.onnx").is_file()
    again = eprune("import", "asking.onnx", "-o", "batch", "--shape", "x=5,3,4,4")
    assert again.code == 0
    assert "float32[5,2]" in (folder / "batch/application.xml").read_text()
    for app in ("app", "batch"):
        assert eprune("verify", f"{app}/application.xml", "--model", "asking.onnx").code == 0


def test_a_list_says_where_a_cut_can_be_and_why_not(folder, eprune):
    rows = json.loads(eprune("import", "network.onnx", "--list", "--format", "json").out)["operators"]
    assert rows[0]["name"] == "conv_0"
    assert rows[0]["macs"] == 8 * 8 * 8 * 27
    assert rows[0]["cut_bytes"] is None
    assert "one operator in onnxruntime" in rows[0]["why_not"]
    assert rows[2]["cut_bytes"] == 4 * 8 * 8 * 8


def test_a_split_computes_the_same_bits_over_two_processes(folder, eprune, eprune_process):
    assert eprune("import", "network.onnx", "-o", "app", "--split", "after_relu_2", "-p", "pi,server").code == 0
    np.save("frames.npy", np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32))
    where = ("app/application.xml", "-p", "app/platforms", "-m", "app/mappings")
    ran = eprune_process("run", *where, "--set", "x.path=frames.npy", "--set", "Output.path=out", "--record", "records")
    assert ran.code == 0, ran.err
    session = onnx_models_session(onnx_models.network())
    expected = [session.run(None, {"x": frame[None]})[0] for frame in np.load("frames.npy")]
    assert np.load("out/y.npy").tobytes() == np.stack(expected).tobytes()
    for platform in ("pi", "server"):
        record = json.loads((folder / f"records/{platform}.json").read_text())
        assert record["interpreter"].startswith("onnxruntime ")
        assert [each["engine"] for each in record["engines"].values()] == ["onnxruntime"]


def onnx_models_session(data):
    from eprune.runtime.fire import onnxruntime

    return onnxruntime.load(data, 1).session


def test_a_bundle_runs_where_only_onnxruntime_is(folder, eprune, eprune_process, tmp_path):
    """Neither the package onnx nor a TFLite interpreter is asked for."""
    assert eprune("import", "network.onnx", "-o", "app").code == 0
    made = eprune("codegen", "app/application.xml", "-p", "app", "-m", "app", "--pyz", "-o", "out.pyz")
    assert made.code == 0, made.err
    blocked = tmp_path / "blocked"
    for name in ("onnx", "ai_edge_litert", "tflite_runtime"):
        (blocked / name).mkdir(parents=True)
        (blocked / name / "__init__.py").write_text("raise ImportError('this must not be needed')\n")
    (tmp_path / "elsewhere").mkdir()
    import subprocess

    done = subprocess.run(
        [sys.executable, str(folder / "out.pyz"), "--frames", "2"],
        cwd=tmp_path / "elsewhere",
        env={"PYTHONPATH": str(blocked)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_units_take_the_models_that_their_engine_reads(folder, eprune):
    eprune("import", "network.onnx", "-o", "app", "--per", "1")
    platform = folder / "app/platform.xml"
    text = platform.read_text()
    platform.write_text(text.replace('<unit name="cpu"/>', '<unit name="cpu" engine="tflite"/>'))
    found = eprune("analyze", "app/application.xml", "-p", "app", "-m", "app")
    assert found.code == 1
    assert "error[M5]: actor 'conv_0-softmax_12' cannot run on unit 'cpu': tflite reads no .onnx models" in found.out
    platform.write_text(
        text.replace('<unit name="cpu"/>', '<unit name="cpu" engine="onnxruntime" options="optimization=all"/>')
    )
    assert eprune("analyze", "app/application.xml", "-p", "app", "-m", "app").code == 0
    verified = eprune("verify", "app/application.xml", "-p", "app/platform.xml", "--unit", "cpu")
    assert verified.code == 0, verified.out


def test_exploration_times_operators_by_the_profiler_of_onnxruntime(folder, eprune):
    eprune("import", "network.onnx", "-o", "app", "--split", "best", "-p", "pi,server")
    files = ("app/platforms/pi.xml", "app/platforms/server.xml")
    assert eprune("explore", "app/application.xml", "-p", *files, "-o", "cuts").code == 0
    assert eprune("profile", "cuts", "--actors").code == 0
    times = json.loads((folder / "cuts/actors.json").read_text())["platforms"]["pi"]
    assert times["interpreter"].startswith("onnxruntime ")
    assert all(seconds > 0 for actor, seconds in times["actors"].items() if actor.startswith(("conv", "matmul")))
    made = eprune("cut", "cuts", "--best", "latency", "-o", "system")
    assert made.code == 0, made.err


def test_both_formats_run_in_one_application(folder, eprune, eprune_process):
    """A part of a .tflite model on one unit, one of an .onnx model on the same."""
    (folder / "dense.tflite").write_bytes(tiny_models.conv_pool_dense())
    eprune("import", "dense.tflite", "-o", "both", "--per", "1")
    eprune("import", "network.onnx", "-o", "other", "--per", "1")
    one, other = ((folder / f"{name}/application.xml").read_text() for name in ("both", "other"))
    head = other[other.index("  <actor") : other.index("  <fifo")]
    tail = other[other.index("  <fifo") : other.index("</application>")]
    for name in ('"Output', '"t0"'):
        head, tail = (text.replace(name, name.replace('"', '"other_', 1)) for text in (head, tail))
    split = one.index("  <fifo")
    one = one[:split] + head + one[split : one.index("</application>")] + tail + "</application>\n"
    (folder / "both/application.xml").write_text(one)
    (folder / "both/network.onnx").write_bytes((folder / "network.onnx").read_bytes())
    mapping = (folder / "both/mapping.xml").read_text()
    names = sorted({part.partition('"')[0] for part in head.split('<actor name="')[1:]})
    placed = "".join(f'  <map actor="{name}" unit="cpu"/>\n' for name in names)
    (folder / "both/mapping.xml").write_text(mapping.replace("</mapping>", f"{placed}</mapping>"))
    where = ("both/application.xml", "-p", "both/platform.xml", "-m", "both/mapping.xml")
    found = eprune("analyze", *where)
    assert found.code == 0, found.out
    ran = eprune_process("run", *where, "--frames", "2", "--record", "records")
    assert ran.code == 0, ran.err
    (record,) = [json.loads(path.read_text()) for path in (folder / "records").iterdir()]
    assert {each["engine"] for each in record["engines"].values()} == {"tflite", "onnxruntime"}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["apply", "partition", "network.onnx", "--devices", "2", "-o", "out"],
            "is an ONNX model; this is for .tflite",
        ),
        (["import", "network.onnx", "-o", "out", "--signature", "main"], "has no signature 'main'"),
        (["import", "broken.onnx", "-o", "out"], "is not an ONNX model"),
        (["import", "asking.onnx", "-o", "out", "--shape", "x=1,4,4,4"], "the input is float32[?,3,4,4]"),
        (["inspect", "broken.onnx"], "is not an ONNX model"),
    ],
)
def test_what_cannot_be_is_one_clear_message(folder, eprune, command, message):
    (folder / "broken.onnx").write_bytes(onnx_models.network()[:500])
    done = eprune(*command)
    assert done.code == 2
    assert message in done.err
    assert not Path("out").exists()


def test_without_the_package_onnx_it_is_named(folder, eprune, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    done = eprune("import", "network.onnx", "-o", "app")
    assert done.code == 2
    assert "to read .onnx models takes the package onnx, which is not installed here" in done.err
    assert 'pip install "eprune[onnx]"' in done.err


def test_inspect_tells_of_a_model(folder, eprune):
    found = json.loads(eprune("inspect", "network.onnx", "--format", "json").out)
    assert [end["token"] for end in found["inputs"]] == ["float32[1,3,8,8]"]
    assert found["operators"]["Conv"] == 3


def test_an_application_can_have_slices_of_channels(folder, eprune):
    """Two actors compute half of the channels each, and verify compares them with the whole."""
    (folder / "app.xml").write_text(
        """<application name="halves">
  <actor name="In" class="tensor_source.py:TensorSource"><out name="out" token="float32[1,3,8,8]"/></actor>
  <actor name="low" model="network.onnx" operators="0-2" channels="0-3">
    <in name="in" token="float32[1,3,8,8]"/><out name="out" token="float32[1,4,8,8]"/>
  </actor>
  <actor name="high" model="network.onnx" operators="0-2" channels="4-7">
    <in name="in" token="float32[1,3,8,8]"/><out name="out" token="float32[1,4,8,8]"/>
  </actor>
  <actor name="Fork" class="fork.py:Fork">
    <in name="in" token="float32[1,3,8,8]"/>
    <out name="a" token="float32[1,3,8,8]"/><out name="b" token="float32[1,3,8,8]"/>
  </actor>
  <actor name="Out" class="tensor_sink.py:TensorSink">
    <in name="a" token="float32[1,4,8,8]"/><in name="b" token="float32[1,4,8,8]"/>
  </actor>
  <fifo name="f0" from="In.out" to="Fork.in"/>
  <fifo name="f1" from="Fork.a" to="low.in"/>
  <fifo name="f2" from="Fork.b" to="high.in"/>
  <fifo name="f3" from="low.out" to="Out.a"/>
  <fifo name="f4" from="high.out" to="Out.b"/>
</application>
"""
    )
    assert eprune("analyze", "app.xml").code == 0, eprune("analyze", "app.xml").out
    (folder / "unit.xml").write_text(
        """<platform name="pc"><unit name="npu" engine="onnxruntime" options="optimization=all"/></platform>"""
    )
    found = eprune("verify", "app.xml", "-p", "unit.xml", "--unit", "npu")
    assert found.code == 0, found.out + found.err
