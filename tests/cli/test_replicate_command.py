"""`eprune replicate`: the files that it writes are an application that can be analyzed and run."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from application import ROOT

from tests.kit.programs import environment

CHAIN = str(ROOT / "graphs" / "vehicle_chain.xml")


def test_all_files_are_written_and_fit_together(tmp_path, eprune):
    folder = tmp_path / "k"
    done = eprune("replicate", CHAIN, "--cut-after", "L3", "--endpoints", "4", "--servers", "2", "-o", str(folder))
    assert (done.code, done.out) == (0, "")
    assert "18 actors and 20 FIFOs" in done.err
    assert {path.name for path in (folder / "platforms").iterdir()} == {
        *(f"endpoint{n}.xml" for n in range(1, 5)),
        "server1.xml",
        "server2.xml",
    }
    deployed = [str(folder / "application.xml"), "-p", str(folder / "platforms"), "-m", str(folder / "mappings")]
    assert eprune("analyze", *deployed).code == 0
    assert eprune("analyze", *deployed, "--faults", "1").code == 0
    data = json.loads(eprune("analyze", *deployed, "--faults", "2", "--format", "json").out)
    assert data["faults"]["survives"] == 1 and len(data["faults"]["failures"]) == 13


def test_for_scripts_it_says_where_everything_is(tmp_path, eprune):
    arguments = ("--cut-after", "L3", "--endpoints", "1", "--servers", "1", "-o", str(tmp_path))
    data = json.loads(eprune("replicate", CHAIN, *arguments, "--format", "json").out)
    assert data == {
        "application": str(tmp_path / "application.xml"),
        "platforms": str(tmp_path / "platforms"),
        "mappings": str(tmp_path / "mappings"),
        "actors": 5,
        "fifos": 4,
    }


def test_every_server_answers_every_endpoint_as_the_whole_classifier_does(tmp_path, eprune):
    folder = tmp_path / "k"
    arguments = ("--cut-after", "L3", "--endpoints", "2", "--servers", "2", "--policy", "stop", "-o", str(folder))
    assert eprune("replicate", CHAIN, *arguments).code == 0
    whole = answers("vehicle.xml", "-p", "graphs/endpoint.xml", "-m", "mappings/vehicle_local")
    replicated = answers(
        str(folder / "application.xml"), "-p", str(folder / "platforms"), "-m", str(folder / "mappings")
    )
    expected = [(line["frame"], line["class"], line["score"]) for line in whole]
    for endpoint in ("in1", "in2"):
        lines = [(each["frame"], each["class"], each["score"]) for each in replicated if each["input"] == endpoint]
        assert sorted(lines) == sorted(expected * 2)


def answers(application, *deployment):
    path = application if application.startswith("/") else f"graphs/{application}"
    done = subprocess.run(
        [sys.executable, "-m", "eprune", "run", path, *deployment, "--frames", "3", "--quiet"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
        check=True,
        timeout=60,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"--cut-after": "L9"}, 2, "there is no actor 'L9'"),
        ({"--cut-after": "L2"}, 2, "'L3' is a slice of a model"),
        ({"--endpoints": "0"}, 2, "there are 1 to 999 of each"),
        ({"--port": "65533"}, 2, "would need TCP ports above 65535"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(tmp_path, eprune, changes, code, message):
    options = {"--cut-after": "L3", "--endpoints": "2", "--servers": "2", "-o": str(tmp_path / "k"), **changes}
    done = eprune("replicate", CHAIN, *(word for pair in options.items() for word in pair))
    assert done.code == code and message in done.err
    assert not (tmp_path / "k").exists()
