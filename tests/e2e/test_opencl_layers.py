"""Layers as OpenCL kernels on the endpoint, TFLite beside them or on the server: one application."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from eprune.analysis.check import check
from eprune.deploy.build import programs_of
from eprune.deploy.ports import free_base_port
from eprune.formats.model_files import read_model
from eprune.formats.system import read_system
from eprune.formats.tflite.constants import constant
from eprune.measure.executor import Executor
from tests.kit.opencl import NEEDS_OPENCL
from tests.kit.programs import ROOT, environment, finish, start_command

pytestmark = NEEDS_OPENCL
GRAPHS = ROOT / "graphs"
EPRUNE = (sys.executable, "-m", "eprune")
#: How far a layer's values may be from those of the reference, in parts of the largest: it adds in another order.
BOUND = 2e-6


@pytest.fixture(scope="module")
def vehicle(tmp_path_factory):
    """The application with L1 and L2 in OpenCL, platforms on free ports, and mappings: all local, and after L2."""
    folder = tmp_path_factory.mktemp("vehicle")
    model = read_model(str(GRAPHS / "vehicle.tflite"))
    text = (GRAPHS / "vehicle.xml").read_text()
    for number, operator, operators, size, channels in ((1, 0, "0-1", 96, 3), (2, 2, "2-3", 48, 32)):
        _, *constants = model.operators[operator].inputs
        parameters = {"size": size, "channels": channels}
        for name, index in zip(("weights", "biases"), constants):
            parameters[name] = f"l{number}_{name}.npy"
            values = constant(model, index).astype("float32")
            np.save(folder / parameters[name], values.transpose(1, 2, 3, 0) if values.ndim == 4 else values)
        old = f'<actor name="L{number}" model="vehicle.tflite" operators="{operators}">'
        assert old in text
        new = f'<actor name="L{number}" opencl="vehicle_layers.cl:layer" size="32,{size // 2},{size // 2}">'
        new += "".join(f'<param name="{name}" value="{value}"/>' for name, value in parameters.items())
        text = text.replace(old, new)
    (folder / "app.xml").write_text(text)
    (folder / "vehicle_layers.cl").write_bytes((ROOT / "tests/kit/vehicle_layers.cl").read_bytes())
    (folder / "vehicle.tflite").write_bytes((GRAPHS / "vehicle.tflite").read_bytes())
    port = free_base_port(4)
    for name in ("endpoint", "server"):
        text = (GRAPHS / f"{name}.xml").read_text().replace("5100", str(port))
        (folder / f"{name}.xml").write_text(text.replace("<link", '<unit name="gpu" opencl="0:0"/>\n  <link', 1))
    for mapping in ("vehicle_local", "vehicle_split"):
        (folder / mapping).mkdir()
        for path in (ROOT / "mappings" / mapping).glob("*.xml"):
            text = path.read_text()
            for name in ("L1", "L2"):
                text = text.replace(f'actor="{name}" unit="cpu0"', f'actor="{name}" unit="gpu"')
            (folder / mapping / path.name).write_text(text)
    return folder


def run(application, mapping, *platforms, folder=GRAPHS, options=()):
    command = [*EPRUNE, "run", str(application), "-p", *(str(folder / f"{name}.xml") for name in platforms)]
    code, out, err = finish(
        start_command(*command, "-m", str(mapping), "--frames", "4", "--record", str(folder), *options)
    )
    assert code == 0, err
    records = {name: json.loads((folder / f"{name}.json").read_text()) for name in platforms}
    return [json.loads(line) for line in out.splitlines()], records


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    folder = tmp_path_factory.mktemp("right")
    (folder / "endpoint.xml").write_text((GRAPHS / "endpoint.xml").read_text())
    return run(GRAPHS / "vehicle.xml", ROOT / "mappings/vehicle_local", "endpoint", folder=folder)[0]


def same(ours, right):
    assert [line["class"] for line in ours] == [line["class"] for line in right]
    assert np.allclose([line["score"] for line in ours], [line["score"] for line in right], atol=1e-5)


@pytest.mark.long
def test_layers_in_opencl_and_in_tflite_are_one_application_on_two_platforms(vehicle, right):
    ours, records = run(vehicle / "app.xml", vehicle / "vehicle_split", "endpoint", "server", folder=vehicle)
    same(ours, right)
    (gpu,) = records["endpoint"]["engines"].values()
    assert gpu["engine"] == "opencl" and gpu["device"] in records["endpoint"]["interpreter"]
    assert [each["engine"] for each in records["server"]["engines"].values()] == ["tflite"]
    noted = [each for record in records.values() for each in record["events"] if gpu["device"] in json.dumps(each)]
    assert noted  # the two have greeted each other with what they compute by


@pytest.mark.parametrize(
    ("memory", "threads", "f2"),
    [("shared", "cluster", ""), ("copied", "actor", ""), ("copied", "cluster", 'policy="newest" capacity="3"')],
)
def test_on_one_platform_tokens_between_the_layers_stay_on_the_device(vehicle, right, tmp_path, memory, threads, f2):
    """In one thread, and from one thread to another; also where tokens may be dropped, after which fewer come out."""
    for path in vehicle.iterdir():
        if path.suffix in (".xml", ".npy", ".cl", ".tflite"):
            text = path.read_bytes().replace(b'opencl="0:0"', f'opencl="0:0" options="memory={memory}"'.encode())
            (tmp_path / path.name).write_bytes(text.replace(b'to="L2.in"', f'to="L2.in" {f2}'.encode()))
    options = ("--threads", threads)
    ours, records = run(tmp_path / "app.xml", vehicle / "vehicle_local", "endpoint", folder=tmp_path, options=options)
    if not f2:
        same(ours, right)
    else:
        known = [(line["class"], round(line["score"], 3)) for line in right]
        assert ours and {(line["class"], round(line["score"], 3)) for line in ours} <= set(known)
    actors = records["endpoint"]["actors"]
    for name in ("L1", "L2"):
        firings, figures = actors[name]["firings"], actors[name]["figures"]
        copied = firings if memory == "copied" else 0
        assert figures == {"transfers": copied, "transfers_avoided": 2 * firings - copied}
    assert records["endpoint"]["engines"]["gpu"]["memory"] == memory


def test_each_layer_is_nearly_that_of_the_reference(vehicle):
    mapping = [str(vehicle / "vehicle_local/endpoint.xml")], [str(ROOT / "mappings/vehicle_local/endpoint.xml")]
    apps = (vehicle / "app.xml", vehicle, mapping[0]), (GRAPHS / "vehicle.xml", GRAPHS, mapping[1])
    found = []
    for app, folder, mappings in apps:
        system = read_system(str(app), [str(folder / "endpoint.xml")], mappings)
        assert check(system) == []
        (program,) = programs_of(system, False)
        with Executor(program) as executor:
            found.append([{each.node: each.outputs for each in firings} for firings in executor.run(2)])
    for ours, theirs in zip(*found):
        for node in ("L1", "L2"):
            (mine,), (reference,) = ours[node].values(), theirs[node].values()
            assert np.abs(mine - reference).max() <= BOUND * np.abs(reference).max()
            assert mine.any()


def test_verify_compares_the_slices_that_are_left(vehicle):
    """The output of L2 says which tensor of the model it is."""
    text = (vehicle / "app.xml").read_text()
    port = '<out name="out" token="float32[1,24,24,32]"/>'
    assert port in text
    (vehicle / "verified.xml").write_text(text.replace(port, port.replace("/>", ' tensor="8"/>')))
    command = (*EPRUNE, "verify", str(vehicle / "verified.xml"), "--model", str(vehicle / "vehicle.tflite"))
    code, out, err = finish(start_command(*command, "--format", "json"))
    assert code == 0, err
    found = json.loads(out)
    assert (found["equal"], found["actors"]) == (True, 2)


def test_a_bundle_takes_the_kernels_and_their_weights_along(vehicle, tmp_path):
    command = [*EPRUNE, "codegen", "app.xml", "-p", "endpoint.xml", "-m", "vehicle_local", "--pyz"]
    subprocess.run([*command, "-o", str(tmp_path / "v.pyz")], cwd=vehicle, env=environment(), check=True)
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "v.pyz", "--frames", "2"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_a_mistake_in_the_kernel_is_found_when_the_program_is_generated(vehicle):
    path = vehicle / "vehicle_layers.cl"
    good = path.read_text()
    path.write_text(good.replace("float most = 0;", "float most = nothing;"))
    command = (*EPRUNE, "codegen", str(vehicle / "app.xml"), "-p", str(vehicle / "endpoint.xml"))
    try:
        code, _, err = finish(start_command(*command, "-m", str(vehicle / "vehicle_local"), "-o", "-"))
    finally:
        path.write_text(good)
    line = good.splitlines().index("    float most = 0;") + 1
    assert code == 2
    assert f"vehicle_layers.cl:{line}: error[FILE]: use of undeclared identifier 'nothing'" in err
    assert "hint: actor 'L1' cannot be compiled" in err


def test_a_device_that_is_not_here_is_noted_by_codegen_and_ends_the_run(vehicle, tmp_path):
    platform = tmp_path / "endpoint.xml"
    platform.write_text((vehicle / "endpoint.xml").read_text().replace("0:0", "0:77"))
    common = (str(vehicle / "app.xml"), "-p", str(platform), "-m", str(vehicle / "vehicle_local"))
    code, _, err = finish(start_command(*EPRUNE, "codegen", *common, "-o", "-"))
    assert code == 0
    assert "note: not built here, but where it starts first: OpenCL 0:77: there is no device '77'" in err
    code, _, err = finish(start_command(*EPRUNE, "run", *common, "--frames", "1"))
    assert code == 2
    assert "OpenCL 0:77: there is no device '77'; those of" in err and "Traceback" not in err
