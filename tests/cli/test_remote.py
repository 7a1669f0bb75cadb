"""`eprune profile --endpoint ssh://...`: the endpoint's programs run over a real sshd, and nothing stays there."""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from application import ROOT

from eprune.deploy import local, ports
from eprune.deploy.device import write_keys
from eprune.deploy.ssh import parse_device
from tests.kit import sshd

CUTS = ("explore", "app.xml", "-p", "platforms/endpoint.xml", "platforms/server.xml", "-o", "cuts", "--frames", "2")


@pytest.fixture(autouse=True)
def little_grace(monkeypatch):
    """Programs whose peer never comes are stopped soon."""
    monkeypatch.setattr(local, "GRACE", (0.2, 6.0))


@pytest.fixture
def device(tmp_path_factory, monkeypatch):
    """A device that is this machine; its temporary files are in ``device.folder / "tmp"``."""
    folder = tmp_path_factory.mktemp("device") / "sshd"
    with sshd.server(folder, f"SetEnv TMPDIR={folder}/tmp MARK={folder}") as server:
        (folder / "tmp").mkdir()
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
        yield server


@pytest.fixture
def cuts(app, eprune):
    done = eprune(*CUTS)
    assert done.code == 0, done.err
    return app / "cuts"


def profile(device, *options, url=None, python=sys.executable):
    return ("profile", "cuts", "--no-pin", "--endpoint", url or device.url, "--device-python", python, *options)


def lines(cuts):
    return [json.loads(line) for line in (cuts / "results.jsonl").read_text().splitlines()]


def running(device):
    """The processes that the device started for us and that still run."""
    mark = f"MARK={device.folder}".encode()
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in environment.read_bytes().split(b"\0"):
                found.append(environment)
        except OSError:
            continue
    return found


def nothing_is_left(device):
    deadline = time.monotonic() + 20
    while running(device) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not running(device) and not list((device.folder / "tmp").iterdir())


def slowly(app):
    """Let the sink take a second a frame, and say when it begins."""
    behaviours = (app / "behaviours.py").read_text()
    begun = f"open({str(app / 'begun')!r}, 'w').close() or __import__('time').sleep(1) or print("
    (app / "behaviours.py").write_text(behaviours.replace("print(", begun))


def start(app, *arguments):
    process = subprocess.Popen(
        [sys.executable, "-m", "eprune", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    while not (app / "begun").exists() and process.poll() is None:
        time.sleep(0.02)
    return process


def test_every_point_is_measured_on_the_device_and_named_after_it(device, cuts, eprune):
    done = eprune(*profile(device))
    assert (done.code, done.out) == (0, ""), done.err
    assert f"endpoint is {platform.node()} ({device.url}): {platform.machine()}, Python" in done.err
    assert [line["alternative"] for line in lines(cuts)] == ["1", "2", "3", "4"]
    for line in lines(cuts):
        assert line["ok"] and line["frames"] == 2
        assert line["devices"] == {"endpoint": device.url}
        assert line["platforms"]["endpoint"]["host"] == platform.node()
        assert line["platforms"]["endpoint"]["python"] == platform.python_version()
    assert len(lines(cuts)[1]["platforms"]["endpoint"]["interpreter"].split()) == 2
    assert nothing_is_left(device)
    assert "0 measured now, 4 of 4 in all" in eprune(*profile(device)).err
    assert "Measured on real devices, over SSH: 1, 2, 3, 4." in eprune("report", "cuts").out


@pytest.mark.long
@pytest.mark.parametrize("ports", ["each", "shared"])
def test_a_result_comes_back_to_the_device(device, app, eprune, ports):
    for path in (app / "platforms").iterdir():
        path.write_text(path.read_text().replace("<link ", f'<link ports="{ports}" '))
    assert eprune(*CUTS, "--keep-on", "endpoint", "Out").code == 0
    done = eprune(*profile(device, "--point", "2"))
    assert done.code == 0, done.err
    assert lines(app / "cuts")[0]["bytes"] == 256 + 20


def test_lone_frames_are_timed_on_the_device(device, cuts, eprune):
    done = eprune(*profile(device, "--latency", "--point", "2"))
    assert done.code == 0, done.err
    [line] = [json.loads(text) for text in (cuts / "latency.jsonl").read_text().splitlines()]
    assert line["devices"] == {"endpoint": device.url}
    assert line["latency_ms"]["p50"] > 0 and line["split_ms"]["(link)"] > 0


def test_ctrl_c_leaves_nothing_running_on_the_device(device, app, eprune):
    slowly(app)
    assert eprune(*CUTS, "--frames", "60").code == 0
    process = start(app, *profile(device, "--point", "4"))
    assert running(device)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "eprune profile cuts goes on with partition point 4" in said
    assert nothing_is_left(device)
    assert not (app / "cuts/results.jsonl").exists()


def test_ctrl_c_while_the_device_is_looked_at(device, app, cuts):
    slow = device.folder / "slow"
    slow.write_text(f"#!/bin/sh\ntouch {app / 'begun'}\nexec sleep 60\n")
    slow.chmod(0o755)
    process = start(app, *profile(device, python=str(slow)))
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, said) == (130, "interrupted\n")


@pytest.mark.long
def test_nothing_stays_on_the_device_when_profile_is_killed(device, app, eprune):
    slowly(app)
    assert eprune(*CUTS, "--frames", "60").code == 0
    process = start(app, *profile(device, "--point", "4"))
    process.kill()
    process.communicate()
    assert nothing_is_left(device)


@pytest.mark.long
def test_a_program_that_is_killed_on_the_device_is_a_failure_of_its_point_only(device, cuts, eprune):
    (cuts / "2/endpoint.pyz").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    (cuts / "3/endpoint.pyz").write_text("raise SystemExit('endpoint: error: out of order')")
    done = eprune(*profile(device))
    assert done.code == 1
    assert [line["ok"] for line in lines(cuts)] == [True, False, False, True]
    assert lines(cuts)[1]["problem"] == f"error: killed by SIGKILL on {device.url}"
    assert lines(cuts)[2]["problem"] == "endpoint: error: out of order"
    assert nothing_is_left(device)


@pytest.mark.long
def test_a_connection_that_breaks_is_a_failure_of_its_point_only(device, cuts, eprune):
    kill = (
        "import os, pathlib\n"
        "agent = os.getppid()\n"
        "stat = pathlib.Path(f'/proc/{agent}/stat').read_text()\n"
        "os.kill(int(stat.rpartition(')')[2].split()[1]), 9)\n"
    )
    (cuts / "2/endpoint.pyz").write_text(kill)
    done = eprune(*profile(device, "--limit", "20"))
    assert [line["ok"] for line in lines(cuts)] == [True, False, True, True], done.err
    assert f"the connection to {device.url} broke" in lines(cuts)[1]["problem"]
    assert nothing_is_left(device)


@pytest.mark.long
def test_a_device_that_has_gone_ends_the_measuring_and_it_goes_on_later(device, cuts, eprune, monkeypatch):
    stop = "import os\nos.kill(" + str(device.process.pid) + ", 15)\nraise SystemExit('endpoint: error: last words')"
    (cuts / "2/endpoint.pyz").write_text(stop)
    done = eprune(*profile(device))
    assert done.code == 1
    assert [line["ok"] for line in lines(cuts)] == [True, False]
    assert f"{device.url} cannot be reached" in done.err
    assert "eprune profile cuts goes on with partition point 3" in done.err
    assert "2 measured now, 4 of 4 in all" in eprune("profile", "cuts", "--no-pin").err


def test_what_is_wrong_with_a_device_is_told_before_anything_is_measured(device, cuts, eprune):
    def told(**changes):
        done = eprune(*profile(device, **changes))
        assert done.code == 1
        assert not (cuts / "results.jsonl").exists()
        return done.err

    assert "has no nopython" in told(python="nopython")
    assert "has no numpy" in told(python=bare(device.folder))
    assert "cannot be reached" in told(url=device.url.rpartition(":")[0] + ":1")
    hosts = device.folder / "known_hosts"
    known = hosts.read_text()
    hosts.write_text("")
    assert "the host key of" in told() and "is not known" in told()
    other = (device.folder / "user.pub").read_text().split()[1]
    hosts.write_text(f"{known.split()[0]} ssh-ed25519 {other}\n")
    assert "shows another host key than the known one" in told()
    hosts.write_text(known)
    (device.folder / "authorized_keys").write_text("")
    assert "refused the key" in told()


def bare(folder):
    """A Python without numpy."""
    path = folder / "bare"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.long
def test_an_sshd_that_forwards_no_ports_is_told(tmp_path_factory, cuts, eprune, monkeypatch):
    folder = tmp_path_factory.mktemp("device") / "sshd"
    with sshd.server(folder, "AllowTcpForwarding no") as device:
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
        done = eprune(*profile(device))
    assert done.code == 1
    assert "sshd forwards none (AllowTcpForwarding)" in done.err
    assert not (cuts / "results.jsonl").exists()


def test_taken_ports_of_the_device_are_avoided(device, cuts, eprune, monkeypatch):
    taken = socket.create_server(("127.0.0.1", 0))
    choose, chosen = ports.any_base_port, []

    def chooses_a_taken_port_for_the_device_first(count):
        chosen.append(taken.getsockname()[1] if len(chosen) == 1 else choose(count))
        return chosen[-1]

    monkeypatch.setattr(ports, "any_base_port", chooses_a_taken_port_for_the_device_first)
    with taken:
        done = eprune(*profile(device, "--point", "2"))
    assert done.code == 0, done.err
    assert len(chosen) >= 4


def test_without_ssh_here_that_is_told(cuts, eprune, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    done = eprune("profile", "cuts", "--endpoint", "ssh://127.0.0.1")
    assert done.code == 1
    assert "install OpenSSH's client here" in done.err


@pytest.mark.parametrize(
    "text",
    [
        "pi@192.168.1.20",
        "http://pi",
        "ssh://",
        "ssh://-oProxyCommand=true",
        "ssh://-l@host",
        "ssh://a b",
        "ssh://a;b",
        "ssh://a:0",
        "ssh://a:66000",
        "ssh://a/b",
        "ssh://$(id)",
    ],
)
def test_what_is_no_device_is_refused(cuts, eprune, text):
    done = eprune("profile", "cuts", "--endpoint", text)
    assert done.code == 2
    assert "is not of the form ssh://[USER@]HOST[:PORT]" in done.err


def test_a_device_gets_its_own_certificate_for_links_with_tls(device, app, eprune):
    for path in (app / "platforms").iterdir():
        path.write_text(path.read_text().replace("<link ", '<link security="tls" '))
    assert eprune(*CUTS).code == 0
    done = eprune(*profile(device, "--point", "2"))
    assert done.code == 0, done.err
    assert lines(app / "cuts")[0]["frames"] == 2
    assert nothing_is_left(device)


def test_a_key_for_a_file_elsewhere_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="is not a file name"):
        write_keys(tmp_path / "keys", {"../stolen.key": "x"})
    assert not list(tmp_path.glob("*.key"))


@pytest.mark.long
def test_each_of_two_endpoints_may_be_a_device(device, two_endpoints, eprune):
    devices = [f"--endpoint={name}={device.url}" for name in ("one", "other")]
    done = eprune("profile", "cuts", "--no-pin", *devices, "--device-python", sys.executable, "--latency")
    assert done.code == 0, done.err
    found = [json.loads(text) for text in (two_endpoints / "latency.jsonl").read_text().splitlines()]
    assert [line["ok"] for line in found] == [True, True]
    assert "which one is it?" in eprune("profile", "cuts", "--endpoint", device.url).err
    assert nothing_is_left(device)


def test_a_device_must_be_an_endpoint(cuts, eprune):
    assert "there is no endpoint 'server'" in eprune("profile", "cuts", "--endpoint", "server=ssh://pi").err


@pytest.mark.parametrize("text", ["ssh://pi", "ssh://pi@10.0.0.1:2222", "ssh://p.i-1@a.b", "ssh://u@[fe80::1%eth0]:22"])
def test_devices(text):
    assert parse_device(text).command()[-3] == "--"
