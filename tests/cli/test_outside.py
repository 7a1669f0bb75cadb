"""Wherever an application is read for use, files outside of its folder are refused unless one allows them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from application import ACTORS, APPLICATION

PLAIN = """

class Zeros(Actor):
    def fire(self, inputs, outputs):
        for out in outputs.values():
            out[...] = 0
"""
INTO = """<application name="into">
  <actor name="In" class="../behaviours.py:Ramp"><out name="out" token="float32[1,8,8,3]"/></actor>
  <actor name="Out" class="../behaviours.py:Print"><in name="in" token="float32[1,5]"/></actor>
  <fifo name="f1" from="In.out" to="Model.0"/>
  <fifo name="f3" from="Model.0" to="Out.in"/>
</application>
"""
DEPLOYED = "far/app.xml -p platforms -m split"


@pytest.fixture
def far(app):
    """The small application in a folder of its own, whose classes and model lie outside of that folder."""
    Path("behaviours.py").write_text(ACTORS + PLAIN)
    Path("far").mkdir()
    Path("far/app.xml").write_text(
        APPLICATION.replace("behaviours.py", "../behaviours.py").replace("tiny.tflite", "../tiny.tflite")
    )
    Path("far/into.xml").write_text(INTO)
    return app


@pytest.mark.parametrize(
    "command",
    [
        f"analyze {DEPLOYED}",
        f"codegen {DEPLOYED} -o new/",
        f"codegen {DEPLOYED} --pyz -o new/",
        f"run {DEPLOYED} -q",
        f"sweep {DEPLOYED} --vary In.count=1 -q",
        "explore far/app.xml -p platforms/endpoint.xml platforms/server.xml -o new",
        "verify far/app.xml --model tiny.tflite",
        "apply relocate far/app.xml -o new",
        "import tiny.tflite -o new --into far/into.xml",
    ],
)
def test_files_elsewhere_are_refused_unless_one_allows_them(far, eprune, command):
    before = sorted(far.rglob("*"))
    refused = eprune(*command.split())
    assert refused.code == 1, refused.err
    assert "error[S1]" in refused.out + refused.err
    assert "behaviours.py' is outside" in refused.out + refused.err
    assert [path for path in sorted(far.rglob("*")) if "__pycache__" not in path.parts] == before
    allowed = eprune(*command.split(), "--allow-outside")
    assert allowed.code == 0, allowed.err
    assert "S1" not in allowed.out + allowed.err


def test_an_exploration_is_measured_with_the_same_consent(far, eprune):
    Path("far/app.xml").write_text(
        APPLICATION.replace("behaviours.py", "../behaviours.py").replace(
            'model="tiny.tflite" operators="', 'class="../behaviours.py:Zeros" _="'
        )
    )
    text = Path("far/app.xml").read_text()
    for operators in ("0-1", "2-3"):
        text = text.replace(f' _="{operators}"', "")
    Path("far/app.xml").write_text(text)
    explore = "explore far/app.xml -p platforms/endpoint.xml platforms/server.xml -o cuts --frames 2 --allow-outside"
    assert eprune(*explore.split()).code == 0
    for kind in ("--actors", "--latency --point 2"):
        command = f"profile cuts -q {kind}".split()
        refused = eprune(*command)
        assert refused.code == 1
        recorded = Path("cuts/latency.jsonl")
        assert "outside of the application's folder" in refused.err + (
            recorded.read_text() if recorded.exists() else ""
        )
        assert eprune(*command, "--allow-outside").code == 0


def test_what_a_pass_writes_elsewhere_says_how_it_is_run(app, eprune):
    made = eprune("apply", "relocate", "app.xml", "-p", "platforms", "-m", "split", "-o", "build/k")
    assert made.err.splitlines()[-1].endswith("--allow-outside")
    Path(".eprune-root").touch()
    made = eprune("apply", "relocate", "app.xml", "-p", "platforms", "-m", "split", "-o", "build/k")
    assert made.err.splitlines()[-1].startswith("next: eprune run build/k/application.xml")
    assert "--allow-outside" not in made.err


def test_analyze_lists_what_would_be_touched(far, eprune):
    done = eprune("analyze", "far/app.xml")
    assert done.code == 1
    lines = [line.split() for line in done.out.splitlines()]
    assert ["file", "access", "place", "by"] in lines
    assert ["far/../behaviours.py", "run", "outside", "In,", "Out"] in lines
    files = json.loads(eprune("analyze", "far/app.xml", "--format", "json").out)["files"]
    assert {"file": "far/../tiny.tflite", "access": "read", "by": ["L1", "L2"], "place": "outside"} in files


def test_what_is_set_on_the_command_line_is_the_users_own(app, eprune, tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    text = APPLICATION.replace('class="behaviours.py:Print"', 'class="tensor_sink.py:TensorSink"')
    Path("app.xml").write_text(text)
    done = eprune("run", "app.xml", "-p", "platforms", "-m", "split", "-q", "--set", f"Out.path={folder}")
    assert done.code == 0, done.err
    assert (folder / "in.npy").exists()
    shutil.rmtree(folder)


@pytest.mark.long
def test_measured_points_find_the_files_of_the_application_wherever_one_is(app, eprune):
    Path("home").mkdir()
    np.save("home/frames.npy", np.zeros((3, 2), np.float32))
    Path("home/app.xml").write_text("""<application name="tiny">
  <actor name="In" class="npy_source.py:NpySource">
    <param name="path" value="frames.npy"/><out name="out" token="float32[2]"/>
  </actor>
  <actor name="Out" class="tensor_sink.py:TensorSink"><in name="in" token="float32[2]"/></actor>
  <fifo name="f" from="In.out" to="Out.in"/>
</application>
""")
    explore = "explore home/app.xml -p platforms/endpoint.xml platforms/server.xml -o cuts --frames 3"
    assert eprune(*explore.split()).code == 0
    for kind in ((), ("--latency",), ("--actors",)):
        done = eprune("profile", "cuts", "-q", *kind)
        assert done.code == 0, done.err
    lines = [json.loads(line) for line in Path("cuts/results.jsonl").read_text().splitlines()]
    assert {line["frames"] for line in lines} == {3}
