"""The network laboratory: two hosts with a shaped link between them, and nothing left of them afterwards."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from scripts.netlab import NotPermitted, disciplines, hosts
from tests.kit.programs import ROOT


@pytest.fixture
def pair():
    """Two hosts with 10 MB/s between them, or a skip that says why not."""
    try:
        with hosts(10e6) as made:
            yield made
    except NotPermitted as error:
        pytest.skip(f"no network namespaces here: {error}")


COMMAND = (sys.executable, "-m", "scripts.netlab")


def netlab(*words):
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)


def start(*words):
    return subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def namespaces():
    return subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout


def test_the_rate_leaves_room_for_headers():
    assert disciplines(11.2e6, 0.0) == ["root handle 2: tbf rate 93683978bit burst 3028 limit 5920785"]
    assert disciplines(None, 1.49e-3) == ["root handle 1: netem delay 1490us limit 100000"]
    assert [each.split()[:3] for each in disciplines(1e6, 0.02)] == [
        ["root", "handle", "1:"],
        ["parent", "1:1", "handle"],
    ]


def test_commands_run_on_their_hosts_and_nothing_is_left(pair):
    assert pair[0].name in namespaces()
    with start("exec", "ip -4 -o addr show scope global", "exit 3") as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "10.77.0.1/24" in out
    assert f"netlab-{process.pid}-" not in namespaces()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_when_it_is_stopped(pair, number):
    with start("exec", "echo here; exec sleep 60", "exec sleep 60") as process:
        assert process.stdout.readline() == "here\n"
        assert f"netlab-{process.pid}-" in namespaces()
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode != 0
    assert f"netlab-{process.pid}-" not in namespaces()


def test_an_application_runs_on_two_hosts(pair):
    done = netlab(
        *("--bandwidth", "11.2MB/s", "run", "graphs/vehicle.xml", "-p", "graphs/endpoint.xml"),
        *("-p", "graphs/server.xml", "-m", "mappings/vehicle_split", "--frames", "5"),
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 5
    assert "vehicle: 5 frames in " in done.stderr


def test_a_link_follows_a_trace(pair, tmp_path):
    rows = "seconds,platform,peer,bandwidth,latency,slowdown\n0,a,b,1e6,,\n0,b,,,,3\n0.2,b,a,2e6,,\n9,a,b,3e6,,\n"
    (tmp_path / "t.csv").write_text(rows)
    shown = "tc qdisc show dev v1; sleep 0.7; tc qdisc show dev v1"
    done = netlab("--trace", str(tmp_path / "t.csv"), "exec", shown, "true")
    assert done.returncode == 0, done.stderr
    assert [f" rate {rate}" in line for rate, line in zip(("8364Kbit", "16729Kbit"), done.stdout.splitlines())] == [
        True, True,
    ], done.stdout  # fmt: skip


def test_a_trace_that_does_not_say_how_the_link_begins_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("seconds,platform,peer,bandwidth,latency,slowdown\n3,a,b,1e6,,\n")
    done = netlab("--trace", str(tmp_path / "t.csv"), "exec", "true", "true")
    assert (done.returncode, "nothing says the link's bandwidth at 0 seconds" in done.stderr) == (2, True)
    done = netlab("--trace", str(tmp_path / "none.csv"), "exec", "true", "true")
    assert (done.returncode, "No such file" in done.stderr) == (2, True)


def test_a_wrong_quantity_is_refused():
    done = netlab("--bandwidth", "fast", "exec", "true", "true")
    assert (done.returncode, "'fast' is not a quantity" in done.stderr) == (2, True)
