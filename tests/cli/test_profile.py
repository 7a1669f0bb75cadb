"""`eprune profile`: every partition point is measured here once, whatever happens to one of them or to the run."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest
from application import ROOT

from eprune.cli.progress import time_left

CUTS = ("explore", "app.xml", "-p", "platforms/endpoint.xml", "platforms/server.xml", "-o", "cuts", "--frames", "2")
PROFILE = ("profile", "cuts", "--no-pin")


@pytest.fixture
def cuts(app, eprune):
    done = eprune(*CUTS)
    assert done.code == 0, done.err
    return app / "cuts"


def lines(cuts):
    return [json.loads(line) for line in (cuts / "results.jsonl").read_text().splitlines()]


def test_units_rest_between_firings(cuts, eprune):
    """A rest is a wait: it takes its time, and the times of actors say how much they vary."""
    begin = time.monotonic()
    done = eprune("profile", "cuts", "--actors", "--no-pin", "--rest", "20")
    assert done.code == 0, done.err
    assert time.monotonic() - begin > 20 * 0.020, "20 repetitions of each of the two platforms' segments, at least"
    for platform in json.loads((cuts / "actors.json").read_text())["platforms"].values():
        least, most = (sum(each[place] for each in platform["spread"].values()) for place in (0, 1))
        assert platform["spread"].keys() == platform["actors"].keys() == {"In", "L1", "L2", "Out"}
        assert 0 < least <= most
    assert "p95 ms" in eprune("report", "cuts").out
    for point in json.loads(eprune("report", "cuts", "--format", "json").out)["points"]:
        assert point["latency_p95"] >= point["predicted"]["latency"]
    assert eprune("profile", "cuts", "--actors", "--no-pin").code == 0
    assert "p95 ms" not in eprune("report", "cuts").out, "nobody has looked how frames vary that come one by one"
    done = eprune("profile", "cuts", "--rest", "20")
    assert (done.code, "--rest is for timing the actors: give --actors too" in done.err) == (2, True)


def test_every_point_is_measured_once(cuts, eprune):
    done = eprune(*PROFILE)
    assert (done.code, done.out) == (0, ""), done.err
    assert [line["alternative"] for line in lines(cuts)] == ["1", "2", "3", "4"]
    assert [line["bytes"] for line in lines(cuts)] == [768, 256, 20, 0]
    assert all(line["ok"] and line["frames"] == 2 for line in lines(cuts))
    interpreters = [line["platforms"]["endpoint"]["interpreter"] for line in lines(cuts)]
    assert interpreters[0] is None and all(len(name.split()) == 2 for name in interpreters[1:])

    assert "0 measured now, 4 of 4 in all" in eprune(*PROFILE).err
    assert len(lines(cuts)) == 4
    done = eprune(*PROFILE, "--point", "2", "--format", "json")
    assert done.code == 0, done.err
    assert len(lines(cuts)) == 5
    assert json.loads(done.out)["measured"] == {
        "file": "cuts/results.jsonl",
        "points": lines(cuts)[-1:],
        "failed": [],
        "total": 4,
        "of": 4,
        "stopped": "",
    }


def test_results_come_back_over_the_connection_that_frames_went_by(app, eprune):
    for path in (app / "platforms").iterdir():
        path.write_text(path.read_text().replace("<link ", '<link ports="shared" '))
    assert eprune(*CUTS, "--keep-on", "endpoint", "Out").code == 0
    assert eprune(*PROFILE, "--point", "2").code == 0
    assert lines(app / "cuts")[0]["bytes"] == 256 + 20


def test_an_interrupted_profile_goes_on_where_it_stopped_even_after_a_torn_line(cuts, eprune):
    assert eprune(*PROFILE, "--point", "1").code == 0
    with (cuts / "results.jsonl").open("a") as stream:
        stream.write('{"plan": "')
    done = eprune(*PROFILE)
    assert "3 measured now, 4 of 4 in all" in done.err


def test_a_failing_point_is_recorded_with_its_reason_and_the_next_one_runs(cuts, eprune):
    (cuts / "2/server.pyz").write_text("import sys\nsys.exit('server: error: out of order')")
    done = eprune(*PROFILE)
    assert done.code == 1
    assert [line["ok"] for line in lines(cuts)] == [True, False, True, True]
    assert lines(cuts)[1]["problem"] == "server: error: out of order"
    assert "partition point 2 failed: server: error: out of order" in done.err
    assert "0 measured now" in eprune(*PROFILE).err
    assert "1 measured now" in eprune(*PROFILE, "--retry").err


@pytest.mark.long
def test_a_program_that_is_killed_is_a_failure_of_its_point_only(cuts, eprune):
    (cuts / "2/server.pyz").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert eprune(*PROFILE).code == 1
    assert [line["ok"] for line in lines(cuts)] == [True, False, True, True]
    assert lines(cuts)[1]["problem"] == "server: error: killed by SIGKILL"


@pytest.mark.long
def test_a_server_that_dies_in_the_middle_of_its_frames_fails_its_point_only(app, eprune):
    die = "os.path.exists('die') and self.frames > 1 and os.kill(os.getpid(), 9)"
    behaviours = (app / "behaviours.py").read_text()
    counted = f"self.frames = getattr(self, 'frames', 0) + 1\n        {die}\n        print("
    (app / "behaviours.py").write_text("import os\n" + behaviours.replace("print(", counted))
    assert eprune(*CUTS).code == 0
    (app / "die").touch()
    assert eprune(*PROFILE, "--point", "2").code == 1
    # Whichever of the two is noticed first.
    problem = lines(app / "cuts")[0]["problem"]
    assert problem == "server: error: killed by SIGKILL" or problem.startswith("endpoint: error: FIFO 'f2'")
    (app / "die").unlink()
    assert "3 measured now, 4 of 4 in all" in eprune(*PROFILE).err
    assert "1 measured now, 4 of 4 in all" in eprune(*PROFILE, "--retry").err


@pytest.mark.long
def test_a_terminal_shows_which_point_and_frame_it_is_at_and_the_time_that_is_left(cuts):
    terminal, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "eprune", *PROFILE],
        stderr=other,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    os.close(other)
    said = b""
    with contextlib.suppress(OSError):  # a terminal that nobody has open any more
        while data := os.read(terminal, 4096):
            said += data
    os.close(terminal)
    assert process.wait() == 0
    assert b"1 of 4: point 1, after In, frame 0 of 2" in said
    assert b"4 of 4: point 4, endpoint only" in said and b" s left" in said
    assert said.endswith(b"4 measured now, 4 of 4 in all\r\n")


def test_a_program_that_never_ends_is_stopped_at_the_limit(app, eprune):
    behaviours = (app / "behaviours.py").read_text()
    (app / "behaviours.py").write_text(behaviours.replace("print(", "__import__('time').sleep(60) or print("))
    assert eprune(*CUTS).code == 0
    done = eprune(*PROFILE, "--point", "4", "--limit", "2")
    assert done.code == 1
    assert lines(app / "cuts")[0]["problem"] == "not done after 2 s"


def interrupted(app, eprune, *options):
    """The exit code and stderr of a profile that gets Ctrl-C while it measures its first point."""
    behaviours = (app / "behaviours.py").read_text()
    (app / "behaviours.py").write_text(
        behaviours.replace("print(", "open('begun', 'w').close() or __import__('time').sleep(1) or print(")
    )
    assert eprune(*CUTS, "--frames", "60").code == 0
    plan = json.loads((app / "cuts/explore.json").read_text())["id"]
    times = {name: {"actors": dict.fromkeys(("In", "L1", "L2", "Out"), 0.001)} for name in ("endpoint", "server")}
    (app / "cuts/actors.json").write_text(json.dumps({"plan": plan, "platforms": times}))
    process = subprocess.Popen(
        [sys.executable, "-m", "eprune", *PROFILE, *options],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with process:
        while not (app / "begun").exists() and process.poll() is None:
            pass
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    return process.returncode, said


def test_an_interrupt_records_nothing_and_says_how_to_go_on(app, eprune):
    code, said = interrupted(app, eprune, "--point", "4")
    assert code == 130
    assert "eprune profile cuts goes on with partition point 4" in said
    assert not (app / "cuts/results.jsonl").exists()


def test_ctrl_c_while_predictions_are_compared_is_no_internal_error(app, eprune):
    code, said = interrupted(app, eprune, "--validate", "2")
    assert code == 130, said
    assert "INTERNAL ERROR" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("profile", "nowhere"), "nowhere has no explore.json: make one with eprune explore"),
        (("profile", "cuts", "--point", "9"), "there is no partition point '9'; there are 1, 2, 3, 4"),
    ],
)
def test_what_does_not_exist_is_told(cuts, eprune, arguments, message):
    done = eprune(*arguments)
    assert done.code == 2
    assert message in done.err


def test_results_that_cannot_be_written_end_the_profile_with_the_reason(cuts, eprune):
    (cuts / "results.jsonl").mkdir()
    done = eprune(*PROFILE)
    assert done.code == 2
    assert "results.jsonl: Is a directory" in done.err


@pytest.mark.long
def test_a_disk_that_fills_keeps_what_is_measured_and_the_profile_goes_on_later(cuts, eprune):
    room = 4_000_000  # more than a program has
    assert eprune(*PROFILE, "--point", "1").code == 0
    line = len((cuts / "results.jsonl").read_bytes())
    foreign = json.dumps({"plan": "another"}).ljust(room - 5 * line // 2) + "\n"
    with (cuts / "results.jsonl").open("a") as stream:
        stream.write(foreign)  # now there is room for one line, and for a part of another

    full = run_with_room(room, *PROFILE, "--format", "json")
    assert full.returncode == 2
    measured = json.loads(full.stdout)["measured"]
    assert [line["alternative"] for line in measured["points"]] == ["2"]
    assert "File too large" in measured["stopped"]
    assert "results.jsonl: File too large; eprune profile cuts goes on with partition point 3" in full.stderr
    assert "Traceback" not in full.stderr
    assert not (cuts / "results.jsonl").read_bytes().endswith(b"\n")

    assert "2 measured now, 4 of 4 in all" in eprune(*PROFILE).err


def test_no_room_for_a_program_is_not_held_against_its_point(cuts, eprune):
    full = run_with_room(50_000, *PROFILE)
    assert full.returncode == 2
    assert "File too large; eprune profile cuts goes on with partition point 1" in full.stderr
    assert not (cuts / "results.jsonl").exists()


def test_an_exploration_that_finds_no_room_leaves_no_plan(app, eprune):
    full = run_with_room(20_000, *CUTS)
    assert full.returncode == 2
    assert "File too large" in full.stderr and "Traceback" not in full.stderr
    assert not (app / "cuts/explore.json").exists()
    assert "has no explore.json" in eprune(*PROFILE).err


def run_with_room(count, *arguments):
    """Call eprune where no file can be larger than so many bytes."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({count}, {count}))"
    code = f"{limit}; import sys; from eprune.cli.main import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("elapsed", "done", "total", "text"),
    [(0, 0, 5, ""), (1, 0.2, 5, ""), (10, 1, 5, ", 40 s left"), (300, 1, 11, ", 50 min left")],
)
def test_time_left(elapsed, done, total, text):
    assert time_left(elapsed, done, total) == text
