"""`eprune report --beside`: a partition by channels next to the vertical cuts of the same model."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

from eprune.face import load
from tests.kit import tiny_models

PLATFORM = '<platform name="{}"><unit name="cpu"/><link to="{}" bandwidth="1MB/s" latency="50ms"/></platform>'


@pytest.fixture
def folder(tmp_path, monkeypatch, eprune):
    """An exploration whose actors are timed, though not by a clock, and the model dealt to two devices."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wide.tflite").write_bytes(tiny_models.two_convolutions())
    assert eprune("import", "wide.tflite", "-o", "app").code == 0
    for name, other in (("endpoint", "server"), ("server", "endpoint")):
        (tmp_path / f"{name}.xml").write_text(PLATFORM.format(name, other))
    given = ("-p", "endpoint.xml", "server.xml", "-o", "cuts", "--frames", "3")
    assert eprune("explore", "app/application.xml", *given).code == 0
    plan = json.loads((tmp_path / "cuts/explore.json").read_text())
    times = dict.fromkeys((actor.name for actor in load("app/application.xml").graph.actors), 0.010)
    told = {name: {"actors": times} for name in ("endpoint", "server")}
    (tmp_path / "cuts/actors.json").write_text(json.dumps({"plan": plan["id"], "platforms": told}))
    whole = ("apply", "partition", "app/application.xml", "--devices", "2")
    assert eprune(*whole, "--memory", "0.9", "-o", "parts").code == 0
    return tmp_path


def test_devices_are_like_the_endpoint_and_links_like_its_own(folder, eprune):
    done = eprune("report", "cuts", "--beside", "parts", "--allow-outside", "--format", "json")
    assert done.code == 0, done.err
    jsonschema.validate(json.loads(done.out), json.loads(eprune("schema", "report").out))
    found = json.loads(done.out)["beside"][0]
    assert (found["devices"], found["like"]) == (2, {"platform": "endpoint", "link": ["endpoint", "server"]})
    # The frame goes over a link of 50 ms, and at least one exchange follows; source and sink take 10 ms each.
    assert found["latency"] > 0.120
    assert found["period"] > 0.020
    partition = json.loads(
        eprune(
            *("apply", "partition", "app/application.xml", "--devices", "2", "--memory", "0.9", "--format", "json"),
            *("-o", "again"),
        ).out
    )
    assert list(found["weight_bytes"].values()) == [each["weight_bytes"] for each in partition["devices"]]
    assert found["nbytes"] == sum(each["sent_bytes"] for each in partition["devices"])
    assert found["cuts"][0]["endpoint_weight_bytes"] == partition["model_weight_bytes"]


def test_the_text_has_a_row_for_it(folder, eprune):
    done = eprune("report", "cuts", "--beside", "parts", "--allow-outside")
    assert done.code == 0, done.err
    assert "wide-2: layers dealt to 2 devices like endpoint, with links like endpoint -> server" in done.out
    assert re.search(r"^  cut endpoint only +[0-9.]+ +[0-9.]+ +0 +[0-9]+$", done.out, re.M)
    assert re.search(r"^  wide-2 +[0-9.]+ +[0-9.]+ +[0-9]+ +[0-9]+$", done.out, re.M)
    assert "beside" not in eprune("report", "cuts").out


def test_what_cannot_be_set_beside_is_refused(folder, eprune):
    trusted = ("--beside", "parts", "--allow-outside")
    for arguments, code, said in (
        (("--beside", "parts"), 1, "--allow-outside, if you trust the application"),
        (("--beside", "nothing"), 2, "nothing/application.xml: error[FILE]"),
        (("--allow-outside",), 2, "--allow-outside is for the applications that --beside runs"),
        ((*trusted, "--format", "csv"), 2, "--beside and --data add to text, page and JSON"),
    ):
        done = eprune("report", "cuts", *arguments)
        assert (done.code, said in done.err) == (code, True), done.err
    (folder / "narrow.tflite").write_bytes(tiny_models.two_convolutions(8))
    assert eprune("apply", "partition", "narrow.tflite", "--devices", "2", "--memory", "0.9", "-o", "parts").code == 0
    done = eprune("report", "cuts", *trusted)
    assert done.code == 2
    assert "is no partition of the model that was explored" in done.err
    (folder / "cuts/actors.json").unlink()
    assert "--beside needs predictions: run eprune profile cuts --actors" in eprune("report", "cuts", *trusted).err
