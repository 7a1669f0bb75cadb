"""Actors of multi-rate graphs: windows that overlap, their bands, several tokens as one, smaller pictures."""

import numpy as np
import pytest
from band_energies import BandEnergies
from driver import fired, prepared
from mean_pool import MeanPool
from sliding_window import SlidingWindow
from stack import Stack

from eprune.runtime import PortType


def several(actor, shape, rate, output):
    """An actor that takes so many tokens of float32 in a firing, initialized."""
    actor.inputs = {"in": PortType("float32", shape, rate)}
    actor.outputs = {"out": PortType("float32", output, 1)}
    actor.initialize()
    return actor


def fire(actor, tokens):
    out = np.full(actor.outputs["out"].shape, 77, np.float32)
    actor.fire({"in": tokens}, {"out": out})
    return out


@pytest.mark.parametrize("rate", [1, 2, 5])
def test_a_window_ends_with_the_samples_of_the_last_firings(rate):
    window = several(SlidingWindow(), (4,), rate, (1, 20))
    signal = np.arange(1, 8 * 4 * rate + 1, dtype=np.float32)
    before = np.concatenate([np.zeros(20, np.float32), signal])
    for firing in range(8):
        part = signal[firing * 4 * rate : (firing + 1) * 4 * rate]
        tokens = list(part.reshape(rate, 4)) if rate > 1 else part
        end = 20 + (firing + 1) * 4 * rate
        assert fire(window, tokens).tolist() == [before[end - 20 : end].tolist()]


def test_a_window_goes_on_where_its_predecessor_was():
    one = several(SlidingWindow(), (2,), 1, (4,))
    fire(one, np.float32([1, 2]))
    other = SlidingWindow()
    other.resume(one.state())
    several(other, (2,), 1, (4,))
    assert fire(other, np.float32([3, 4])).tolist() == [1, 2, 3, 4]


def test_tokens_become_one_the_oldest_first():
    stack = several(Stack(), (2,), 3, (1, 3, 2, 1))
    assert fire(stack, [np.float32([k, k + 0.5]) for k in range(3)]).ravel().tolist() == [0, 0.5, 1, 1.5, 2, 2.5]


def test_the_band_of_a_tone_has_its_energy():
    bands = prepared(BandEnergies(), {"in": "float32[400]"}, {"out": "float32[20]"})
    for band in (1, 7, 18):
        tone = np.sin(2 * np.pi * (band * 10 + 5) / 400 * np.arange(400))
        assert int(fired(bands, **{"in": tone})["out"].argmax()) == band


def test_a_smaller_picture_has_the_mean_of_each_block():
    pool = prepared(MeanPool(), {"in": "float32[1,4,6,2]"}, {"out": "float32[1,2,2,2]"})
    picture = np.random.default_rng(1).random((1, 4, 6, 2), np.float32)
    out = fired(pool, **{"in": picture})["out"]
    for row in range(2):
        for column in range(2):
            block = picture[0, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3]
            assert out[0, row, column] == pytest.approx(block.mean((0, 1)), rel=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: several(SlidingWindow(), (4,), 6, (20,)), "cannot hop by"),
        (lambda: several(Stack(), (4,), 2, (9,)), "is not 2 of"),
        (lambda: prepared(BandEnergies(), {"in": "float32[8]"}, {"out": "float32[6]"}), "of a window of"),
        (lambda: prepared(MeanPool(), {"in": "float32[4,4,3]"}, {"out": "float32[3,2,3]"}), "by whole factors"),
        (lambda: prepared(MeanPool(), {"in": "uint8[4,4,3]"}, {"out": "uint8[2,2,3]"}), "expected floats"),
    ],
)
def test_ports_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
