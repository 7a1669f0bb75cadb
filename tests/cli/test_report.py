"""`eprune report`: the answer, for people and programs, from measurements and predictions."""

from __future__ import annotations

import csv
import io
import json
import os
import xml.etree.ElementTree as ET

import pytest

from eprune.cli.timing import steps

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
    assert told["advice"].startswith("Cut after L1 (point 2): 7.56 ms a frame, 1.3 times better")


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


def test_other_speeds_and_watts_are_predicted_and_said(predicted, eprune):
    done = eprune("report", "cuts", "--speed", "endpoint=0.1")
    assert "Cut after In (point 1): 17.68 ms" in done.out
    assert "Emulated speeds: endpoint=0.1" in done.out
    told = json.loads(
        eprune("report", "cuts", "--objective", "energy", "--watts", "endpoint=2", "--format", "json").out
    )
    assert told["points"][1]["predicted"]["energy"] == pytest.approx(2 * 7.56e-3)


def test_a_cut_that_is_no_partition_point_is_reported_where_no_point_is_left(predicted, eprune):
    done = eprune("report", "cuts", "--keep-on", "server", "In", "--objective", "latency")
    assert done.code == 0, done.err
    assert "What is left is a cut server only: 4 ms" in done.out
    assert done.out.endswith("No partition point is allowed.\n")


def test_csv_html_and_charts(predicted, eprune):
    table = list(csv.DictReader(io.StringIO(eprune("report", "cuts", "--format", "csv").out)))
    assert [row["point"] for row in table] == ["1", "2", "3", "4"]
    assert float(table[1]["endpoint ms"]) == 7.56

    assert eprune("report", "cuts", "--format", "html", "-o", "r.html", "--chart", "c.svg").code == 0
    text = (predicted / "r.html").read_text()
    assert (
        "http://www.w3.org/2000/svg" in text and "<link" not in text and "<script" not in text and " src=" not in text
    )
    assert "Cut after L1 (point 2)" in text
    assert ET.parse(predicted / "c.svg").getroot().tag.endswith("svg")


def test_a_png_needs_matplotlib_and_says_so(predicted, eprune):
    done = eprune("report", "cuts", "--chart", "c.png")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        assert done.code == 2
        assert "pip install 'eprune[plot]', or draw c.svg" in done.err
    else:
        assert done.code == 0, done.err
        assert (predicted / "c.png").read_bytes().startswith(b"\x89PNG")


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "nowhere has no explore.json"),
        (("cuts",), "nothing is measured: run eprune profile cuts"),
        (("cuts", "--objective", "latency"), "that needs predictions: run eprune profile cuts --actors"),
        (("cuts", "--objective", "energy"), "--watts endpoint=3.5"),
        (("cuts", "--keep-on", "endpoint", "Inn"), "did you mean 'In'?"),
        (("cuts", "--against", "cuts"), "no partition point with figures in common"),
    ],
)
def test_what_cannot_be_answered_is_told(app, eprune, arguments, message):
    eprune(*CUTS)
    done = eprune("report", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


@pytest.mark.parametrize("option", ["--speed", "--watts"])
@pytest.mark.parametrize("value", ["endpoint", "endpoint=fast", "cloud=2", "endpoint=0", "endpoint=nan"])
def test_factors_are_checked(predicted, eprune, option, value):
    done = eprune("report", "cuts", option, value)
    assert done.code == 2
    assert option in done.err


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
