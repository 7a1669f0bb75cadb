"""`eprune inspect`: classes without running them, models, and XML files."""

from __future__ import annotations

import json

import pytest
from application import ROOT

CLASSES = '''\
"""Actors of one's own."""
import os

from base import Base
from eprune.runtime import Actor

raise SystemExit("this file must not be run")


class Camera(Actor):
    """Takes pictures.

    Slowly.

    Parameters:
        device: which camera,
            by number.
        width, height: of a picture.
    """

    OUTPUTS = {"out": "uint8[1,4,4,3]"}

    def __init__(self, device, width="4", *, height="4"):
        self.device = device

    def fire(self, inputs, outputs):
        outputs["out"][...] = 0
        outputs["time"][...] = 0


class Derived(Base):
    pass


class Plain:
    def __init__(self, **anything):
        pass


class Strange(os.PathLike):
    pass
'''
BASE = """\
from eprune.runtime import Actor


class Base(Actor):
    def __init__(self, gain="2"):
        self.gain = gain

    def fire(self, inputs, outputs):
        outputs["louder"][...] = inputs["quiet"]
"""


@pytest.fixture
def classes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(CLASSES)
    (tmp_path / "base.py").write_text(BASE)


def inspected(eprune, *what):
    done = eprune("inspect", *what, "--format", "json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_a_class_shows_ports_parameters_and_documentation(classes, eprune):
    text = eprune("inspect", "own.py:Camera").out
    assert text.startswith("Camera(Actor), own.py:10\n")
    assert "  Takes pictures.\n\n  Slowly.\n" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["out", "output", "uint8[1,4,4,3]"] in lines
    assert ["time", "output", "as", "in", "the", "graph"] in lines
    assert ["device", "required", "which", "camera,", "by", "number."] in lines
    assert ["height", "'4'", "of", "a", "picture."] in lines
    assert "declares the token types of its ports" in text


def test_a_class_as_data(classes, eprune):
    data = inspected(eprune, "own.py:Camera")
    assert data["summary"] == "Takes pictures."
    assert (data["is_actor"], data["declares_types"]) == (True, True)
    assert [(each["name"], each["required"]) for each in data["parameters"]] == [
        ("device", True),
        ("width", False),
        ("height", False),
    ]


def test_what_a_base_class_beside_it_has_belongs_to_the_class(classes, eprune):
    data = inspected(eprune, "own.py:Derived")
    assert data["is_actor"] is True
    assert [each["name"] for each in data["parameters"]] == ["gain"]
    assert (data["reads"], data["writes"]) == (["quiet"], ["louder"])
    assert data["inputs"] is data["outputs"] is None


def test_what_cannot_be_known_is_not_guessed(classes, eprune):
    assert inspected(eprune, "own.py:Plain")["parameters"] is None
    assert inspected(eprune, "own.py:Plain")["is_actor"] is False
    assert inspected(eprune, "own.py:Strange")["is_actor"] is None
    assert "Parameters: not known without running the class" in eprune("inspect", "own.py:Plain").out


def test_a_file_lists_its_actors(classes, eprune):
    assert [each["name"] for each in inspected(eprune, "own.py")["classes"]] == ["Camera", "Derived"]


def test_without_an_argument_the_library_is_listed(eprune):
    names = [each["name"] for each in inspected(eprune)["classes"]]
    assert {"JsonLines", "FrameSource", "Tracker"} <= set(names)
    assert names == sorted(names)
    assert all(each["summary"] for each in inspected(eprune)["classes"])
    assert "LineFile" not in names, "not an actor"


@pytest.mark.parametrize("what", ["SkipGate", "skip_gate.py", "skip_gate.py:SkipGate"])
def test_an_actor_of_the_library_is_found_by_its_name_or_its_file(eprune, what):
    data = inspected(eprune, what)
    assert data["name"] == "SkipGate"
    assert data["is_actor"] is True, "its base class is in another file"


def test_a_model(eprune):
    data = inspected(eprune, str(ROOT / "graphs/vehicle.tflite"))
    assert data["inputs"] == [{"name": "image", "token": "float32[1,96,96,3]"}]
    assert data["operators"]["CONV_2D"] == 2
    assert data["bytes"] == (ROOT / "graphs/vehicle.tflite").stat().st_size
    assert "a model of 9 operators" in eprune("inspect", str(ROOT / "graphs/vehicle.tflite")).out


def test_an_opencl_file(tmp_path, eprune):
    path = tmp_path / "f.cl"
    path.write_text(
        "/* Two. */\nkernel void f(global const float4 *a, local int *b, int c, global char *d) {}\nkernel void g() {}"
    )
    data = json.loads(eprune("inspect", str(path), "--format", "json").out)
    assert (data["kind"], data["doc"], [each["name"] for each in data["kernels"]]) == ("opencl", "Two.", ["f", "g"])
    assert [(each["type"], each["memory"]) for each in data["kernels"][0]["arguments"]] == [
        ("float32 x 4", "global"),
        ("int32", "local"),
        ("int32", "value"),
        ("int8", "global"),
    ]
    shown = eprune("inspect", str(path)).out
    assert "b         int32        local   parameter: a number of elements" in shown
    assert "kernel g, line 3\n  no arguments" in shown
    path.write_text("kernel void f(image2d_t a) {}")
    assert (
        "f.cl:1: error[FILE]: argument 'image2d_t a' of the kernel f is of a type" in eprune("inspect", str(path)).err
    )
    path.write_text("void f(void) {}")
    assert "It has no kernel" in eprune("inspect", str(path)).out


def test_xml_files(eprune):
    application = inspected(eprune, str(ROOT / "graphs/vehicle_exit.xml"))
    assert (application["sources"], application["sinks"]) == (["Input"], ["Sink"])
    assert application["dpgs"][0]["values"] == [0, 1]
    platform = inspected(eprune, str(ROOT / "graphs/endpoint.xml"))
    assert (platform["units"], platform["memory"]) == ({"cpu0": 0}, 2**30)
    mapping = inspected(eprune, str(ROOT / "mappings/vehicle_split/server.xml"))
    assert (mapping["local"]["L3"], mapping["remote"]["L1"]) == ("cpu1", "endpoint")
    assert "Sources: Input" in eprune("inspect", str(ROOT / "graphs/vehicle_exit.xml")).out
    assert "1GiB of memory" in eprune("inspect", str(ROOT / "graphs/endpoint.xml")).out
    assert "server/cpu1" in eprune("inspect", str(ROOT / "mappings/vehicle_split/server.xml")).out


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("JsonLine", "there is no actor 'JsonLine' in the library; did you mean 'JsonLines'?"),
        ("zzz", "there is no actor 'zzz' in the library; `eprune inspect` lists them"),
        ("own.py:Kamera", "own.py has no class 'Kamera'; did you mean 'Camera'?"),
        ("none.py", "none.py: error[FILE]: there is no such file"),
        ("none.xml", "none.xml: error[FILE]: there is no such file"),
        ("none.tflite", "none.tflite: error[FILE]: cannot be read: No such file or directory"),
        ("bad.py", "bad.py:1: error[FILE]: not valid Python"),
        ("empty.py", "empty.py has no classes"),
        ("notes.txt", "'notes.txt' ends in none of .py, .c, .cl, .onnx, .tflite, .xml"),
        ("other.xml", "other.xml: error[FILE]: its first element is <other>"),
        ("\0.py", "cannot be read"),
    ],
)
def test_what_cannot_be_inspected_gets_one_message(classes, tmp_path, eprune, what, message):
    for name, text in {"bad.py": "class:", "empty.py": "", "notes.txt": "hello", "other.xml": "<other/>"}.items():
        (tmp_path / name).write_text(text)
    done = eprune("inspect", what)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
