"""Predicted and measured latencies of the papers' cases side by side: what is told of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eprune.analysis.check import check
from eprune.cli.reading import read_sound
from scripts.figures.acceptance import Latency, markdown, median, reason, rows, without_sinks
from scripts.figures.papers import CASES
from scripts.figures.study import application

GOOD = Latency(
    "1", "after Input", 20.0, 22.0, 22.5, 20.5, 23.0, {"N2": 5.0, "(link)": 15.0}, {"N2": 5.2, "(link)": 15.3}
)


def test_a_point_within_the_aims_and_those_that_are_not():
    slow = replace(GOOD, point="2", measured_p50=30.0, measured_p95=33.0, shares={"N2": 14.0, "(link)": 16.0})
    wide = replace(GOOD, point="3", measured_p95=40.0)
    cells = rows(CASES[0], [GOOD, slow, wide])
    assert cells[0][1:6] == ("1", "after Input", "20.00", "20.50", "-2 %")
    assert [row[10] for row in cells] == ["met", "p50, p95", "p95"]
    assert [row[12] for row in cells][:2] == ["", "N2 takes 14.00 ms, not 5.00"]
    assert reason(wide) == "varies more than timed: p95 - p50 is +17.50 ms from predicted"
    text = markdown(cells)
    assert len(text.split("\n\n")[0].splitlines()) == 2 + 3
    assert "p50 within 10 % at 2 of 3 points, p95 within 20 % at 1." in text


def test_of_several_rounds_the_median_counts():
    rounds = [replace(GOOD, p50=value, shares={"N2": value, "(link)": 1.0}) for value in (9.0, 1.0, 4.0)]
    assert (median(rounds).p50, median(rounds).shares["N2"]) == (4.0, 4.0)


@pytest.mark.parametrize("name", ["vehicle", "ssd_mobilenet"])
def test_the_copy_without_sinks_is_sound(tmp_path, name):
    system = read_sound(str(without_sinks(application(name, tmp_path))))
    assert not check(system)
    (sink,) = [actor for actor in system.graph.actors if not actor.outputs]
    assert sink.behaviour.label == "discard.py:Discard"
