"""`PROGRAM --check-status FILE` and `--check-alive FILE`: what probes ask, answered without starting anything."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from eprune.runtime.tell.health import DEAD, OLD, asked, check
from tests.kit.programs import environment, finish, start, write_program

PEER = {"state": "connected", "since": 0.0}


def status(state="running", age=0.0, **more):
    """A report of this age (seconds)."""
    return {"age": age, "state": state, "failure": "", "stalled": {}, "peers": {"b": PEER}, **more}


@pytest.fixture
def ask(tmp_path, capsys):
    """Exit code and line for a question about a report."""

    def answer(option, report):
        path = tmp_path / "status.json"
        if isinstance(report, dict):
            path.write_text(json.dumps({**report, "time": time.time() - report["age"]}))
        elif report is not None:
            path.write_text(report)
        return check(option, str(path)), capsys.readouterr().out.strip()

    return answer


LOST = {"b": {"state": "lost", "since": 0.0}}
STALL = {"Camera": {"stage": "fire", "seconds": 70.0}}


@pytest.mark.parametrize(
    ("report", "well", "alive"),
    [
        (status(), (0, "it is running"), (0, "it is running")),
        (status("waiting", stream=3), (0, "it waits for stream 3"), (0, "it is waiting")),
        (status("ended", age=1000), (0, "it ends"), (0, "it is ended")),
        (status("starting"), (1, "it is starting"), (0, "it is starting")),
        (status(peers=LOST), (1, "it has lost b"), (0, "it is running")),
        (status(stalled=STALL), (1, "stalled: Camera"), (1, "stalled: Camera")),
        (status(age=OLD + 1), (1, "its last report is 6 s old"), (0, "it is running")),
        (status(age=DEAD + 1), (1, "its last report is 31 s old"), (1, "its last report is 31 s old")),
        (status("failed", failure="out of paper"), (1, "it has failed: out of paper"), (0, "it is failed")),
        (None, (1, "it has not reported yet"), (1, "it has not reported yet")),
    ],
)
def test_a_probe_gets_a_reason_and_an_exit_code(ask, report, well, alive):
    assert ask("--check-status", report) == well
    assert ask("--check-alive", report) == alive


@pytest.mark.parametrize("text", ["", "[]", "{}", "no JSON", '{"time": null}'])
def test_what_is_no_report_is_not_taken_for_one(ask, tmp_path, text):
    assert ask("--check-status", text) == (1, f"{tmp_path / 'status.json'}: not a status report")


def test_a_real_program_is_well_while_it_runs(tmp_path):
    program = write_program(
        tmp_path, "a", "actor('A', 'ACTORS:SlowCount', 'cpu', {'n': '0'})",
        "actor('B', 'ACTORS:Total', 'cpu')", "fifo('f', 'A.out', 'B.in', 'int32', (), capacity=2)",
    )  # fmt: skip
    path = tmp_path / "status.json"
    process = start(program, "--status", str(path))
    deadline = time.monotonic() + 60
    while not (path.exists() and json.loads(path.read_text())["state"] == "running"):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)

    def asked_of(*options):
        command = [sys.executable, str(program), *options]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
        return done.returncode, done.stdout, done.stderr

    assert asked_of(f"--check-alive={path}") == (0, "it is running\n", "")
    assert asked_of("--log-format", "json", "--check-alive", str(path)) == (0, "it is running\n", "")
    process.kill()
    finish(process)
    path.write_text(json.dumps({**json.loads(path.read_text()), "time": time.time() - DEAD - 1}))
    code, line, _ = asked_of("--check-alive", str(path))
    assert (code, line[:19]) == (1, "its last report is ")


def test_the_answer_loads_nothing_that_takes_long(tmp_path):
    program, report = write_program(tmp_path, "a"), tmp_path / "status.json"
    report.write_text(json.dumps({**status(), "time": time.time() + 1000}))
    code = (
        f"import runpy, sys\nsys.argv[:] = ['p', '--check-status', {str(report)!r}]\n"
        f"try:\n runpy.run_path({str(program)!r}, run_name='__main__')\nfinally:\n print('numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (0, "it is running\nFalse\n"), done.stderr


def test_only_the_question_alone_is_answered_first():
    assert asked(["--check-status", "f"]) == asked(["--check-status=f"]) == ("--check-status", "f")
    assert asked([]) is asked(["--check-status"]) is asked(["--check-status", "f", "--help"]) is None
