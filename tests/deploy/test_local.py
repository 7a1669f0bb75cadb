"""The launcher: all programs end, whatever happens to one of them, and its exit code says how it went."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from eprune.deploy.local import launch
from eprune.deploy.ports import free_base_port, link_arguments
from tests.kit.programs import ROOT, environment, write_program


@pytest.fixture(autouse=True)
def programs_find_the_runtime(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def pair(tmp_path, left="Copy", right="Total", n=200):
    """Two programs, with the options that join them."""
    links = link_arguments({("left", "right"): 1})
    programs = {
        "left": write_program(
            tmp_path,
            "left",
            f"actor('A', 'ACTORS:Count', 'cpu', {{'n': '{n}'}})",
            f"actor('B', 'ACTORS:{left}', 'cpu')",
            "fifo('e', 'A.out', 'B.in', 'int32', (), capacity=2)",
            "tx('f', 'B.out', 'int32', (), capacity=2, to='right', address='127.0.0.1', port=1)",
        ),
        "right": write_program(
            tmp_path,
            "right",
            f"actor('C', 'ACTORS:{right}', 'cpu')",
            "rx('f', 'C.in', 'int32', (), capacity=2, frm='left', port=1)",
        ),
    }
    return {name: str(path) for name, path in programs.items()}, links


def quietly(programs, links, on_status=None):
    messages = []
    outcome = launch(programs, links, on_status, messages.append, stdout=subprocess.DEVNULL)
    return outcome, messages


def test_a_run_ends_with_the_records_of_all(tmp_path):
    states = []
    outcome, messages = quietly(*pair(tmp_path), states.append)
    assert (outcome.exit_code, messages) == (0, [])
    assert outcome.records["right"]["actors"]["C"]["firings"] == 200
    assert outcome.records["left"]["links"]["f"]["firings"] == 200
    assert {state["state"] for state in states if state["platform"] == "left"} >= {"starting", "ended"}


def test_a_crash_on_one_platform_ends_all(tmp_path):
    outcome, messages = quietly(*pair(tmp_path, left="Crash", n=0))
    assert outcome.exit_code == 1
    assert any(line.startswith("left: error: ") and "five is right out" in line for line in messages)
    assert any(line.startswith("right: error: peer 'left' failed: ") for line in messages)


def lossy(tmp_path, left="Copy", right="Total"):
    """The pair with a FIFO that may lose tokens."""
    programs, links = pair(tmp_path, left, right, n=1500)
    for program in map(Path, programs.values()):
        text = program.read_text().replace("port=1)", "port=1, policy='drop')").replace("__file__)", "__file__, True)")
        program.write_text(text.replace(":Count'", ":SlowCount'"))
    return programs, links


@pytest.mark.long
def test_what_tolerates_failures_goes_on_without_the_one_that_failed(tmp_path):
    programs, links = lossy(tmp_path, right="DiesQuietly")
    messages = []
    outcome = launch(programs, links, None, messages.append, stdout=subprocess.DEVNULL, tolerant=True)
    assert outcome.exit_code == 1
    assert "right: error: killed by SIGKILL" in messages
    assert any(line.startswith("left: warning: FIFO 'f': lost peer 'right'") for line in messages)
    assert outcome.records["left"]["actors"]["A"]["firings"] == 1500


def test_what_waits_for_one_that_nobody_starts_again_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("eprune.deploy.local.STILL", 0.5)
    programs, links = lossy(tmp_path, left="Dies")
    begin = time.monotonic()
    messages = []
    outcome = launch(programs, links, None, messages.append, stdout=subprocess.DEVNULL, tolerant=True)
    assert outcome.exit_code == 1
    assert time.monotonic() - begin < 25
    assert any(line.startswith("right: warning: FIFO 'f': lost peer 'left'") for line in messages)


@pytest.mark.long
def test_a_frozen_program_does_not_keep_the_run_from_ending_once_the_others_have(tmp_path, monkeypatch):
    monkeypatch.setattr("eprune.deploy.local.SILENT", 2.0)
    programs, links = lossy(tmp_path, left="Freezes")
    arguments = {name: [*own, "--patience=1", "--dead-after=0.4"] for name, own in links.items()}
    messages = []
    outcome = launch(programs, arguments, None, messages.append, stdout=subprocess.DEVNULL, tolerant=True)
    assert outcome.exit_code == 1
    assert "left: error: no sign of life for 2 s; other platforms have ended" in messages
    assert outcome.records["right"]["actors"]["C"]["firings"] >= 5


def test_a_killed_process_is_named_with_its_signal(tmp_path):
    outcome, messages = quietly(*pair(tmp_path, left="Dies", n=0))
    assert outcome.exit_code == 1
    assert "left: error: killed by SIGKILL" in messages
    assert "left" not in outcome.records


def test_a_program_that_does_not_even_start_ends_all(tmp_path):
    programs, links = pair(tmp_path, n=0)
    (tmp_path / "left.py").write_text("import not_there_at_all\n")
    links["right"].append("--timeout=60")
    begin = time.monotonic()
    outcome, messages = quietly(programs, links)
    assert outcome.exit_code == 1
    assert any("not_there_at_all" in line for line in messages)
    assert time.monotonic() - begin < 40  # not the peer's whole time-out


def test_ctrl_c_reaches_every_program(tmp_path):
    programs, links = pair(tmp_path, n=0)
    seen = threading.Event()

    def on_status(status):
        if status["state"] == "running" and not seen.is_set():
            seen.set()
            os.kill(os.getpid(), signal.SIGINT)

    outcome, messages = quietly(programs, links, on_status)
    assert outcome.exit_code == 130
    assert all("interrupted" in line for line in messages)


def test_ctrl_c_ends_a_program_that_is_still_being_started_without_a_traceback(tmp_path):
    program = tmp_path / "slow.py"
    program.write_text("import sys, time\nprint('imports', file=sys.stderr, flush=True)\ntime.sleep(600)\n")
    messages = []

    def on_message(line):
        messages.append(line)
        if line == "imports":
            os.kill(os.getpid(), signal.SIGINT)

    assert launch({"slow": str(program)}, on_message=on_message).exit_code == 130
    assert messages == ["imports"]


def test_programs_end_when_their_launcher_is_killed(tmp_path):
    programs, links = pair(tmp_path, right="Show", n=0)
    code = (
        "from eprune.deploy.local import launch\n"
        f"launch({programs!r}, {links!r}, on_status=lambda status: print('status', status['platform'], flush=True))\n"
    )
    launcher = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment())
    for line in launcher.stdout:
        if line.strip().isdigit():
            break
    launcher.kill()
    # The programs hold the other end of this pipe: its end is theirs.
    watchdog = threading.Timer(30, launcher.stdout.close)
    watchdog.start()
    with launcher:
        rest = launcher.stdout.read()
    watchdog.cancel()
    assert "C finalized" in rest


def test_ports_given_out_are_free_and_apart():
    arguments = link_arguments({("a", "b"): 3, ("a", "c"): 2, ("b", "c"): 1})
    bases = {text.partition("=127.0.0.1:")[2] for text in arguments["a"] + arguments["b"]}
    assert len(bases) == 3
    assert {text for text in arguments["b"] if text.startswith("--link=a")} == {
        text.replace("--link=b", "--link=a") for text in arguments["a"] if text.startswith("--link=b")
    }
    base = free_base_port(2)
    for port in (base, base + 1):
        socket.create_server(("127.0.0.1", port)).close()


def test_ports_are_those_of_the_range_that_the_environment_names(monkeypatch):
    monkeypatch.setenv("EPRUNE_PORTS", "15000-15004")
    assert {free_base_port(2) for _ in range(50)} <= {15000, 15001, 15002, 15003}
    with (
        socket.create_server(("127.0.0.1", 15002)),
        pytest.raises(OSError, match=r"no 3 consecutive .* in 15000-15004"),
    ):
        free_base_port(3)


def test_ports_that_were_chosen_are_not_chosen_again_soon(monkeypatch):
    """They may not be in use yet."""
    monkeypatch.setenv("EPRUNE_PORTS", "15000-15999")
    for _ in range(100):
        first, second = free_base_port(30), free_base_port(30)
        assert abs(first - second) >= 30


@pytest.mark.parametrize("text", ["15000", "15000-15001", "x-y", "15001-15000", "0-9", "-5-9", "65530-65536"])
def test_a_range_of_ports_that_is_none_is_said_to_be(monkeypatch, text):
    monkeypatch.setenv("EPRUNE_PORTS", text)
    with pytest.raises(OSError, match=f"EPRUNE_PORTS={text}: expected FIRST-LAST with 3 ports"):
        free_base_port(3)


@pytest.mark.long
def test_the_limit_holds_for_a_program_that_reports_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "silent.py"
    program.write_text("import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(600)\n")
    with pytest.raises(TimeoutError):
        launch({"silent": str(program)}, limit=5)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
