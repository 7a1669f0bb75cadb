"""`eprune cut`: a cut of an exploration as a system that runs."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from eprune.analysis.check import check
from eprune.face import load

PLATFORM = '<platform name="{}"><unit name="cpu"/><link to="{}" bandwidth="10kB/s" latency="1ms"/></platform>'
#: A camera's three branches, each with a small token in its middle, joined late.
WIDE = """<application name="wide">
  <actor name="In" class="wide.py:Source"><out name="a" token="float32[9]"/><out name="b" token="float32[9]"/></actor>
  <actor name="A" class="wide.py:Less"><in name="in" token="float32[9]"/><out name="out" token="float32[1]"/></actor>
  <actor name="C" class="wide.py:More"><in name="in" token="float32[1]"/><out name="out" token="float32[9]"/></actor>
  <actor name="B" class="wide.py:Less"><in name="in" token="float32[9]"/><out name="out" token="float32[1]"/></actor>
  <actor name="D" class="wide.py:More"><in name="in" token="float32[1]"/><out name="out" token="float32[9]"/></actor>
  <actor name="Out" class="wide.py:Sink"><in name="c" token="float32[9]"/><in name="d" token="float32[9]"/></actor>
  <fifo name="f1" from="In.a" to="A.in"/> <fifo name="f2" from="In.b" to="B.in"/>
  <fifo name="f3" from="A.out" to="C.in"/> <fifo name="f4" from="B.out" to="D.in"/>
  <fifo name="f5" from="C.out" to="Out.c"/> <fifo name="f6" from="D.out" to="Out.d"/>
</application>
"""
ACTORS = """
from eprune.runtime import Actor, EndOfStream


class Source(Actor):
    def __init__(self):
        self.left = 300

    def fire(self, inputs, outputs):
        if not self.left:
            raise EndOfStream
        self.left -= 1
        for out in outputs.values():
            out[...] = self.left


class Less(Actor):
    def fire(self, inputs, outputs):
        outputs["out"][...] = inputs["in"][:1]


class More(Actor):
    def fire(self, inputs, outputs):
        outputs["out"][...] = inputs["in"][0]


class Sink(Actor):
    def fire(self, inputs, outputs):
        assert inputs["c"][0] == inputs["d"][0]
"""
#: Seconds of the actors on the endpoint; the server takes none. The order of the file is In A C B D Out.
TIMES = {"In": 0.001, "A": 0.001, "B": 0.001, "C": 0.1, "D": 0.1, "Out": 0.1}


@pytest.fixture
def cuts(tmp_path, monkeypatch, eprune):
    """An exploration whose actors are timed, though not by a clock: the best cut is behind A and B."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wide.xml").write_text(WIDE)
    (tmp_path / "wide.py").write_text(ACTORS)
    for name, other in (("endpoint", "server"), ("server", "endpoint")):
        (tmp_path / f"{name}.xml").write_text(PLATFORM.format(name, other))
    done = eprune("explore", "wide.xml", "-p", "endpoint.xml", "server.xml", "-o", "cuts", "--frames", "3")
    assert done.code == 0, done.err
    plan = json.loads((tmp_path / "cuts/explore.json").read_text())
    told = {"endpoint": {"actors": TIMES}, "server": {"actors": dict.fromkeys(TIMES, 1e-6)}}
    (tmp_path / "cuts/actors.json").write_text(json.dumps({"plan": plan["id"], "platforms": told}))
    return plan


def made(eprune, *words):
    done = eprune("cut", "cuts", *words, "-o", "system", "--format", "json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def on_endpoint(found):
    return {actor for actor, home in found["homes"].items() if home == "endpoint"}


def test_the_best_of_all_cuts_becomes_a_system_that_is_sound(cuts, eprune):
    found = made(eprune, "--best", "latency")
    assert on_endpoint(found) == {"In", "A", "B"}
    assert found["point"] is None, "it is no partition point: the order is In A C B D Out"
    system = load(found["application"], found["platforms"], found["mappings"], allow_outside=True)
    assert [str(each) for each in check(system)] == []
    assert {actor for actor, home in system.homes.items() if home == "endpoint"} == {"In", "A", "B"}
    # Two tokens of 4 bytes, the link's latency, and three actors.
    assert found["predicted"]["latency"] == pytest.approx(0.003 + 8e-4 + 0.001, rel=0.01)


def test_a_point_and_what_an_actor_needs(cuts, eprune):
    for point in cuts["alternatives"]:
        found = made(eprune, "--point", point["name"])
        assert (found["homes"], found["point"]) == (point["homes"], point["name"])
    assert on_endpoint(made(eprune, "--after", "D")) == {"In", "B", "D"}
    assert on_endpoint(made(eprune, "--after", "Out")) == set(TIMES)


def test_the_report_has_it_first_and_prints_the_command_that_makes_it(cuts, eprune):
    text = eprune("report", "cuts", "--objective", "latency", "--must-use", "server").out
    command = re.search(r"^To make the best cut a system: eprune (.*) -o SYSTEM$", text, re.M)
    assert command, text
    found = made(eprune, *shlex.split(command[1])[2:])
    best = json.loads(eprune("report", "cuts", "--objective", "latency", "--format", "json").out)
    assert found["homes"] == best["best_of_all_cuts"]["homes"]
    assert re.search(r"^  1 +- +after ", text, re.M), text
    assert best["advice"].startswith("Better than every partition point is a cut after A, B")
    assert best["make"] == "eprune cut cuts --best latency -o SYSTEM"


def test_other_links_and_speeds_lead_to_other_cuts(cuts, eprune):
    assert on_endpoint(made(eprune, "--best", "latency", "--link", "slow=1kB/s,9s")) == set(TIMES)
    assert on_endpoint(made(eprune, "--best", "latency", "--link", "fast=10GB/s,0s")) == {"In"}
    assert on_endpoint(made(eprune, "--best", "latency", "--speed", "endpoint=1000")) == set(TIMES)


def test_constraints_of_the_exploration_and_of_the_command_hold(cuts, eprune):
    for words, held in (
        (("--keep-on", "endpoint", "C"), lambda near: "C" in near),
        (("--not-on", "endpoint", "B"), lambda near: "B" not in near),
        (("--private-until", "C"), lambda near: {"In", "A", "C"} <= near),
        (("--must-not-use", "server"), lambda near: near == set(TIMES)),
        (("--max-bytes", "4B"), lambda near: near == set(TIMES)),
    ):
        assert held(on_endpoint(made(eprune, "--best", "latency", *words))), words


def test_it_is_measured_beside_its_prediction(cuts, eprune):
    done = eprune("cut", "cuts", "--best", "latency", "-o", "system", "--validate", "--frames", "20")
    assert done.code == 0, done.err
    assert re.search(r"^[0-9.]+ ms per frame over loopback, predicted [0-9.]+ ms$", done.out, re.M)
    found = made(eprune, "--best", "latency", "--validate", "--emulate", "--frames", "5")
    # Emulated, a frame takes the latency of the link at least in the prediction's stages or not at all.
    assert found["validation"]["measured_ms"] > 0 < found["validation"]["predicted_ms"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--best", "latency", "--point", "1"), "three ways to say which cut"),
        (("--point", "99"), "there is no point '99'"),
        (("--after", "Nobody"), "there is no actor 'Nobody'"),
        (("--after", "A", "--after", "B"), "2 actors for 2 tiers"),
        (("--after", "In", "--private-until", "A"), "the constraints do not allow that cut: A, which is private"),
        (("--must-use", "server", "--keep-on", "endpoint", "Out", "--max-bytes", "1B"), "no cut is allowed"),
        (("--emulate",), "--emulate and --frames are for --validate"),
        (("--as-it-is",), "nothing was tried with eprune profile cuts --compress"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(cuts, eprune, tmp_path, words, message):
    done = eprune("cut", "cuts", *words, "-o", "system")
    assert done.code in (1, 2)
    assert message in done.err
    assert not (tmp_path / "system").exists()


def test_without_predictions_the_best_measured_point_is_taken(cuts, eprune, tmp_path):
    (tmp_path / "cuts/actors.json").unlink()
    done = eprune("cut", "cuts", "-o", "system")
    assert (done.code, "nothing is measured" in done.err) == (2, True), done.err
    done = eprune("cut", "cuts", "--speed", "endpoint=2", "-o", "system")
    assert (done.code, "need predictions" in done.err) == (2, True), done.err
    assert on_endpoint(made(eprune, "--best", "bytes", "--must-use", "server")) < set(TIMES)
