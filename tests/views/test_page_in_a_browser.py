"""What a reader of a page sees and does, in a real browser: three widths, both schemes, keyboard, mouse, no scripts."""

from __future__ import annotations

import pytest

from eprune.model.graph import Actor, Fifo, Graph, PortRef
from eprune.views import page
from eprune.views.chart import Chart
from eprune.views.graph import drawing
from eprune.views.plots import columns, scatter
from eprune.views.report_charts import Candidate, TradeOff
from eprune.views.scatter import Dot
from eprune.views.tables import Table
from tests.kit.browser import browser, needs_browser

pytestmark = needs_browser

ACTORS = 187
#: 40 points; the bytes of some have more digits than those of others.
POINTS = [
    (str(place), f"after layer_{place}", f"{(place * 37) % 400 * 25}", f"{place / 7:.3f}") for place in range(1, 41)
]


def written(path):
    """A page as `eprune report` makes it, of 40 points and 187 actors."""
    names = [f"layer_{place}" for place in range(ACTORS)]
    links = [(place, place + 1) for place in range(ACTORS - 1)] + [(place, place + 5) for place in range(0, 170, 9)]
    fifos = [Fifo(f"f{k}", PortRef(names[a], f"o{k}"), PortRef(names[b], f"i{k}")) for k, (a, b) in enumerate(links)]
    homes = {name: "endpoint" if place < 90 else "server" for place, name in enumerate(names)}
    values = [float(row[3]) for row in POINTS]
    chart = Chart("app: latency", [f"{row[0]} {row[1]}" for row in POINTS], values, {"": values}, chosen=20, alone=5.0)
    dots = [Dot(float(row[2]), float(row[3]), row[1], row[0] in "127", row[0] == "7") for row in POINTS]
    both = [scatter(f"{y} over bytes", ("bytes", y), ("B", "ms"), dots, True) for y in ("latency", "accuracy")]
    table = Table("Partition points", ("point", "cut", "bytes", "latency ms"), POINTS)
    text = page.rendered(
        "report.html.j2",
        title="app: where to cut",
        advice="Cut after layer_7 (point 7).",
        helps=(),
        unmet=False,
        make="eprune cut cuts --best latency -o SYSTEM",
        notes=["Predicted over the links of the platform files."],
        chart=columns(chart),
        points=table,
        first="21",
        mark="chosen",
        missing=[],
        trade_offs=[(TradeOff([Candidate("7", 1, 2, None, True)], [True], "accuracy", both), table)],
        drawing=drawing(Graph("app", tuple(map(Actor, names)), tuple(fifos)), homes, {}),
        tables=[],
        commands=["eprune explore app.xml --platform a-long-path/of/a/platform.xml --output cuts " * 2],
    )
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The browser, and the page's file."""
    folder = tmp_path_factory.mktemp("browser")
    with browser(folder) as made:
        yield made, written(folder / "page.html")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1400])
def test_the_page_is_as_wide_as_the_window_and_nothing_is_wrong_with_it(shown, width, dark):
    page, path = shown
    page.open(path, width, dark=dark)
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.complaints() == []
    ground = page.run("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(20, 23, 28)" if dark else "rgb(255, 255, 255)")
    # Charts end within the page, and their text keeps its size.
    for text in page.find(".plot text.tick:not(.minor)"):
        assert text.rect["x"] >= 0 and text.rect["x"] + text.rect["width"] <= width
        assert text.value_of_css_property("font-size") == "12px"


def column(page, place):
    """The cells of a column of the first table, as far as they are shown."""
    shown = "[...document.querySelector('table').tBodies[0].rows].filter(row => !row.hidden)"
    return page.run(f"{shown}.map(row => row.cells[{place}].firstChild.textContent.trim())")


def bounds(page, selector):
    """Left, top, right and bottom of an element in the window."""
    script = "(r => [r.left, r.top, r.right, r.bottom])(document.querySelector(arguments[0]).getBoundingClientRect())"
    return page.run(script, selector)


def test_tables_are_sorted_by_mouse_and_keyboard_and_say_how(shown):
    from selenium.webdriver.common.keys import Keys

    page, path = shown
    page.open(path)
    nbytes = [row[2] for row in POINTS]
    assert column(page, 2) == nbytes
    heading = page.find("table thead th")[2]
    button = heading.find_element("css selector", "button")
    button.click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(page, 2) == sorted(nbytes, key=float)
    button.send_keys(Keys.ENTER)
    assert heading.get_attribute("aria-sort") == "descending"
    assert column(page, 2) == sorted(nbytes, key=float, reverse=True)
    page.find("table thead th button")[1].send_keys(Keys.SPACE)
    assert heading.get_attribute("aria-sort") is None
    assert column(page, 1) == [row[1] for row in POINTS], "layer_10 is behind layer_9"


def test_tables_are_filtered_by_all_words(shown):
    page, path = shown
    page.open(path)
    [field, *_] = page.find("main input[type=search]")
    field.send_keys("layer_3 AFTER")
    assert column(page, 0) == ["3", *(str(place) for place in range(30, 40))]
    assert page.find("output")[0].text == "11 of 40 rows"
    field.clear()
    field.send_keys("nothing like that")
    assert column(page, 0) == [] and page.find("output")[0].text == "0 of 40 rows"


def test_the_chosen_point_is_in_sight(shown):
    page, path = shown
    page.open(path)
    region, row = bounds(page, ".table"), bounds(page, "tr.best")
    assert region[1] < row[1] and row[3] < region[3]


def view(page):
    return [float(each) for each in page.run("document.querySelector('.canvas svg').getAttribute('viewBox')").split()]


def test_a_graph_of_many_actors_is_zoomed_moved_and_searched(shown):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page, path = shown
    page.open(path)
    [canvas] = page.find(".canvas")
    assert len(page.find(".canvas .actor")) == ACTORS
    size = canvas.size
    whole = view(page)

    def within(actor):
        box, at = bounds(page, f"[data-actor={actor}]"), bounds(page, ".canvas")
        return box[0] >= at[0] and box[1] >= at[1] and box[2] <= at[2] and box[3] <= at[3]

    assert all(within(f"layer_{place}") for place in (0, 100, ACTORS - 1)), "at first all of it is shown"
    for tool, narrower in zip(page.find(".graph .tool")[:2], (True, False)):
        before = view(page)
        tool.click()
        assert (view(page)[2] < before[2]) is narrower
    assert view(page) == pytest.approx(whole)

    canvas.send_keys("+", "+", Keys.ARROW_RIGHT)
    near = view(page)
    assert near[2] == pytest.approx(whole[2] / 1.25**2) and near[0] > whole[0]
    ActionChains(page.driver).drag_and_drop_by_offset(canvas, -60, 30).perform()
    moved = view(page)
    scale = near[2] / size["width"]
    assert [moved[0] - near[0], moved[1] - near[1]] == pytest.approx([60 * scale, -30 * scale], abs=3 * scale)
    assert moved[2:] == near[2:]
    canvas.send_keys("0")
    assert view(page) == pytest.approx(whole)

    field = page.find(".graph input")[0]
    field.send_keys("layer_153")
    assert page.find(".graph output")[0].text == f"1 of {ACTORS} actors"
    assert [each.get_attribute("data-actor") for each in page.find(".actor.found")] == ["layer_153"]
    assert within("layer_153") and view(page)[2] == pytest.approx(size["width"], abs=3), "at its natural size"
    assert page.complaints() == []


def test_the_wheel_scrolls_the_page_and_zooms_with_control(shown):
    page, path = shown
    page.open(path)
    before = view(page)
    wheel = "new WheelEvent('wheel', {deltaY: -120, ctrlKey: arguments[0], cancelable: true})"
    taken = f"!document.querySelector('.canvas').dispatchEvent({wheel})"
    assert page.run(taken, False) is False and view(page) == before
    assert page.run(taken, True) is True and view(page)[2] < before[2]


def test_without_scripts_all_is_there(shown):
    page, path = shown
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.open(path, 360)
        assert len(page.find("table tbody tr")) == 2 * len(POINTS)
        assert not page.find("button") and not page.find("input")
        assert page.find("table caption") and len(page.find(".canvas .actor")) == ACTORS
        assert page.find(".advice")[0].is_displayed()
    finally:
        page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_a_page_reaches_nothing_and_runs_no_other_script(shown):
    """Not even where one had come into it."""
    page, path = shown
    bad = path.with_name("bad.html")
    evil = "<script>document.title = 'evil'</script><img src='http://127.0.0.1:9/x.png'>"
    bad.write_text(path.read_text(encoding="utf-8").replace("<main>", f"<main>{evil}"), encoding="utf-8")
    page.open(bad)
    assert page.driver.title == "app: where to cut"
    complaints = " ".join(page.complaints())
    assert "script" in complaints and "x.png" in complaints and "Content Security Policy" in complaints
