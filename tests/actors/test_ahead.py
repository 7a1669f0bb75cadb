"""Pictures that are drawn before the run, so that drawing them is no load of what is tried with them."""

import numpy as np
import pytest
from ahead import LIMIT, Ahead, needed
from frame_reader import FrameReader
from traffic_source import TrafficSource
from vehicle_source import VehicleSource

from eprune.runtime.kernel.actor import PortType


def test_what_is_needed_is_drawn_before_the_first_firing_and_the_rest_when_it_is_due():
    drawn = []

    def draw(number):
        drawn.append(number)
        return np.full(LIMIT // 4, number, np.uint8)

    pictures = Ahead(draw, 3)
    assert drawn == [0, 1, 2]
    assert [pictures[number][0] for number in range(5)] == [0, 1, 2, 3, 4]
    assert drawn == [0, 1, 2, 3, 4]
    drawn.clear()
    assert Ahead(draw, 1000)[7][0] == 7
    assert len(drawn) <= 6, "no more than fit into LIMIT"
    drawn.clear()
    Ahead(draw, None)
    assert drawn == []


@pytest.mark.parametrize(
    ("count", "firings", "expected"), [(0, None, None), (0, 5, 5), (100, None, 100), (100, 5, 5), (3, 5, 3)]
)
def test_a_source_needs_what_the_first_of_its_ends_lets_it_make(count, firings, expected):
    assert needed(count, firings) == expected


@pytest.mark.parametrize(
    ("kind", "token"),
    [
        (VehicleSource, PortType("float32", (1, 96, 96, 3), 1)),
        (TrafficSource, PortType("uint8", (1, 72, 96, 3), 1)),
        (FrameReader, PortType("uint8", (1, 72, 96, 3), 1)),
    ],
)
def test_drawing_ahead_changes_no_picture(kind, token):
    made = []
    for firings in (None, 3):
        source = kind(count="0")
        source.outputs, source.most_firings = {"out": token}, firings
        source.initialize()
        made.append([])
        for _ in range(4):  # one more than was said
            out = {"out": np.empty(token.shape, token.dtype)}
            source.fire({}, out)
            made[-1].append(out["out"])
    assert np.array_equal(*made)
