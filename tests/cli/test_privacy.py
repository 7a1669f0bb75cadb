"""`eprune privacy`: what the tokens of a cut reveal."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eprune.measure import inversion
from eprune.measure.inversion import local_ridge, psnr, ridge, ssim
from tests.kit import pages
from tests.kit.programs import ROOT
from tests.kit.vehicles import write


@pytest.fixture
def folder(app):
    """Pictures for the application, of two shades; and what they are of."""
    random = np.random.default_rng(1)
    bright = np.arange(48) % 2
    pictures = random.integers(0, 100, (48, 8, 8, 3)) + 150 * bright[:, None, None, None]
    np.savez("shades.npz", x=pictures.astype(np.uint8), y=np.arange(48) % 5, bright=bright)
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
    (got,) = inversion._regressions(known, wanted, seen, (0.1,))
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
        (("--data", "shades.npz", "-o", "seen.svg"), 2, "expected FILE.png"),
        (("--data", "shades.npz", "--labels", "a,b"), 2, "is none of the classes"),
    ],
)
def test_what_cannot_be_is_said_in_one_message(folder, eprune, more, code, words):
    done = eprune("privacy", "app.xml", *more)
    assert (done.code, "Traceback" in done.err) == (code, False), done.err
    assert words in done.err
    assert not done.out


def test_the_session_of_the_page_is_real(tmp_path):
    for name in ("graphs", "mappings", "actors"):
        (tmp_path / name).symlink_to(ROOT / name)
    write(tmp_path / "vehicles.npz", 60)
    assert pages.differing(ROOT / "docs/how-to/privacy.md", tmp_path) == (1, [])
