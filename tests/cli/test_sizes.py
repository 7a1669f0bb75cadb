"""`eprune analyze --buffers` and `eprune import` of SDF3's graphs, as users call them."""

from __future__ import annotations

import json
import re

import pytest
from application import LOCAL, ROOT, SPLIT

from eprune.formats.xml.application import read_application
from tests.kit import sdf3

TIMES = ("--times", "In=1ms", "L1=4ms", "L2=3ms", "Out=1ms")


def buffers(done):
    assert done.code == 0, done.out + done.err
    return json.loads(done.out)["buffers"]


def test_the_page_shows_what_is_printed(eprune, monkeypatch):
    page = (ROOT / "docs/how-to/size_buffers.md").read_text(encoding="utf-8")
    monkeypatch.chdir(ROOT)
    sessions = re.findall(r"^\$ eprune ([^\n]*)\n(.*?)```", page, re.M | re.S)
    assert len(sessions) == 3
    for command, shown in sessions:
        printed = eprune(*command.split()).out
        for part in shown.split("...\n"):
            assert part in printed


def test_sizes_throughput_and_bottleneck_for_scripts(app, eprune):
    told = buffers(eprune("analyze", "app.xml", "--buffers", *TIMES, "--format", "json"))
    assert told["given"]["capacities"] == {"f1": 2, "f2": 2, "f3": 2}
    assert told["given"]["bytes"] == 2 * (768 + 256 + 64)
    assert told["live"]["capacities"] == {"f1": 1, "f2": 1, "f3": 1}
    assert told["fast"]["capacities"] == {"f1": 2, "f2": 2, "f3": 1}
    assert told["fast"]["bytes"] == told["fast"]["bound_bytes"] == 2 * (768 + 256) + 64
    assert told["throughput"]["period_s"] == told["max_throughput"]["period_s"] == 0.004
    assert [edge["source"] for edge in told["throughput"]["bottleneck"]["cycle"]] == ["L1"]


def test_a_mapping_makes_actors_take_turns(app, eprune):
    told = buffers(eprune("analyze", *LOCAL, "--buffers", *TIMES, "--format", "json"))
    assert told["throughput"]["period_s"] == 0.009
    told = buffers(eprune("analyze", *SPLIT, "--buffers", *TIMES, "--format", "json"))
    assert told["throughput"]["period_s"] == 0.005
    assert told["given"]["bytes"] == 2 * (768 + 2 * 256 + 64)


def test_it_says_which_actors_a_thread_fires_in_turn(app, eprune):
    told = buffers(eprune("analyze", *SPLIT, "--buffers", "--format", "json"))
    assert told["clusters"] == [
        {"unit": "endpoint/cpu0", "actors": ["In", "L1"]},
        {"unit": "server/cpu0", "actors": ["L2", "Out"]},
    ]
    shown = eprune("analyze", *SPLIT, "--buffers").out
    assert "Threads, and the actors that each fires in turn:" in shown
    assert "In, L1" in shown


def test_it_says_how_much_the_room_over_a_link_limits_and_which_window_does_not(app, eprune):
    for name in ("endpoint", "server"):
        file = app / "platforms" / f"{name}.xml"
        file.write_text(re.sub(r"<link ", '<link bandwidth="256kB/s" latency="10ms" ', file.read_text()))
    told = buffers(eprune("analyze", *SPLIT, "--buffers", *TIMES, "--format", "json"))
    (link,) = told["links"]
    # L1's time, a transfer of 256 bytes, the latency there and back, L2's time: 4 + 1 + 10 + 10 + 3 ms
    assert (link["fifo"], link["link"], link["capacity"], link["window"]) == ("f2", "endpoint -> server", 2, 0)
    assert (link["round_trip_s"], link["period_s"]) == (0.028, 0.014)
    assert told["throughput"]["period_s"] == 0.014
    assert told["max_throughput"]["period_s"] == 0.005
    assert (link["enough_window"], told["fast"]["windows"]) == (4, {"f2": 4})  # 6 tokens in 28 ms, one every 5 ms
    assert "give f2 a window of 1" in told["throughput"]["bottleneck"]["advice"]

    eprune("analyze", *SPLIT, "--buffers", *TIMES, "--apply", "wider.xml", "-o", "report.txt")
    assert 'window="4"' in (app / "wider.xml").read_text()
    told = buffers(eprune("analyze", "wider.xml", *SPLIT[1:], "--buffers", *TIMES, "--format", "json"))
    assert told["throughput"]["period_s"] == 0.005
    shown = eprune("analyze", "wider.xml", *SPLIT[1:], "--buffers", *TIMES).out
    assert "2 + 4" in shown
    assert "what it has" in shown


def test_without_times_there_are_the_sizes_to_live(app, eprune):
    done = eprune("analyze", "app.xml", "--buffers", "--times", "L1=1ms")
    assert "least to live" in done.out
    assert "full speed" not in done.out
    assert "these actors have no time: In, L2, Out" in done.out


def test_times_of_a_profile_are_those_of_the_platform(app, eprune):
    here = {"In": 0.001, "L1": 0.002, "L2": 0.5, "Out": 0.5}
    there = {"In": 9, "L1": 9, "L2": 0.003, "Out": 0.002}
    profile = {"plan": "x", "platforms": {"endpoint": {"actors": here}, "server": {"actors": there}}}
    (app / "actors.json").write_text(json.dumps(profile))
    told = buffers(eprune("analyze", *SPLIT, "--buffers", "--times", "actors.json", "--format", "json"))
    assert told["throughput"]["period_s"] == 0.005
    done = eprune("analyze", "app.xml", "--buffers", "--times", "actors.json")
    assert done.code == 2
    assert "endpoint and server" in done.err


def test_times_of_the_command_line_come_before_those_of_the_graph(app, eprune):
    text = (app / "app.xml").read_text().replace('<actor name="L1"', '<actor name="L1" time="7.5ms"')
    (app / "app.xml").write_text(text)
    (app / "times.json").write_text('{"In": 0.001, "L2": "2ms", "Out": 0}')
    told = buffers(eprune("analyze", "app.xml", "--buffers", "--times", "times.json", "--format", "json"))
    assert told["throughput"]["period_s"] == 0.0075
    arguments = ("--times", "times.json", "L1=1ms", "--format", "json")
    assert buffers(eprune("analyze", "app.xml", "--buffers", *arguments))["throughput"]["period_s"] == 0.002


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("L9=1ms", "there is no actor 'L9'; there are 'In', 'L1', 'L2' and 'Out'"),
        ("L1=soon", "the time of L1 is 'soon'"),
        ("L1=-1ms", "the time of L1 is '-1ms'"),
        ("bad.json", "bad.json has no times"),
        ("list.json", "list.json has no times"),
        ("word.json", "the time of L1 is None"),
        ("minus.json", "the time of L1 is below 0"),
        ("huge.json", "the time of L1 is inf"),
        ("none.json", "there is no such file"),
    ],
)
def test_times_that_mean_nothing_are_refused(app, eprune, given, message):
    files = {"bad": "{", "list": "[1]", "word": '{"L1": null}', "minus": '{"L1": -1}', "huge": '{"L1": 1e999}'}
    for name, text in files.items():
        (app / f"{name}.json").write_text(text)
    done = eprune("analyze", "app.xml", "--buffers", "--times", given)
    assert done.code == 2
    assert message in re.sub(r"\s+", " ", done.err + done.out)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--times", "L1=1ms"),
        ("--apply", "new.xml"),
        ("--buffers", "--format", "sarif"),
        ("--buffers", "--apply", "-"),
    ],
)
def test_what_does_not_go_together_is_told(app, eprune, arguments):
    assert eprune("analyze", "app.xml", *arguments).code == 2


def test_sizes_are_written_into_a_new_graph_which_runs_as_the_old_one(app, eprune):
    done = eprune("analyze", "app.xml", "--buffers", *TIMES, "--apply", "out/sized.xml", "-o", "report.txt")
    assert (done.code, done.out) == (0, "")
    assert done.err.endswith("; read it with --allow-outside\n")
    sized, old = (read_application(str(app / name)) for name in ("out/sized.xml", "app.xml"))
    assert [fifo.capacity for fifo in sized.fifos] == [2, 2, 1]
    assert [actor.ports for actor in sized.actors] == [actor.ports for actor in old.actors]
    assert eprune("analyze", "out/sized.xml", "--allow-outside").code == 0
    assert eprune("analyze", "app.xml", "--buffers", "--apply", "live.xml").code == 0
    assert [fifo.capacity for fifo in read_application(str(app / "live.xml")).fifos] == [1, 1, 1]


def test_an_unsound_graph_is_not_sized(app, eprune):
    text = (app / "app.xml").read_text().replace('<fifo name="f1"', '<fifo name="f1" capacity="0"')
    (app / "bad.xml").write_text(text)
    done = eprune("analyze", "bad.xml", "--buffers", "--apply", "new.xml")
    assert done.code == 1
    assert "error[G5]" in done.out
    assert not (app / "new.xml").exists()


def test_rates_that_vary_are_taken_at_their_limits(tmp_path, eprune):
    case = ROOT / "tests" / "cases" / "ok-4.xml"
    times = ("--times", "Split=2ms", "Deep=5ms", "Merge=1ms")
    done = eprune("analyze", str(case), "--buffers", *times, "--apply", str(tmp_path / "sized.xml"))
    assert "one every 5ms, or less: all rates are taken at their upper limits" in done.out
    sized = read_application(str(tmp_path / "sized.xml"))
    assert [fifo.capacity for fifo in sized.fifos] == [2, 2, 2, 2]
    assert sized.dpgs == read_application(str(case)).dpgs


def test_a_graph_that_lives_by_its_rows_only_is_not_sized(tmp_path, eprune):
    """X before Y in one row, Y before X in the other: at their upper limits they would wait for each other."""
    control = '<in name="mode" control="true" token="int32"/>'
    inner = "".join(f'<{side} name="{name}" token="int8" rate="0..1"/>' for side, name in
                    (("in", "first"), ("in", "second"), ("out", "on"), ("out", "off")))  # fmt: skip
    ends = {"Split": ("out", "x", "y"), "Merge": ("in", "x", "y")}
    ports = {
        end: "".join(f'<{side} name="{name}" token="int8" rate="0..1"/>' for name in names)
        for end, (side, *names) in ends.items()
    }
    tells = "".join(f'<out name="to_{name}" control="true" token="int32"/>' for name in "XYM")
    joints = ("Split.to_X X.mode", "Split.to_Y Y.mode", "Split.to_M Merge.mode", "Split.x X.first", "Split.y Y.first",
              "X.on Y.second", "Y.on X.second", "X.off Merge.x", "Y.off Merge.y")  # fmt: skip
    fifos = [f'<fifo name="f{n}" from="{a}" to="{b}"/>' for n, (a, b) in enumerate(map(str.split, joints))]
    columns = " ".join(joints[3:])
    rows = ("1 1 0 0 1 1 0 0 0 0 1 1", "0 0 1 1 0 0 1 1 1 1 0 0")
    (tmp_path / "rows.xml").write_text(
        f'<application name="rows"><actor name="Split" type="DA">{tells}{ports["Split"]}</actor>'
        + "".join(f'<actor name="{name}" type="DPA">{control}{inner}</actor>' for name in "XY")
        + f'<actor name="Merge" type="DA">{control}{ports["Merge"]}</actor>{"".join(fifos)}'
        + f'<dpg name="D" control="Split" entry="Split" exit="Merge" members="X Y"><table ports="{columns}">'
        + "".join(f'<row value="{value}" rates="{rates}"/>' for value, rates in enumerate(rows))
        + "</table></dpg></application>"
    )
    assert eprune("analyze", str(tmp_path / "rows.xml")).code == 0
    done = eprune("analyze", str(tmp_path / "rows.xml"), "--buffers")
    assert done.code == 1
    assert "with all rates at their upper limits the graph deadlocks" in done.err


@pytest.fixture
def graphs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "h263.xml").write_text(sdf3.h263decoder(9))
    (tmp_path / "mp3.xml").write_text(sdf3.mp3decoder())


def test_a_graph_of_sdf3_is_told_its_rates_or_expanded(graphs, eprune):
    done = eprune("import", "h263.xml", "-o", "app")
    assert done.code == 1
    assert re.findall(r"h263.xml:(\d+): error\[G4\]", done.err) == ["7", "9"]
    done = eprune("import", "h263.xml", "-o", "app", "--expand", "--unit", "2ns", "--format", "json")
    assert done.code == 0
    told = json.loads(done.out)
    assert (told["actors"], told["overlapping"]) == (20, ["idct"])
    told = buffers(eprune("analyze", "app/application.xml", "--buffers", "--format", "json"))
    assert told["max_throughput"]["period_s"] == pytest.approx(26018 * 2e-9)
    # The channels of the file: their FIFOs together have room enough for them.
    sizes = told["fast"]
    assert list(sizes["channels"]) == ["c0", "c1", "c2", "c3", "c4", "c5"]
    assert sizes["channels"]["c0"] == sum(size for name, size in sizes["capacities"].items() if name.startswith("c0-"))
    done = eprune("analyze", "app/application.xml", "--buffers")
    assert "Channels before the expansion" in done.out and re.search(r"^\s*c0 +18 ", done.out, re.MULTILINE)
    done = eprune("import", "mp3.xml", "-o", "mp3", "--expand")
    assert "may overlap; here they do not" in done.err
    done = eprune("analyze", "mp3/application.xml", "--buffers")
    assert "one every 1.866s" in done.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("h263.xml",),
        ("h263.xml", "-o", "app", "--list"),
        ("h263.xml", "-o", "app", "--per", "layer"),
        ("h263.xml", "-o", "app", "--unit", "5"),
    ],
)
def test_options_of_models_are_not_for_graphs(graphs, eprune, arguments):
    assert eprune("import", *arguments).code == 2


def test_options_of_graphs_are_not_for_models(app, eprune):
    assert eprune("import", "tiny.tflite", "-o", "new", "--expand").code == 2
    done = eprune("import", "app.xml", "-o", "new")
    assert done.code == 2
    assert "is not an SDF3 file" in done.err


def test_a_wished_rate_has_its_own_sizes_which_are_applied(app, eprune):
    told = buffers(eprune("analyze", "app.xml", "--buffers", *TIMES, "--rate", "200/s", "--format", "json"))
    assert told["wish"]["period_s"] == 0.005
    assert told["live"]["bytes"] < told["wish"]["bytes"] < told["fast"]["bytes"]
    done = eprune("analyze", "app.xml", "--buffers", *TIMES, "--rate", "200/s", "--apply", "new.xml")
    assert "new.xml: capacities least for 200/s" in done.err
    told = buffers(eprune("analyze", "new.xml", "--buffers", *TIMES, "--front", "--format", "json"))
    assert told["throughput"]["period_s"] <= 0.005
    assert told["given"]["bytes"] in [point["bytes"] for point in told["front"]["points"]]


def test_what_cannot_be_wished_for_is_said(app, eprune):
    for words, code, message in (
        (("--buffers", *TIMES, "--rate", "1000/s"), 1, "no room makes it that fast: an iteration takes 4ms at least"),
        (("--buffers", *TIMES, "--rate", "fast"), 2, "such as 25/s"),
        (("--buffers", "--rate", "10/s"), 2, "need the time of each actor: --times In=1ms"),
        (("--buffers", "--front"), 2, "need the time of each actor: --times In=1ms"),
        (("--rate", "10/s"), 2, "go with --buffers"),
        (("--buffers", *TIMES, "--chart", "x.svg"), 2, "--chart draws what --front finds"),
        (("--buffers", *TIMES, "--front", "--chart", "x.pdf"), 2, "ends in neither .svg nor .png"),
    ):
        done = eprune("analyze", "app.xml", *words)
        assert (done.code, message in done.err) == (code, True), done.err


def test_the_front_is_drawn(app, eprune):
    done = eprune("analyze", "app.xml", "--buffers", *TIMES, "--front", "--chart", "front.svg")
    assert "Buffers against throughput:" in done.out
    assert "iterations per second" in (app / "front.svg").read_text()
