"""`eprune simulate`: what FIFOs hold, by the control values given, and where a run stops."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree

import pytest
from application import ROOT

FILES = (ROOT / "docs" / "reference" / "files.md").read_text(encoding="utf-8")
(EXAMPLE,) = [block for block in re.findall(r"^```xml\n(.*?)^```", FILES, re.MULTILINE | re.DOTALL) if "<dpg" in block]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def deep(tmp_path, monkeypatch):
    """The example of docs/reference/files.md, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep.xml").write_text(EXAMPLE)
    shutil.copy(ROOT / "tests" / "cases" / "C2-4.xml", tmp_path / "ring.xml")
    return tmp_path


def test_the_documented_example_is_sound(deep, eprune):
    done = eprune("analyze", "deep.xml")
    assert done.code == 0 and done.out.startswith("no findings")


def test_the_control_values_decide_how_many_tokens_pass(deep, eprune):
    done = eprune("simulate", "deep.xml", "--control", "Maybe=0,1,1", "--iterations", "6", "--format", "json")
    assert (done.code, done.err) == (0, "")
    told = json.loads(done.out)
    assert told["control"] == {"Maybe": [0, 1, 1]} and not told["deadlock"]
    assert {actor["name"]: actor["firings"] for actor in told["actors"]} == dict.fromkeys(
        ["Frames", "Gate", "Split", "Deep", "Merge", "Results"], 6
    )
    passed = {fifo["name"]: fifo["tokens"] for fifo in told["fifos"]}
    assert passed == {"d1": 4, "d2": 4, **dict.fromkeys(["look", "frames", "c1", "c2", "c3", "results"], 6)}
    for fifo in told["fifos"]:
        events, held = zip(*fifo["fill"])
        assert max(held) == fifo["peak"] <= fifo["capacity"]
        assert events[0] == 0 and list(events) == sorted(set(events)) and events[-1] <= told["events"] == 72


def test_the_text_shows_the_same_and_the_number_of_iterations_follows_from_the_values(deep, eprune):
    done = eprune("simulate", "deep.xml", "--control", "Maybe=0,1,1,0,0")
    assert done.code == 0
    assert done.out.startswith("sometimes-deep: 5 iterations, 60 events\n  Maybe: 0, 1, 1, 0, 0\n")
    (line,) = re.findall(r"^  d1 .*$", done.out, re.MULTILINE)
    name, capacity, peak, _, tokens, *held = line.split()
    assert (name, capacity, peak, tokens) == ("d1", "2", max(held), "2") and len(held) == 16


def test_values_that_are_not_given_are_drawn_by_the_seed(deep, eprune):
    def drawn(seed):
        return eprune("simulate", "deep.xml", "--seed", str(seed), "--format", "json").out

    assert drawn(1) == drawn(1)
    told = [json.loads(drawn(seed)) for seed in range(5)]
    assert all(set(each["control"]["Maybe"]) <= {0, 1} and each["iterations"] == 10 for each in told)
    assert len({tuple(each["control"]["Maybe"]) for each in told}) > 1


def test_a_deadlock_names_who_is_stuck_and_why_and_the_proof_beside_it(deep, eprune):
    done = eprune("simulate", "ring.xml", "--control", "A=0,1", "B=0,1")
    assert done.code == 1
    assert "Deadlock" in done.out and "error[C2]: deadlock in row 1 of 'A' and row 1 of 'B'" in done.err
    for actor, reason in {
        "SplitA": "f2 holds 0 of 1 tokens (row 1 of 'A')",
        "MergeB": "d2 holds 0 of 1 tokens (row 1 of 'B')",
    }.items():
        assert re.search(rf"^  {actor} +{re.escape(reason)}$", done.out, re.MULTILINE)
    assert eprune("simulate", "ring.xml", "--control", "A=0,1", "B=1,0").code == 0


def test_a_graph_that_breaks_another_rule_is_not_simulated(deep, eprune):
    (deep / "deep.xml").write_text(EXAMPLE.replace('rates="1 1 1 1"', 'rates="1 1 1 2"'))
    done = eprune("simulate", "deep.xml")
    assert (done.code, done.out) == (1, "") and "error[D3]" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--control", "Maybe=0,7"], "the table of 'Maybe' has no row 7; it has 0, 1"),
        (["--control", "Deep=0"], "there is no dynamic processing graph 'Deep'; there are Maybe"),
        (["--control", "Maybe=a"], "is not of the form DPG=V,V,..."),
        (["--control", "Maybe=0", "Maybe=1"], "'Maybe' is given twice"),
        (["--iterations", "0"], "0 is not in the range"),
        (["--chart", "fill.bmp"], "ends in neither .svg nor .png"),
    ],
)
def test_wrong_usage_is_told(deep, eprune, arguments, message):
    done = eprune("simulate", "deep.xml", *arguments)
    assert (done.code, done.out) == (2, "") and message in done.err


def test_a_chart_has_a_strip_for_each_fifo(deep, eprune):
    assert eprune("simulate", "deep.xml", "--control", "Maybe=1", "--chart", "fill.svg").code == 0
    root = ElementTree.parse(deep / "fill.svg").getroot()
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert {"look: 2", "d1: 2", "d2: 2", "c3: 2"} <= set(texts)


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed")
def test_a_chart_may_be_a_png(deep, eprune):
    assert eprune("simulate", "deep.xml", "--chart", "fill.png").code == 0
    assert (deep / "fill.png").read_bytes().startswith(b"\x89PNG")
