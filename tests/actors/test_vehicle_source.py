import numpy as np
import pytest
from frame_source import FrameSource
from vehicle_renderer import render_vehicle, vehicle_class
from vehicle_source import VehicleSource

from tests.kit.ports import port_type


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


def test_it_tells_what_the_pictures_show_where_there_is_a_port_for_it():
    source = FrameSource(seed="7", count="5")
    source.name, source.outputs = "Input", {"out": port_type("float32[1,96,96,3]"), "wanted": port_type("int32[1]")}
    source.initialize()
    told = []
    for index in range(5):
        picture, shown = np.empty((1, 96, 96, 3), np.float32), np.empty(1, np.int32)
        source.fire({}, {"out": picture, "wanted": shown})
        assert np.array_equal(picture, render_vehicle(7, index)[None])
        told.append(int(shown[0]))
    assert told == [vehicle_class(7, index) for index in range(5)]
    assert len(set(told)) > 1


def test_a_class_of_another_type_is_refused():
    source = VehicleSource()
    source.outputs = {"out": port_type("float32[1,96,96,3]"), "wanted": port_type("int32")}
    with pytest.raises(ValueError, match="port 'wanted': the class of a picture is int32"):
        source.initialize()
