"""`eprune apply compress`: what a user sees, and what evaluate says of the result."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

SPLIT = ("app.xml", "-p", "platforms", "-m", "split")
CODED = ("coded/application.xml", "-p", "coded/platforms", "-m", "coded/mappings", "--allow-outside")


@pytest.fixture
def pictures(app):
    """Pictures for the application, in the current folder."""
    pixels = np.random.default_rng(1).integers(0, 256, (12, 8, 8, 3), np.uint8)
    np.savez("pictures.npz", x=pixels, y=np.arange(12) % 5)
    return app


def compress(eprune, *more):
    done = eprune("apply", "compress", *SPLIT, "--fifo", "f2", *more, "-o", "coded", "--format", "json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def evaluated(eprune, *what):
    done = eprune("evaluate", *what, "--data", "pictures.npz", "--format", "json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_evaluate_counts_the_bytes_that_are_used_and_the_answers_are_as_stated(pictures, eprune):
    made = compress(eprune, "--data", "pictures.npz", "--method", "int4")
    (way,) = made["methods"]["f2"]
    found = evaluated(eprune, *CODED)
    assert found["right"] == way["accuracy"]["right"]
    [link] = found["links"]
    assert link["bytes_per_frame"] == way["bytes"]
    assert link["bytes_per_frame"] <= 33 < 256
    assert way["most_bytes"] == 33


def test_bundles_bring_the_projection_along(pictures, eprune, tmp_path_factory):
    compress(eprune, "--data", "pictures.npz", "--method", "rank", "--rank", "4")
    assert eprune("codegen", *CODED, "-o", "programs/").code == 0
    assert eprune("codegen", *CODED, "--pyz", "-o", "bundles/").code == 0
    for name in ("endpoint", "server"):
        with zipfile.ZipFile(f"bundles/{name}.pyz") as archive:
            assert "parts/basis_f2.npz" in archive.namelist()
    device = tmp_path_factory.mktemp("device")
    shutil.move("bundles", device)
    beside, alone = printed("programs", ".py"), printed(device / "bundles", ".pyz")
    assert alone == beside != ""


def printed(folder, ending):
    """What the programs of a folder print."""
    programs = [Path(folder).resolve() / f"{name}{ending}" for name in ("server", "endpoint")]
    running = [
        subprocess.Popen([sys.executable, each], stdout=subprocess.PIPE, text=True, cwd=folder) for each in programs
    ]
    return "".join(each.communicate(timeout=60)[0] for each in running)


def test_without_loss_the_accuracy_is_that_of_the_application(pictures, eprune):
    compress(eprune, "--data", "pictures.npz", "--method", "lossless")
    assert evaluated(eprune, *CODED)["right"] == evaluated(eprune, *SPLIT)["right"]


def test_the_table_has_every_way_and_the_coded_input(pictures, eprune):
    done = eprune("apply", "compress", *SPLIT, "--fifo", "f2", "--data", "pictures.npz", "-o", "coded")
    assert done.code == 0, done.err
    for name in ("as it is", "lossless", "int8-channel", "int4", "rank 4 int8", "rank 5", "the input as JPEG 75"):
        assert f"coded/application.xml: {name}  " in done.err
    assert done.err.count("<- chosen") == 1
    assert "accuracy" in done.err
    assert "random" not in done.err


def test_the_bandwidth_tells_whether_it_pays(pictures, eprune):
    how = ("apply", "compress", *SPLIT, "--fifo", "f2", "--method", "int8", "-o", "coded")
    slow, fast = eprune(*how, "--bandwidth", "1kB/s").err, eprune(*how, "--bandwidth", "100GB/s").err
    assert "B/s it saves " in slow
    assert "bit/s it does not pay: " in fast
    assert "no --data: measured on random inputs" in slow


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--fifo", "f1"), "--fifo f1: it does not leave platform 'endpoint'"),
        (("--fifo", "f2", "--wish", "accuracy=0.5"), "needs pictures with labels (--data)"),
        (("--fifo", "f2", "--data", "none"), "none: error[FILE]: is no file and no folder"),
        (("--fifo", "f2", "--bytes", "many"), "many"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_written(pictures, eprune, more, said):
    done = eprune("apply", "compress", *SPLIT, *more, "-o", "coded")
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
    assert not (pictures / "coded").exists()
