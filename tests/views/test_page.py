"""Pages: one file that needs no other, in which whatever it is given is text, and readable in both schemes."""

from __future__ import annotations

import re
from itertools import product

import pytest
from lxml import html

from eprune.explore.answer import Change
from eprune.model.graph import Actor, Fifo, Graph, PortRef
from eprune.views import page
from eprune.views.chart import Chart
from eprune.views.comparison import Comparison
from eprune.views.graph import drawing
from eprune.views.plots import columns, scatter
from eprune.views.report_page import comparison_page
from eprune.views.scatter import Dot
from eprune.views.tables import Table
from tests.kit.programs import ROOT

HOSTILE = '</title></script><script>alert("1")</script>\' & "x" <b onload=y>'
STYLE = (ROOT / "eprune/views/web/style.css").read_text(encoding="utf-8")


def hostile_page():
    """All parts of pages, and what cannot be trusted in each place."""
    actors = tuple(Actor(f"{HOSTILE}{place}") for place in range(2))
    ends = PortRef(actors[0].name, "o"), PortRef(actors[1].name, HOSTILE)
    homes = {actors[0].name: HOSTILE, actors[1].name: f"{HOSTILE}2"}
    graph = Graph(HOSTILE, actors, (Fifo(HOSTILE, *ends),))
    chart = Chart(HOSTILE, [HOSTILE], [1.0], {HOSTILE: [2.0]}, [3.0], 4.0, 1.0, 0, added=HOSTILE, places=HOSTILE)
    dots = scatter(HOSTILE, (HOSTILE, HOSTILE), ("B", "ms"), [Dot(1, 2, HOSTILE, True, True)], True)
    found = {"candidates": [], "figures": HOSTILE, "charts": [dots], "left": 0}
    table = Table(HOSTILE, [HOSTILE, HOSTILE], [[HOSTILE, HOSTILE]], [HOSTILE])
    return page.rendered(
        "report.html.j2",
        title=HOSTILE,
        advice=HOSTILE,
        helps=[HOSTILE],
        unmet=True,
        make=HOSTILE,
        notes=[HOSTILE],
        chart=columns(chart),
        points=table,
        first=HOSTILE,
        mark=HOSTILE,
        missing=[HOSTILE],
        trade_offs=[(found, table)],
        drawing=drawing(graph, homes, {HOSTILE: HOSTILE}),
        tables=[table],
        commands=[HOSTILE],
    )


def test_what_a_page_is_given_is_text_only():
    text = hostile_page()
    tree = html.fromstring(text)
    assert len(tree.xpath("//script")) == 1 and not tree.xpath("//b") and not tree.xpath("//@onload")
    assert tree.xpath("//title")[0].text == HOSTILE
    assert text.count("</script>") == 1
    # No quotation mark has ended an attribute: what begins in one is there whole.
    assert HOSTILE in tree.xpath("//@data-fifo") and f"{HOSTILE}0" in tree.xpath("//@data-actor")


def test_a_page_is_one_file_that_may_load_nothing():
    text = hostile_page()
    tree = html.fromstring(text)
    assert not tree.xpath("//link | //iframe | //object | //base | //form | //*[@src] | //*[@style] | //a[@href]")
    assert set(re.findall(r"https?://[^\s\"'<]*", text)) <= {"http://www.w3.org/2000/svg"}
    assert "url(" not in STYLE and "@import" not in STYLE
    [policy] = tree.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    script = (ROOT / "eprune/views/web/page.js").read_text(encoding="utf-8")
    assert not re.search(r"\beval\b|innerHTML|Function\(|fetch|XMLHttp", script)


def test_tables_have_headings_captions_and_regions_that_the_keyboard_reaches():
    tree = html.fromstring(hostile_page())
    tables = tree.xpath("//table")
    assert len(tables) == 3
    for table in tables:
        assert table.xpath("./caption")[0].text == HOSTILE
        assert table.xpath("./thead/tr/th/@scope") == ["col"] * 2
        assert table.xpath("./tbody/tr/th/@scope") == ["row"]
        assert table.getparent().get("tabindex") == "0" and table.getparent().get("aria-label") == HOSTILE
    assert all(each.get("aria-label") for each in tree.xpath("//*[@role='img']"))
    assert tree.get("lang") == "en" and tree.xpath("//main") and len(tree.xpath("//h1")) == 1


def colours():
    """The colours of both schemes."""
    parts = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part)) for part in parts)
    assert set(light) == set(dark), "each colour has a value in both schemes"
    return {"light": light, "dark": dark}


def contrast(one, other):
    """As WCAG 2 defines it."""

    def luminance(colour):
        channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
        return sum(part * each for part, each in zip((0.2126, 0.7152, 0.0722), linear))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_charts_can_be_told_from_what_is_behind_them(scheme):
    given = colours()[scheme]
    platforms = [f"on-{place}" for place in range(8)]
    text = [
        *product(["text"], ["ground", "panel", "good", "nowhere", *platforms]),
        *product(["soft"], ["ground", "panel"]),
        *product(["accent", "cut", "good-line", "chosen"], ["ground"]),
    ]
    shapes = product(["wire", "control", "cut", "bar", "bar-1", "bar-2", "bar-3", "bar-4", "chosen"], ["ground"])
    pale = {pair: contrast(*(given[name] for name in pair)) for pair in text}
    assert {pair: value for pair, value in pale.items() if value < 4.5} == {}
    faint = {pair: contrast(*(given[name] for name in pair)) for pair in shapes}
    assert {pair: value for pair, value in faint.items() if value < 3} == {}


def test_the_contrast_of_the_standard_is_computed():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("count", [0, 1, 2, 187])
def test_columns_are_as_high_as_their_figures(count):
    labels = [f"{place} after a{place}" for place in range(count)]
    values = [float(place) for place in range(count)]
    made = columns(Chart("", labels, values, {"": values}, chosen=count - 1 if count else None))
    assert len(made.bars) == 2 * count and len(made.labels) <= 16
    for bar in made.bars:
        assert bar.x >= 0 and bar.x + bar.width <= 100 and bar.y >= -1e-9 and bar.y + bar.height <= 100 + 1e-9
    if count > 1:
        lower, upper = made.bars[count - 1], made.bars[-1]
        assert upper.y + upper.height == pytest.approx(lower.y) and lower.height == pytest.approx(upper.height)
        assert made.chosen[1] == pytest.approx(upper.y) and made.chosen[2].startswith(labels[-1])


@pytest.mark.parametrize("values", [[], [0.0], [0.0, 0.0], [2.7, 2.71], [5.0, 5.0], [0.0, 3e5], [1e-9]])
def test_dots_are_within_their_chart(values):
    made = scatter("", ("x", "y"), ("B", "ms"), [Dot(each, each, "", True) for each in values], True)
    assert all(-1e-6 <= each <= 100 + 1e-6 for dot in made.points for each in (dot.x, dot.y))
    assert all(-1e-6 <= tick.at <= 100 + 1e-6 for tick in (*made.xs, *made.ys))
    places = sorted({round(dot.x, 6) for dot in made.points})
    assert len(places) == len(set(values))


def test_of_many_points_a_comparison_shows_those_that_have_changed_most():
    changes = [Change(str(place), 10.0, 10.0 + (place % 1499) / 100) for place in range(1500)]
    found = Comparison("app", "latency", 10, changes, {each.name: "cut" for each in changes}, {"latency": {}})
    tree = html.fromstring(comparison_page(found))
    assert "500 that have changed less are not shown here" in tree.text_content()
    names = [each.text for each in tree.xpath("//table")[0].xpath(".//th[@scope='row']")]
    assert len(names) == 1000 and "1498" in names and "3" not in names
    assert len(tree.xpath("//figure[@class='chart']//rect")) == 2 * 200


def test_a_figure_that_was_nothing_and_is_something_is_worse():
    change = Change("1", 0.0, 5.0)
    found = Comparison(
        "app", "bytes", 10, [change, Change("2", 0.0, 0.0)], {"1": "a", "2": "b"}, {"bytes": {"1": change}}
    )
    assert (found.worse, found.verdict) == (("1",), "worse")
    assert '"ratio": null' in found.json() and "Infinity" not in found.json()
    assert "new" in comparison_page(found)
