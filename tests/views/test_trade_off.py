"""The Pareto front of bytes, latency and accuracy."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from eprune.explore.sweep import pareto
from eprune.measure.evaluate import Evaluation
from eprune.model.samples import Share
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


def test_of_many_the_front_and_the_fastest_others_are_shown():
    many = [(f"slow{place}", 1000.0 + place, 1000.0 + place, 5) for place in range(1500)]
    made = found(("small", 1, 5000.0, 9), *many, ("good", 9000, 9000.0, 10))
    assert len(made.candidates) == len(made.charts[0].points) == 1000 and made.left == 502
    assert {"small", "good", "slow0", "slow900"} <= {each.name for each in made.candidates}
    assert [each.name for each in made.best] == ["small", "slow0", "good"]


def test_the_front_is_what_nothing_dominates():
    rng = random.Random(3)
    for _ in range(200):
        costs = [tuple(rng.randrange(6) for _ in range(3)) for _ in range(rng.randrange(12))]
        costs = [each if rng.random() < 0.9 else None for each in costs]
        slow = [
            own is not None
            and not any(other and other != own and all(a <= b for a, b in zip(other, own)) for other in costs)
            for own in costs
        ]
        assert pareto(costs) == slow


@pytest.mark.parametrize("applications", [(), (("cut", 100, 10.0, 9),)])
def test_there_is_no_trade_off_between_fewer_than_two(applications):
    assert found(*applications) is None
