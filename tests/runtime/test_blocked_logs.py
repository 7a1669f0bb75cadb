"""Whoever reads what a program tells, or does not: the run goes on, and what could not be told is counted."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eprune.runtime.tell import journal, log_writer, outlets
from eprune.runtime.tell.journal import Journal
from eprune.runtime.tell.log_writer import LogWriter
from eprune.runtime.tell.outlets import FileOutlet, PipeOutlet, write_whole
from tests.kit.programs import STARTED, environment, finish, start_command, write_program

#: Python's output is buffered, whatever the environment of the tests says.
BUFFERED = {"PYTHONUNBUFFERED": ""}
CHAIN = (
    "actor('A', 'ACTORS:Count', 'cpu', {'n': '4'})",
    "actor('B', 'ACTORS:%s', 'cpu')",
    "fifo('f', 'A.out', 'B.in', 'int32', (), capacity=2)",
)


def chain(tmp_path, sink="Total", n=4):
    return write_program(tmp_path, "host", *(line.replace("%s", sink).replace("'4'", f"'{n}'") for line in CHAIN))


class Stderr:
    """A standard error that is a descriptor."""

    def __init__(self, descriptor):
        self.fileno = lambda: descriptor


@pytest.fixture
def pipe():
    """A pipe as standard error: its reading end, and a writer to it."""
    read, write = os.pipe()
    yield read, LogWriter(gap, Stderr(write))
    os.close(read)
    os.close(write)


def gap(lines):
    return f"({lines} missing)"


def read_until(descriptor, end):
    data = b""
    while not data.endswith(end):
        data += os.read(descriptor, 65536)
    return data.decode().splitlines()


def test_lines_keep_their_order(pipe):
    read, writer = pipe
    for number in range(500):
        writer.add(f"line {number}")
    assert read_until(read, b"line 499\n") == [f"line {number}" for number in range(500)]
    writer.drain()
    assert writer.unwritten == 0


def test_a_writer_that_is_closed_leaves_no_thread(pipe):
    read, writer = pipe
    writer.add("line")
    writer.close()
    assert read_until(read, b"line\n") == ["line"]
    until = time.monotonic() + 10
    while writer._thread.is_alive() and time.monotonic() < until:
        time.sleep(0.01)
    assert not writer._thread.is_alive()


def test_what_does_not_fit_is_counted_and_told_in_its_place(pipe):
    read, writer = pipe
    long = "x" * 100_000  # more than the pipe holds
    begin = time.monotonic()
    for number in range(log_writer.MOST_WAITING + 50):
        writer.add(long if not number else f"{number}")
    writer.drain()
    writer.drain()
    assert time.monotonic() - begin < 5 * log_writer.PATIENCE  # nobody has waited, but for the last second
    assert writer.unwritten == log_writer.MOST_WAITING + 50
    lost = writer._lost
    assert 49 <= lost <= 50
    threading.Timer(0.2, writer.add, ["the end"]).start()
    lines = read_until(read, b"the end\n")
    last = log_writer.MOST_WAITING + 49 - lost
    assert lines == [long, *map(str, range(1, last + 1)), f"({lost} missing)", "the end"]


def test_a_gap_at_the_end_is_told_as_soon_as_there_is_room(pipe):
    read, writer = pipe
    for _ in range(log_writer.MOST_WAITING + 50):
        writer.add("x" * 1000)
    assert read_until(read, b"missing)\n")[-1] in ("(49 missing)", "(50 missing)")


def test_lines_that_fail_are_told_when_writing_works_again(tmp_path):
    with Path("/dev/full").open("wb", buffering=0) as full, (tmp_path / "log").open("wb", buffering=0) as log:
        stream = Stderr(full.fileno())
        writer = LogWriter(gap, stream)
        writer.add("one")
        writer.add("two")
        writer.drain()
        assert writer.unwritten == 2
        stream.fileno = log.fileno
        writer.add("three")
        writer.drain()
        assert (tmp_path / "log").read_text() == "(2 missing)\nthree\n"


@pytest.mark.parametrize("form", [journal.TEXT, journal.JSON])
def test_the_gap_has_the_form_of_the_log(tmp_path, form):
    with Path("/dev/full").open("wb", buffering=0) as full, (tmp_path / "log").open("wb", buffering=0) as log:
        stream = Stderr(full.fileno())
        printed = Journal("p", form)
        printed.write_behind(stream)
        printed.log("warning", "nobody knows")
        printed.drain()
        assert printed.unlogged == 1
        stream.fileno = log.fileno
        printed.log("note", "hello")
        printed.drain()
        first = (tmp_path / "log").read_text().splitlines()[0]
        if form == journal.TEXT:
            assert first == "p: warning: 1 lines of this log could not be written"
        else:
            line = json.loads(first)
            assert (line["event"], line["level"], line["lines"]) == ("unlogged", "warning", 1)


def blocked_stderr(program, *arguments, **more):
    """A program whose stderr is a full pipe that nobody reads; the pipe's reading end."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    try:
        while True:
            os.write(write, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(write, True)
    process = subprocess.Popen(
        [sys.executable, str(program), *arguments], stdout=subprocess.PIPE, stderr=write, env=environment(**more)
    )
    os.close(write)
    STARTED.append(process)
    return process, read


def test_a_full_stderr_neither_stops_a_run_nor_holds_up_its_end(tmp_path):
    record = tmp_path / "record.json"
    process, read = blocked_stderr(chain(tmp_path), "--log-format=json", "--record", str(record))
    out, _ = process.communicate(timeout=20)
    os.close(read)
    assert (process.returncode, out) == (0, b"4 tokens, sum 6\n")
    assert json.loads(record.read_text())["unlogged"] >= 3  # starting, running, ended


def test_a_failure_gets_out_of_a_program_with_a_full_stderr(tmp_path):
    process, read = blocked_stderr(chain(tmp_path, "BadEnd"), "--traceback")
    process.communicate(timeout=20)
    os.close(read)
    assert process.returncode == 1


def test_a_closed_stderr_ends_no_run(tmp_path):
    record = tmp_path / "record.json"
    script = '"$0" "$1" --record "$2" --log-format json 2>&-'
    process = start_command("sh", "-c", script, sys.executable, str(chain(tmp_path)), str(record))
    assert finish(process)[:2] == (0, "4 tokens, sum 6\n")
    assert json.loads(record.read_text())["unlogged"] >= 3


@pytest.mark.parametrize("sink", ["Show", "Prints"])
def test_a_closed_stdout_is_an_error_where_something_was_to_be_printed(tmp_path, sink):
    process = start_command("sh", "-c", '"$0" "$1" >&-', sys.executable, str(chain(tmp_path, sink)), **BUFFERED)
    code, _, err = finish(process)
    assert code == 1
    assert "Bad file descriptor" in err
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def test_a_closed_stdout_ends_no_run_that_prints_nothing(tmp_path):
    process = start_command("sh", "-c", '"$0" "$1" <&- >&- 2>&-', sys.executable, str(chain(tmp_path, "Quiet")))
    assert finish(process)[0] == 0


def test_a_full_disk_behind_stdout_is_an_error(tmp_path):
    process = start_command(
        "sh", "-c", '"$0" "$1" >/dev/full', sys.executable, str(chain(tmp_path, "Prints")), **BUFFERED
    )
    code, _, err = finish(process)
    assert (code, err) == (1, "host: error: standard output: No space left on device\n")


@pytest.mark.long
def test_an_actor_that_waits_for_a_reader_of_stdout_cannot_hold_the_program(tmp_path):
    read, write = os.pipe()
    program = chain(tmp_path, "Prints", 0)
    process = subprocess.Popen(
        [sys.executable, str(program), "--stall-after=0.3"], stdout=write, stderr=subprocess.PIPE, env=environment()
    )
    os.close(write)
    STARTED.append(process)
    assert b"actor 'B' is stalled" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    os.close(read)
    assert process.returncode == 130
    assert b"actor 'B' did not stop" in err


# Status


def test_reports_go_into_a_pipe_whole_or_not_at_all():
    read, write = os.pipe()
    outlet = PipeOutlet(f"/dev/fd/{write}")
    os.close(write)
    reports = [json.dumps({"number": number, "filling": "x" * 5000}) + "\n" for number in range(100)]
    for report in reports:
        outlet.put(report)
    assert outlet.missed > 0
    with os.fdopen(read) as pipe, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(pipe.readlines)
        assert outlet.close(5.0) == ""
        got = reading.result()
    assert len(got) + outlet.missed == 100
    assert got[-1] == reports[-1]  # the last one is worth a moment
    assert got[:-1] == reports[: len(got) - 1]


def test_a_reader_that_has_stopped_holds_up_nobody():
    read, write = os.pipe()
    outlet = PipeOutlet(f"/dev/fd/{write}")
    os.close(write)
    for _ in range(100):
        outlet.put("x" * 5000 + "\n")
    begin = time.monotonic()
    outlet.close(0.2)
    assert 0.1 < time.monotonic() - begin < 5
    os.close(read)


def test_the_reader_of_an_inherited_pipe_is_gone_for_good():
    read, write = os.pipe()
    outlet = PipeOutlet(f"/dev/fd/{write}")
    os.close(write)
    os.close(read)
    with pytest.raises(BrokenPipeError):
        outlet.put("report\n")


def test_a_named_pipe_finds_its_readers_late_and_loses_them(tmp_path):
    os.mkfifo(tmp_path / "status")
    outlet = PipeOutlet(str(tmp_path / "status"))
    for word in ("two", "three"):
        outlet.put("nobody\n")
        read = os.open(tmp_path / "status", os.O_RDONLY | os.O_NONBLOCK)
        outlet.put(f"{word}\n")
        assert os.read(read, 100) == f"{word}\n".encode()
        os.close(read)
    assert outlet.missed == 2
    outlet.close(0.0)


def test_a_program_runs_with_a_status_pipe_that_nobody_reads(tmp_path):
    os.mkfifo(tmp_path / "status")
    record = tmp_path / "record.json"
    command = (sys.executable, str(chain(tmp_path)), "--status", str(tmp_path / "status"), "--record", str(record))
    assert finish(start_command(*command), timeout=20) == (0, "4 tokens, sum 6\n", "")
    assert json.loads(record.read_text())["unreported"] >= 1


# Files on slow and full disks


def test_a_disk_that_hangs_is_a_problem_and_no_wait_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(outlets, "HUNG_AFTER", 0.2)
    go_on = threading.Event()
    monkeypatch.setattr(outlets, "write_whole", lambda *_: go_on.wait(20))
    outlet = FileOutlet("record.json")
    for number in range(3):
        outlet.put(str(number))
    time.sleep(0.3)
    assert outlet.problem.startswith("nothing could be written for ")
    assert "nothing could be written" in outlet.close(0.2)
    go_on.set()
    assert outlet.close(5.0) == ""
    assert outlet.missed >= 1


def test_a_slow_disk_is_given_the_time_that_it_takes(tmp_path, monkeypatch):
    def slow(path, text, progress):
        for _ in range(8):
            time.sleep(0.05)
            progress()

    monkeypatch.setattr(outlets, "write_whole", slow)
    outlet = FileOutlet("record.json")
    outlet.put("text")
    assert outlet.close(0.2) == ""


def test_a_record_that_cannot_be_written_is_told_and_changes_the_exit_code(tmp_path):
    program = chain(tmp_path)
    trace = tmp_path / "trace.json"
    command = (sys.executable, str(program), "--record", "/dev/full", "--trace", str(trace))
    assert finish(start_command(*command)) == (
        1,
        "4 tokens, sum 6\n",
        "host: error: /dev/full: No space left on device\n",
    )
    assert json.loads(trace.read_text())["traceEvents"]  # one does not cost the other
    process = start_command(sys.executable, str(chain(tmp_path, "Show", 0)), "--record", "/dev/full")
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    code, _, err = finish(process)
    assert code == 1
    assert "interrupted by SIGTERM" in err
    assert "/dev/full: No space left on device" in err


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o007, 0o660)])
def test_files_have_the_permissions_that_the_umask_gives(tmp_path, mask, mode):
    names = [tmp_path / name for name in ("status", "record", "trace")]
    options = [f"--{path.name}={path}" for path in names]
    script = f'umask {mask:o}; exec "$@"'
    process = start_command("sh", "-c", script, "sh", sys.executable, str(chain(tmp_path)), *options)
    assert finish(process)[0] == 0
    assert [path.stat().st_mode & 0o777 for path in names] == [mode] * 3
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_file_that_is_there_keeps_its_permissions(tmp_path):
    (tmp_path / "record").touch(0o600)
    write_whole(str(tmp_path / "record"), "{}")
    assert (tmp_path / "record").stat().st_mode & 0o777 == 0o600
