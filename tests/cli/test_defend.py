"""`eprune apply defend`: what is measured, what is chosen, and what stands at the cut then."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from eprune.formats.model_files import parse_model
from eprune.formats.tflite.noise import noisy_weights
from eprune.model.finding import EpruneError
from tests.kit import pages, shades, tiny_models
from tests.kit.programs import ROOT
from tests.kit.vehicles import write

SPLIT = ("app.xml", "-p", "platforms", "-m", "split")
MADE = ("safe/application.xml", "-p", "safe/platforms", "-m", "safe/mappings", "--allow-outside")
GIVEN = (*SPLIT, "--fifo", "f2", "--data", "shades.npz", "--wish", "agreement=0")


@pytest.fixture
def folder(app):
    """Pictures of two shades, in the current folder."""
    shades.write(app / "shades.npz", 32)
    return app


def defended(eprune, *more):
    done = eprune("apply", "defend", *GIVEN, *more, "-o", "safe", "--format", "json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def attacked(eprune, *more):
    done = eprune("privacy", *MADE, "--data", "shades.npz", "--format", "json", *more)
    assert done.code == 0, done.err
    (cut,) = json.loads(done.out)["cuts"]
    return cut


@pytest.mark.long
def test_all_ways_are_attacked_and_the_one_that_shows_least_is_taken(folder, eprune):
    """The wish is no hindrance here. What was written is what was measured, and the chart has all ways."""
    found = defended(eprune, "--average", "2", "--seed", "1", "--chart", "ways.svg")
    ways = {way["name"]: way for way in found["ways"]}
    assert next(iter(ways)) == "as it is"
    methods = {way["method"] for way in found["ways"]}
    assert methods == {"", "noise", "dropout", "weights", "int8", "int4", "rank", "bottleneck"}
    assert ways["as it is"]["ssim"] > found["nothing"]["ssim"]
    assert ways["noise 2"]["ssim"] < ways["as it is"]["ssim"]
    assert ways["int8"]["bytes"] < ways["noise 1"]["bytes"] == found["raw_bytes"]
    assert (ways["noise 1"]["ssim_averaged"] is None, ways["int8"]["ssim_averaged"] is None) == (False, True)
    (chosen,) = (way for way in found["ways"] if way["chosen"])

    def seen(way):
        return max(way["ssim"], way["ssim_averaged"] or 0)

    assert seen(chosen) == min(seen(way) for way in found["ways"][1:])
    assert attacked(eprune)["ssim"] == pytest.approx(chosen["ssim"], abs=1e-3)
    chart = Path("ways.svg").read_text()
    assert "noise" in chart
    assert "without a token" in chart


def test_noise_of_each_frame_is_averaged_away_and_that_of_a_scene_is_not(folder, eprune):
    defended(eprune, "--method", "noise", "--strength", "2", "--average", "1")
    once, often = attacked(eprune), attacked(eprune, "--average", "16")
    assert often["psnr_db"] > once["psnr_db"] + 1
    defended(eprune, "--method", "noise", "--strength", "2", "--average", "1", "--draw", "scene", "--seed", "1")
    once, often = attacked(eprune), attacked(eprune, "--average", "16")
    assert often["psnr_db"] < once["psnr_db"] + 1


@pytest.mark.long
def test_with_a_seed_a_run_over_two_platforms_is_repeated_to_the_bit(folder, eprune_process):
    how = (*GIVEN, "--method", "noise", "--strength", "0.3", "--average", "1")
    assert eprune_process("apply", "defend", *how, "--seed", "3", "-o", "safe").code == 0
    one, two = (eprune_process("run", *MADE, "-q") for _ in range(2))
    assert (one.code, one.out) == (0, two.out)
    assert len(one.out.splitlines()) == 4
    assert eprune_process("apply", "defend", *how, "--seed", "4", "-o", "safe").code == 0
    assert eprune_process("run", *MADE, "-q").out != one.out


def test_noise_on_the_heads_weights_leaves_the_tail_alone(folder, eprune):
    defended(eprune, "--method", "weights", "--strength", "0.5", "--seed", "5")
    application = Path("safe/application.xml").read_text()
    assert application.count('model="defended_1_tiny.tflite"') == 1
    assert application.count('model="../tiny.tflite"') == 1
    before, after = Path("tiny.tflite").read_bytes(), Path("safe/defended_1_tiny.tflite").read_bytes()
    assert len(before) == len(after)
    changed = [place for place, (one, other) in enumerate(zip(before, after)) if one != other]
    weights = parse_model(before).tensors[parse_model(before).operators[0].inputs[1]]
    assert 0 < changed[-1] - changed[0] <= 4 * (int(np.prod(weights.shape)) + 64), "only the first convolution's"


def test_operators_without_weights_have_no_noise():
    with pytest.raises(EpruneError, match="no float32 weights"):
        noisy_weights(parse_model(tiny_models.conv_pool_dense()), [1], 1.0, 1)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--fifo", "f1"), "--fifo f1: it does not leave platform 'endpoint'"),
        (("--wish", "accuracy=2"), "--wish accuracy=2: write accuracy="),
        (("--attack", "magic"), "--attack magic: there are ridge, network, whitebox, shadow"),
        (("--strength", "1"), "--strength is for --method noise, weights, dropout, bottleneck"),
        (("--rank", "2"), "--rank is for --method rank and bottleneck"),
        (("--average", "0"), "--average 0: expected 1 or more"),
        (("--frames", "4"), "--frames 4: an attack needs at least 8"),
        (("--chart", "ways.gif"), "ends in neither .svg nor .png"),
        (("--method", "noise", "--strength", "1e6", "--wish", "agreement=1"), "the best for f2 is"),
        (("--method", "bottleneck", "--rank", "99"), "--rank 99: on these pictures, features have"),
        (("--data", "none.npz"), "is no file and no folder"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_written(folder, eprune, more, said):
    done = eprune("apply", "defend", *GIVEN, "--average", "1", *more, "-o", "safe")
    assert done.code == 2
    assert said in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert not Path("safe").exists()


def test_accuracy_is_wished_for_of_labels_only(folder, eprune):
    with np.load("shades.npz") as file:
        np.savez("unlabelled.npz", x=file["x"])
    done = eprune("apply", "defend", *GIVEN, "--data", "unlabelled.npz", "--wish", "accuracy=0.5", "-o", "safe")
    assert done.code == 2
    assert "needs pictures with labels" in done.err


@pytest.mark.long
def test_the_session_of_the_page_is_real(tmp_path):
    for name in ("graphs", "mappings", "actors"):
        (tmp_path / name).symlink_to(ROOT / name)
    write(tmp_path / "vehicles.npz", 60)
    assert pages.differing(ROOT / "docs/how-to/defend.md", tmp_path)[1] == []
