import numpy as np
import pytest
from vehicle_renderer import render_vehicle
from vehicle_source import VehicleSource


def test_it_writes_the_frames_of_its_seed_and_view_and_ends(tokens):
    written = tokens(VehicleSource(seed="7", count="3", view="1"))
    assert len(written) == 3
    assert np.array_equal(written[2], render_vehicle(7, 2, 1)[None])


def test_count_0_never_ends(tokens):
    assert len(tokens(VehicleSource(count="0"), limit=120)) == 120


def test_another_token_type_is_refused(tokens):
    with pytest.raises(ValueError, match=r"vehicles are float32\[1,96,96,3\], not uint8\[1, 96, 96, 3\]"):
        tokens(VehicleSource(), "uint8[1,96,96,3]")


@pytest.mark.parametrize("bad", ["", "-1", "1.5", "many", "1" * 30])
def test_a_number_that_is_none_is_named(bad):
    with pytest.raises(ValueError, match=r"count='.*': expected a whole number, 0 or more"):
        VehicleSource(count=bad)
