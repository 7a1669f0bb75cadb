"""`eprune robustness`: what is left when devices fail, for every set of them."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from tests.kit import tiny_models


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model and pictures, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wide.tflite").write_bytes(tiny_models.two_convolutions())
    pixels = np.random.default_rng(1).integers(0, 256, (60, 8, 8, 3), np.uint8)
    np.savez("pictures.npz", x=pixels)
    return tmp_path


def robustness(eprune, *arguments):
    """The plans that the command tells of."""
    done = eprune("robustness", *arguments, "--data", "pictures.npz", "--format", "json")
    assert done.code == 0, done.err
    return json.loads(done.out)["plans"]


def test_methods_are_compared_with_memory_and_dead_devices(folder, eprune):
    done = eprune("robustness", "wide.tflite", "--data", "pictures.npz", "--failures", "2", "-o", "chart.svg")
    assert done.code == 0, done.err
    assert "wide: agreement with the intact model in %, 30 pictures of the test part" in done.out
    for label in ("lop", "chained, 2 copies", "chained, 3 copies", "robust, 0.8", "full"):
        assert f"  {label} " in done.out
    assert "<svg" in (folder / "chart.svg").read_text()


def test_nobody_dead_and_copies_enough_are_exact(folder, eprune):
    plans = {each["plan"]: each for each in robustness(eprune, "wide.tflite", "--failures", "2")}
    assert all(each["sets"][0] | {"of": 0} == {**SAME, "right": 30} for each in plans.values())
    assert [count["mean"] for count in plans["chained, 2 copies"]["counts"]][:2] == [1, 1]
    assert [count["mean"] for count in plans["chained, 3 copies"]["counts"]] == [1, 1, 1]
    assert plans["full"]["memory"] == 1
    assert plans["lop"]["counts"][1]["mean"] < 1
    assert len(plans["lop"]["sets"]) == 1 + 4 + 6


SAME = {"dead": [], "lost": 0, "of": 0, "value": 1.0, "low": 0.886487, "high": 1.0}


def test_recovery_is_better_than_zeros_and_its_bytes_are_counted(folder, eprune):
    zeros, recovered = robustness(eprune, "wide.tflite", "--method", "lop", "--recovery")
    assert not zeros["recovery"]
    assert recovered["recovery_bytes"] > 0
    assert recovered["memory"] > zeros["memory"]
    assert recovered["counts"][1]["mean"] > zeros["counts"][1]["mean"]


def test_a_partitioned_application_is_tried_as_it_is(folder, eprune):
    done = eprune("apply", "partition", "wide.tflite", "--devices", "3", "--method", "lop", "-o", "three")
    assert done.code == 0, done.err
    placed = ("-p", "three/platforms", "-m", "three/mappings")
    (found,) = robustness(eprune, "three/application.xml", *placed)
    (wanted,) = robustness(eprune, "wide.tflite", "--devices", "3", "--method", "lop")
    assert found["memory"] == wanted["memory"]
    assert found["sets"] == wanted["sets"]
    text = eprune("robustness", "three/application.xml", *placed, "--data", "pictures.npz").out
    assert "none" in text
    assert "exact" in text
    assert "device3" in text


@pytest.mark.long
def test_what_makes_a_plan_robust_can_be_chosen(folder, eprune):
    base = ("wide.tflite", "--method", "robust", "--memory", "0.7", "--devices", "3", "--failures", "1")
    plain = robustness(eprune, *base)
    for option in (("--scores", "s1"), ("--rotate",), ("--linkage", "pass"), ("--one-threshold",)):
        assert robustness(eprune, *base, *option)[0]["sets"] != plain[0]["sets"], option
        assert robustness(eprune, *base, *option)[0]["memory"] <= 0.7


def test_the_table_for_spreadsheets_has_a_line_for_each_set(folder, eprune):
    done = eprune("robustness", "wide.tflite", "--data", "pictures.npz", "--method", "lop", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["dead"] for row in rows] == ["", "device1", "device2", "device3", "device4"]
    assert rows[0]["agreement"] == "1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("wide.tflite", "--failures", "4"), "of 4 devices 0 to 3 can fail"),
        (("wide.tflite", "--method", "robust", "--memory", "0.01"), "no plan is possible"),
        (("wide.tflite", "--method", "robust", "--scores", "s9"), "there is no score 's9'; there are s1, s2, s3"),
        (("app.xml",), "app.xml"),
    ],
)
def test_what_cannot_be_is_said_in_one_message(folder, eprune, arguments, said):
    done = eprune("robustness", *arguments, "--data", "pictures.npz")
    assert done.code == 2
    assert said in done.err
    assert not done.out


def test_too_little_memory_is_a_note_with_what_is_possible(folder, eprune):
    done = eprune(
        "robustness",
        "wide.tflite",
        "--method",
        "lop",
        "--method",
        "robust",
        "--memory",
        "0.1",
        "--data",
        "pictures.npz",
    )
    assert done.code == 0
    assert (
        "note: robust with memory 0.1: a device would have 0.1 of the weights, but 4 devices need at least" in done.err
    )


def test_an_application_that_is_not_partitioned_is_refused(folder, eprune):
    assert eprune("import", "wide.tflite", "-o", "app").code == 0
    done = eprune("robustness", "app/application.xml", "-p", "app", "-m", "app", "--data", "pictures.npz")
    assert done.code == 2
    assert "no layer of it is partitioned by channels" in done.err
    assert "eprune apply partition" in done.err
