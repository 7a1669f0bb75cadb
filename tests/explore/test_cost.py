"""The figures of a cut follow from those of its actors, tokens and links; and the report says what they say."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from flows import CHAIN

from eprune.explore.answer import advice, changes, ranked, rows
from eprune.explore.chart import Bar, svg
from eprune.explore.cost import Costs, predict
from eprune.explore.page import page
from eprune.explore.plan import LinkFigures, Plan
from eprune.explore.space import Constraints, Roles, partition_points

ROLES = Roles(("endpoint",), "server")
LINKS = (LinkFigures("endpoint", "server", "", 1000.0, 0.5), LinkFigures("server", "endpoint", "", 1000.0, 0.5))
COSTS = Costs(
    {"endpoint": dict.fromkeys(CHAIN.actors, 2.0), "server": dict.fromkeys(CHAIN.actors, 1.0)}, LINKS, {"endpoint": 3.0}
)


def plan():
    space = partition_points(CHAIN, ROLES, Constraints())
    return Plan("id", CHAIN, ROLES, 9, Constraints(), space.alternatives, {}, LINKS, (), "")


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
    assert text == "Cut after Input (point 1): 3000 ms a frame, 3.3 times better than the endpoint alone (1e+04 ms)."
    assert advice(plan(), rows(plan(), {}, None, Constraints()), "endpoint", "ms").startswith("No advice")


def test_changes_between_two_explorations():
    old = rows(plan(), {"1": line("1", 10.0), "2": line("2", 4.0)}, None, Constraints())
    new = rows(plan(), {"1": line("1", 12.0), "3": line("3", 4.0)}, None, Constraints())
    found = changes(old, new, "endpoint", ROLES.endpoints)
    assert [(change.name, change.percent) for change in found] == [("1", 20.0)]


def test_the_chart_is_whole_xml_whatever_the_names_are():
    text = svg("a < b & c", [Bar("1 after <x>", 3.0, 1.0), Bar("2", 0.0, 0.0)], 5.0)
    root = ET.fromstring(text)
    assert len(root.findall(".//{http://www.w3.org/2000/svg}rect")) == 1 + 4 + 3
    assert svg("nothing", [], None)


def test_the_page_escapes_what_it_is_given():
    text = page("<t>", "a", "n", "<svg/>", ("p",), [("<1>",)], "<1>", {"<A>": "<P>"}, ["x && y"])
    assert "<t>" not in text.replace("<title>", "") and "<1>" not in text and "<A>" not in text and "<P>" not in text
    assert "x &amp;&amp; y" in text and 'class="best"' in text
