"""`eprune profile --compress` and `eprune report`: cuts with their tokens coded, and what else can be made of them."""

from __future__ import annotations

import json
import re

import jsonschema
import numpy as np
import pytest

from tests.kit import tiny_models

PLATFORM = '<platform name="{}"><unit name="cpu"/><link to="{}" bandwidth="1MB/s" latency="5ms"/></platform>'


@pytest.fixture
def folder(tmp_path, monkeypatch, eprune):
    """An exploration whose actors take 1 ms each, and pictures."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.tflite").write_bytes(tiny_models.conv_pool_dense())
    assert eprune("import", "tiny.tflite", "-o", "app").code == 0
    for name, other in (("endpoint", "server"), ("server", "endpoint")):
        (tmp_path / f"{name}.xml").write_text(PLATFORM.format(name, other))
    done = eprune("explore", "app/application.xml", "-p", "endpoint.xml", "server.xml", "-o", "cuts", "--frames", "3")
    assert done.code == 0, done.err
    plan = json.loads((tmp_path / "cuts/explore.json").read_text())
    times = dict.fromkeys(plan["order"], 0.001)
    told = {name: {"actors": times} for name in ("endpoint", "server")}
    (tmp_path / "cuts/actors.json").write_text(json.dumps({"plan": plan["id"], "platforms": told}))
    pixels = np.random.default_rng(1).integers(0, 256, (16, 8, 8, 3), np.uint8)
    np.savez("pictures.npz", x=pixels, y=np.arange(16) % 5)
    return tmp_path


def as_json(eprune, name, *words):
    done = eprune(name, "cuts", *words, "--format", "json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    jsonschema.validate(found, json.loads(eprune("schema", name).out))
    return found


def compressed(eprune, *more):
    return as_json(eprune, "profile", "--compress", "--data", "pictures.npz", *more)["coding"]


def test_each_cut_counts_as_it_could_be_coded(folder, eprune):
    plain = {each["point"]: each["predicted"] for each in as_json(eprune, "report")["points"]}
    coding = compressed(eprune, "--wish", "agreement=0")
    report = as_json(eprune, "report", "--objective", "latency")
    seen = 0
    for point in report["points"]:
        predicted, before = point["predicted"], plain[point["point"]]
        for fifo, way in predicted["coded"].items():
            row = coding["rows"][fifo]
            assert (row["way"], row["nbytes"]) == (way, predicted["nbytes"])
            saved = (before["nbytes"] - row["nbytes"]) / 1e6
            assert before["latency"] - predicted["latency"] == pytest.approx(saved - row["encode"] - row["decode"])
            seen += 1
        if not predicted["coded"]:
            assert predicted == before
    assert seen or all(  # a machine on which coding never pays would say so
        row["encode"] + row["decode"] > (plain_bytes(report, fifo) - row["nbytes"]) / 1e6
        for fifo, row in coding["rows"].items()
    )
    as_it_is = as_json(eprune, "report", "--as-it-is")
    assert {each["point"]: each["predicted"] for each in as_it_is["points"]} == plain
    assert "coding" not in as_it_is


def plain_bytes(report, fifo):
    return next(each["bytes"] for each in report["points"] if fifo in each["predicted"]["coded"])


def test_a_wish_decides_how_tokens_are_coded(folder, eprune):
    loose, strict = (compressed(eprune, "--wish", wish, "--frames", "6") for wish in ("agreement=0", "agreement=1"))
    assert loose["pictures"] == 6
    for name, row in loose["rows"].items():
        assert row["nbytes"] <= strict["rows"][name]["nbytes"]


def test_by_bytes_whatever_is_smaller_counts(folder, eprune):
    coding = compressed(eprune, "--wish", "agreement=0")
    points = as_json(eprune, "report", "--objective", "bytes")["points"]
    coded = {fifo for each in points for fifo in each["predicted"]["coded"]}
    raw = {fifo["name"]: fifo["nbytes"] for fifo in json.loads((folder / "cuts/explore.json").read_text())["fifos"]}
    assert coded == {name for name, row in coding["rows"].items() if row["nbytes"] < raw[name]} != set()


def test_the_picture_itself_stands_beside_them(folder, eprune):
    coding = compressed(eprune)
    assert [each["way"] for each in coding["inputs"]] == ["JPEG 50", "JPEG 75", "JPEG 90", "JPEG 95"]
    found = as_json(eprune, "report")["coding"]
    assert found["input_point"] == "1"
    first = found["inputs"][0]
    # The link, the latency, the five actors, and coding at both ends.
    wanted = first["nbytes"] / 1e6 + 0.005 + 0.001 * 5 + first["encode"] + first["decode"]
    assert first["predicted"]["latency"] == pytest.approx(wanted)
    text = eprune("report", "cuts").out
    assert re.search(r"^  the input, point 1 +JPEG 50 +[0-9]+ ", text, re.M)
    # Where the picture must not leave the device, there is no such point.
    private = as_json(
        eprune, "report", "--private-until", json.loads((folder / "cuts/explore.json").read_text())["order"][1]
    )
    assert private["coding"]["input_point"] == ""


def test_the_report_says_how_the_best_one_is_made_and_that_is_so(folder, eprune):
    compressed(eprune, "--wish", "agreement=0")
    report = as_json(eprune, "report", "--objective", "bytes=1,endpoint=0.001", "--must-use", "server")
    best = report["ranked"][0]
    text = eprune("report", "cuts", "--objective", "bytes=1,endpoint=0.001", "--must-use", "server").out
    command = re.search(rf"Point {best} is made by: eprune (.*)$", text, re.M)
    assert command, text
    done = eprune(*command[1].split())
    assert done.code == 0, done.err
    where = ("coded/application.xml", "-p", "coded/platforms", "-m", "coded/mappings", "--allow-outside")
    done = eprune("evaluate", *where, "--data", "pictures.npz", "--format", "json")
    assert done.code == 0, done.err
    (link,) = json.loads(done.out)["links"]
    predicted = next(each["predicted"] for each in report["points"] if each["point"] == best)
    assert link["bytes_per_frame"] == pytest.approx(predicted["nbytes"])


def test_a_wish_that_the_test_part_breaks_is_said(folder, eprune):
    coding = compressed(eprune, "--wish", "agreement=0")
    file = folder / "cuts/coding.json"
    name = next(iter(coding["rows"]))
    told = json.loads(file.read_text())
    told["wish"] = "agreement=1"
    told["rows"][name]["agreement"]["value"] = 0.5
    file.write_text(json.dumps(told))
    assert f"{name}: agreement=1 is not kept on the test part: 0.5" in eprune("report", "cuts").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("profile", "cuts", "--data", "pictures.npz"), "--data: these are of --compress"),
        (("profile", "cuts", "--compress", "--latency"), "--latency: --compress tries how tokens are coded"),
        (("profile", "cuts", "--compress", "--wish", "beauty=1"), "write accuracy=0.97 or agreement=0.99"),
        (("profile", "cuts", "--compress", "--wish", "accuracy=0.9"), "needs pictures with labels"),
        (("report", "cuts", "--as-it-is"), "nothing was tried with eprune profile cuts --compress"),
        (("report", "cuts", "--frames", "3"), "--frames says how many pictures of --data are used"),
        (("report", "cuts", "--data", "pictures.npz", "--speed", "endpoint=2"), "--data compares over the links"),
        (("report", "cuts", "--data", "nowhere"), "nowhere"),
    ],
)
def test_what_does_not_fit_is_refused(folder, eprune, words, message):
    done = eprune(*words)
    assert done.code == 2
    assert message in done.err


def test_a_damaged_file_is_refused_and_an_old_one_noted(folder, eprune):
    compressed(eprune)
    file = folder / "cuts/coding.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "plan": "another"}))
    done = eprune("report", "cuts")
    assert done.code == 0
    assert "coding.json is of an earlier exploration" in done.err
    for damaged in ("{", "[]", json.dumps({**told, "rows": {"f": {"way": 1}}}), json.dumps({**told, "inputs": 3})):
        file.write_text(damaged)
        done = eprune("report", "cuts")
        assert (done.code, "coding.json cannot be used" in done.err) == (2, True), done.err


def test_what_passes_made_stands_beside_the_cuts_on_the_same_pictures(folder, eprune):
    compressed(eprune, "--wish", "agreement=0")
    plan = json.loads((folder / "cuts/explore.json").read_text())
    given = ("app/application.xml", "-p", "endpoint.xml", "server.xml", "-m", "cuts/2")
    fifo = next(iter(json.loads((folder / "cuts/coding.json").read_text())["rows"]))
    made = eprune("apply", "compress", *given, "--fifo", fifo, "--method", "int4", "-o", "coded")
    assert made.code == 0, made.err
    words = ("--beside", "coded", "--data", "pictures.npz", "--allow-outside")
    rows = as_json(eprune, "report", *words)["evaluated"]
    assert rows[-1]["application"] == f"{plan['application']} in coded"
    assert {"Do not cut (point 5)"} < {each["application"] for each in rows}
    coded = eprune(
        *("evaluate", "coded/application.xml", "-p", "coded/platforms", "-m", "coded/mappings", "--allow-outside"),
        *("--data", "pictures.npz", "--format", "json"),
    )
    alone = json.loads(coded.out)
    assert [alone[key] for key in ("right", "of", "links")] == [rows[-1][key] for key in ("right", "of", "links")]
    assert f"{rows[-1]['application']} " in eprune("report", "cuts", *words).out
    assert {each["of"] for each in as_json(eprune, "report", *words, "--frames", "3")["evaluated"]} == {3}
