"""`eprune doctor`: what is there, what is missing, and for what."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest

from eprune.measure import machine
from eprune.measure.machine import Check, State, ready
from tests.kit.opencl import NEEDS_OPENCL


@pytest.fixture
def checked(eprune):
    """What the doctor finds here, by name."""
    data = json.loads(eprune("doctor", "--format", "json").out)
    return {check["name"]: check for check in data["checks"]}


def test_here_run_has_what_it_needs(eprune):
    done = eprune("doctor")
    assert done.code == 0, done.out
    assert "eprune run has what it needs" in done.err


@pytest.mark.long
def test_versions_are_those_that_are_installed(checked):
    import numpy

    assert checked["numpy"]["found"] == numpy.__version__
    assert checked["Python"]["found"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")


@pytest.mark.long
def test_an_interpreter_counts_because_it_runs(checked):
    working = [name for name in ("ai-edge-litert", "tflite-runtime") if checked[name]["state"] == "ok"]
    assert working
    assert all(checked[name]["found"].endswith("runs a model") and checked[name]["run"] for name in working)


def test_cores_and_memory_are_told(checked):
    assert checked["cores"]["found"]
    assert len(checked) == machine.CHECKS
    assert "GiB" in checked["memory"]["found"]


def without(monkeypatch, *modules):
    """As if these modules were not installed."""
    found = machine.importlib.util.find_spec
    monkeypatch.setattr(
        machine.importlib.util, "find_spec", lambda name, *more: None if name in modules else found(name, *more)
    )


def test_without_any_interpreter_it_fails_and_says_what_to_install(eprune, monkeypatch):
    without(monkeypatch, "ai_edge_litert", "tflite_runtime")
    done = eprune("doctor")
    assert done.code == 1
    assert "ai-edge-litert is missing; eprune run needs it\n    hint: pip install ai-edge-litert" in done.out
    assert "eprune run lacks something that it needs" in done.err


def test_what_is_optional_is_named_with_its_command_and_does_not_fail(eprune, monkeypatch):
    without(monkeypatch, "matplotlib")
    monkeypatch.setenv("PATH", "")
    done = eprune("doctor")
    assert done.code == 0
    assert "matplotlib is missing; only for: charts of eprune report" in done.out
    assert "hint: pip install 'eprune[plot]'" in done.out
    assert "dot is missing; only for: pictures of eprune draw" in done.out
    assert "hint: apt-get install graphviz" in done.out
    assert "ssh is missing" in done.out


def test_a_library_that_does_not_load_is_broken(monkeypatch, tmp_path):
    (tmp_path / "scipy.py").write_text("raise ImportError('wrong numpy')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    check = next(check for check in machine.checks() if check.name == "scipy")
    assert (check.state, check.found) == (State.BROKEN, "ImportError: wrong numpy")


def test_an_interpreter_that_does_not_run_is_broken(monkeypatch):
    monkeypatch.setattr(machine, "example", lambda path: __file__)
    found = [check for check in machine.checks() if check.name in ("ai-edge-litert", "tflite-runtime")]
    assert not any(check.state is State.OK for check in found)
    assert not ready(found)


@NEEDS_OPENCL
def test_opencl_devices_are_listed_as_units_state_them(checked):
    assert checked["OpenCL"]["state"] == "ok"
    assert checked["OpenCL"]["found"].startswith("0:0 ")


def test_without_pyopencl_the_extra_is_named_and_run_has_what_it_needs(eprune, monkeypatch):
    without(monkeypatch, "pyopencl")
    done = eprune("doctor")
    assert done.code == 0
    assert (
        "OpenCL is missing; only for: units with opencl=\"PLATFORM:DEVICE\"\n    hint: pip install 'eprune[opencl]'"
        in (done.out)
    )


def test_ports_that_are_all_taken_are_found(eprune, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("EPRUNE_PORTS", f"{port}-{port + 7}")
        done = eprune("doctor")
    assert done.code == 1
    assert "ports is broken; eprune run needs it" in done.out


def test_a_program_that_hangs_is_given_up(monkeypatch):
    def hang(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(machine.subprocess, "run", hang)
    assert machine._output(["dot", "-V"]) == ("", "it does not run: Command '['dot', '-V']' timed out after 20 seconds")


def test_only_what_run_needs_decides():
    fine = Check("numpy", State.OK, "1", run=True)
    assert ready([fine, Check("scipy", State.MISSING, "")])
    assert not ready([fine, Check("lxml", State.MISSING, "", run=True)])
