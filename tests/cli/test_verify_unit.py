"""`eprune verify --unit`: each slice on an accelerator against a plain interpreter; and codegen asks for it."""

from __future__ import annotations

import json

import pytest

from tests.kit.accelerator import NEEDS_CC, accelerator

VERIFY = ("verify", "app.xml", "-p", "platforms/endpoint.xml", "--unit", "npu")


@pytest.fixture
def npu(app):
    """Gives the endpoint a unit with the delegate of the tests, on which L2 runs."""

    def make(options=""):
        path = app / "platforms/endpoint.xml"
        given = f' options="{options}"' if options else ""
        unit = f'<unit name="npu" delegate="{accelerator()}"{given}/>'
        path.write_text(f'<platform name="endpoint"><unit name="cpu0"/>{unit}</platform>')
        mapping = app / "local/endpoint.xml"
        mapping.write_text(mapping.read_text().replace('"L2" unit="cpu0"', '"L2" unit="npu"'))

    return make


@NEEDS_CC
def test_a_sound_accelerator_is_equal_within_the_tolerance_but_not_bit_for_bit(npu, eprune):
    npu()
    done = eprune(*VERIFY)
    assert done.code == 0, done.out + done.err
    assert "equal within 0.001 of the largest value: 3 frames on endpoint.npu by ai-edge-litert" in done.out
    exact = json.loads(eprune(*VERIFY, "--tolerance", "0", "--format", "json").out)
    assert not exact["equal"]
    assert [each["equal"] for each in exact["slices"]] == [True, False], "pooling has its bits, a dense layer not"
    assert 0 < exact["slices"][1]["largest_difference"] < 1e-5


@NEEDS_CC
def test_what_computes_wrongly_is_named_with_its_first_operator(npu, eprune):
    npu("wrong=50")
    done = eprune(*VERIFY)
    assert done.code == 1
    assert "app.xml:6: different: 'L2' differs by " in done.out
    assert "operator 2 (FULLY_CONNECTED), by " in done.out
    first = json.loads(eprune(*VERIFY, "--format", "json").out)["slices"]
    assert (first[0]["equal"], first[1]["operator"]) == (True, 2)


@NEEDS_CC
def test_what_does_not_run_is_named_with_the_reason(npu, eprune):
    npu("fail=1")
    done = eprune(*VERIFY)
    assert done.code == 1
    assert "'L2' does not run there: delegate " in done.out
    assert "the accelerator of the tests fails on request" in done.out


@NEEDS_CC
def test_codegen_warns_until_the_unit_was_verified_with_this_model_and_this_delegate(app, npu, eprune):
    def warned():
        done = eprune("codegen", "app.xml", "-p", "platforms/endpoint.xml", "-m", "local", "-o", "build/")
        assert done.code == 0, done.err
        return [line for line in done.err.splitlines() if "warning: " in line]

    npu()
    [line] = warned()
    assert "unit 'npu' of platform 'endpoint' was never verified with tiny.tflite: eprune verify app.xml -p" in line
    assert eprune(*VERIFY).code == 0
    assert warned() == []
    npu("slow=0")
    assert "was verified with another engine, delegate or options" in warned()[0]
    npu()
    known = app / "platforms/endpoint.verified.json"
    known.write_text(known.read_text().replace(json.loads(known.read_text())["verified"][0]["sha256"], "0" * 64))
    assert "was verified with another build of the delegate" in warned()[0]
    (app / "tiny.tflite").write_bytes((app / "tiny.tflite").read_bytes() + b"\0")
    assert "was never verified" in warned()[0]


@NEEDS_CC
def test_a_verification_that_fails_takes_back_what_was_known(app, npu, eprune):
    npu()
    assert eprune(*VERIFY).code == 0
    assert eprune(*VERIFY, "--tolerance", "0").code == 1
    assert json.loads((app / "platforms/endpoint.verified.json").read_text()) == {"verified": []}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "either --model MODEL, or --unit NAME with -p"),
        ("--model tiny.tflite --tolerance 0", "-p and --tolerance go with --unit"),
        ("--unit cpu0", "--unit: give the platform's file with -p"),
        ("--unit cpuO -p platforms/endpoint.xml", "there is no unit 'cpuO'; did you mean 'cpu0'?"),
    ],
)
def test_what_makes_no_sense_is_refused(app, eprune, arguments, message):
    done = eprune("verify", "app.xml", *arguments.split())
    assert done.code == 2
    assert message in done.err


def test_a_unit_without_its_delegate_is_refused_at_once(app, eprune):
    path = app / "platforms/endpoint.xml"
    path.write_text('<platform name="endpoint"><unit name="npu" delegate="/nowhere.so"/></platform>')
    done = eprune(*VERIFY)
    assert done.code == 2
    assert "platforms/endpoint.xml:1: unit 'npu': delegate /nowhere.so: cannot open shared object file" in done.err
