"""`eprune run`: every distribution of an application gives the same results, and its figures add up."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from application import LOCAL, ROOT, SPLIT, mapping
from prepared import PROBE


def test_local_split_and_unfused_runs_give_the_same_results(app, eprune_process):
    runs = [
        eprune_process("run", *LOCAL, "--no-pin"),
        eprune_process("run", *LOCAL, "--no-pin", "--no-fuse"),
        eprune_process("run", *SPLIT, "--no-pin"),
    ]
    assert [done.code for done in runs] == [0, 0, 0], runs
    assert len(runs[0].out.splitlines()) == 4
    assert len({done.out for done in runs}) == 1


def test_the_summary_tells_frames_and_bytes(app, eprune_process):
    done = eprune_process("run", *SPLIT, "--frames", "3", "--summary", "summary.json")

    assert done.code == 0, done.err
    told = json.loads((app / "summary.json").read_text())
    assert (told["application"], told["frames"]) == ("tiny", 3)
    assert told["links"] == [{"from": "endpoint", "to": "server", "bytes": 3 * 256, "bytes_per_frame": 256}]
    assert set(told["platforms"]) == {"endpoint", "server"}
    assert set(told["platforms"]["server"]["actors"]) == {"L2", "Out"}
    assert done.err.startswith("tiny: 3 frames in ")
    assert "endpoint -> server: 768B, 256B per frame" in done.err


def test_quiet_is_quiet(app, eprune_process):
    assert eprune_process("run", *LOCAL, "-q").err == ""


def test_no_control_characters_go_where_no_terminal_is(app, eprune_process):
    assert "\x1b" not in eprune_process("run", *SPLIT).err


def test_records_traces_and_programs_are_kept_where_wanted(app, eprune_process):
    done = eprune_process("run", *SPLIT, "--record", "records", "--trace", "traces", "--build", "build")

    assert done.code == 0, done.err
    record = json.loads((app / "records/server.json").read_text())
    assert record["actors"]["Out"]["firings"] == 4
    assert json.loads((app / "traces/endpoint.trace.json").read_text())["traceEvents"]
    assert os.access(app / "build/endpoint.py", os.X_OK)


def test_parameters_go_to_the_platform_that_has_the_actor(app, eprune_process):
    done = eprune_process("run", *SPLIT, "--set", "In.count=2")
    assert done.code == 0, done.err
    assert len(done.out.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((*LOCAL, "--set", "Inn.count=2"), 2, "there is no actor 'Inn'; did you mean 'In'?"),
        ((*LOCAL, "--set", "count=2"), 2, "'count=2' is not of the form ACTOR.PARAM=VALUE"),
        ((*LOCAL, "--set", "In.count=many"), 2, "invalid literal for int()"),
        ((*LOCAL, "--set", "In.cuont=2"), 2, "cuont"),
        ((*LOCAL, "--frames", "0"), 2, "--frames"),
        (("app.xml", "-p", "platforms", "-m", "split/server.xml"), 1, "platform 'endpoint' has no mapping file"),
        (
            ("app.xml", "-p", "platforms/server.xml", "-m", "split/server.xml"),
            2,
            "the platform files of 'endpoint' are missing",
        ),
        (("app.xml", "-p", "platforms/server.xml", "-m", "split"), 1, "'endpoint'"),
        ((*LOCAL, "--record", "app.xml"), 2, "app.xml: File exists"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_message(app, eprune_process, arguments, code, message):
    done = eprune_process("run", *arguments)
    assert done.code == code, done
    assert message in done.err
    assert "Traceback" not in done.err and "INTERNAL" not in done.err
    assert done.out == ""


def test_an_actor_that_fails_ends_the_run_with_its_message(app, eprune_process):
    broken = (app / "behaviours.py").read_text().replace("print(", "raise RuntimeError('no paper') or print(")
    (app / "behaviours.py").write_text(broken)
    done = eprune_process("run", *SPLIT)
    assert done.code == 1
    assert "no paper" in done.err
    assert "frames/s" not in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("deployment", [LOCAL, SPLIT], ids=["local", "split"])
def test_an_interrupt_ends_all_platforms_and_leaves_nothing(app, deployment, number):
    (app / "temporary").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "eprune", "run", *deployment, "--set", "In.count=-1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(app / "temporary")},
    )
    with process:
        assert process.stdout.readline()
        assert list((app / "temporary").iterdir())
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert list((app / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("redirection", "code"), [("2>&-", 0), ("2>/dev/full", 0), (">&-", 1), (">/dev/full", 1), ("<&- >&- 2>&-", 1)]
)
def test_only_results_that_nobody_gets_are_a_failure(app, redirection, code):
    """Not messages for people that cannot be written, nor descriptors that are closed."""
    command = f'exec "$@" {redirection}'
    arguments = ["sh", "-c", command, "sh", sys.executable, "-m", "eprune", "run", *SPLIT]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    assert len(done.stdout.splitlines()) == (4 if code == 0 else 0)
    assert "INTERNAL" not in done.stderr


@pytest.mark.parametrize("count", ["4", "-1"])
def test_a_run_whose_messages_nobody_reads_can_be_interrupted(app, count):
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b"." * 4096)
    os.set_blocking(write, True)
    process = subprocess.Popen(
        [sys.executable, "-m", "eprune", "run", *SPLIT, "--set", f"In.count={count}"],
        stdout=subprocess.PIPE,
        stderr=write,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    os.close(write)
    with process:
        for _ in range(4):
            assert process.stdout.readline()
        if count == "4":  # what is left is the summary
            time.sleep(2)
        process.terminate()
        try:
            process.wait(timeout=60)
        finally:
            os.close(read)
            process.kill()
    assert process.returncode == 130


@pytest.fixture
def links_with(app):
    """Gives the links of both platforms a security."""

    def change(security):
        for platform in ("endpoint", "server"):
            path = app / f"platforms/{platform}.xml"
            path.write_text(path.read_text().replace('port="5100"', f'port="5100" security="{security}"'))

    return change


def test_links_with_tls_get_certificates_for_the_run(app, eprune_process, links_with):
    plain = eprune_process("run", *SPLIT, "-q")
    links_with("tls")
    assert eprune_process("run", *SPLIT, "-q") == plain
    done = eprune_process("run", *SPLIT, "-q", EPRUNE_KEYS="nowhere")
    assert done.code == 2
    assert "nowhere/ca.crt: No such file or directory" in done.err


@pytest.mark.long
def test_links_with_tls_use_the_certificates_that_are_given(app, eprune_process, links_with):
    links_with("tls")
    assert eprune_process("certify", "keys", "endpoint").code == 0
    done = eprune_process("run", *SPLIT, "-q", "--keys", "keys")
    assert done.code == 2
    assert (
        "keys/server.crt: No such file or directory; 'eprune certify keys server' makes the missing files" in done.err
    )
    assert eprune_process("certify", "keys", "server").code == 0
    assert eprune_process("run", *SPLIT, "-q", "--keys", "keys").code == 0


def test_links_with_ssh_need_no_tunnel_on_one_machine(app, eprune_process, links_with):
    links_with("ssh")
    done = eprune_process("run", *SPLIT)
    assert done.code == 0
    assert done.err.startswith('note: links with security="ssh" need no tunnel on one machine')


def test_tls_is_measured_with_tls(app, eprune, links_with, monkeypatch):
    links_with("tls")
    assert eprune("explore", "app.xml", "-p", "platforms", "-o", "cuts", "--frames", "2").code == 0
    done = eprune("profile", "cuts", "--no-pin", "--point", "1")
    assert done.code == 0, done.err
    done = eprune("sweep", *SPLIT, "--vary", "In.count=2,3", "--no-pin")
    assert done.code == 0, done.err


READS = """
import sys
from eprune.runtime import Actor, EndOfStream


class Reads(Actor):
    stdin = True

    def fire(self, inputs, outputs):
        line = sys.stdin.readline()
        if not line:
            raise EndOfStream
        outputs["out"][...] = float(line)


class Perhaps(Reads):
    stdin = "path"

    def __init__(self, path="-"):
        self.path = path

    def fire(self, inputs, outputs):
        if self.path != "-":
            raise EndOfStream
        super().fire(inputs, outputs)


class Writes(Actor):
    def fire(self, inputs, outputs):
        assert sys.stdin.read() == ""  # of this platform nobody said that it reads
        print(float(inputs["in"][0]), flush=True)
"""


@pytest.fixture
def reading(app):
    """Makes the class of the source of two platforms."""
    (app / "reads.py").write_text(READS)
    (app / "two").mkdir()
    for platform in ("endpoint", "server"):
        (app / f"two/{platform}.xml").write_text(mapping(platform, {"In": "endpoint", "Out": "server"}))

    def make(source, more=""):
        text = PROBE.replace("probes.py:Ramp", f"reads.py:{source}").replace("probes.py:Tell", "reads.py:Writes")
        (app / "reads.xml").write_text(text.replace("</application>", f"{more}</application>"))

    return make


READING = ("reads.xml", "-p", "platforms", "-m", "two", "-q")


@pytest.mark.parametrize("source", ["Reads", "Perhaps"])
def test_stdin_goes_to_the_platform_that_reads_it(reading, eprune_process, source):
    reading(source)
    assert eprune_process("run", *READING, stdin="3\n1\n4\n") == (0, "3.0\n1.0\n4.0\n", "")


def test_stdin_is_read_where_a_parameter_says_so(reading, eprune_process):
    reading("Perhaps")
    assert eprune_process("run", *READING, "--set", "In.path=elsewhere", stdin="3\n") == (0, "", "")


def test_two_actors_that_read_stdin_are_refused(app, reading, eprune):
    other = (
        '<actor name="More" class="reads.py:Perhaps"><out name="out" token="float32[4]"/></actor>'
        '<actor name="End" class="reads.py:Writes"><in name="in" token="float32[4]"/></actor>'
        '<fifo name="f2" from="More.out" to="End.in"/>'
    )
    reading("Reads", other)
    homes = {"In": "endpoint", "Out": "server", "More": "server", "End": "server"}
    for platform in ("endpoint", "server"):
        (app / f"two/{platform}.xml").write_text(mapping(platform, homes))
    done = eprune("run", *READING)
    assert done.code == 2
    assert "'In' and 'More' read standard input, which only one actor can" in done.err
