"""Cuts that keep a latency and a rate, of the application and of --require; and what is told where none does."""

from __future__ import annotations

import json
import re

import pytest
from test_cut import ACTORS, PLATFORM, TIMES, WIDE

REQUIRE = '<require from="In.a" to="Out.c" rate="50/s" latency="{}" share="0.9"/>\n</application>'


@pytest.fixture
def explored(tmp_path, monkeypatch, eprune):
    """Explores the application of test_cut with a latency of its own, and times it, though not by a clock.

    By hand: after In it takes 9.2 ms, after In and A 7 ms, after In, A and B, which is no partition point, 4.8 ms.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wide.py").write_text(ACTORS)
    for name, other in (("endpoint", "server"), ("server", "endpoint")):
        (tmp_path / f"{name}.xml").write_text(PLATFORM.format(name, other))

    def explore(latency, *words):
        required = "</application>" if latency is None else REQUIRE.format(latency)
        (tmp_path / "wide.xml").write_text(WIDE.replace("</application>", required))
        done = eprune("explore", "wide.xml", "-p", "endpoint.xml", "server.xml", "-o", "cuts", "--frames", "3", *words)
        assert done.code == 0, done.err
        plan = json.loads((tmp_path / "cuts/explore.json").read_text())
        told = {"endpoint": {"actors": TIMES}, "server": {"actors": dict.fromkeys(TIMES, 1e-6)}}
        (tmp_path / "cuts/actors.json").write_text(json.dumps({"plan": plan["id"], "platforms": told}))
        return done

    return explore


def report(eprune, *words):
    done = eprune("report", "cuts", "--objective", "latency", "--format", "json", *words)
    return done.code, json.loads(done.out)


def near(homes):
    return {actor for actor, home in homes.items() if home == "endpoint"}


def test_what_the_application_requires_holds_without_a_word(explored, eprune):
    done = explored("8ms")
    assert "Required: 50 frames/s and 8 ms for a single frame." in done.out
    code, told = report(eprune, "--objective", "bytes")
    assert code == 0
    assert told["required"] == {"latency": 0.008, "rate": 50.0}
    missed = {point["point"]: point["missed"] for point in told["points"]}
    assert missed["2"] == "" and missed["1"] == "1.2 ms late"
    assert missed["6"].startswith("3.3 of 50 frames/s, 295 ms late")
    assert told["ranked"] == ["2"]
    text = eprune("report", "cuts", "--objective", "bytes").out
    assert re.search(r"^ +1 +after In .* 1.2 ms late *$", text, re.M), text
    assert "meets what is required" in text.splitlines()[-1]
    assert "which share of the frames keeps the latency is not known" in text
    assert "1.2 ms late" in eprune("report", "cuts", "--format", "csv").out
    assert "1.2 ms late" in eprune("report", "cuts", "--format", "html").out
    _, told = report(eprune, "--objective", "bytes", "--no-require")
    assert "required" not in told and told["ranked"][0] == "6", "the endpoint alone sends nothing"


def test_the_strictest_of_all_counts(explored, eprune):
    explored("8ms", "--require", "latency=7.5ms", "--require", "rate=20/s")
    assert report(eprune)[1]["required"] == {"latency": 0.0075, "rate": 50.0}
    assert report(eprune, "--require", "latency=9ms,rate=60/s")[1]["required"] == {"latency": 0.0075, "rate": 60.0}
    assert report(eprune, "--require", "latency=9ms", "--no-require")[1]["required"] == {"latency": 0.009, "rate": None}
    explored("8ms", "--no-require")
    assert "required" not in report(eprune)[1]


def test_a_cut_that_is_no_partition_point_is_found_where_no_point_does(explored, eprune):
    explored("6ms")
    code, told = report(eprune)
    assert (code, told["ranked"]) == (0, [])
    assert near(told["best_of_all_cuts"]["homes"]) == {"In", "A", "B"}
    assert told["advice"].startswith("What is left is a cut after A, B: 4.8")
    done = eprune("cut", "cuts", "--best", "bytes", "-o", "system", "--format", "json")
    assert near(json.loads(done.out)["homes"]) == {"In", "A", "B"}, done.err
    done = eprune("cut", "cuts", "--point", "1", "-o", "system")
    assert done.code == 2
    assert "misses what is required, 50 frames/s and 6 ms for a single frame: 3.2 ms late; --no-require" in done.err
    assert eprune("cut", "cuts", "--point", "1", "-o", "system", "--no-require").code == 0


def test_where_no_cut_does_the_nearest_and_what_would_help_are_told(explored, tmp_path, eprune):
    explored("4ms")
    code, told = report(eprune)
    assert (code, told["ranked"], told["best_of_all_cuts"]) == (1, [], None)
    unmet = told["unmet"]
    assert unmet["ratio"] == pytest.approx(4.8 / 4, rel=1e-3)
    assert near(unmet["nearest"]["homes"]) == {"In", "A", "B"} and unmet["nearest"]["point"] is None
    links, endpoint, server = unmet["remedies"]
    assert (links["faster"], links["point"], links["proved"]) == ("links", "1", True)
    assert links["factor"] == pytest.approx(7.2 / 2, rel=0.01)  # 1 ms in In, 1 ms of latency, and 72 bytes
    assert endpoint["factor"] == pytest.approx(3 / 2.2, rel=0.01) and near(endpoint["homes"]) == {"In", "A", "B"}
    assert server["factor"] is None
    text = eprune("report", "cuts").out
    assert "The nearest is the cut after A, B: 4.8" in text
    assert "endpoint -> server 0.036" in text and "MB/s instead of 0.01" in text
    assert "Of no help by itself, not even 1000 times as fast: server." in text
    assert "To make the best cut a system" not in text

    done = eprune("cut", "cuts", "-o", "system")
    assert (done.code, done.out) == (1, "")
    assert "No cut meets what is required: 50 frames/s and 4 ms for a single frame." in done.err
    assert not (tmp_path / "system").exists()
    done = eprune("cut", "cuts", "-o", "system", "--format", "json")
    assert (done.code, json.loads(done.out)["unmet"]["ratio"]) == (1, unmet["ratio"])

    # What is told is true.
    wifi = f"more={links['factor'] * 10.01}kB/s,1ms"
    assert report(eprune, "--link", wifi)[1]["ranked"] == ["1"]
    assert report(eprune, "--link", f"less={links['factor'] * 9.8}kB/s,1ms")[0] == 1
    assert report(eprune, "--speed", f"endpoint={endpoint['factor'] * 1.001}")[0] == 0


def test_before_the_actors_are_timed_only_a_rate_can_be_missed(explored, tmp_path, eprune):
    explored("4ms")
    (tmp_path / "cuts/actors.json").unlink()
    assert eprune("profile", "cuts", "--point", "1", "--no-pin").code == 0
    done = eprune("report", "cuts")
    assert done.code == 0, done.err
    assert "what single frames take is not predicted: run eprune profile DIR --actors" in done.out
    done = eprune("report", "cuts", "--require", "rate=100000000/s", "--format", "json")
    assert done.code == 1, "it was measured to be slower"
    assert "of 1e+08 frames/s" in json.loads(done.out)["points"][0]["missed"]


@pytest.mark.parametrize("text", ["latency=fast", "rate=30", "share=0.9", "latency=0ms"])
def test_what_is_no_requirement_is_refused(explored, eprune, text):
    explored(None)
    done = eprune("report", "cuts", "--require", text)
    assert (done.code, "--require" in done.err) == (2, True)
