"""`eprune apply partition --method robust`: channels are dealt by importance, within the memory that is given."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.kit import tiny_models


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model and pictures, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wide.tflite").write_bytes(tiny_models.two_convolutions())
    pixels = np.random.default_rng(1).integers(0, 256, (40, 8, 8, 3), np.uint8)
    np.savez("pictures.npz", x=pixels)
    np.save("tokens.npy", (pixels / 255).astype(np.float32))
    np.save("narrow.npy", np.zeros((4, 8, 7, 3), np.float32))
    return tmp_path


def partition(eprune, *more):
    """What the pass says."""
    done = eprune(
        "apply",
        "partition",
        "wide.tflite",
        "--devices",
        "3",
        "--method",
        "robust",
        *more,
        "-o",
        "three",
        "--format",
        "json",
    )
    assert done.code == 0, done.err
    return json.loads(done.out)


def parts(report):
    return [layer["parts"] for layer in report["plan"]["layers"]]


def test_the_most_important_channels_are_on_several_devices(folder, eprune):
    report = partition(eprune, "--memory", "0.6", "--calibration", "pictures.npz")
    assert max(each["of_the_whole"] for each in report["devices"]) <= 0.6
    assert list(report["robust"]["scores"]) == ["s1", "s2", "s3"]
    assert report["robust"]["calibration"] == 20
    copied = sum(each["copies"] for each in report["robust"]["layers"])
    assert copied > 0


def test_what_it_is_made_of_changes_the_plan(folder, eprune):
    base = parts(partition(eprune, "--memory", "0.6", "--calibration", "tokens.npy"))
    assert parts(partition(eprune, "--memory", "0.6")) != base
    assert parts(partition(eprune, "--memory", "0.75", "--calibration", "tokens.npy")) != base
    assert parts(partition(eprune, "--memory", "0.6", "--calibration", "tokens.npy", "--scores", "s3")) != base
    assert parts(partition(eprune, "--memory", "0.6", "--calibration", "tokens.npy", "--rotate")) != base


def test_the_plan_is_judged_by_masks_as_it_is(folder, eprune):
    partition(eprune, "--memory", "0.6", "--calibration", "pictures.npz")
    placed = ("-p", "three/platforms", "-m", "three/mappings", "--data", "pictures.npz", "--format", "json")
    done = eprune("robustness", "three/application.xml", *placed)
    assert done.code == 0, done.err
    (plan,) = json.loads(done.out)["plans"]
    assert plan["memory"] <= 0.6
    assert plan["counts"][0]["mean"] == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--memory", "0.1"), "--memory 0.1"),
        (("--calibration", "narrow.npy"), "x[0]: error[FILE]: is float32[8, 7, 3]: neither a picture"),
        (("--calibration", "none"), "none: error[FILE]: is no file and no folder"),
        (("--scores", "s3"), "s2 and s3 are measured on calibration pictures"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_written(folder, eprune, more, said):
    done = eprune("apply", "partition", "wide.tflite", "--devices", "3", "--method", "robust", *more, "-o", "three")
    assert done.code == 2
    assert said in done.err
    assert not (folder / "three").exists()
