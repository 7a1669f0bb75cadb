"""What commands print as JSON is what the published schemas say."""

from __future__ import annotations

import json
import shutil

import jsonschema
import pytest
from application import LOCAL, ROOT, SPLIT
from lxml import etree

from eprune.views import schemas
from tests.kit.commands import commands

CHAIN = str(ROOT / "graphs/vehicle_chain.xml")
PLATFORMS = ("-p", "platforms/endpoint.xml", "platforms/server.xml")
PARTED = ("parted/application.xml", "-p", "parted/platforms", "-m", "parted/mappings")
MULTI_RATE = ("{graphs}/vehicle_third.xml", "-p", "{graphs}/endpoint.xml", "{graphs}/server.xml")
KN = ("--endpoints", "2", "--servers", "1", "--cut-after", "L3")

OFFLOADED = ("--device", "endpoint", "--server", "server", "--set", "In.count=100000")

#: Command -> the arguments of calls whose JSON output is validated; {out} is an empty folder.
CALLS = {
    "analyze": [
        ("app.xml",),
        SPLIT,
        (*SPLIT, "--faults", "1"),
        ("app.xml", "--buffers"),
        ("app.xml", "--buffers", "--times", "In=1ms", "L1=2ms", "L2=1ms", "Out=1us", "--front", "--rate", "100/s"),
        ("required.xml", "--latency"),
        (str(ROOT / "graphs/vehicle_exit.xml"), "--latency", "--times", "times.json"),
        ("broken.xml",),
        ("wrong.xml",),
        ("missing.xml",),
        ("app.xml", "broken.xml", "missing.xml", "platforms"),
        (str(ROOT / "graphs/vehicle_exit.xml"), "--buffers"),
    ],
    "import": [
        ("tiny.tflite", "--list"),
        ("tiny.tflite", "--list", "--best", "2"),
        ("tiny.tflite", "-o", "{out}", "-p", "pi,server", "--split", "best"),
        ("tiny.tflite", "-o", "{out}"),
        ("sdf3.xml", "-o", "{out}", "--expand"),
    ],
    "replicate": [(CHAIN, *KN, "-o", "{out}")],
    "apply": [
        (),
        ("replicate", CHAIN, *KN, "-o", "{out}"),
        ("resize", "app.xml", "--aim", "live", "-o", "{out}"),
        ("feedback", "app.xml", "-o", "{out}"),
        ("tap", *SPLIT, "--folder", "{out}/taps", "-o", "{out}"),
        ("expand", "app.xml", "-o", "{out}"),
        ("partition", "wide.tflite", "--devices", "3", "-o", "{out}"),
        ("partition", "wide.tflite", "--devices", "3", "--method", "robust", "-o", "{out}"),
        ("compress", *SPLIT, "--fifo", "f2", "--data", "pictures.npz", "-o", "{out}"),
        ("compress", *SPLIT, "--fifo", "f2", "--method", "int8", "-o", "{out}"),
        (
            "defend",
            *SPLIT,
            "--fifo",
            "f2",
            "--method",
            "noise",
            "--wish",
            "agreement=0",
            "--data",
            "pictures.npz",
            "-o",
            "{out}",
        ),
        ("recover", *PARTED, "--calibration", "pictures.npz", "-o", "{out}"),
        ("exits", "wide.tflite", "--data", "pictures.npz", "--wish", "accuracy=0.1", "-o", "{out}"),
        ("relocate", "app.xml", "-o", "{out}"),
        ("offload", *SPLIT, "--device", "endpoint", "--server", "server", "-o", "{out}"),
        ("split", "app.xml", "--over", "pi", "server", "--after", "L1", "-o", "{out}"),
    ],
    "simulate": [
        ("app.xml",),
        (str(ROOT / "graphs/vehicle_exit.xml"), "--iterations", "3"),
        ("deadlock.xml",),
        ("required.xml", "--time"),
    ],
    "certify": [("{out}", "endpoint"), ("keys", "--show"), ("keys", "--renew")],
    "sweep": [(*LOCAL, "--vary", "In.count=2,3", "-q"), (*LOCAL, "--vary", "In.count=nonsense", "-q")],
    "replay": [("trace.csv", *SPLIT, *OFFLOADED, "--way", "2", "--seconds", "0.5", "-q")],
    "codegen": [
        (*SPLIT, "-o", "{out}/"),
        (*LOCAL, "--pyz", "--systemd", "-o", "{out}/"),
        ("app.xml", "-p", "ssh", "-m", "split", "-o", "{out}/"),
    ],
    "explore": [
        ("app.xml", *PLATFORMS, "-o", "{out}"),
        ("app.xml", *PLATFORMS, "-o", "{out}", "--private-until", "L2"),
    ],
    "profile": [
        ("modelled", "--point", "2"),
        ("modelled", "--point", "3", "--limit", "0.1"),
        ("modelled", "--point", "2", "--latency"),
        ("cuts",),
        ("timed", "--actors", "--validate", "1"),
    ],
    "demo": [("--frames", "2", "--build", "{out}"), ("--images", "nothing-here", "--build", "{out}")],
    "verify": [
        ("imported/application.xml", "--model", "tiny.tflite"),
        ("changed/application.xml", "--model", "tiny.tflite"),
        ("imported/application.xml", "-p", "platforms/endpoint.xml", "--unit", "cpu0"),
    ],
    "evaluate": [
        ("app.xml", "-p", "platforms", "-m", "split", "--data", "pictures.npz"),
        ("tiny.tflite", "--data", "unlabelled.npz"),
    ],
    "privacy": [
        ("app.xml", "-p", "platforms", "-m", "split", "--data", "pictures.npz"),
        ("tiny.tflite", "--data", "unlabelled.npz"),
    ],
    "robustness": [
        ("wide.tflite", "--data", "pictures.npz", "--failures", "2", "--recovery"),
        ("wide.tflite", "--data", "unlabelled.npz", "--devices", "2"),
    ],
    "top": [("plain.xml", "-p", "hosted", "-m", "split", "--once")],
    "deploy": [
        ("doctor", "plain.xml", "-p", "hosted", "-m", "split"),
        ("status", "plain.xml", "-p", "hosted", "-m", "split"),
        ("plain.xml", "-p", "hosted", "-m", "split", "--dry-run"),
    ],
    "cut": [
        ("timed", "--best", "latency", "-o", "made-cut"),
        ("timed", "--require", "latency=1ns", "-o", "made-cut"),
        ("cuts", "--point", "2", "-o", "made-cut"),
    ],
    "report": [
        ("cuts",),
        ("timed",),
        ("timed", "--link", "one=1MB/s,1ms", "--link", "two=2MB/s"),
        ("timed", "--privacy", "revealed.json"),
        ("timed", "--require", "latency=999s,rate=1/s"),
        ("timed", "--require", "latency=1ns,rate=1/s"),
        ("timed", "--against", "cuts"),
        ("cuts", "--against", "cuts"),
    ],
    "rules": [(), ("C2",)],
    "inspect": [
        (),
        ("JsonLines",),
        ("behaviours.py",),
        ("behaviours.py:Ramp",),
        ("odd.py",),
        ("tiny.tflite",),
        ("resize.c",),
        (str(ROOT / "tests/kit/vehicle_layers.cl"),),
        (str(ROOT / "graphs/vehicle_exit.xml"),),
        ("platforms/endpoint.xml",),
        ("split/server.xml",),
    ],
    "doctor": [()],
    "new": [
        ("app", "wave", "-o", "{out}/wave"),
        ("actor", "Blur", "-o", "{out}/blur.py"),
        ("actor", "b", "-o", "{out}/b.c"),
    ],
    "schema": [()],
}


#: Calls that start many processes.
SLOW = [("--images", "nothing-here", "--build", "{out}"), ("timed", "--actors", "--validate", "1")]

#: Commands without ``--format json``, and why.
WITHOUT_JSON = {
    "run": "what actors print is its output; --summary FILE writes the summary as JSON, --record DIR the run records",
    "play": "what actors print is its output, as of run",
    "record": "its output is the recordings",
    "watch": "its output is a page; eprune top prints what is on it",
    "draw": "its output is a picture",
    "deploy": "its subcommands have it",
    **dict.fromkeys(
        ("deploy start", "deploy stop", "deploy rollback", "deploy undeploy"),
        "it has no result but the state of the devices, which eprune deploy status prints",
    ),
    "upgrade": "its output is the files that it rewrites",
    "completion": "its output is a script for a shell",
}


@pytest.fixture(scope="module")
def folder(prepared, tmp_path_factory):
    """An application with everything that the calls name."""
    return shutil.copytree(prepared, tmp_path_factory.mktemp("json") / "work")


def printing():
    """The commands with --format json."""
    return {
        name
        for name, command in commands().items()
        for param in command.params
        if param.name == "fmt" and "json" in param.type.choices
    }


def test_every_command_that_prints_json_has_a_schema_and_is_called_here():
    assert {name.partition(" ")[0] for name in printing()} == set(CALLS)
    assert set(schemas.NAMES) == {*CALLS, "run", "record"}


def test_every_command_prints_json_or_a_reason_is_given():
    assert set(commands()) - printing() == set(WITHOUT_JSON), "add --format json, or say in WITHOUT_JSON why not"


@pytest.mark.parametrize("name", schemas.NAMES)
def test_the_schemas_are_json_schemas(name):
    jsonschema.Draft202012Validator.check_schema(json.loads(schemas.schema_text(name)))
    assert schemas.title(name)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        pytest.param(
            name, call, id=" ".join((name, *call)).replace(str(ROOT), "."), marks=[pytest.mark.long] * (call in SLOW)
        )
        for name in CALLS
        for call in CALLS[name]
    ],
)
def test_what_is_printed_follows_the_schema(folder, tmp_path, monkeypatch, eprune, name, arguments):
    monkeypatch.chdir(folder)
    done = eprune(name, *(word.replace("{out}", str(tmp_path)) for word in arguments), "--format", "json")
    assert done.code in (0, 1, 2), done.err
    jsonschema.validate(json.loads(done.out), json.loads(schemas.schema_text(name)))


def test_definitions_with_the_same_name_are_the_same_in_all_schemas():
    found = {}
    for name in schemas.NAMES:
        for kind, definition in json.loads(schemas.schema_text(name)).get("$defs", {}).items():
            assert found.setdefault(kind, definition) == definition, f"{kind} in {name}.json"


@pytest.mark.parametrize("deployment", [LOCAL, SPLIT])
def test_the_summary_of_a_run_follows_the_schema(folder, tmp_path, monkeypatch, eprune, deployment):
    monkeypatch.chdir(folder)
    summary = tmp_path / "summary.json"
    assert eprune("run", *deployment, "--summary", str(summary), "-q").code == 0
    jsonschema.validate(json.loads(summary.read_text()), json.loads(schemas.schema_text("run")))


@pytest.mark.parametrize(
    "arguments",
    [
        LOCAL,
        SPLIT,
        (*SPLIT, "--emulate"),
        ("probe.xml", "-p", "platforms", "-m", "two"),
        ("sinks.xml", "-p", "platforms", "-m", "sinks"),
        ("probe.xml", "-p", "platforms", "-m", "two", "--set", "In.slow=-1"),
        ("-p", "{graphs}/endpoint.xml", "-m", "{mappings}/vehicle_exit_local", "{graphs}/vehicle_exit.xml"),
        (*MULTI_RATE, "-m", "{mappings}/vehicle_third_split"),
    ],
    ids=" ".join,
)
def test_run_records_follow_the_schema(folder, tmp_path, monkeypatch, eprune, arguments):
    monkeypatch.chdir(folder)
    places = {"graphs": ROOT / "graphs", "mappings": ROOT / "mappings"}
    eprune("run", *(word.format(**places) for word in arguments), "--frames", "3", "--record", str(tmp_path), "-q")
    records = [json.loads(path.read_text()) for path in tmp_path.iterdir()]
    assert records
    for record in records:
        jsonschema.validate(record, json.loads(schemas.schema_text("record")))


def test_a_schema_is_printed_by_name(eprune):
    for name in schemas.NAMES:
        assert json.loads(eprune("schema", name).out)["$schema"].startswith("https://json-schema.org/")
    for name in ("application", "platform", "mapping"):
        assert "http://relaxng.org/ns/structure/1.0" in eprune("schema", name).out


def test_all_schemas_are_listed(eprune):
    listed = eprune("schema").out
    assert all(name in listed for name in (*schemas.NAMES, "application", "platform", "mapping"))


def test_a_schema_has_one_format(eprune):
    done = eprune("schema", "analyze", "--format", "text")
    assert (done.code, done.out) == (2, "")


def test_a_printed_xml_schema_is_whole_though_nothing_else_is_loaded(eprune_process):
    for name in ("application", "platform", "mapping"):
        done = eprune_process("schema", name)
        assert done.code == 0, done.err
        etree.RelaxNG(etree.fromstring(done.out.encode()))
