"""What a supervisor sees of a running program: a file to poll, a pipe to read, systemd's own protocol."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from eprune.deploy.ports import free_base_port
from eprune.runtime.net.handshake import nobody_answered
from tests.kit.programs import environment, finish, lines, rest, run, start, start_command, write_program


@pytest.fixture
def port():
    return free_base_port(1)


def pair(tmp_path, port, policy):
    left = write_program(
        tmp_path,
        "left",
        "actor('A', 'ACTORS:SlowCount', 'cpu', {'n': '0'})",
        f"tx('f', 'A.out', 'int32', (3,), capacity=4, to='right', address='127.0.0.1', port={port}, policy='{policy}')",
        aligned=policy == "drop",
    )
    right = write_program(
        tmp_path,
        "right",
        "actor('B', 'ACTORS:Show', 'cpu')",
        f"rx('f', 'B.in', 'int32', (3,), capacity=4, frm='left', port={port}, policy='{policy}')",
        aligned=policy == "drop",
    )
    return left, right


def until(path, wanted):
    """Poll the status file, as a supervisor does, until a report is as wanted; the report."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if path.exists():
            report = json.loads(path.read_text())  # each time whole: never an error
            if wanted(report):
                return report
        time.sleep(0.01)
    raise AssertionError(f"never; at last {path.read_text() if path.exists() else 'no file'}")


def test_a_supervisor_that_polls_the_file_sees_a_peer_lost_and_back(tmp_path, port):
    left, right = pair(tmp_path, port, "drop")
    status = tmp_path / "status.json"
    first = start(left, "--status", str(status), "--timeout", "20")
    report = until(status, lambda report: report["state"] == "starting")
    assert report["peers"] == {"right": {"state": "waiting", "since": report["peers"]["right"]["since"]}}
    second = start(right)
    report = until(status, lambda report: report["state"] == "running" and report["firings"]["A"] > 2)
    assert (report["platform"], report["pid"], report["failure"]) == ("left", first.pid, "")
    assert report["peers"]["right"]["state"] == "connected"
    lines(second, 3)
    second.kill()
    rest(second)
    report = until(status, lambda report: report["peers"]["right"]["state"] == "lost")
    since = report["peers"]["right"]["since"]
    assert since <= report["time"] <= time.time()
    fifo = until(status, lambda report: report["fifos"]["f"]["dropped"] > 10)["fifos"]["f"]
    assert fifo["tokens"] == fifo["confirmed"] + fifo["waiting"] + fifo["dropped"]
    second = start(right)
    report = until(status, lambda report: report["peers"]["right"]["state"] == "connected")
    assert report["peers"]["right"]["since"] > since
    first.send_signal(signal.SIGTERM)
    assert finish(first)[0] == 130
    report = json.loads(status.read_text())
    assert (report["state"], report["failure"]) == ("interrupted", "interrupted by SIGTERM")
    assert list(tmp_path.glob(".status*")) == []


def test_a_program_that_fails_leaves_the_reason(tmp_path, port):
    status = tmp_path / "status.json"
    assert run(pair(tmp_path, port, "stop")[0], "--timeout", "0.2", "--status", str(status))[0] == 1
    report = json.loads(status.read_text())
    assert report["state"] == "failed"
    assert "nobody answered" in report["failure"]


def test_a_status_that_cannot_be_written_is_said_and_ends_no_run(tmp_path, port):
    program = write_program(
        tmp_path,
        "host",
        "actor('A', 'ACTORS:SlowCount', 'cpu', {'n': '0'})",
        "actor('B', 'ACTORS:Total', 'cpu')",
        "fifo('f', 'A.out', 'B.in', 'int32', (), capacity=2)",
    )
    code, _, err = run(program, "--status", str(tmp_path / "no" / "status.json"))
    assert (code, len(err.splitlines())) == (2, 1)
    folder = tmp_path / "folder"
    folder.mkdir()
    process = start(program, "--status", str(folder / "status.json"))
    until(folder / "status.json", lambda report: report["state"] == "running")
    (folder / "status.json").unlink()
    folder.rmdir()
    warning = process.stderr.readline()
    assert "warning: --status" in warning
    assert "No such file" in warning
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    code, _, err = rest(process)
    assert (code, len(err.splitlines())) == (130, 1)


def test_progress_goes_to_a_pipe_and_its_end_ends_the_run(tmp_path):
    program = write_program(
        tmp_path,
        "host",
        "actor('A', 'ACTORS:Count', 'cpu', {'n': '0'})",
        "actor('B', 'ACTORS:Total', 'cpu')",
        "fifo('f', 'A.out', 'B.in', 'int32', (), capacity=2)",
    )
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, str(program), f"--status=/dev/fd/{write}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        pass_fds=[write],
    )
    os.close(write)
    with os.fdopen(read) as status:
        assert json.loads(status.readline())["state"] == "starting"
        assert json.loads(status.readline())["platform"] == "host"
    code, _, err = finish(process)
    assert code == 130
    assert "the process that started this program has gone" in err


def test_systemd_is_told_that_the_program_runs_lives_and_stops(tmp_path, port):
    left, right = pair(tmp_path, port, "stop")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        process = start(right, NOTIFY_SOCKET=str(tmp_path / "notify"))
        first = systemd.recv(4096).decode()
        assert "READY=1" not in first  # not before its peer is there
        assert "STATUS=starting: 0 frames" in first
        sender = start(left)
        said = ""
        while "READY=1" not in said:
            said = systemd.recv(4096).decode()
        while "READY=1" in said:
            said = systemd.recv(4096).decode()
        assert "WATCHDOG=1" in said
        assert "STATUS=running: " in said
        sender.kill()
        while "STOPPING=1" not in said:
            said = systemd.recv(4096).decode()
        assert finish(process)[0] == 1
        assert "STATUS=failed" in said


def test_standard_output_as_a_file_is_no_reason_to_replace_the_device(tmp_path, port):
    out = tmp_path / "out"
    (tmp_path / "link").symlink_to(out)
    out.write_text("")
    left, _ = pair(tmp_path, port, "stop")
    run(left, "--timeout", "0.2", "--status", str(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert json.loads(out.read_text())["state"] == "failed"


def test_a_clock_that_is_set_changes_no_duration(tmp_path):
    program = write_program(
        tmp_path,
        "host",
        "actor('A', 'ACTORS:Count', 'cpu', {'n': '5'})",
        "actor('B', 'ACTORS:SetsTheClock', 'cpu')",
        "actor('C', 'ACTORS:Total', 'cpu')",
        "fifo('f', 'A.out', 'B.in', 'int32', (), capacity=2)",
        "fifo('g', 'B.out', 'C.in', 'int32', (), capacity=2)",
    )
    status, record = tmp_path / "status.json", tmp_path / "record.json"
    assert run(program, "--status", str(status), "--record", str(record))[0] == 0
    report = json.loads(status.read_text())
    assert report["time"] > time.time() + 80000  # the clock has been set
    assert 0 <= report["time"] - report["since"] < 60
    assert 0 <= json.loads(record.read_text())["wall_s"] < 60


@pytest.mark.parametrize("limit", [5, *(pytest.param(each, marks=pytest.mark.long) for each in (6, 20)), 40])
def test_a_program_with_few_descriptors_runs_or_says_what_it_lacks(tmp_path, port, limit):
    left, right = pair(tmp_path, port, "stop")
    sender = start(left, "--timeout", "5", "--frames", "20")
    options = ("--record", str(tmp_path / "record.json"), "--status", str(tmp_path / "status.json"))
    command = (sys.executable, str(right), "--timeout", "5", *options)
    code, _, err = finish(start_command("sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *command), timeout=30)
    assert "Traceback" not in err
    assert "INTERNAL ERROR" not in err
    assert code == 0 or "out of file descriptors" in err or "Too many open files" in err
    finish(sender)


def test_too_few_descriptors_for_all_connections_are_not_taken_for_trouble_with_addresses(tmp_path):
    base = free_base_port(20)
    ends = [
        each
        for n in range(20)
        for each in (
            f"actor('B{n}', 'ACTORS:Total', 'cpu')",
            f"rx('f{n}', 'B{n}.in', 'int32', (), 2, 'far', {base + n})",
        )
    ]
    command = (sys.executable, str(write_program(tmp_path, "near", *ends)), "--timeout", "5")
    code, _, err = finish(start_command("sh", "-c", 'ulimit -n 16; exec "$@"', "sh", *command))
    assert code == 1
    assert err.startswith("near: error: out of file descriptors: the limit ")
    assert "--bind" not in err
    assert "Traceback" not in err


def test_a_connection_for_which_there_is_no_descriptor_says_so():
    message = nobody_answered("FIFO 'f'", "far", ("127.0.0.1", 5100), OSError(errno.EMFILE, "Too many open files"), "")
    assert message.startswith("FIFO 'f': out of file descriptors")
