"""`eprune profile` with several --endpoint: each board is measured, and one that fails does not stop the others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from application import ROOT

from tests.kit import sshd

#: Points 3 and 4.
CUTS = (
    *("explore", "app.xml", "-p", "platforms/endpoint.xml", "platforms/server.xml", "-o", "cuts", "--frames", "2"),
    *("--keep-on", "endpoint", "L2"),
)


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """A board that is this machine."""
    folder = tmp_path_factory.mktemp("device") / "sshd"
    before = os.environ["PATH"]
    with sshd.server(folder, f"SetEnv TMPDIR={folder}/tmp") as server:
        (folder / "tmp").mkdir()
        os.environ["PATH"] = f"{folder / 'bin'}:{before}"
        yield server
        os.environ["PATH"] = before


@pytest.fixture
def cuts(app, eprune):
    done = eprune(*CUTS)
    assert done.code == 0, done.err
    return app / "cuts"


def profile(device, *options, python=sys.executable, **boards):
    urls = [f"--endpoint={name}={device.url if url is None else url}" for name, url in boards.items()]
    return ("profile", "cuts", "--no-pin", *urls, "--device-python", python, *options)


def lines(cuts, board):
    return [json.loads(line) for line in (cuts / f"boards/{board}/results.jsonl").read_text().splitlines()]


def test_each_board_has_results_of_its_own_and_a_failing_one_stops_no_other(device, cuts, eprune):
    gone = "ssh://127.0.0.1:1"
    boards = {"pi": None, "gone": gone, "jetson": None}
    done = eprune(*profile(device, "--point", "4", "--at-once", "2", **boards))
    assert done.code == 1, done.err
    assert [line["alternative"] for line in lines(cuts, "pi")] == ["4"] and lines(cuts, "jetson")
    assert all(line["ok"] and line["devices"] == {"endpoint": device.url} for line in lines(cuts, "pi"))
    assert not (cuts / "boards/gone/results.jsonl").exists() and not (cuts / "results.jsonl").exists()
    shown = {line.split()[0]: line for line in done.out.splitlines() if line.split()}
    assert "1 of 2" in shown["pi"] and "fine" in shown["jetson"]
    assert gone in shown["gone"] and "cannot be reached" in shown["gone"]

    again = eprune(*profile(device, "--format", "json", pi=None, gone=gone))
    assert again.code == 1
    found = json.loads(again.out)["boards"]
    assert [line["alternative"] for line in found["pi"]["points"]] == ["3"], "what is measured is not measured again"
    assert found["pi"]["total"] == 2 and found["pi"]["exit_code"] == 0
    assert found["gone"]["exit_code"] == 1 and found["gone"]["problem"]

    report = eprune("report", "cuts/boards/pi", "--against", "cuts/boards/jetson", "--tolerance", "1000000")
    assert report.code == 0, report.err
    assert "Measured on real devices, over SSH: 3, 4." in eprune("report", "cuts/boards/pi").out
    made = eprune("cut", "cuts/boards/pi", "--point", "3", "-o", "system")
    assert made.code == 0, made.err


@pytest.mark.long
def test_a_board_on_which_a_point_fails_says_so(device, app, cuts, eprune):
    behaviours = (app / "behaviours.py").read_text()
    (app / "behaviours.py").write_text(behaviours.replace("print(", "1 / 0 or print("))
    assert eprune(*CUTS).code == 0
    done = eprune(*profile(device, "--point", "4", pi=None, jetson=None))
    assert done.code == 1
    assert done.out.count("failed: 4") == 2
    assert "pi: partition point 4 failed" in done.err


@pytest.mark.long
def test_ctrl_c_keeps_what_was_measured(device, app, cuts):
    behaviours = (app / "behaviours.py").read_text()
    slow = f"open({str(app / 'begun')!r}, 'w').close() or __import__('time').sleep(1) or print("
    (app / "behaviours.py").write_text(behaviours.replace("print(", slow))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for words in ((*CUTS, "--frames", "60"), profile(device, "--point", "4", pi=None, jetson=None)):
        process = subprocess.Popen(
            [sys.executable, "-m", "eprune", *words], stderr=subprocess.PIPE, text=True, env=environment
        )
        if words[0] == "explore":
            assert process.wait(60) == 0
            process.stderr.close()
    while not (app / "begun").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert not list((device.folder / "tmp").iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--endpoint", "ssh://a", "--endpoint", "ssh://a"), "two devices are called 'a': say NAME=ssh://a"),
        (("--endpoint", "../x=ssh://a", "--endpoint", "ssh://b"), "'../x' cannot be the name of a folder"),
        (("--endpoint", "ssh://a", "--endpoint", "b"), "'b' is not of the form ssh://"),
        (("--endpoint", "ssh://a", "--at-once", "2"), "--at-once is for several devices"),
        (("--endpoint", "ssh://a", "--endpoint", "ssh://b", "--validate", "1"), "--validate: several devices"),
    ],
)
def test_what_does_not_fit_is_refused(cuts, eprune, options, message):
    done = eprune("profile", "cuts", *options)
    assert done.code == 2 and message in done.err
    assert not (cuts / "boards").exists()
