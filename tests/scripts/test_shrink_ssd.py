"""The script that shrinks the detector: its convolutions, and what it fits."""

import numpy as np
import pytest
from shrink_ssd import Part, convolved, fitted, parts
from ssd_network import Layer


@pytest.mark.parametrize("kind", ["conv", "depthwise"])
def test_its_convolutions_are_those_of_tensorflow(kind):
    """With stride 2 an even picture is padded at its end, an odd one at both sides."""
    kernel, bias = np.zeros((1, 3, 3, 1), np.float32), np.zeros(1, np.float32)
    kernel[0, 1, 1, 0] = 1
    for side, first in ((4, 1), (5, 0)):
        picture = np.arange(side * side, dtype=np.float32).reshape(1, side, side, 1)
        found = convolved(picture, Part(kernel, bias), Layer("layer", kind, 3, 2, 1))
        np.testing.assert_array_equal(found, picture[:, first::2, first::2])


@pytest.mark.parametrize("size", [1, 3])
def test_a_fit_finds_the_convolution_that_there_was(size):
    rng = np.random.default_rng(1)
    layer = Layer("layer", "conv", size, 2, 4)
    there = Part(rng.normal(size=(4, size, size, 3)).astype(np.float32), rng.normal(size=4).astype(np.float32))
    given = rng.normal(size=(6, 11, 11, 3)).astype(np.float32)
    wanted = convolved(given, there, layer)
    assert wanted.shape == (6, 6, 6, 4)
    blank = Part(np.zeros_like(there.kernel), np.zeros_like(there.bias))
    assert np.abs(fitted(given, wanted, blank, layer).kernel - there.kernel).max() < 0.02
    assert np.abs(fitted(given, wanted, there, layer).kernel - there.kernel).max() < 1e-6


def test_all_47_convolutions_are_read():
    found = parts()
    assert len(found) == 47
    assert found["conv1"].kernel.shape == (16, 3, 3, 3)
    assert found["dw1"].kernel.shape == (1, 3, 3, 16)
