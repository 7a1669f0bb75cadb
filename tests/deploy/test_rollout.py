"""What a deployment decides: the order, the steps, who is healthy, what is needed, where programs listen."""

from __future__ import annotations

import ast
import itertools
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.deploy import remote
from eprune.deploy.build import bundle_of, programs_of
from eprune.deploy.health import Health, judge
from eprune.deploy.needs import PACKAGES, Needs, fitting, needs_of, requirements
from eprune.deploy.release import Setup, bind_option, release_of
from eprune.deploy.rollout import Do, Step, plan
from eprune.deploy.session import MODULES, agent_text
from eprune.deploy.sites import start_order
from eprune.formats.system import read_system, written_in
from eprune.model.behaviour import Cut, Declaration
from eprune.model.finding import Failure
from tests.kit import fleet as kit
from tests.kit.programs import ROOT

NAMES = "abcdef"
EDGES = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=12)


@given(EDGES)
def test_receivers_start_before_those_that_send_to_them(edges):
    order = start_order(list(NAMES), edges)
    assert sorted(order) == list(NAMES)
    acyclic = [(frm, to) for frm, to in edges if frm < to]  # no ring is possible among these
    order = start_order(list(NAMES), acyclic)
    assert all(order.index(to) < order.index(frm) for frm, to in acyclic)


@given(st.integers(1, 5), st.data())
def test_nothing_stops_before_all_is_there_and_nothing_is_kept_before_all_are_well(count, data):
    order = NAMES[:count]
    serves = data.draw(st.sets(st.sampled_from(order)))
    steps = plan(order, sorted(serves))
    places = {step: number for number, step in enumerate(steps)}
    assert len(places) == len(steps)
    for one, other in itertools.product(order, order):
        assert places[Step(Do.STAGE, one)] < places[Step(Do.BEGIN, other)] < places[Step(Do.STOP, one)]
        assert places[Step(Do.STOP, one)] < places[Step(Do.SWITCH, other)] < places[Step(Do.START, one)]
        assert places[Step(Do.START, one)] < places[Step(Do.WELL)] < places[Step(Do.KEEP, other)]
        if one < other:  # receivers first, and last
            assert places[Step(Do.START, one)] < places[Step(Do.START, other)]
            assert places[Step(Do.STOP, other)] < places[Step(Do.STOP, one)]
    for name in serves:
        assert places[Step(Do.READY, name)] == places[Step(Do.START, name)] + 1


REPORT = {"state": "running", "peers": {"b": {"state": "connected"}}, "stalled": {}, "failure": ""}
STATE = {"active": "running", "restarts": 0, "code": None, "age": 0.5, "status": REPORT}


@pytest.mark.parametrize(
    ("state", "report", "health", "why"),
    [
        ({}, {}, Health.WELL, "it is running"),
        ({}, {"state": "waiting", "stream": 3}, Health.WELL, "it waits for stream 3"),
        ({"active": "ended", "code": 0}, {}, Health.WELL, "it has come to its end"),
        ({"active": "starting", "status": None}, {}, Health.NOT_YET, "it has not reported yet"),
        ({}, {"state": "starting", "peers": {"b": {"state": "waiting"}}}, Health.NOT_YET, "it waits for b"),
        ({}, {"peers": {"b": {"state": "lost"}}}, Health.NOT_YET, "it has lost b"),
        ({}, {"stalled": {"Camera": {}}}, Health.NOT_YET, "stalled: Camera"),
        ({"age": 60.0}, {}, Health.NOT_YET, "its last report is 60 s old"),
        ({"active": "restarting", "restarts": 1, "code": 1}, {}, Health.NOT_YET, "will be started again"),
        ({"active": "restarting", "restarts": 2, "code": 1}, {}, Health.ILL, "it has failed 2 times: exit code 1"),
        ({"active": "failed", "code": 2}, {}, Health.ILL, "it has failed: exit code 2"),
        ({"active": "failed", "code": 2}, {"failure": "no camera"}, Health.ILL, "it has failed: no camera"),
        ({"active": "stopped"}, {}, Health.ILL, "it is stopped"),
    ],
)
def test_who_is_healthy(state, report, health, why):
    told = {**STATE, "status": {**REPORT, **report}, **state}
    verdict = judge(told)
    assert verdict.health is health
    assert why in verdict.why


def test_restarts_of_long_ago_do_not_count():
    assert judge({**STATE, "restarts": 7}, 7).health is Health.WELL


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    """The program of the camera."""
    with kit.local(tmp_path_factory.mktemp("camera")) as fleet:
        programs = programs_of(read_system(*written_in(fleet.system)))
        return next(program for program in programs if program.platform == "camera")


def test_what_a_program_imports_is_what_it_needs(camera, tmp_path):
    source = tmp_path / "actors.py"
    source.write_text(
        "import json, cv2\nfrom PIL import Image\nfrom beside import x\ntry:\n    import zstandard\n"
        "except ImportError:\n    pass\ndef late():\n    import scipy.signal\n"
    )
    (tmp_path / "beside.py").write_text("import smbus2\n")
    part = camera.nodes[0].declaration
    file = replace(part.source, path=str(source), beside=(str(tmp_path / "beside.py"),))
    program = replace(camera, nodes=(replace(camera.nodes[0], declaration=replace(part, source=file)),))
    needs = needs_of(program)
    assert set(needs.modules) == {"numpy", "json", "cv2", "PIL", "smbus2"}
    assert set(needs.wished) == {"psutil", "zstandard", "scipy"}
    assert needs.interpreter is False
    found = dict.fromkeys(("numpy", "json", "PIL"), "1")
    assert needs.missing(found) == ["opencv-python-headless", "smbus2"]


def test_the_package_of_each_module_that_the_librarys_actors_import_is_known():
    files = list((ROOT / "actors").glob("*.py"))
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_bytes()))]
    imported = [each.name for node in nodes if isinstance(node, ast.Import) for each in node.names]
    imported += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    names = {name.partition(".")[0] for name in imported}
    others = names - sys.stdlib_module_names - {file.stem for file in files} - {"eprune"}
    assert {"av", "paho", "prometheus_client", "sounddevice"} <= others <= set(PACKAGES)


@pytest.mark.parametrize(
    ("file", "engine", "modules", "interpreter"),
    [
        ("m.tflite", "", {"numpy"}, True),
        ("m.tflite", "openvino", {"numpy", "openvino"}, False),
        ("m.onnx", "", {"numpy", "onnxruntime"}, False),
        ("m.onnx", "onnxruntime", {"numpy", "onnxruntime"}, False),
    ],
)
def test_a_program_needs_what_runs_its_models(camera, file, engine, modules, interpreter):
    cut = Cut("part", file, (0,), (0,), (1,))
    node = replace(camera.nodes[0], declaration=Declaration("segment", cut, ()))
    unit = replace(camera.unit(node.unit), engine=engine)
    needs = needs_of(replace(camera, nodes=(node,), units=(unit,)))
    assert (set(needs.modules), needs.interpreter) == (modules, interpreter)


@pytest.mark.parametrize(
    ("machine", "python", "interpreter", "numpy"),
    [
        ("aarch64", "3.11.2", "ai-edge-litert>=1.2", "numpy"),
        ("x86_64", "3.14.0", "ai-edge-litert>=1.2", "numpy"),
        ("x86_64", "3.9.18", "tflite-runtime==2.14.0", "numpy<2"),
        ("armv7l", "3.11.2", "tflite-runtime==2.14.0", "numpy<2"),
    ],
)
def test_each_machine_gets_the_interpreter_that_it_has_wheels_for(machine, python, interpreter, numpy):
    needs = Needs(("numpy", "json", "PIL"), ("scipy", "strange"), True)
    wanted = requirements(needs, [], machine, python, ["mine"])
    assert set(wanted) == {numpy, "psutil", "pillow", "scipy", interpreter, "mine"}


def test_where_there_is_no_interpreter_that_is_told():
    needs = Needs(("numpy",), (), True)
    with pytest.raises(Failure, match=r"no TFLite interpreter has wheels for Python 3\.13\.1 on armv7l"):
        requirements(needs, [], "armv7l", "3.13.1")
    assert requirements(replace(needs, interpreter=False), [], "riscv64", "3.13.1") == ("numpy", "psutil")
    with pytest.raises(Failure, match="'mine': name it with --require"):
        requirements(Needs(("mine",), (), False), ["mine"], "x86_64", "3.11.2")


def test_only_wheels_that_fit_are_sent():
    wheels = [f"numpy-1.0-cp311-cp311-manylinux_2_17_{m}.manylinux2014_{m}.whl" for m in ("x86_64", "aarch64")]
    assert fitting([*wheels, "p-1-py3-none-any.whl"], "aarch64") == [wheels[1], "p-1-py3-none-any.whl"]


@pytest.mark.parametrize(
    ("addresses", "own", "option"),
    [
        ((), (), ()),
        (("10.0.0.1",), ("10.0.0.1",), ("--bind=10.0.0.1",)),
        (("10.0.0.1",), (), ("--bind=0.0.0.0",)),
        (("10.0.0.1", "192.168.0.1"), ("10.0.0.1", "192.168.0.1"), ("--bind=0.0.0.0",)),
        (("fe80::1",), (), ("--bind=::",)),
    ],
)
def test_a_program_listens_where_others_reach_it(addresses, own, option):
    assert bind_option(addresses, own) == option


def test_a_version_is_named_after_all_that_it_is_made_of(camera):
    bundle = bundle_of(camera, "camera.pyz")
    setup = Setup("/opt/eprune/count/camera", "/usr/bin/python3", "plain")

    def version(**changed):
        given = {"setup": setup, "keys": {}, "supervisor": b"", **changed}
        return release_of(camera, given.pop("bundle", bundle), **given).version

    others = [
        version(bundle=b"other"),
        version(keys={"ca.crt": b"1"}),
        version(keys={"ca.crt": b"2"}),
        version(supervisor=b"other"),
        *(version(setup=replace(setup, **{name: "other"})) for name in ("root", "python", "environment")),
        version(setup=replace(setup, options=("--insecure",))),
        version(setup=replace(setup, service="system")),
    ]
    assert version() == version()
    assert len({version(), *others}) == 1 + len(others)


@pytest.mark.skipif(sys.version_info < (3, 10), reason="Python 3.9 has no list of its own modules")
def test_what_runs_on_a_device_imports_the_standard_library_only():
    folder = Path(remote.__file__).parent
    assert {*MODULES, "supervisor", "__init__"} == {path.stem for path in folder.glob("*.py")}
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            ours = [name for name in names if name.partition(".")[0] not in sys.stdlib_module_names]
            assert path.stem != "supervisor" or ours == []
            assert all(name.startswith("eprune.deploy.remote") for name in ours)


def test_the_agent_has_nothing_of_eprune_but_itself():
    text = agent_text()
    assert text.count(b"\0") == 1
    code = text[:-1].decode()
    compile(code, "agent", "exec")
    names = ("model", "codegen", "formats", "runtime")
    assert not [name for name in names if f"eprune.{name}" in code]
