"""Layers in plain C on the endpoint, TFLite on the server: the vehicle classifier, in one application."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eprune.deploy.ports import free_base_port
from eprune.formats.model_files import read_model
from eprune.formats.tflite.constants import constant
from eprune.runtime.fire import c_build
from tests.kit.accelerator import NEEDS_CC
from tests.kit.programs import ROOT, environment, finish, start_command

pytestmark = NEEDS_CC
GRAPHS = ROOT / "graphs"


@pytest.fixture
def vehicle(tmp_path):
    """The application with L1 and L2 in C, platforms on free ports, and the mapping after L2."""
    model = read_model(str(GRAPHS / "vehicle.tflite"))
    for number, operator in enumerate((0, 2), 1):
        _, *constants = model.operators[operator].inputs
        data = b"".join(constant(model, index).astype("float32").tobytes() for index in constants)
        (tmp_path / f"l{number}.bin").write_bytes(data)
    (tmp_path / "vehicle_layers.c").write_bytes((ROOT / "tests/kit/vehicle_layers.c").read_bytes())
    (tmp_path / "vehicle.tflite").write_bytes((GRAPHS / "vehicle.tflite").read_bytes())
    text = (GRAPHS / "vehicle.xml").read_text()
    for number, operators in ((1, "0-1"), (2, "2-3")):
        old = f'<actor name="L{number}" model="vehicle.tflite" operators="{operators}">'
        assert old in text
        new = f'<actor name="L{number}" c="vehicle_layers.c:layer"><param name="weights" value="l{number}.bin"/>'
        text = text.replace(old, new)
    (tmp_path / "app.xml").write_text(text)
    port = free_base_port(4)
    for name in ("endpoint", "server"):
        text = (GRAPHS / f"{name}.xml").read_text().replace("5100", str(port))
        (tmp_path / f"{name}.xml").write_text(text)
    return tmp_path


def run(folder, application, *options):
    command = [
        sys.executable,
        "-m",
        "eprune",
        "run",
        str(application),
        "-p",
        str(folder / "endpoint.xml"),
        str(folder / "server.xml"),
    ]
    command += ["-m", str(ROOT / "mappings/vehicle_split"), "--frames", "4", *options]
    code, out, err = finish(start_command(*command))
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def test_layers_in_c_and_in_tflite_are_one_application(vehicle):
    ours = run(vehicle, vehicle / "app.xml", "--record", str(vehicle))
    right = run(vehicle, GRAPHS / "vehicle.xml")
    assert [line["class"] for line in ours] == [line["class"] for line in right]
    assert np.allclose([line["score"] for line in ours], [line["score"] for line in right], atol=1e-5)
    endpoint, server = (json.loads((vehicle / f"{name}.json").read_text()) for name in ("endpoint", "server"))
    assert endpoint["engines"] == {}
    assert [each["engine"] for each in server["engines"].values()] == ["tflite"]


def test_a_bundle_builds_its_c_where_it_starts_first(vehicle):
    """And it brings its weights along, and needs nothing of eprune's."""
    mapping = "".join(f'<map actor="{name}" unit="cpu0"/>' for name in ("Input", "L1", "L2", "L3", "L4-L5", "Sink"))
    (vehicle / "local.xml").write_text(f'<mapping application="vehicle" platform="endpoint">{mapping}</mapping>')
    command = [sys.executable, "-m", "eprune", "codegen", "app.xml", "-p", "endpoint.xml", "-m", "local.xml"]
    subprocess.run([*command, "--pyz", "-o", "v.pyz"], cwd=vehicle, env=environment(), check=True, capture_output=True)
    elsewhere, cache = vehicle / "elsewhere", vehicle / "cache"
    elsewhere.mkdir()
    (vehicle / "v.pyz").rename(elsewhere / "v.pyz")
    done = subprocess.run(
        [sys.executable, "v.pyz", "--frames", "2"],
        cwd=elsewhere,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert [path.name.partition("-")[0] for path in cache.rglob("*.so")] == ["vehicle_layers"]


def test_a_mistake_in_the_c_file_is_found_when_the_program_is_generated(vehicle):
    path = vehicle / "vehicle_layers.c"
    path.write_text(path.read_text().replace("float *result = out[0];", "float *result = nowhere;"))
    command = [
        *(sys.executable, "-m", "eprune"),
        "run",
        str(vehicle / "app.xml"),
        "-p",
        str(vehicle / "endpoint.xml"),
        str(vehicle / "server.xml"),
    ]
    code, _, err = finish(start_command(*command, "-m", str(ROOT / "mappings/vehicle_split")))
    line = path.read_text().splitlines().index("    float *result = nowhere;") + 1
    assert code == 2
    assert f"vehicle_layers.c:{line}: error[FILE]: " in err
    assert "hint: actor 'L1' cannot be compiled" in err


def test_a_ready_library_is_taken_for_the_machine(vehicle):
    """relu.{machine}.so is one file for each processor type."""
    built = c_build.build("vehicle_layers.c", {"vehicle_layers.c": (vehicle / "vehicle_layers.c").read_bytes()})
    name = c_build.here("layers.{machine}.so")
    (vehicle / name).write_bytes(Path(built).read_bytes())
    (vehicle / "vehicle_layers.c").unlink()
    app = vehicle / "app.xml"
    text = app.read_text().replace("vehicle_layers.c:layer", "layers.{machine}.so:layer")
    # A library does not say which parameters name files.
    app.write_text(text.replace('value="l', f'value="{vehicle}/l'))
    lines = run(vehicle, app)
    assert len(lines) == 4
