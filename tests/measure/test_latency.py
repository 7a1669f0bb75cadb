"""Latencies from timelines: what a frame's way takes, and whose time it is."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from eprune.measure.latency import Course, FrameTime, frames, rows, summary

HOMES = {"In": "endpoint", "L1": "endpoint", "L2": "server", "Back": "endpoint", "Out": "endpoint"}
COURSE = Course({"In": "Back"}, HOMES, frozenset({"Out"}))


def trace(**spans):
    """``actor=[(begin, end), ...]`` in milliseconds, a pair for each firing."""
    events = [{"ph": "M", "name": "process_name"}]
    for name, pairs in spans.items():
        for firing, (begin, end) in enumerate(pairs):
            args = {"firing": firing}
            events.append({"ph": "X", "name": name, "ts": begin * 1e3, "dur": (end - begin) * 1e3, "args": args})
    return {"traceEvents": events}


def test_the_way_is_split_and_the_clocks_of_platforms_are_never_compared():
    endpoint = trace(In=[(0, 9), (100, 101)], L1=[(9, 9), (102, 104)], Back=[(50, 51), (110, 111)], Out=[(51, 99)] * 2)
    endpoint["traceEvents"] += trace(**{"TX f": [(104, 106)] * 2})["traceEvents"]
    server = trace(L2=[(7e6, 7e6 + 2)] * 2)
    assert frames({"endpoint": endpoint, "server": server}, COURSE) == (
        FrameTime(10, {"endpoint": pytest.approx(3), "server": pytest.approx(2)}, pytest.approx(5)),
    )


def test_actors_that_fire_at_the_same_time_count_once():
    endpoint = trace(In=[(0, 0), (0, 6)], L1=[(0, 0), (2, 8)], L3=[(0, 0), (3, 4)], Back=[(0, 0), (10, 10)])
    [frame] = frames({"endpoint": endpoint, "server": trace(L2=[(0, 0), (0, 1)])}, COURSE)
    assert frame.platforms["endpoint"] == pytest.approx(8)


def test_on_one_platform_all_time_is_its_own():
    endpoint = trace(In=[(0, 1)] * 2, Back=[(10, 11)] * 2)
    assert frames({"endpoint": endpoint}, COURSE) == (FrameTime(10, {"endpoint": 10}, 0),)


def test_of_two_sources_the_slower_one_counts():
    course = Course({"A": "BackA", "B": "BackB"}, {"A": "e1", "BackA": "e1", "B": "e2", "BackB": "e2"}, frozenset())
    traces = {
        "e1": trace(A=[(0, 0), (0, 4)], BackA=[(0, 0), (20, 21)]),
        "e2": trace(B=[(0, 0), (500, 507)], BackB=[(0, 0), (530, 531)]),
        "server": trace(J=[(0, 0), (0, 3)]),
    }
    [frame] = frames(traces, course)
    assert (frame.latency, frame.link) == (30, pytest.approx(30 - 7 - 3))


def test_a_frame_that_never_came_back_does_not_count():
    assert frames({"endpoint": trace(In=[(0, 1)] * 3, Back=[(2, 3)] * 2)}, COURSE) == (
        FrameTime(2, {"endpoint": 2}, 0),
    )


def test_percentiles_and_means():
    summed = summary([FrameTime(float(time), {"endpoint": time / 2}, time / 2) for time in range(1, 201)])
    assert summed.latency_ms == {"p50": 100, "p90": 180, "p95": 190, "p99": 198, "max": 200, "mean": 100.5}
    assert summed.split_ms == {"endpoint": 50.25, "(link)": 50.25}
    assert summary([FrameTime(3.0, {"endpoint": 3.0}, 0.0)]).latency_ms["p99"] == 3


def test_the_split_adds_up():
    line = summary(
        [FrameTime(4.0, {"endpoint": 2.0, "server": 1.0}, 1.0), FrameTime(8.0, {"endpoint": 4.0, "server": 2.0}, 2.0)]
    )
    assert rows([asdict(line)], ["endpoint", "server"]) == (
        ("p50 ms", "p90 ms", "p99 ms", "max ms", "endpoint", "server", "(link)"),
        [("4.000", "8.000", "8.000", "8.000", "50 %", "25 %", "25 %")],
    )
