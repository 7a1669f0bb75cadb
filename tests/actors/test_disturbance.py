"""Noise and gaps at a cut: as strong as is said, anew for each frame or scene, and repeatable only by the seed."""

from __future__ import annotations

import numpy as np
import pytest
from compressor import Compressor
from defender import Defender
from disturbance import Disturbance
from driver import fired, prepared
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.ports import port_type

TOKEN = "float32[1,20,20,4]"


def defender(**parameters):
    return prepared(Defender(**parameters), {"in": TOKEN}, {"out": TOKEN})


@given(st.floats(0, 100), st.integers(0, 1000))
def test_noise_has_the_spread_that_is_said_and_no_bias(strength, seed):
    token = np.random.default_rng(seed).normal(size=(1, 20, 20, 4)).astype(np.float32)
    added = fired(defender(noise=str(strength), seed=str(seed)), **{"in": token})["out"] - token
    assert added.std() == pytest.approx(strength, rel=0.1, abs=1e-6)
    assert abs(added.mean()) <= 0.15 * strength + 1e-6


def test_each_channel_may_have_its_own_noise():
    added = fired(defender(noise="0,1,0,10", seed="1"), **{"in": np.zeros((1, 20, 20, 4))})["out"]
    assert added.std(axis=(0, 1, 2)) == pytest.approx([0, 1, 0, 10], rel=0.15)


def test_what_is_left_out_is_made_up_for_by_the_rest():
    out = fired(defender(drop="0.75", seed="1"), **{"in": np.ones((1, 20, 20, 4))})["out"]
    assert set(np.unique(out)) == {0, 4}
    assert out.mean() == pytest.approx(1, abs=0.2)


def test_frames_of_a_scene_have_one_noise_and_another_scene_has_another():
    scene = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
    moved, other = scene * 1.1, -scene
    steady, restless = (Disturbance(scene.shape, "1", draw=draw, seed="1") for draw in ("scene", "frame"))
    first, second, third = (steady(each) - each for each in (scene, moved, other))
    assert np.allclose(first, second, atol=1e-5)
    assert np.abs(third - first).mean() > 0.5
    assert np.abs((restless(scene) - scene) - (restless(scene) - scene)).mean() > 0.5


def test_the_seed_repeats_and_without_one_nothing_does():
    token = np.zeros((4, 4), np.float32)
    made = [Disturbance(token.shape, "1", "0.5", seed=seed)(token) for seed in ("7", "7", "8", "", "")]
    assert np.array_equal(made[0], made[1])
    assert not any(np.array_equal(one, other) for one, other in [made[1:3], made[2:4], made[3:5]])


def test_what_is_sent_in_few_bits_has_its_noise_before_it_is_rounded():
    wide = prepared(
        Compressor("int8", "none", low="-4", step="0.03125", noise="0.5", seed="1"),
        {"in": "float32[1000]"},
        {"out": "uint8[<=1001]"},
    )
    room = np.zeros(1001, np.uint8).view(type("Room", (np.ndarray,), {}))
    wide.fire({"in": np.zeros(1000, np.float32)}, {"out": room})
    values = room[1:] * 0.03125 - 4
    assert np.std(values) == pytest.approx(0.5, rel=0.1)
    assert len(np.unique(values)) > 30


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"noise": "-1"}, "noise: expected one number from 0 on"),
        ({"noise": "1,2"}, "noise: expected one number from 0 on, or 4"),
        ({"noise": "loud"}, "noise='loud'"),
        ({"drop": "1"}, "nothing would be left"),
        ({"drop": "2"}, "drop='2': expected a number from 0 to 1"),
        ({"draw": "never"}, "draw='never': expected frame or scene"),
        ({"seed": "-1"}, "seed='-1'"),
    ],
)
def test_what_does_not_fit_is_said(parameters, said):
    with pytest.raises(ValueError, match=said):
        defender(**parameters)


def test_only_floats_are_disturbed():
    with pytest.raises(ValueError, match="one type of floats"):
        prepared(Defender(noise="1"), {"in": "uint8[4]"}, {"out": "uint8[4]"})
    coder = Compressor("lossless", noise="1")
    coder.inputs, coder.outputs = {"in": port_type("int32[4]")}, {"out": port_type("uint8[<=17]")}
    with pytest.raises(ValueError, match="tokens are sent as they are"):
        coder.initialize()
