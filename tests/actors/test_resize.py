import numpy as np
import pytest
from driver import fired, prepared
from resize import Resize


def resize(source="uint8[1,4,6,3]", target="float32[1,2,3,3]", **parameters):
    return prepared(Resize(**parameters), {"in": source}, {"out": target})


def test_what_is_left_right_above_and_below_stays_there():
    frame = np.zeros((400, 600, 3), np.uint8)
    frame[:200, :300], frame[200:, 300:] = (200, 0, 0), (0, 0, 100)
    out = fired(resize("uint8[1,400,600,3]", "uint8[1,20,10,3]"), **{"in": frame})["out"][0]
    assert out[3, 2].tolist() == [200, 0, 0]
    assert out[17, 8].tolist() == [0, 0, 100]
    assert not out[3, 8].any()
    assert not out[17, 2].any()


def test_a_fine_pattern_is_averaged_not_sampled():
    frame = np.zeros((300, 300, 3), np.uint8)
    frame[::2] = 200
    out = fired(resize("uint8[300,300,3]", "uint8[30,30,3]"), **{"in": frame})["out"]
    assert np.abs(out.astype(int) - 100).max() < 5


@pytest.mark.parametrize("value", [0, 7, 128, 255])
def test_float_tokens_are_scaled(value):
    out = fired(resize(mean="0.5", std="0.25"), **{"in": np.full((4, 6, 3), value)})["out"]
    assert out == pytest.approx(np.full((1, 2, 3, 3), (value / 255 - 0.5) / 0.25), abs=1e-6)


def test_a_picture_of_the_right_size_passes_unchanged():
    frame = np.random.default_rng(1).integers(0, 256, (4, 6, 3), np.uint8)
    assert np.array_equal(fired(resize(target="uint8[4,6,3]"), **{"in": frame})["out"], frame)


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        ({"source": "float32[1,4,6,3]"}, "'in': expected uint8,"),
        ({"source": "uint8[2,4,6,3]"}, "'in': expected uint8,"),
        ({"target": "float64[1,2,3,3]"}, "'out': expected uint8 or float32 or int8"),
        ({"target": "float32[1,2,3,1]"}, "1 channels of a picture that has 3"),
        ({"target": "uint8[1,2,3,3]", "mean": "0.5"}, "mean and std are for float32"),
    ],
)
def test_what_is_no_picture_is_refused(ports, message):
    with pytest.raises(ValueError, match=message):
        resize(**ports)


@pytest.mark.parametrize(("name", "value"), [("std", "0"), ("mean", "inf"), ("mean", "nan"), ("std", "large")])
def test_bad_numbers_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name}='{value}': "):
        Resize(**{name: value})
