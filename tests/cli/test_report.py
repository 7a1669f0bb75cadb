"""`eprune report`: the answer, for people and programs, from measurements and predictions."""

from __future__ import annotations

import csv
import html
import io
import json
import os
import platform
import re
import shlex
import shutil
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import lxml.html
import numpy as np
import pytest
from application import ROOT

from eprune.formats.xml.application import read_application
from eprune.measure import timing
from eprune.measure.exploration import alone
from eprune.measure.timing import steps, timed

CUTS = ("explore", "app.xml", "-p", "platforms/endpoint.xml", "platforms/server.xml", "-o", "cuts", "--frames", "3")


@pytest.fixture
def links(app):
    """Platform files that state what the link can do: a token of 768 bytes takes 7.68 ms."""
    for name in ("endpoint", "server"):
        path = app / f"platforms/{name}.xml"
        path.write_text(path.read_text().replace('port="5100"', 'port="5100" bandwidth="100kB/s" latency="2ms"'))
    return app


@pytest.fixture
def predicted(links, eprune):
    """An exploration whose actors are timed, though not by a clock."""
    assert eprune(*CUTS).code == 0
    plan = json.loads((links / "cuts/explore.json").read_text())["id"]
    times = {"endpoint": (0.001, 0.004, 0.004, 0.001), "server": (0.001, 0.001, 0.001, 0.001)}
    told = {name: {"actors": dict(zip(("In", "L1", "L2", "Out"), own))} for name, own in times.items()}
    (links / "cuts/actors.json").write_text(json.dumps({"plan": plan, "platforms": told}))
    return links


def test_measured_points_are_ranked_with_one_sentence_of_advice(app, eprune):
    eprune(*CUTS)
    assert eprune("profile", "cuts", "--no-pin").code == 0
    done = eprune("report", "cuts")
    assert done.code == 0, done.err
    assert "what is measured here is over loopback" in done.out
    assert sum(line.startswith("  *") for line in done.out.splitlines()) == 1
    assert done.out.splitlines()[-1].endswith(".") and "(point " in done.out.splitlines()[-1]


def test_predictions_for_the_links_of_the_platform_files(predicted, eprune):
    told = json.loads(eprune("report", "cuts", "--format", "json").out)
    endpoint = [1e3 * point["predicted"]["endpoint"] for point in told["points"]]
    assert endpoint == pytest.approx([1 + 7.68, 5 + 2.56, 9 + 0.2, 10])
    latency = [1e3 * point["predicted"]["latency"] for point in told["points"]]
    assert latency == pytest.approx([8.68 + 2 + 3, 7.56 + 2 + 2, 9.2 + 2 + 1, 10])
    assert told["ranked"] == ["2", "1", "3", "4"]
    assert told["best_of_all_cuts"]["exact"] is True
    assert told["advice"].startswith("Cut after L1 (point 2): 7.56 ms per frame, 1.3 times better")


def test_latency_and_throughput_may_choose_differently(predicted, eprune):
    first = {
        objective: json.loads(eprune("report", "cuts", "--format", "json", "--objective", objective).out)["ranked"][0]
        for objective in ("latency", "throughput", "bytes", "endpoint")
    }
    assert first == {"latency": "4", "throughput": "2", "bytes": "4", "endpoint": "2"}


def test_constraints_can_be_asked_later(predicted, eprune):
    done = eprune("report", "cuts", "--private-until", "L2", "--must-use", "server")
    assert done.code == 0
    assert "Cut after L2 (point 3)" in done.out
    assert "1 is left out: L1, which is private, is on server" in done.out
    done = eprune("report", "cuts", "--private-until", "L2", "--max-bytes", "1B", "--must-use", "server")
    assert (done.code, done.out) == (1, "")
    assert "no cut is allowed" in done.err


def test_what_cuts_reveal_is_a_column_and_a_constraint(predicted, eprune):
    np.savez("pictures.npz", x=np.random.default_rng(1).integers(0, 256, (24, 8, 8, 3), np.uint8))
    made = eprune("privacy", "app.xml", "--data", "pictures.npz", "--every", "--format", "json")
    Path("revealed.json").write_text(made.out)
    ssim = {cut["from"]: cut["ssim"] for cut in json.loads(made.out)["cuts"]}
    first, second = ssim["L1.out"], ssim["L2.out"]
    told = json.loads(eprune("report", "cuts", "--privacy", "revealed.json", "--format", "json").out)
    assert [point["ssim"] for point in told["points"]] == [1, first, second, 0]
    text = eprune("report", "cuts", "--privacy", "revealed.json").out
    assert re.search(rf"after L1 .* {first:.3f}$", text, re.MULTILINE)
    bound = ("--privacy", "revealed.json", "--private-until", f"ssim={(first + second) / 2:.4f}")
    told = json.loads(eprune("report", "cuts", *bound, "--format", "json").out)
    assert [point["point"] for point in told["points"] if not point["excluded"]] == ["3", "4"]
    again = eprune(*CUTS, *bound, "--format", "json")
    assert [point["point"] for point in json.loads(again.out)["points"]] == ["3", "4"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--private-until", "ssim=0.5"), "give --privacy FILE.json"),
        (("--private-until", "ssim=1.5", "--privacy", "x"), "SSIM is from 0 to 1"),
        (("--privacy", "nowhere.json"), "nowhere.json: No such file"),
        (("--privacy", "cuts/explore.json"), "is not what eprune privacy --format json prints"),
    ],
)
def test_what_is_said_to_be_revealed_must_be_known(predicted, eprune, given, words):
    done = eprune("report", "cuts", *given)
    assert (done.code, done.out) == (2, "")
    assert words in " ".join(done.err.split())


def test_other_speeds_are_predicted_and_said(predicted, eprune):
    done = eprune("report", "cuts", "--speed", "endpoint=0.1")
    assert "Cut after In (point 1): 17.68 ms" in done.out
    assert "Emulated speeds: endpoint=0.1" in done.out


def test_energy_comes_of_the_watts_of_the_platform_files(links, eprune, predicted):
    done = eprune("report", "cuts", "--objective", "energy")
    assert done.code == 2 and 'watts="3.5W"' in done.err
    path = links / "platforms/endpoint.xml"
    path.write_text(path.read_text().replace('core="0"', 'core="0" watts="2W" idle="1W"'))
    times = (links / "cuts/actors.json").read_bytes()
    assert eprune(*CUTS).code == 0
    (links / "cuts/actors.json").write_bytes(times)
    told = json.loads(eprune("report", "cuts", "--objective", "energy", "--format", "json").out)
    assert told["points"][1]["predicted"]["energy"] == pytest.approx(2 * 7.56e-3 + 1 * 4e-3)
    assert "energy mJ" in eprune("report", "cuts").out


def test_weights_make_an_objective_of_several(predicted, eprune):
    ranked = [
        json.loads(eprune("report", "cuts", "--format", "json", "--objective", objective).out)["ranked"][0]
        for objective in ("endpoint", "endpoint=1,bytes=0.001", "endpoint=1,bytes=0.1")
    ]
    assert ranked == ["2", "2", "4"]
    done = eprune("report", "cuts", "--objective", "endpoint=1,bytes=0.1")
    assert "weighted sum: 1 a ms of endpoint, 0.1 a B of bytes" in done.out
    assert eprune("report", "cuts", "--objective", "fast").code == 2


def test_several_links_are_compared(predicted, eprune):
    links = ("--link", "wifi=10kB/s,20ms", "--link", "wire=1MB/s,1ms")
    done = eprune("report", "cuts", *links, "--chart", "c.svg", "--objective", "latency")
    assert done.code == 0, done.err
    assert "Predicted over wifi" in done.out and done.out.splitlines()[-1].startswith("Do not cut (point 4): 10 ms")
    assert "Over wire: Cut after In (point 1): 5.768 ms per frame, 1.7 times better" in done.out
    assert all(f"latency, {each}" in (predicted / "c.svg").read_text() for each in ("wifi", "wire"))
    eprune("report", "cuts", *links, "--chart", "c.svg")
    assert all(f"sending, {each}" in (predicted / "c.svg").read_text() for each in ("wifi", "wire"))
    point = json.loads(eprune("report", "cuts", *links, "--format", "json").out)["points"][0]
    assert point["predicted"]["latency"] == pytest.approx(0.001 + 0.0768 + 0.02 + 0.003)
    assert point["predicted_over"]["wire"]["latency"] == pytest.approx(0.005768)


@pytest.mark.parametrize("link", ["wifi", "=1MB/s", "wifi=fast", "wifi=1MB/s,soon", "wifi=0B/s"])
def test_a_link_needs_a_name_and_figures(predicted, eprune, link):
    done = eprune("report", "cuts", "--link", link)
    assert done.code == 2 and "wifi=2.3MB/s,2.15ms" in done.err


def test_a_cut_that_is_no_partition_point_is_reported_where_no_point_is_left(predicted, eprune):
    done = eprune("report", "cuts", "--keep-on", "server", "In", "--objective", "latency")
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1].startswith("What is left is a cut server only: 4 ms")


def test_csv_html_and_charts(predicted, eprune):
    table = list(csv.DictReader(io.StringIO(eprune("report", "cuts", "--format", "csv").out)))
    assert [row["point"] for row in table] == ["1", "2", "3", "4"]
    assert float(table[1]["endpoint ms"]) == 7.56

    assert eprune("report", "cuts", "--format", "html", "-o", "r.html", "--chart", "c.svg").code == 0
    text = (predicted / "r.html").read_text()
    assert "Cut after L1 (point 2)" in text and "2 after L1: 7.56 ms" in text
    assert ET.parse(predicted / "c.svg").getroot().tag.endswith("svg")


def rows_on(page, caption):
    """The cells of a page's table."""
    [table] = [each for each in lxml.html.fromstring(page).xpath("//table") if each.find("caption").text == caption]
    return [[(cell.text or "").strip() for cell in row] for row in table.find("tbody")]


def test_the_page_has_all_points_the_chosen_one_and_the_pareto_front(predicted, eprune):
    slow = ("report", "cuts", "--link", "slow=20kB/s,1ms", "--objective", "bytes", "--must-use", "server")
    page = eprune(*slow, "--format", "html").out
    told = json.loads(eprune(*slow, "--format", "json").out)
    points = [each for each in told["points"] if not each["excluded"]]
    assert [row[:2] for row in rows_on(page, "Partition points")] == [[each["point"], each["cut"]] for each in points]
    tree = lxml.html.fromstring(page)
    assert [each[0].text.strip() for each in tree.find_class("best")] == [told["ranked"][0]]
    assert f"chosen: {told['ranked'][0]} " in tree.text_content()

    costs = {
        f"{each['point']} {each['cut']}": (each["predicted"]["nbytes"], each["predicted"]["latency"]) for each in points
    }
    front = {
        name
        for name, own in costs.items()
        if not any(other != own and other[0] <= own[0] and other[1] <= own[1] for other in costs.values())
    }
    assert {row[0] for row in rows_on(page, "Pareto front")} == front
    assert 0 < len(front) < len(points)


def test_the_page_marks_the_best_of_all_cuts_where_no_point_is_as_good(predicted, eprune):
    page = eprune("report", "cuts", "--keep-on", "server", "In", "--objective", "latency", "--format", "html").out
    tree = lxml.html.fromstring(page)
    assert len(tree.find_class("line-best")) == 2 and "best of all cuts: 4 ms" in tree.text_content()
    assert {each.text for each in tree.find_class("chip")} == {"server"}, "the graph shows the cut of the advice"


def commands_on(page):
    """The commands of a page, each with the folder in which it is to be typed."""
    text = html.unescape(re.search(r"<h2>Commands</h2>.*?<pre[^>]*>(.*?)</pre>", page, re.DOTALL).group(1))
    found = (re.fullmatch(r"(?:\(cd (?P<place>.*?) && )?eprune (?P<rest>.*?)\)?", line) for line in text.splitlines())
    return [(each["place"] or ".", shlex.split(each["rest"])) for each in found]


@pytest.mark.long
def test_the_commands_of_the_page_make_it_again(links, eprune, monkeypatch):
    """From the folder of the report, wherever the others were typed, with the options that figures depend on."""
    (links / "elsewhere").mkdir()
    monkeypatch.chdir(links / "elsewhere")
    constrained = ("--keep-on", "endpoint", "Out", "--max-bytes", "4KiB", "-q")
    files = ("../app.xml", "-p", "../platforms/endpoint.xml", "../platforms/server.xml", "-o", "../cuts")
    eprune("explore", *files, "--frames", "3", *constrained[:-1])
    monkeypatch.chdir(links)
    eprune("profile", "cuts", "--actors", "--emulate", "--no-pin", "-q")
    eprune("profile", "cuts", "--point", "1", "--no-pin", "-q")
    report = ("report", "cuts", "--objective", "latency", "--link", "slow=50kB/s,2ms", "--not-on", "endpoint", "L2")
    page = eprune(*report, "--format", "html").out
    before = json.loads(eprune(*report, "--format", "json").out)
    typed = commands_on(page)
    assert [command[0] for _, command in typed] == ["explore", "profile", "profile", "report"]

    shutil.rmtree("cuts")
    for place, command in typed:
        monkeypatch.chdir(links / place)
        done = eprune(*command)
        assert done.code == 0, done.err
        monkeypatch.chdir(links)
    assert commands_on(done.out) == typed
    after = json.loads(eprune(*report, "--format", "json").out)
    assert [place for place, _ in typed] == ["elsewhere", ".", ".", "."]

    def stated(told):
        """What does not depend on a clock."""
        facts = ("point", "cut", "homes", "bytes", "excluded")
        points = [{name: each[name] for name in facts} for each in told["points"]]
        return {**{name: told[name] for name in ("application", "objective", "excluded")}, "points": points}

    assert stated(after) == stated(before)
    times = json.loads(Path("cuts/actors.json").read_text())["platforms"]
    assert all(each["core"] is None for each in times.values()), "as --no-pin has it"


def test_commands_of_another_exploration_are_not_those_of_this_one(predicted, eprune):
    eprune("profile", "cuts", "--actors", "-q")
    assert len(commands_on(eprune("report", "cuts", "--format", "html").out)) == 3
    eprune(*CUTS[:-1], "4")
    eprune("profile", "cuts", "--actors", "--emulate", "-q")
    [_, (_, again), _] = commands_on(eprune("report", "cuts", "--format", "html").out)
    assert again == ["profile", "cuts", "--actors", "--emulate"]


def test_a_chart_is_drawn_by_its_ending(predicted, eprune):
    assert eprune("report", "cuts", "--chart", "c.png").code == 0
    assert (predicted / "c.png").read_bytes().startswith(b"\x89PNG")
    done = eprune("report", "cuts", "--chart", "c.jpg")
    assert done.code == 2 and "neither .svg nor .png" in done.err


def test_without_matplotlib_a_chart_says_what_it_needs_and_the_page_is_as_it_is(predicted, eprune, monkeypatch):
    page = eprune("report", "cuts", "--format", "html")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = eprune("report", "cuts", "--chart", "c.png")
    assert done.code == 2 and "pip install 'eprune[plot]'" in done.err
    assert page.code == 0 and eprune("report", "cuts", "--format", "html") == page


def test_without_scipy_partition_points_are_compared(predicted, eprune, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    done = eprune("report", "cuts")
    assert done.code == 0 and "without scipy only partition points are compared" in done.err
    assert "Cut after L1 (point 2)" in done.out


def test_the_graph_of_the_page_shows_the_cut_also_where_the_application_is_gone(predicted, eprune):
    def drawn(page):
        """Actor -> the number of its platform's colour; FIFO -> whether it crosses; and what is said of them."""
        actors = dict(re.findall(r'<g class="actor \w+ on-(\d)" data-actor="(\w+)">', page))
        crossing = re.findall(r'<g class="wire crossing[ \w]*" data-fifo="(\w+)">', page)
        return (
            len(re.findall('data-actor="', page)),
            len(actors),
            crossing,
            re.findall(r'data-label="\w+"[^>]*>(.*?)<', page),
        )

    seen = drawn(eprune("report", "cuts", "--format", "html").out)
    assert seen[:2] == (4, 2) and len(seen[2]) == 1
    (predicted / "app.xml").unlink()
    assert drawn(eprune("report", "cuts", "--format", "html").out) == seen


def test_a_comparison_finds_what_has_become_worse(predicted, eprune):
    (predicted / "cuts").rename(predicted / "last")
    eprune(*CUTS)
    told = json.loads((predicted / "last/actors.json").read_text())
    told["plan"] = json.loads((predicted / "cuts/explore.json").read_text())["id"]
    told["platforms"]["endpoint"]["actors"]["L2"] *= 2
    (predicted / "cuts/actors.json").write_text(json.dumps(told))
    done = eprune("report", "cuts", "--against", "last")
    assert done.code == 1
    assert "worse by more than 10 %: 3, 4" in done.err
    assert "+43.5 %" in done.out
    assert eprune("report", "cuts", "--against", "last", "--tolerance", "50").code == 0
    assert eprune("report", "cuts", "--against", "cuts").code == 0

    told = eprune("report", "cuts", "--against", "last", "--format", "json")
    found = json.loads(told.out)
    assert (told.code, found["verdict"], found["worse"]) == (1, "worse", ["3", "4"])
    point = found["points"][2]
    assert point["ratio"] == pytest.approx(point["now"] / point["before"]) and point["verdict"] == "worse"
    assert point["metrics"]["endpoint"] == {
        "unit": "ms",
        **{name: point[name] for name in ("before", "now", "ratio", "verdict")},
    }
    assert set(point["metrics"]) == {"endpoint", "latency", "throughput", "bytes"}
    assert (point["metrics"]["bytes"]["ratio"], point["metrics"]["bytes"]["verdict"]) == (1.0, "same")

    page = eprune("report", "cuts", "--against", "last", "--format", "html", "-o", "changed.html")
    assert page.code == 1 and '<td class="worse">worse</td>' in Path("changed.html").read_text()
    back = eprune("report", "last", "--against", "cuts", "--format", "html").out
    assert '<td class="better">better</td>' in back and "2 points better, 2 points about as before" in back


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "nowhere has no explore.json"),
        (("cuts",), "nothing is measured: run eprune profile cuts"),
        (("cuts", "--objective", "latency"), "that needs predictions: run eprune profile cuts --actors"),
        (("cuts", "--objective", "energy"), 'watts="3.5W"'),
        (("cuts", "--keep-on", "endpoint", "Inn"), "did you mean 'In'?"),
        (("cuts", "--against", "cuts"), "no partition point with figures in common"),
    ],
)
def test_what_cannot_be_answered_is_told(app, eprune, arguments, message):
    eprune(*CUTS)
    done = eprune("report", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


@pytest.mark.parametrize("value", ["endpoint", "endpoint=fast", "cloud=2", "endpoint=0", "endpoint=nan"])
def test_factors_are_checked(predicted, eprune, value):
    done = eprune("report", "cuts", "--speed", value)
    assert done.code == 2
    assert "--speed" in done.err


def test_actors_of_an_earlier_exploration_do_not_count(predicted, eprune):
    eprune(*CUTS, "--frames", "4")
    done = eprune("report", "cuts")
    assert "actors.json is of an earlier exploration" in done.err
    assert done.code == 2


def test_the_actors_are_timed_and_predictions_validated(links, eprune):
    eprune(*CUTS)
    done = eprune("profile", "cuts", "--actors", "--validate", "2", "--no-pin")
    assert done.code == 0, done.err
    times = json.loads((links / "cuts/actors.json").read_text())["platforms"]
    for told in times.values():
        assert list(told["actors"]) == ["In", "L1", "L2", "Out"]
        assert told["actors"]["In"] > 0 and told["actors"]["L1"] > 0 and told["interpreter"].split()[1]
    assert len(done.out.splitlines()) == 3 and "error" in done.out
    assert len((links / "cuts/results.jsonl").read_text().splitlines()) == 2
    assert eprune("report", "cuts", "--objective", "latency").code == 0


def test_times_say_where_they_come_from_and_those_of_a_device_stay(links, eprune):
    assert eprune(*CUTS).code == 0
    path = links / "cuts/actors.json"
    assert eprune("profile", "cuts", "--actors").code == 0
    timed = json.loads(path.read_text())
    here = timed["platforms"]["endpoint"]
    assert (here["host"], here["machine"]) == (platform.node(), platform.machine())
    assert here["time"].endswith("Z") and "core" in here
    here.update(host="pi", actors=dict.fromkeys(here["actors"], 0.25))
    path.write_text(json.dumps(timed))

    done = eprune("profile", "cuts", "--actors")
    assert "endpoint: the times from pi stay; --again takes this machine's instead" in done.err
    timed = json.loads(path.read_text())["platforms"]
    assert timed["endpoint"] == here
    assert timed["server"]["host"] == platform.node()

    assert eprune("profile", "cuts", "--actors", "--again").code == 0
    assert json.loads(path.read_text())["platforms"]["endpoint"]["host"] == platform.node()


def test_two_profiles_of_one_folder_do_not_run_at_once(links, eprune):
    assert eprune(*CUTS).code == 0
    with alone(links / "cuts"):
        for what in ((), ("--actors",), ("--latency",)):
            done = eprune("profile", "cuts", *what)
            assert done.code == 2
            assert "another eprune profile is measuring in cuts" in done.err
    assert not (links / "cuts/results.jsonl").exists()


def test_the_report_says_how_many_points_are_not_measured(app, eprune):
    assert eprune(*CUTS).code == 0
    assert eprune("profile", "cuts", "--point", "2", "--point", "3").code == 0
    total = len(json.loads((app / "cuts/explore.json").read_text())["alternatives"])
    assert f"{total - 2} of {total} partition points are not measured." in eprune("report", "cuts").out


def test_a_measurement_far_from_what_is_predicted_is_pointed_out(predicted, eprune):
    assert eprune("profile", "cuts", "--point", "2").code == 0
    results = Path("cuts/results.jsonl")
    line = json.loads(results.read_text())
    for measured_ms, said in ((6, False), (20, True)):  # the endpoint's two actors take 5 ms
        results.write_text(json.dumps({**line, "frames_per_second": 1e3 / measured_ms}) + "\n")
        report = eprune("report", "cuts").out
        assert ("Measured far from what is predicted per frame there: point 2 (" in report) == said


def test_time_in_which_others_had_the_core_does_not_count(monkeypatch):
    told = iter([5.0, 5.0, 1.0, 1.0 + 1e-3, 2.0, 99.0])
    monkeypatch.setattr(timing, "_delayed", lambda: next(told))
    alone = timed(lambda: time.sleep(0.01))
    assert alone >= 0.01
    assert timed(lambda: time.sleep(0.01)) >= 0.009
    assert timed(lambda: None) == 0.0


def test_what_the_system_says_of_waiting_only_grows():
    before = timing._delayed()
    assert 0.0 <= before <= timing._delayed() < 1e6


@pytest.mark.parametrize(
    ("grown", "added"),
    [([], []), ([1, 3, 6], [1, 2, 3]), ([1, 9, 3, 6], [1, 2, 0, 3]), ([5, 4], [4, 0]), ([0, 0, 2], [0, 0, 2])],
)
def test_what_a_prefix_adds_is_never_negative_and_a_disturbed_one_is_put_right(grown, added):
    assert steps(grown) == added
    assert sum(added) == (grown[-1] if grown else 0)


def test_an_actor_that_fails_cannot_be_timed_and_the_reason_is_told(app, eprune):
    path = app / "behaviours.py"
    path.write_text(path.read_text().replace("print(", "raise RuntimeError('no paper') or print("))
    eprune(*CUTS)
    done = eprune("profile", "cuts", "--actors")
    assert done.code == 1
    assert "the actors cannot be timed" in done.err and "no paper" in done.err
    assert "Traceback" not in done.err
    assert not os.path.exists("cuts/actors.json")  # noqa: PTH110


def test_what_is_active_in_some_rows_counts_as_often_as_they_are_chosen():
    graph = read_application(str(ROOT / "graphs" / "predistorter.xml"))
    active, parts = timing.averages(graph, {"Filter": {0: 1, 1: 0, 2: 0, 3: 2, 4: 1}})
    assert active == {"Bank": 0.75}
    assert parts == {"powers": 10 / 16, "parts": 10 / 16}
    assert timing.averages(graph, {}) == ({}, {})


def test_a_dynamic_actor_takes_what_its_modes_take_as_often_as_they_occur():
    assert timing._typical([(0, 1.0), (1, 5.0), (0, 3.0), (0, 2.0)]) == pytest.approx((3 * 2.0 + 5.0) / 4)
    assert timing._typical([]) == 0
