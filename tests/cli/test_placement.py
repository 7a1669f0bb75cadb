"""Actors anywhere on a graph of platforms: explored, timed, reported, made a system, and run by real processes."""

from __future__ import annotations

import json
import shlex

import pytest

from eprune.analysis.check import check
from eprune.face import load

ACTORS = """
from eprune.runtime import Actor, EndOfStream


class Source(Actor):
    def __init__(self, count="5"):
        self.count = int(count)

    def initialize(self):
        self.frame = 0

    def fire(self, inputs, outputs):
        if self.frame == self.count:
            raise EndOfStream
        outputs["out"][...] = self.frame
        self.frame += 1


class Step(Actor):
    def fire(self, inputs, outputs):
        outputs["out"][...] = 2 * sum(inputs.values()) + 1


class Sink(Actor):
    def fire(self, inputs, outputs):
        print(inputs["in"].tolist(), flush=True)
"""
TOKEN = 'token="float32[3]"'


def actor(name, kind="Step", inputs=("in",), out=True):
    ports = [*(f'<in name="{each}" {TOKEN}/>' for each in inputs), *[f'<out name="out" {TOKEN}/>'] * out]
    return f'<actor name="{name}" class="steps.py:{kind}">{"".join(ports)}</actor>'


def fifo(number, source, target):
    return f'<fifo name="f{number}" from="{source}.out" to="{target}"/>'


#: A chain of six actors, and two sources whose ways meet.
CHAIN = [
    *(actor("In", "Source", ()), *(actor(name) for name in "ABCD"), actor("Out", "Sink", out=False)),
    *(fifo(n, *ends) for n, ends in enumerate([("In", "A.in"), ("A", "B.in"), ("B", "C.in"), ("C", "D.in")])),
    fifo(4, "D", "Out.in"),
]
MEET = [
    *(actor("In1", "Source", ()), actor("In2", "Source", ()), actor("A1"), actor("A2"), actor("J", inputs=("a", "b"))),
    *(actor("Out", "Sink", out=False), fifo(0, "In1", "A1.in"), fifo(1, "In2", "A2.in"), fifo(2, "A1", "J.a")),
    *(fifo(3, "A2", "J.b"), fifo(4, "J", "Out.in")),
]
TIMES = {"In": 0.001, "A": 0.01, "B": 0.01, "C": 0.01, "D": 0.01, "Out": 0.001}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "steps.py").write_text(ACTORS)
    for name, body in (("chain", CHAIN), ("meet", MEET)):
        (tmp_path / f"{name}.xml").write_text(f'<application name="{name}">{"".join(body)}</application>')
    return tmp_path


def platforms(folder, pairs, units=("cpu",), **memory):
    """The files of platforms that these pairs join; names as they first come."""
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    for name in names:
        links = "".join(
            f'<link to="{other}" port="{5100 + 100 * number}" bandwidth="1MB/s" latency="1ms"/>'
            for number, pair in enumerate(pairs)
            if name in pair
            for other in pair
            if other != name
        )
        own = "".join(f'<unit name="{unit}"/>' for unit in units)
        has = f' memory="{memory[name]}"' if name in memory else ""
        (folder / f"{name}.xml").write_text(f'<platform name="{name}"{has}>{own}{links}</platform>')
    return [f"{name}.xml" for name in names]


LINE = [("a", "b"), ("b", "c"), ("c", "d")]
TREE = [("left", "hub"), ("right", "hub"), ("hub", "cloud")]


def timed(folder, **times):
    """As if ``profile --actors`` had found these: platform -> actor -> seconds."""
    plan = json.loads((folder / "cuts/explore.json").read_text())
    told = {name: {"actors": own} for name, own in times.items()}
    (folder / "cuts/actors.json").write_text(json.dumps({"plan": plan["id"], "platforms": told}))


def explored(eprune, application, files, *words):
    done = eprune("explore", f"{application}.xml", "-p", *files, "-o", "cuts", "--frames", "3", *words)
    assert done.code == 0, done.err
    return done


def made(eprune, *words):
    """What ``cut`` wrote, as a system, and what it said."""
    done = eprune("cut", "cuts", *words, "-o", "system", "--format", "json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    system = load(found["application"], found["platforms"], found["mappings"], allow_outside=True)
    assert [str(each) for each in check(system)] == []
    return found, system


def ran(eprune_process, found):
    """The lines that its real processes print."""
    where = (found["application"], "-p", found["platforms"], "-m", found["mappings"])
    done = eprune_process("run", *where, "--allow-outside")
    assert done.code == 0, done.err
    return [line for line in done.out.splitlines() if line.startswith("[")]


def test_a_chain_of_four_platforms_shares_the_work_and_computes_the_same(folder, eprune, eprune_process):
    done = explored(eprune, "chain", platforms(folder, LINE))
    assert "6 actors on 4 platforms, a - b, b - c, c - d" in done.out
    assert "note: the actors are not timed" in done.err and "next: eprune profile cuts --actors" in done.err
    alone = made(eprune, "--point", "latency")[0]
    assert set(alone["homes"].values()) == {"a"}, "by the estimate nothing takes long"
    expected = ran(eprune_process, alone)
    assert len(expected) == 5

    timed(folder, **dict.fromkeys("abcd", TIMES))
    found, system = made(eprune, "--best", "throughput")
    assert [found["homes"][name] for name in TIMES] == ["a", "a", "b", "c", "d", "d"]
    assert found["exact"] and found["bound"] == pytest.approx(11.0, rel=0.01)
    assert found["predicted"]["period"] == pytest.approx(0.011)
    assert set(system.homes.values()) == set("abcd")
    assert ran(eprune_process, found) == expected

    again, _ = made(eprune, "--best", "latency")
    assert set(again["homes"].values()) == {"a"}
    assert not (folder / "system/mappings").exists(), "mappings of the former cut would contradict this one"


def test_a_tree_with_two_sources_and_the_sink_at_one_of_them(folder, eprune, eprune_process):
    kept = ("--keep-on", "left", "In1", "--keep-on", "right", "In2", "--keep-on", "left", "Out")
    explored(eprune, "meet", platforms(folder, TREE), *kept)
    slow = {"In1": 0.001, "In2": 0.001, "A1": 0.03, "A2": 0.03, "J": 0.03, "Out": 0.001}
    fast = {name: seconds / 10 for name, seconds in slow.items()}
    timed(folder, left=slow, right=slow, hub=fast, cloud=fast)
    found, _ = made(eprune, "--best", "latency")
    homes = found["homes"]
    assert (homes["In1"], homes["In2"], homes["Out"], homes["J"]) == ("left", "right", "left", "hub")
    assert len(ran(eprune_process, found)) == 5
    refused = eprune(
        "cut", "cuts", "--best", "latency", "--keep-on", "cloud", "J", "--keep-on", "left", "A1", "-o", "n"
    )
    assert refused.code == 1, "no FIFO crosses where there is no link: left has none to the cloud"
    assert "no cut is allowed" in refused.err


def test_memory_and_units_are_part_of_the_search(folder, eprune, eprune_process):
    """Of two units the second one takes half of the work; and no FIFO comes to where its buffer has no room."""
    explored(eprune, "chain", platforms(folder, [("a", "b"), ("b", "c")], ("cpu0", "cpu1")))
    plan = json.loads((folder / "cuts/explore.json").read_text())
    of_units = {"units": {"cpu0": TIMES, "cpu1": TIMES}, "fastest": dict.fromkeys(TIMES, "cpu0"), "actors": TIMES}
    told = dict.fromkeys("abc", of_units)
    (folder / "cuts/actors.json").write_text(json.dumps({"plan": plan["id"], "platforms": told}))
    found, system = made(eprune, "--best", "throughput", "--must-not-use", "c", "--must-not-use", "b")
    assert set(found["units"]["a"].values()) == {"cpu0", "cpu1"}
    assert found["predicted"]["period"] == pytest.approx(0.021, rel=0.01)
    assert {unit for _, unit in system.units.values()} == {"cpu0", "cpu1"}
    assert len(ran(eprune_process, found)) == 5

    for memory, homes in (("40KiB", set("abcd")), ("5KiB", {"a"})):
        explored(eprune, "chain", platforms(folder, LINE, b=memory))
        timed(folder, **dict.fromkeys("abcd", TIMES))
        found, _ = made(eprune, "--best", "throughput")
        assert set(found["homes"].values()) == homes, "2 ms there and back are the time of 167 tokens"


def test_buffers_that_turn_out_larger_than_the_search_knows_lead_to_another_placement(folder, eprune, monkeypatch):
    """As where tokens wait for others that come a longer way."""
    from eprune.explore import cost, program

    explored(eprune, "chain", platforms(folder, LINE, b="5KiB"))
    timed(folder, **dict.fromkeys("abcd", TIMES))
    for module in (cost, program):
        monkeypatch.setattr(module, "buffer_bytes", lambda stream, *_: 1000)
    found, _ = made(eprune, "--best", "throughput")
    assert set(found["homes"].values()) == {"a"}


def test_the_report_compares_the_placements_and_says_what_is_proved(folder, eprune):
    explored(eprune, "chain", platforms(folder, LINE))
    timed(folder, **dict.fromkeys("abcd", TIMES))
    done = eprune("report", "cuts", "--objective", "throughput")
    assert "No placement is better than 11 ms: this is proved." in done.out
    assert "Better than these placements is a cut b after A, c after B, d after C: 11 ms" in done.out
    data = json.loads(eprune("report", "cuts", "--objective", "latency", "--format", "json").out)
    assert data["best_of_all_cuts"]["exact"] and "ms" in data["unit"]
    assert "d ms" in eprune("report", "cuts", "--format", "csv").out.splitlines()[0]
    estimate = eprune("report", "cuts", "--objective", "throughput", "--speed", "b=4")
    assert "Emulated speeds: b=4" in estimate.out


def test_a_search_that_is_stopped_says_how_good_its_answer_is_at_least(folder, eprune, monkeypatch):
    """The solver is given no time at all: what is known without it is taken, and its bound is no bound."""
    from eprune.explore.integer import IntegerProgram, Unsolved

    explored(eprune, "chain", platforms(folder, LINE), "--seconds", "5")
    timed(folder, **dict.fromkeys("abcd", TIMES))
    asked = []

    def relaxed(self, terms, seconds):
        asked.append(seconds)
        raise Unsolved("in time")

    monkeypatch.setattr(IntegerProgram, "relaxed", relaxed)
    done = eprune("cut", "cuts", "--best", "throughput", "--seconds", "7", "-o", "system")
    assert done.code == 0 and asked == [7.0]
    assert "note: 11 ms is what was found, and no cut is below 0 ms; --seconds gives the search more time" in done.err
    done = eprune("report", "cuts", "--objective", "throughput", "--seconds", "3")
    assert asked == [7.0, 3.0] and "No placement is below 0 ms" in done.out


def test_actors_of_equal_units_are_timed_once_and_placements_are_measured(folder, eprune):
    explored(eprune, "chain", platforms(folder, LINE))
    done = eprune("profile", "cuts", "--actors")
    assert done.code == 0, done.err
    assert "note: d has the units of a, and its times" in done.err
    assert json.loads((folder / "cuts/actors.json").read_text())["platforms"].keys() == set("abcd")
    done = eprune("profile", "cuts", "--no-pin")
    assert done.code == 0, done.err
    report = eprune("report", "cuts", "--objective", "throughput")
    assert report.code == 0 and "measured f/s" in report.out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("explore chain.xml -p {files} -o new --fastest-units", "--fastest-units: on a graph of platforms"),
        ("explore chain.xml -p a.xml b.xml -o new --seconds 3", "--seconds: --seconds is for the search on a graph"),
        ("explore chain.xml -p {files} -o new --not-on a A --must-not-use b", "no placement is allowed"),
        ("cut cuts --after A -o new", "say which is where by --keep-on PLATFORM ACTOR"),
        ("cut cuts --point latency --seconds 3 -o new", "--seconds is for the search for the best cut"),
    ],
)
def test_what_does_not_fit_is_refused(folder, eprune, command, message):
    files = platforms(folder, LINE)
    explored(eprune, "chain", files)
    done = eprune(*shlex.split(command.format(files=" ".join(files))))
    assert done.code in (1, 2) and message in done.err
    assert not (folder / "new").exists()
