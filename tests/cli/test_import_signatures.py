"""Models of several signatures, and of open dimensions: what is imported is said, and can be chosen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from eprune.formats.model_files import parse_model, read_model
from eprune.formats.models.slices import restated
from eprune.formats.xml.application import read_application
from tests.kit import tiny_models

SHARED = Path(__file__).parents[3] / "shared" / "cases" / "tflite"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with small models."""
    monkeypatch.chdir(tmp_path)
    for name in ("two_signatures", "open_length", "conv_pool_dense"):
        (tmp_path / f"{name}.tflite").write_bytes(getattr(tiny_models, name)())
    return tmp_path


def test_several_signatures_are_named_and_none_is_taken_silently(folder, eprune):
    for arguments in (("-o", "app"), ("--list",)):
        done = eprune("import", "two_signatures.tflite", *arguments)
        assert done.code == 2
        assert done.err == (
            "two_signatures.tflite: error[FILE]: has 2 signatures: 'encode', 'decode'\n"
            "    hint: choose one with --signature NAME\n"
        )
    assert not Path("app").exists()
    done = eprune("import", "two_signatures.tflite", "-o", "app", "--signature", "decoder")
    assert (done.code, "has no signature 'decoder' (did you mean 'decode'?)" in done.err) == (2, True)
    done = eprune("import", "conv_pool_dense.tflite", "-o", "app", "--signature", "x")
    assert (done.code, "has no signature 'x' (it has none)" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("key", "source", "sink", "file"),
    [
        ("encode", "frames", "embedding", "two_signatures.tflite"),
        ("decode", "embedding", "sound", "two_signatures_decode.tflite"),
    ],
)
def test_a_signature_is_chosen_by_its_name(folder, eprune, key, source, sink, file):
    """Ports have the signature's names; what the application computes is what interpreters compute for it."""
    done = eprune("import", "two_signatures.tflite", "-o", "app", "--signature", key, "--per", "operator")
    assert done.code == 0, done.err
    graph = read_application("app/application.xml")
    assert graph.actors[0].name == source
    assert [port.name for port in graph.actor("Output").ports] == [sink]
    assert (folder / "app" / file).is_file()
    done = eprune("verify", "app/application.xml", "--model", "two_signatures.tflite")
    assert (done.code, done.out[:38]) == (0, "equal, bit for bit: 3 frames, 2 slices")
    listed = json.loads(eprune("import", "two_signatures.tflite", "--list", "--signature", key, "--format", "json").out)
    assert (listed["signature"], [end["name"] for end in listed["inputs"]]) == (key, [source])


def test_a_signature_of_another_model_is_found_to_differ(folder, eprune):
    assert eprune("import", "two_signatures.tflite", "-o", "app", "--signature", "decode").code == 0
    data = Path("two_signatures.tflite").read_bytes()
    Path("other.tflite").write_bytes(data.replace(b"decode", b"decade"))
    done = eprune("verify", "app/application.xml", "--model", "other.tflite")
    assert (done.code, "no actor is a slice of a model like" in done.err) == (2, True)


def test_a_signature_as_a_file_of_its_own_has_its_names_and_numbers():
    model = parse_model(tiny_models.two_signatures(), signature="decode")
    alone = parse_model(restated(model, {}))
    assert (alone.graph, alone.subgraphs, alone.operators) == (0, 1, model.operators)
    assert (alone.inputs, alone.outputs, alone.signature.key) == (model.inputs, model.outputs, "decode")
    assert [alone.name(index) for index in (*alone.inputs, *alone.outputs)] == ["embedding", "sound"]


def test_open_dimensions_are_said_and_given(folder, eprune):
    done = eprune("import", "open_length.tflite", "-o", "small")
    note = "note: input 'audio' is float32[1,?], and taken as [1,1]; --shape audio=... gives it another shape\n"
    assert (done.code, done.err.startswith(note)) == (0, True)
    assert note in eprune("import", "open_length.tflite", "--list").err
    done = eprune("import", "open_length.tflite", "-o", "app", "--shape", "audio=1,1280", "--per", "operator")
    assert (done.code, "note" in done.err) == (0, False)
    graph = read_application("app/application.xml")
    assert {str(port.token) for actor in graph.actors for port in actor.ports} == {"float32[1,1280]"}
    assert read_model("app/open_length_1x1280.tflite").inputs == read_model("open_length.tflite").inputs
    assert eprune("analyze", "app/application.xml", "-p", "app", "-m", "app").code == 0
    assert "equal, bit for bit" in eprune("verify", "app/application.xml", "--model", "open_length.tflite").out
    Path("in").mkdir()
    np.save("in/audio.npy", np.ones((2, 1, 1280), np.float32))
    done = eprune("verify", "app/application.xml", "--model", "open_length.tflite", "--inputs", "in")
    assert "equal, bit for bit: 2 frames" in done.out
    listed = json.loads(eprune("import", "open_length.tflite", "--list", "--format", "json").out)
    assert [end["open"] for end in listed["inputs"]] == [[1]]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("audio", "--shape 'audio' is not of the form INPUT=1,1280"),
        ("audio=1,x", "is not of the form"),
        ("sound=1,8", "the model has no input 'sound'\n    hint: its inputs are 0: audio"),
        ("audio=8", "the input is float32[1,?]"),
        ("audio=2,8", "the input is float32[1,?]"),
        ("audio=1,0", "the input is float32[1,?]"),
        ("audio=1,9999999999", "the input is float32[1,?]"),
    ],
)
def test_shapes_that_cannot_be(folder, eprune, shape, message):
    done = eprune("import", "open_length.tflite", "-o", "app", "--shape", shape)
    assert done.code == 2
    assert message in done.err
    assert not Path("app").exists()


def test_a_model_that_was_imported_beside_itself_is_not_overwritten(folder, eprune):
    before = Path("open_length.tflite").read_bytes()
    assert eprune("import", "open_length.tflite", "-o", ".", "--shape", "audio=1,7").code == 0
    assert Path("open_length.tflite").read_bytes() == before


def test_a_real_model_of_three_signatures(tmp_path, eprune):
    path = SHARED / "multi_signature.tflite"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    for key in ("add", "mul", "sub"):
        app = tmp_path / key
        assert eprune("import", str(path), "-o", str(app), "--signature", key).code == 0
        done = eprune("verify", str(app / "application.xml"), "--model", str(path))
        assert (done.code, done.out[:18]) == (0, "equal, bit for bit")


def skipping():
    """Any batch: 0 CONV_2D makes features, 1 and 2 CONV_2D; 3 SHAPE of the features says what 4 RESHAPE makes."""
    m = tiny_models.ModelBuilder()
    image = m.tensor((1, 8, 8, 3), shapeSignature=[-1, 8, 8, 3])
    features = m.conv(image, (1, 8, 8, 4), 3)
    m.current.tensors[features].shapeSignature = [-1, 8, 8, 4]
    wide = m.conv(features, (1, 8, 8, 8), 4)
    m.current.tensors[wide].shapeSignature = [-1, 8, 8, 8]
    less = m.conv(wide, (1, 8, 8, 4), 8)
    m.current.tensors[less].shapeSignature = [-1, 8, 8, 4]
    shape = m.tensor((4,), "int32")
    m.operator("SHAPE", [features], [shape], "ShapeOptions", outType=tiny_models.schema.TensorType.INT32)
    result = m.tensor((1, 8, 8, 4), shapeSignature=[-1, 8, 8, 4])
    m.operator("RESHAPE", [less, shape], [result], "ReshapeOptions")
    return m.build([image], [result])


def test_no_tensor_crosses_for_its_shape_and_private_ones_stay(folder, eprune):
    Path("skipping.tflite").write_bytes(skipping())
    assert eprune("import", "skipping.tflite", "-o", "app", "--per", "operator").code == 0
    assert "equal, bit for bit" in eprune("verify", "app/application.xml", "--model", "skipping.tflite").out
    graph = read_application("app/application.xml")
    readers = {fifo.target.actor for fifo in graph.fifos if fifo.source.actor == "conv2d_0"}
    assert readers == {"conv2d_1"}
    listed = json.loads(eprune("import", "skipping.tflite", "--list", "--format", "json").out)
    assert [row["cut_bytes"] for row in listed["operators"]] == [1024, 2048, 1024, None, None]
    platform = '<platform name="{}"><unit name="cpu"/><link to="{}"/></platform>'
    for name, other in (("pi", "server"), ("server", "pi")):
        Path(f"{name}.xml").write_text(platform.format(name, other))
    done = eprune(
        *("explore", "app/application.xml", "-p", "pi.xml", "server.xml", "-o", "cuts"),
        *("--private-until", "conv2d_1", "--format", "json"),
    )
    assert done.code == 0, done.err
    # The image, conv2d_0 and conv2d_1 are private: point 3 sends what conv2d_1 makes, and nothing of those before it.
    points = json.loads(done.out)["points"]
    assert (points[0]["point"], points[0]["bytes"], points[0]["homes"]["conv2d_1"]) == ("3", 2048, "pi")
