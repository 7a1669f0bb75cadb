"""`eprune privacy`: what the tokens of a cut reveal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eprune.measure import gradients
from eprune.measure.attacks import ridge as ridge_attack
from eprune.measure.attacks.ridge import local_ridge, ridge
from eprune.measure.likeness import psnr, ssim
from tests.kit import pages, shades
from tests.kit.programs import ROOT
from tests.kit.vehicles import write

COMMAND = ("privacy", "app.xml", "-p", "platforms", "-m", "split")
TENSORFLOW = pytest.mark.skipif(bool(gradients._without_tensorflow()), reason="TensorFlow is not installed")


@pytest.fixture
def folder(app):
    """Pictures for the application, of two shades; and what they are of."""
    shades.write(app / "shades.npz", 48)
    return app


def found(eprune, *more):
    done = eprune("privacy", *more, "--data", "shades.npz", "--format", "json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_what_crosses_is_attacked_and_every_slice_on_request(folder, eprune):
    data = found(eprune, "app.xml", "-p", "platforms", "-m", "split")
    assert [(cut["fifo"], cut["crosses"]) for cut in data["cuts"]] == [("f2", True)]
    assert (data["attackers"], data["pictures"], data["labelled"]) == (24, 24, True)
    every = found(eprune, "app.xml", "-p", "platforms", "-m", "split", "--every")
    assert [(cut["fifo"], cut["crosses"]) for cut in every["cuts"]] == [("f2", True), ("f3", False)]
    assert found(eprune, "tiny.tflite")["cuts"], "nothing crosses in a model: all slices are attacked"


def test_features_of_a_convolution_reveal_more_than_nothing(folder, eprune):
    data = found(eprune, "app.xml", "-p", "platforms", "-m", "split", "--attribute", "bright")
    (cut,), nothing = data["cuts"], data["nothing"]
    assert cut["psnr_db"] > nothing["psnr_db"] + 3
    assert cut["ssim"] > nothing["ssim"] + 0.1
    assert cut["attribute"]["value"] > 0.9 > nothing["attribute"]["value"]


def test_an_attribute_is_a_column_of_the_table_by_the_pictures_path(folder, eprune):
    with np.load("shades.npz") as file:
        pictures, bright = file["x"], file["bright"]
    lines = ["file,label,bright"]
    for place, (picture, shade) in enumerate(zip(pictures, bright)):
        name = Path("photos", "light" if shade else "dark", f"{place // 2}.png")
        name.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(name)
        lines.append(f"{name.relative_to('photos')},{place % 5},{shade}")
    Path("photos/labels.csv").write_text("\n".join(lines) + "\n")
    done = eprune(*COMMAND, "--data", "photos", "--attribute", "bright", "--format", "json")
    assert done.code == 0, done.err
    (cut,) = json.loads(done.out)["cuts"]
    assert cut["attribute"]["value"] > 0.9


def test_several_attacks_are_told_apart_and_a_network_learns(folder, eprune):
    data = found(eprune, *COMMAND[1:], "--attack", "network", "--attack", "ridge")
    network, ridge_row = data["cuts"]
    assert (network["attack"], ridge_row["attack"], data["attacks"]) == ("network", "ridge", ["network", "ridge"])
    assert network["psnr_db"] > data["nothing"]["psnr_db"] + 3
    done = eprune(*COMMAND, "--data", "shades.npz", "--attack", "network", "--attack", "ridge", "-o", "seen.html")
    assert "reconstructed by an inverse network and ridge regression, which were fitted on 24 others" in done.out
    page = Path("seen.html").read_text()
    assert "data:image/png;base64," in page
    assert "<td>network</td>" in page


def test_tokens_that_are_seen_more_than_once_are_averaged(folder, eprune):
    """The cut is deterministic, so it is the same; what noise there was is gone: see ``test_defend.py``."""
    once, often = (found(eprune, *COMMAND[1:], *more) for more in ((), ("--average", "3")))
    assert often["average"] == 3
    assert often["cuts"][0]["ssim"] == pytest.approx(once["cuts"][0]["ssim"], abs=1e-3)


@pytest.mark.parametrize("attack", ["whitebox", "shadow"])
def test_what_takes_gradients_says_what_to_install(folder, eprune, monkeypatch, attack):
    monkeypatch.setattr(gradients, "_without_tensorflow", lambda: "TensorFlow is not installed")
    done = eprune(*COMMAND, "--data", "shades.npz", "--attack", attack)
    assert done.code == 2
    assert "takes gradients, and TensorFlow is not installed: pip install 'eprune[train]'" in done.err


@TENSORFLOW
def test_who_knows_the_head_sees_most_and_who_does_not_least(folder, eprune):
    """The pictures are noise, and the network was never trained: a shadow of its head cannot be like it."""
    attacks = ("--attack", "ridge", "--attack", "whitebox", "--attack", "shadow")
    data = found(eprune, *COMMAND[1:], *attacks)
    by_ridge, whitebox, shadow = data["cuts"]
    assert whitebox["psnr_db"] > by_ridge["psnr_db"] > shadow["psnr_db"]
    given = ("-p", "platforms", "-m", "split", "--fifo", "f2", "--data", "shades.npz")
    assert eprune("apply", "compress", "app.xml", *given, "--method", "rank", "--rank", "3", "-o", "small").code == 0
    small = ("small/application.xml", "-p", "small/platforms", "-m", "small/mappings", "--allow-outside")
    (coded,) = found(eprune, *small, "--attack", "whitebox")["cuts"]
    assert data["nothing"]["psnr_db"] < coded["psnr_db"] < whitebox["psnr_db"]


def test_a_coded_cut_is_attacked_as_the_receiver_sees_it(folder, eprune):
    given = ("-p", "platforms", "-m", "split", "--fifo", "f2", "--data", "shades.npz")
    assert eprune("apply", "compress", "app.xml", *given, "--method", "lossless", "-o", "small").code == 0
    small = ("small/application.xml", "-p", "small/platforms", "-m", "small/mappings", "--allow-outside")
    (plain,), (coded,) = (found(eprune, *each)["cuts"] for each in (("app.xml", *given[:4]), small))
    assert coded["psnr_db"] == pytest.approx(plain["psnr_db"], abs=0.01)
    assert coded["bytes"] < plain["bytes"]
    assert coded["crosses"]


def test_the_text_and_the_picture_show_it(folder, eprune):
    done = eprune("privacy", "app.xml", "-p", "platforms", "-m", "split", "--data", "shades.npz", "-o", "seen.png")
    assert done.code == 0, done.err
    assert "24 test pictures reconstructed by ridge regression, which was fitted on 24 others" in done.out
    assert "f2 *" in done.out
    assert "(no token)" in done.out
    with Image.open("seen.png") as image:
        assert image.height > 3 * 16


@given(st.integers(0, 2**32 - 1), st.integers(8, 30), st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_the_dual_is_the_textbooks_ridge_regression(seed, count, size):
    random = np.random.default_rng(seed)
    known, seen = random.normal(size=(count, size)), random.normal(size=(5, size))
    wanted = random.normal(size=(count, 3))
    (got,) = ridge_attack._regressions(known, wanted, seen, (0.1,))
    own = known - known.mean(axis=0)
    strength = 0.1 * (np.trace(own @ own.T) / count or 1)
    weights = np.linalg.solve(own.T @ own + strength * np.eye(size), own.T @ (wanted - wanted.mean(axis=0)))
    assert np.allclose(got, (seen - known.mean(axis=0)) @ weights + wanted.mean(axis=0), atol=1e-6)


def test_what_is_linear_in_the_tokens_is_found_again():
    random = np.random.default_rng(1)
    pictures = random.random((60, 6, 6, 3)).astype(np.float32)
    mix = random.normal(size=(108, 200)).astype(np.float32)
    tokens = pictures.reshape(60, -1) @ mix
    found = ridge(tokens[:50], pictures[:50].reshape(50, -1), tokens[50:])
    assert np.abs(found - pictures[50:].reshape(10, -1)).mean() < 0.26, "50 pictures are few for 108 pixels"
    # A mix of the colours at each place is undone by few pictures, place by place.
    colours = random.normal(size=(3, 5)).astype(np.float32)
    local = local_ridge((pictures @ colours).reshape(60, -1)[:50], pictures[:50], (pictures @ colours)[50:], (6, 6, 5))
    assert np.abs(local - pictures[50:]).mean() < 0.01


def test_measures_are_those_of_the_literature():
    random = np.random.default_rng(1)
    one = random.random((20, 24, 3)).astype(np.float32)
    other = np.clip(one + random.normal(0, 0.1, one.shape), 0, 1).astype(np.float32)
    # What scikit-image gives for these two: structural_similarity(channel_axis=2, data_range=1), and its PSNR.
    assert ssim(one, other) == pytest.approx(0.9479756, abs=1e-5)
    assert psnr(one, other) == pytest.approx(20.576940, abs=1e-4)
    assert ssim(one, one) == 1
    assert psnr(one, one) == 60


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (("--data", "none.npz"), 2, "is no file"),
        (("--data", "shades.npz", "--attribute", "age"), 2, "says nothing of 'age'"),
        (("--data", "shades.npz", "-o", "seen.svg"), 2, "expected FILE.png or FILE.html"),
        (("--data", "shades.npz", "--labels", "a,b"), 2, "is none of the classes"),
    ],
)
def test_what_cannot_be_is_said_in_one_message(folder, eprune, more, code, words):
    done = eprune("privacy", "app.xml", *more)
    assert (done.code, "Traceback" in done.err) == (code, False), done.err
    assert words in done.err
    assert not done.out


@pytest.mark.long
def test_the_session_of_the_page_is_real(tmp_path):
    for name in ("graphs", "mappings", "actors"):
        (tmp_path / name).symlink_to(ROOT / name)
    write(tmp_path / "vehicles.npz", 60)
    assert pages.differing(ROOT / "docs/how-to/privacy.md", tmp_path) == (1, [])
