"""`eprune apply recover`: what a partitioned application does about missing channels."""

from __future__ import annotations

import json
import re
import zipfile

import numpy as np
import pytest

from tests.kit import tiny_models

PARTS = ("three/application.xml", "-p", "three/platforms", "-m", "three/mappings")
RECOVERED = ("recovered/application.xml", "-p", "recovered/platforms", "-m", "recovered/mappings", "--allow-outside")


@pytest.fixture
def folder(tmp_path, monkeypatch, eprune):
    """A partitioned application and pictures, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wide.tflite").write_bytes(tiny_models.two_convolutions())
    pixels = np.random.default_rng(1).integers(0, 256, (60, 8, 8, 3), np.uint8)
    np.savez("pictures.npz", x=pixels)
    assert eprune("apply", "partition", "wide.tflite", "--devices", "3", "--method", "lop", "-o", "three").code == 0
    return tmp_path


def recover(eprune, *more):
    return eprune("apply", "recover", *PARTS, "--calibration", "pictures.npz", *more, "-o", "recovered")


def plans(eprune, *arguments):
    done = eprune("robustness", *arguments, "--data", "pictures.npz", "--format", "json")
    assert done.code == 0, done.err
    return json.loads(done.out)["plans"]


def test_the_application_recovers_as_was_predicted(folder, eprune):
    done = recover(eprune, "--failures", "2")
    assert done.code == 0, done.err
    assert "device1: " in done.err
    (found,) = plans(eprune, *RECOVERED, "--failures", "2")
    zeros, wanted = plans(eprune, "wide.tflite", "--devices", "3", "--method", "lop", "--failures", "2", "--recovery")
    assert found["recovery"]
    assert found["sets"] == wanted["sets"]
    assert found["recovery_bytes"] == wanted["recovery_bytes"]
    assert wanted["sets"] != zeros["sets"]


def test_bundles_bring_the_predictions_along(folder, eprune):
    assert recover(eprune).code == 0
    assert eprune("codegen", *RECOVERED, "--pyz", "-o", "bundles/").code == 0
    for name in ("device1", "device2", "device3"):
        with zipfile.ZipFile(f"bundles/{name}.pyz") as archive:
            assert [each for each in archive.namelist() if each.startswith("parts/recovery_")]
            assert "parts={" in archive.read("__main__.py").decode()


def test_with_nobody_dead_nothing_changes(folder, eprune):
    assert recover(eprune).code == 0
    for application in (PARTS, RECOVERED):
        done = eprune("evaluate", *application, "--data", "pictures.npz", "--model", "wide.tflite", "--frames", "5")
        assert "100.00 %" in done.out, done.err


def test_failures_beyond_those_that_were_asked_for_are_zeros(folder, eprune):
    assert recover(eprune, "--failures", "1").code == 0
    (one,) = plans(eprune, *RECOVERED, "--failures", "2")
    (none,) = plans(eprune, *PARTS, "--failures", "2")
    assert [each["right"] for each in one["sets"] if len(each["dead"]) == 2] == [
        each["right"] for each in none["sets"] if len(each["dead"]) == 2
    ]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--failures", "3"), "--failures 3: with 3 devices 1 to 2"),
        (("--calibration", "none"), "none: error[FILE]: is no file and no folder"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_written(folder, eprune, more, said):
    done = recover(eprune, *more)
    assert done.code == 2
    assert said in done.err
    assert not (folder / "recovered").exists()


def test_an_application_without_exchanges_is_refused(folder, eprune):
    assert eprune("import", "wide.tflite", "-o", "app").code == 0
    done = eprune("apply", "recover", "app/application.xml", "--calibration", "pictures.npz", "-o", "recovered")
    assert done.code == 2
    assert "has no exchanges" in done.err


def test_an_application_that_recovers_is_not_fitted_again(folder, eprune):
    assert recover(eprune).code == 0
    done = eprune("robustness", *RECOVERED, "--data", "pictures.npz", "--recovery")
    assert done.code == 2
    assert "the application recovers already" in done.err


def partition(eprune, *more):
    return eprune("apply", "partition", "wide.tflite", "--devices", "3", *more, "-o", "three", "--format", "json")


@pytest.mark.parametrize("method", ["lop", "robust"])
def test_the_memory_that_is_given_includes_the_predictions(folder, eprune, method):
    given = ("--method", method, "--recover", "2")
    none = partition(eprune, *given, "--memory", "0.2")
    assert none.code == 2
    least = float(re.search(r"need(?:s| at least) ([0-9.]+)", none.err)[1])
    assert "and predictions for up to 2 dead" in none.err
    memory = least + 0.01
    said = json.loads(partition(eprune, *given, "--memory", f"{memory}").out)
    assert recover(eprune, "--failures", "2").code == 0
    (found,) = plans(eprune, *RECOVERED, "--failures", "2")
    assert found["recovery_bytes"] == max(each["recovery_bytes"] for each in said["devices"]) > 0
    told = max(each["of_the_whole"] for each in said["devices"])
    assert found["memory"] == pytest.approx(told, abs=1e-5) and told <= memory


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--method", "full", "--recover", "1"), "--recover: with --method full nothing is predicted"),
        (("--method", "cdc", "--recover", "1"), "--recover: with --method cdc nothing is predicted"),
        (("--method", "chained", "--recover", "1"), "there is nothing to predict"),
        (("--recover", "3"), "--recover 3: with 3 devices 1 to 2"),
        (("--recover", "1", "--plan", "x.json"), "--plan says it all"),
    ],
)
def test_where_nothing_would_be_predicted_it_is_said(folder, eprune, more, said):
    done = partition(eprune, *more)
    assert done.code == 2
    assert said in done.err


def test_robust_plans_with_and_without_recovery_are_compared_at_the_same_memory(folder, eprune):
    given = ("wide.tflite", "--devices", "3", "--method", "robust", "--failures", "2", "--recovery")
    zeros, recovered = plans(eprune, *given, "--memory", "0.6")
    assert 0.5 < zeros["memory"] <= 0.6
    assert 0.5 < recovered["memory"] <= 0.6
    assert recovered["recovery_bytes"] > 0 == zeros["recovery_bytes"]
    done = eprune("robustness", *given, "--memory", "0.42", "--data", "pictures.npz")
    assert "predictions for up to 2 dead" in done.err
    assert len([line for line in done.out.splitlines() if "robust, 0.42" in line]) == 1
