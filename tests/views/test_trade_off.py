"""The Pareto front of bytes, latency and accuracy."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from eprune.measure.evaluate import Evaluation, Share
from eprune.views.report_charts import of_evaluated


def evaluated(name, nbytes, latency, right):
    links = {("a", "b"): nbytes - 1.0, ("b", "c"): 1.0}
    return Evaluation(name, "accuracy", Share(right, 10), "test", 10, links, latency, latency, "some")


def found(*applications):
    return of_evaluated(SimpleNamespace(more=SimpleNamespace(evaluated=[evaluated(*each) for each in applications])))


def test_what_is_worse_in_two_figures_is_on_the_front_for_the_third():
    made = found(("cut", 100, 10.0, 9), ("exit", 50, 12.0, 9), ("cache", 200, 20.0, 10), ("slow", 100, 11.0, 9))
    assert made.figures == "bytes, latency and accuracy"
    assert [each.name for each in made.best] == ["exit", "cut", "cache"]
    assert [chart.axes for chart in made.charts] == [
        ("bytes", "latency, ms"),
        ("bytes", "accuracy, %"),
        ("latency, ms", "accuracy, %"),
    ]
    for chart in made.charts:
        assert sum(point.front for point in chart.points) == 3
        assert not chart.steps, "a line through three figures is none in two"


def test_where_all_answers_are_as_good_the_front_is_of_two_figures():
    made = found(("cut", 100, 10.0, 9), ("exit", 50, 12.0, 9), ("cache", 200, 20.0, 9))
    assert made.figures == "bytes and latency" and len(made.charts) == 1
    assert [each.name for each in made.best] == ["exit", "cut"]
    [(one, other)] = made.charts[0].steps
    assert (one.label, other.label) == ("exit", "cut") and one.x < other.x and one.y < other.y


@pytest.mark.parametrize("applications", [(), (("cut", 100, 10.0, 9),)])
def test_there_is_no_trade_off_between_fewer_than_two(applications):
    assert found(*applications) is None
