"""Values of a sweep, the figures of its runs, the Pareto front, and what is chosen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.explore import sweep
from eprune.explore.sweep import Point


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.5,0.9", ["0.5", "0.9"]),
        ("0.5", ["0.5"]),
        ("car, bus", ["car", "bus"]),
        ("0,9;0.1,9", ["0,9", "0.1,9"]),
        ("0,9;", ["0,9"]),
        ("0:0.3:0.1", ["0.0", "0.1", "0.2", "0.3"]),
        ("1:2:0.75", ["1.00", "1.75"]),
        ("-1:1:1", ["-1", "0", "1"]),
        ("1,1", ["1"]),
        ("a:b", ["a:b"]),
    ],
)
def test_values(text, values):
    assert sweep.parse_values(text) == values


@pytest.mark.parametrize("text", ["", "1,,2", "0:1:0", "1:0:0.1", "0:1:x", "0:1:nan", "0:inf:1", "0:1:0.0000001"])
def test_values_that_are_none(text):
    with pytest.raises(ValueError, match=r"empty|expected LOW:HIGH:STEP|more than"):
        sweep.parse_values(text)


def test_several_parameters_make_every_combination():
    assert sweep.combinations({"A.x": ["1", "2"], "B.y": ["3", "4"]}) == [
        {"A.x": "1", "B.y": "3"},
        {"A.x": "1", "B.y": "4"},
        {"A.x": "2", "B.y": "3"},
        {"A.x": "2", "B.y": "4"},
    ]
    assert sweep.combinations({"A.x,B.y": ["1", "2"], "C.z": ["3"]}) == [
        {"A.x": "1", "B.y": "1", "C.z": "3"},
        {"A.x": "2", "B.y": "2", "C.z": "3"},
    ]
    with pytest.raises(ValueError, match="1000000 combinations are more than"):
        sweep.combinations({name: list(map(str, range(100))) for name in ("A.x", "B.y", "C.z")})


def test_bins_hold_as_many_values_each():
    values = [index / 100 for index in range(100)]
    assert sweep.bin_edges(values, 4) == ["0", "0.25", "0.5", "0.75", "0.990001"]
    assert sweep.bin_edges([0.5] * 10, 4) == ["0.5", "0.500001"]
    with pytest.raises(ValueError, match="nothing"):
        sweep.bin_edges([], 4)


@given(st.lists(st.floats(0, 1), min_size=1), st.integers(1, 20))
def test_all_reach_the_first_edge_and_none_the_last(values, count):
    edges = [float(edge) for edge in sweep.bin_edges(values, count)]
    assert edges == sorted(set(edges))
    assert len(edges) <= count + 1
    assert all(edges[0] <= value < edges[-1] for value in values)


def test_lines_of_frames_do_not_count_as_figures_of_a_run():
    lines = [{"frame": 0, "confidence": 0.5}, [1], {"frames": 2, "accuracy": 0.5, "worst": None, "ok": True}]
    lines.append({"frame": 1, "confidence": 0.75})
    assert sweep.of_lines(lines) == ({"frames": 2, "accuracy": 0.5}, [(0.5, None), (0.75, None)])


def points(*figures, name="accuracy"):
    return [
        Point({"A.x": str(index)}, {name: quality}, links={"a -> b": nbytes}, ms=1.0)
        for index, (quality, nbytes) in enumerate(figures)
    ]


def test_the_front_leaves_out_what_another_run_beats():
    swept = points((0.9, 10), (0.95, 20), (0.94, 20), (0.95, 30), (0.97, 50))
    assert sweep.front(swept, ("accuracy", "bytes")) == [True, True, False, False, True]


def test_of_an_error_less_is_better():
    swept = points((-20.0, 10), (-60.0, 20), (-40.0, 30), name="error_db")
    assert sweep.front(swept, ("error_db", "bytes")) == [True, True, False]
    assert sweep.front(points((3, 10), (2, 10), name="cars"), ("cars", "bytes"), ["cars"]) == [False, True]


def test_a_run_that_failed_is_not_on_the_front():
    failed = Point({"A.x": "9"}, problem="killed")
    assert sweep.front([*points((0.5, 10)), failed], ("accuracy", "bytes")) == [True, False]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_is_what_its_definition_says(figures):
    marks = sweep.front(points(*figures), ("accuracy", "bytes"))
    assert any(marks)
    for (quality, nbytes), mark in zip(figures, marks):
        beaten = any(q >= quality and b <= nbytes and (q, b) != (quality, nbytes) for q, b in figures)
        assert mark is not beaten


def test_the_axes_are_what_differs():
    assert sweep.axes(points((0.9, 10), (0.8, 20))) == ("accuracy", "bytes")
    assert sweep.axes(points((0.9, 10), (0.8, 10))) == ("accuracy", "ms")
    assert sweep.axes([Point({"A.x": "0"}, ms=1.0)]) is None
    blocks = [Point({}, {"blocks": 9, "snr": value}, ms=1.0) for value in (1, 2)]
    assert sweep.axes(blocks) == ("snr", "ms")


def test_the_cheapest_run_that_is_good_enough_is_chosen():
    swept = points((0.9, 10), (0.95, 20), (0.96, 20), (0.97, 50))
    assert sweep.choose(swept, {"accuracy": 0.95}, "bytes") is swept[2]
    assert sweep.choose(swept, {"accuracy": 0.97}, "bytes") is swept[3]
    assert sweep.choose(swept, {"accuracy": 0.98}, "bytes") is None
    assert sweep.choose(swept, {"accuracy": 0.5, "bytes": 15}, "bytes") is swept[0]
    assert sweep.choose(swept, {"accuracy": 0.95, "bytes": 15}, "bytes") is None
    assert sweep.choose(swept, {"f1": 0.5}, "bytes") is None
    assert sweep.best(swept, "accuracy") is swept[3]
    assert sweep.best(swept, "f1") is None


def test_a_frame_is_right_if_its_class_is_the_one_that_is_wanted():
    lines = [{"frame": n, "confidence": 0.5, "class": label, "wanted": "car"} for n, label in enumerate(["car", "bus"])]
    assert [frame.right for frame in sweep.of_lines(lines)[1]] == [True, False]


def test_the_bins_that_leave_are_as_accurate_as_the_worst_of_them():
    edges = [0.2, 0.5, 0.8, 1.000001]
    sure = [sweep.SweepFrame(0.9, True)] * 9 + [sweep.SweepFrame(0.8, False)]
    middle = [sweep.SweepFrame(0.5, True), sweep.SweepFrame(0.7, False)]
    unsure = [sweep.SweepFrame(0.3, True)] * 3 + [sweep.SweepFrame(0.4, False), sweep.SweepFrame(0.1, False)]
    frames = [*sure, *middle, *unsure, sweep.SweepFrame(0.6, None)]
    assert sweep.least_accurate_bin(frames, edges, 0.8) == 0.9
    assert sweep.least_accurate_bin(frames, edges, 0.5) == 0.5
    assert sweep.least_accurate_bin(frames, edges, 0.2) == 0.5
    assert sweep.least_accurate_bin(frames, edges, 1.000001) is None
