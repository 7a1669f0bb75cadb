"""The figures of a cut follow from those of its actors, tokens and links; and the report says what they say."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from flows import CHAIN

from eprune.explore.answer import advice, changes, ranked, rows
from eprune.explore.cost import Costs, meaning, predict, weights
from eprune.explore.plan import LinkFigures, Plan, Power
from eprune.explore.space import Constraints, Roles, partition_points
from eprune.views.chart import Chart, draw

ROLES = Roles(("endpoint",), "server")
LINKS = (LinkFigures("endpoint", "server", "", 1000.0, 0.5), LinkFigures("server", "endpoint", "", 1000.0, 0.5))
COSTS = Costs(
    {"endpoint": dict.fromkeys(CHAIN.actors, 2.0), "server": dict.fromkeys(CHAIN.actors, 1.0)},
    LINKS,
    {"endpoint": Power(3.0)},
)


def plan():
    space = partition_points(CHAIN, ROLES, Constraints())
    return Plan("id", CHAIN, ROLES, 9, Constraints(), space.alternatives, {}, LINKS, {}, (), "")


def figures(point, costs=COSTS):
    return predict(CHAIN, ROLES, costs, plan().alternative(str(point)).homes)


def test_a_cut_in_the_middle():
    cut = figures(3)  # Input, L1, L2 on the endpoint; 700 bytes at 1000 a second
    assert cut.endpoint == pytest.approx(6.7)
    assert cut.server == pytest.approx(2.0)
    assert cut.latency == pytest.approx(6.7 + 0.5 + 2.0)
    assert (cut.period, cut.bottleneck, cut.nbytes) == (6.0, "endpoint", 700)
    assert cut.energy == pytest.approx(3.0 * 6.7)


def test_a_slow_link_is_the_bottleneck_and_no_link_is_none():
    assert (figures(2).period, figures(2).bottleneck) == (4.0, "endpoint")
    slow = Costs(COSTS.times, (LinkFigures("endpoint", "server", "", 100.0, 0.0),))
    assert (figures(2, slow).period, figures(2, slow).bottleneck) == (30.0, "link endpoint -> server")
    assert figures(2, Costs(COSTS.times, ())).latency == pytest.approx(4 + 3)
    assert figures(5).latency == figures(5).endpoint == 10.0


def test_a_fifo_whose_rate_varies_counts_with_its_average():
    [stream] = CHAIN.crossing(plan().alternative("3").homes)
    half = replace(COSTS, rates={stream.name: 0.5})
    assert figures(3, half).nbytes == 350
    assert figures(3, half).endpoint == pytest.approx(6.35)
    assert figures(2, half) == figures(2)


def test_units_of_a_platform_work_at_the_same_time():
    """A frame takes the sum; in a steady stream the slowest unit sets the pace."""
    units = {"endpoint": {actor: "npu" if actor == "L2" else "cpu" for actor in CHAIN.actors}}
    cut = figures(3, replace(COSTS, units=units))
    assert cut.latency == figures(3).latency
    assert (cut.period, cut.bottleneck) == (4.0, "endpoint/cpu")


def with_room(**changes):
    return replace(CHAIN, streams=tuple(replace(stream, **changes) for stream in CHAIN.streams))


def test_the_room_of_a_fifo_over_a_link_comes_back_after_a_round_trip():
    homes = plan().alternative("3").homes
    # 6 s on the endpoint, 0.7 s to send, 0.5 s there, 2 s on the server, 0.5 s back: 9.7 s for as many frames as fit
    for window, period in ((0, 9.7 / 1), (1, 6.0)):
        cut = predict(with_room(capacity=1, window=window), ROLES, COSTS, homes)
        assert cut.period == pytest.approx(period)
    assert predict(with_room(capacity=1, window=0), ROLES, COSTS, homes).bottleneck == "room in f3"
    assert predict(with_room(tokens=2, capacity=3, window=0), ROLES, COSTS, homes).period == pytest.approx(9.7)
    # A window of the link counts in bytes, rounded up to tokens. Where nothing is stated, cuts get what they need.
    wide = replace(COSTS, links=tuple(replace(link, window=701) for link in LINKS))
    assert wide.room(with_room(capacity=1).streams[2], "endpoint", "server") == 3
    assert predict(with_room(capacity=1), ROLES, COSTS, homes).period == 6.0
    assert predict(with_room(capacity=1, window=0, newest=True), ROLES, COSTS, homes).period == 6.0


def test_results_come_back_over_the_link():
    homes = {"Input": "endpoint", "L1": "server", "L2": "server", "L3": "server", "Sink": "endpoint"}
    cut = predict(CHAIN, ROLES, COSTS, homes)
    assert cut.server == pytest.approx(3.004)
    assert cut.latency == pytest.approx(2 * 2 + 1.0 + 0.5 + 3.004 + 0.5)


def line(name, ms, ok=True):
    side = {"ms": ms}
    return {
        "alternative": name,
        "ok": ok,
        "problem": "",
        "bytes": 1,
        "frames_per_second": 1e3 / ms,
        "platforms": {"endpoint": side},
    }


def test_ranking_is_by_prediction_where_there_is_one_else_by_measurement():
    results = {"1": line("1", 5.0), "2": line("2", 3.0), "3": line("3", 1.0, ok=False)}

    def names(costs, **constraints):
        given = rows(plan(), results, costs, Constraints(**constraints))
        return [row.alternative.name for row in ranked(plan(), given, "endpoint")]

    assert names(None) == ["2", "1"]
    assert names(COSTS) == ["1", "2", "4", "5"]  # 3, 7, 8.004 and 10 s
    assert names(None, max_bytes=1000) == ["1"]


def test_advice_is_one_sentence():
    text = advice(plan(), rows(plan(), {}, COSTS, Constraints()), "endpoint", "ms")
    assert text == (
        "Cut after Input (point 1): 3000 ms per frame, 3.3 times better than the endpoint alone (10000 ms); "
        "a single frame takes 7500 ms from end to end, a steady stream runs at 0.25 frames/s."
    )
    assert advice(plan(), rows(plan(), {}, None, Constraints()), "endpoint", "ms").startswith("No advice")


def test_changes_between_two_explorations():
    old = rows(plan(), {"1": line("1", 10.0), "2": line("2", 4.0)}, None, Constraints())
    new = rows(plan(), {"1": line("1", 12.0), "3": line("3", 4.0)}, None, Constraints())
    found = changes(old, new, "endpoint", ROLES.endpoints)
    assert [(change.name, change.percent) for change in found] == [("1", 20.0)]


def test_three_tiers_work_one_after_the_other():
    roles = Roles(("endpoint",), "cloud", ("edge",))
    times = {p: dict.fromkeys(CHAIN.actors, t) for p, t in (("endpoint", 3.0), ("edge", 2.0), ("cloud", 1.0))}
    links = (LinkFigures("endpoint", "edge", "", 1000.0, 0.5), LinkFigures("edge", "cloud", "", 100.0, 0.25))
    homes = dict(zip(CHAIN.actors, ("endpoint", "endpoint", "edge", "cloud", "cloud")))
    cut = predict(CHAIN, roles, Costs(times, links), homes)
    assert cut.platforms == pytest.approx({"endpoint": 9.0, "edge": 9.0, "cloud": 2.0})
    assert (cut.endpoint, cut.server, cut.bottleneck) == (9.0, 2.0, "link edge -> cloud")
    assert cut.latency == pytest.approx(9 + 0.5 + 9 + 0.25 + 2)


def test_energy_is_that_of_a_lone_frame_idle_time_included():
    power = {"endpoint": Power(3.0, 1.0), "server": Power(10.0)}
    links = (LinkFigures("endpoint", "server", "", 1000.0, 0.5, watts=5.0),)
    cut = figures(3, Costs(COSTS.times, links, power))
    waiting = 0.5 + 2.0  # while the frame is on its way and on the server
    assert cut.energy == pytest.approx(3.0 * 6 + 5.0 * 0.7 + 1.0 * waiting + 10.0 * 2)
    assert figures(3, Costs(COSTS.times, links)).energy is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latency", {"latency": 1}),
        ("endpoint=1,bytes=0.2", {"endpoint": 1, "bytes": 0.2}),
        ("energy=1e-3", {"energy": 0.001}),
    ],
)
def test_objectives_are_names_or_weights_of_them(text, expected):
    assert weights(text) == expected
    assert figures(3).value(text) == pytest.approx(sum(figures(3).value(name) * w for name, w in expected.items()))
    assert meaning(text)


@pytest.mark.parametrize("weight", ["", "=", "=x", "=-1", "=0", "=nan", "=inf", "=1,", "=1,bytes=2", "=1,fast=1"])
def test_what_is_no_objective_is_refused(weight):
    with pytest.raises(ValueError, match="expected"):
        weights(f"endpoint,bytes{weight}" if not weight else f"bytes{weight}")


CHART = Chart(
    "a < b & c", ["1 after <x>", "2"], [3.0, 5.0], {"wifi": [1.0, 0.0], "<eth>": [0.5, 0.0]}, [None, 4.0], 5.0
)


@pytest.mark.parametrize("chart", [CHART, Chart("nothing", [], [], {})], ids=["two links", "nothing"])
def test_a_chart_is_the_same_whenever_it_is_drawn_and_whole_whatever_the_names_are(chart):
    text = draw(chart, "svg")
    assert text == draw(chart, "svg")
    root = ET.fromstring(text)
    words = "".join(root.itertext())
    assert all(label in words for label in (chart.title, *chart.labels, *chart.sending))
    assert draw(chart, "png").startswith(b"\x89PNG")
