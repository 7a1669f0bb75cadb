"""The plain supervisor keeps a program running: killed for real, frozen, printing without end, left alone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eprune.deploy.remote import supervisor
from eprune.deploy.remote.services import Plain
from eprune.deploy.remote.versions import Place
from tests.kit.waiting import freeze, until

#: what a program is, for a supervisor
BEATS = """\
import json, os, sys, time
status = sys.argv[-1].partition("=")[2]
while True:
    with open(status + ".new", "w") as file:
        json.dump({"pid": os.getpid(), "time": time.time(), "stalled": {}}, file)
    os.replace(status + ".new", status)
    time.sleep(0.05)
"""


@pytest.fixture
def root(tmp_path):
    """A deployed program; whatever has been started is killed."""
    root = tmp_path / "app" / "platform"
    for folder in ("versions/1", "run", "log", "data"):
        (root / folder).mkdir(parents=True)
    (root / "current").symlink_to("versions/1")
    yield root
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(tmp_path).encode() in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)
        except OSError:
            continue


def write(root, text):
    (root / "versions/1/program.py").write_text(text)
    command = [sys.executable, str(root / "current/program.py")]
    (root / "versions/1/deployment.json").write_text(json.dumps({"command": command}))


def start(root, **constants):
    """A supervisor, with other constants than its own: tests do not wait for minutes."""
    text = Path(supervisor.__file__).read_text()
    for name, value in {"DELAYS": (0.05, 0.1, 2.0), **constants}.items():
        text, count = re.subn(rf"^{name} = .*$", f"{name} = {value!r}", text, flags=re.MULTILINE)
        assert count == 1
    (root / "supervisor.py").write_text(text)
    return subprocess.Popen([sys.executable, str(root / "supervisor.py"), str(root)])


def report(root):
    try:
        return json.loads((root / "run/service.json").read_text())
    except (OSError, ValueError):
        return {}


def test_a_program_that_is_killed_is_started_again(root):
    write(root, BEATS)
    process = start(root)
    until(lambda: report(root).get("active") == "running")
    first = report(root)["pid"]
    os.kill(first, signal.SIGKILL)
    until(lambda: report(root)["active"] == "running" and report(root)["pid"] != first)
    assert (report(root)["restarts"], report(root)["code"]) == (1, -signal.SIGKILL)
    process.terminate()
    assert process.wait(20) == 0
    assert report(root)["active"] == "stopped"
    assert supervisor._begun(report(root)["pid"]) is None


def test_a_program_that_is_frozen_is_killed_and_started_again(root):
    write(root, BEATS)
    process = start(root, SILENT=0.5)
    until(lambda: (root / "run/status.json").exists())
    first = report(root)["pid"]
    freeze(first)
    until(lambda: report(root)["active"] == "running" and report(root)["pid"] != first)
    assert "has given no sign of life" in (root / "log/program.log").read_text()
    process.terminate()
    assert process.wait(20) == 0


HANDS_OVER = """\
import json, os, subprocess, sys
status = sys.argv[-1].partition("=")[2]
if os.path.exists("second"):
    print("anew", flush=True)
    raise SystemExit(0)
second = status.replace("status.json", "status.2.json")
beats = open(os.path.join(os.path.dirname(sys.argv[0]), "beats.py")).name
process = subprocess.Popen([sys.executable, beats, "--status=" + second])
open("second", "w").close()
with open(status, "w") as file:
    json.dump({"pid": os.getpid(), "time": 0, "stalled": {}, "successor": process.pid}, file)
"""


def test_the_successor_of_a_program_is_kept_running(root):
    write(root, HANDS_OVER)
    (root / "current" / "beats.py").write_text(f"print('second', flush=True)\n{BEATS}")
    process = start(root)
    until(lambda: (root / "run/status.2.json").exists())
    second = json.loads((root / "run/status.2.json").read_text())["pid"]
    until(lambda: report(root)["pid"] == second)
    assert (report(root)["active"], report(root)["restarts"]) == ("running", 0)
    os.kill(second, signal.SIGKILL)
    assert process.wait(20) == 0  # started again was the program of the version that is there
    assert (report(root)["active"], report(root)["restarts"], report(root)["code"]) == ("ended", 1, 0)
    assert (root / "log/program.log").read_text() == "second\nanew\n"


@pytest.mark.parametrize("signals", [{"SILENT": 0.5}, {}])
def test_a_successor_that_is_frozen_or_left_by_the_supervisor_is_killed(root, signals):
    write(root, HANDS_OVER)
    (root / "current" / "beats.py").write_text(BEATS)
    process = start(root, **signals)
    until(lambda: (root / "run/status.2.json").exists())
    second = json.loads((root / "run/status.2.json").read_text())["pid"]
    until(lambda: report(root)["pid"] == second)
    if signals:
        freeze(second)
    else:
        process.terminate()
    assert process.wait(20) == 0
    assert supervisor._begun(second) is None


def test_a_program_that_does_not_stop_is_killed(root):
    write(root, f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\n{BEATS}")
    process = start(root, GRACE=0.3)
    until(lambda: (root / "log/program.log").exists())
    pid = report(root)["pid"]
    process.terminate()
    assert process.wait(20) == 0
    assert supervisor._begun(pid) is None
    assert "does not end" in (root / "log/program.log").read_text()


@pytest.mark.parametrize(("code", "active"), [(0, "ended"), (2, "failed")])
def test_a_program_that_has_ended_well_or_is_used_wrongly_is_not_started_again(root, code, active):
    write(root, f"print('once')\nraise SystemExit({code})\n")
    assert start(root).wait(20) == 0
    assert (report(root)["active"], report(root)["code"]) == (active, code)
    assert (root / "log/program.log").read_text() == "once\n"


def test_the_log_has_a_limit_and_nothing_of_its_end_is_lost(root):
    write(root, "for number in range(40000):\n    print(f'line {number:07d}')\n")
    assert start(root, LOG_BYTES=100_000, LOGS=2).wait(30) == 0
    files = sorted((root / "log").iterdir())
    assert [path.name for path in files] == ["program.log", "program.log.1", "program.log.2"]
    assert all(path.stat().st_size <= 200_000 for path in files)
    lines = "".join((root / f"log/program.log{end}").read_text() for end in (".2", ".1", "")).splitlines()
    assert lines[-1] == "line 0039999"
    assert [int(line.split()[1]) for line in lines[1:]] == list(range(40001 - len(lines), 40000))


def test_of_two_supervisors_of_a_folder_one_ends(root):
    write(root, BEATS)
    first = start(root)
    until(lambda: report(root).get("active") == "running")
    assert start(root).wait(20) == 1
    first.terminate()
    assert first.wait(20) == 0


def test_the_program_of_a_supervisor_that_was_killed_is_ended_by_the_next_one(root):
    write(root, BEATS)
    first = start(root)
    until(lambda: report(root).get("active") == "running")
    left = report(root)["pid"]
    first.kill()
    first.wait()
    assert supervisor._begun(left) is not None
    second = start(root)
    until(lambda: report(root)["pid"] != left and report(root)["active"] == "running")
    until(lambda: supervisor._begun(left) is None)
    second.terminate()
    assert second.wait(20) == 0


def test_another_process_with_the_number_of_one_that_was_left_is_not_touched(root):
    write(root, "print('once')\n")
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    (root / "run/service.json").write_text(json.dumps({"pid": other.pid, "begun": "12"}))
    try:
        assert start(root).wait(20) == 0
        time.sleep(0.1)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_service_that_was_started_is_never_seen_as_stopped(root):
    """Not even where the last supervisor has left its number and its report."""
    write(root, BEATS)
    (root / "versions/1/supervisor.py").write_text(Path(supervisor.__file__).read_text())
    service = Plain(Place(str(root.parent.parent), "app", "platform"))
    for _ in range(5):
        service.start()
        assert service.state()["active"] in ("starting", "running")
        service.stop()
        assert service.state()["active"] == "stopped"
