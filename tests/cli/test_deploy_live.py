"""`eprune deploy --live`: a version takes over while frames flow, on two devices behind real sshds."""

from __future__ import annotations

import json
import os
import signal
import socket

import pytest

from tests.kit import fleet as kit
from tests.kit.waiting import until


@pytest.fixture(scope="module")
def _shared(tmp_path_factory):
    with kit.over_ssh(tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


@pytest.fixture
def devices(_shared, eprune):
    """Two devices on which a version runs."""
    _shared.write()
    done = deploy(_shared, eprune)
    assert done.code == 0, done.err
    assert _shared.counts()
    yield _shared
    _shared.write()
    done = eprune("deploy", "undeploy", _shared.system, "--purge")
    assert done.code == 0, done.err


def deploy(devices, eprune, *more):
    return eprune("deploy", "up", devices.system, "--service", "plain", "--timeout", "30", *more)


def printed(devices):
    """What the server has printed since it was deployed: the numbers of the camera."""
    lines = (devices.root("server") / "log" / "program.log").read_text().splitlines()
    return [int(line) for line in lines if line.isdigit()]


def test_nothing_is_lost_and_what_took_over_is_what_runs(devices, eprune):
    before = {name: devices.current(name) for name in kit.PLATFORMS}
    devices.write(period="0.005")
    done = deploy(devices, eprune, "--live", "--format", "json")
    assert done.code == 0, done.err
    versions = json.loads(done.out)["versions"]
    assert {name: devices.current(name) for name in kit.PLATFORMS} == versions
    assert set(versions.values()).isdisjoint(before.values())
    count = len(printed(devices))
    until(lambda: len(printed(devices)) > count + 20)
    assert printed(devices) == list(range(1, len(printed(devices)) + 1))


@pytest.mark.long
def test_it_can_be_changed_again_and_again_and_is_kept_running(devices, eprune):
    ports = set()
    for period in ("0.006", "0.007"):
        devices.write(period=period)
        done = deploy(devices, eprune, "--live")
        assert done.code == 0, done.err
        description = json.loads((devices.root("server") / "current" / "deployment.json").read_text())
        ports.add(tuple(description["ports"]))
    assert len(ports) == 2
    again = deploy(devices, eprune, "--live", "--format", "json")
    assert json.loads(again.out)["changed"] is False
    (pid,) = pids(devices, "server")
    os.kill(pid, signal.SIGKILL)  # the supervisor starts the version that took over
    until(lambda: pids(devices, "server") not in ([], [pid]))
    assert devices.counts()
    done = eprune("deploy", "rollback", devices.system)
    assert done.code == 0, done.err
    assert devices.counts()


def pids(devices, platform):
    """The processes of the version that runs, whoever has started it."""
    root = devices.root(platform)
    paths = [root / folder / "program.pyz" for folder in ("current", f"versions/{devices.current(platform)}")]
    return sorted({pid for path in paths for pid in devices.processes(str(path))})


@pytest.mark.long
def test_a_source_that_cannot_begin_brings_the_version_before_back(devices, eprune):
    before = {name: devices.state(name) for name in kit.PLATFORMS}
    devices.write(broken="yes")
    done = deploy(devices, eprune, "--live")
    assert done.code == 1
    assert "the camera is broken" in done.err
    assert "camera (ssh://root@127.0.0.1" in done.err and "is not healthy: it has failed 2 times" in done.err
    assert devices.counts()
    assert {name: devices.state(name) for name in kit.PLATFORMS} == before


@pytest.mark.long
def test_a_port_that_the_new_version_needs_is_looked_at_first(devices, eprune):
    before = {name: devices.state(name) for name in kit.PLATFORMS}
    devices.write(period="0.004")
    (port,) = json.loads((devices.root("server") / "current" / "deployment.json").read_text())["ports"]
    with socket.create_server(("127.0.0.1", port + 1)):
        done = deploy(devices, eprune, "--live")
    assert done.code == 1
    assert f"server: port {port + 1} is in use: the new version needs it" in done.err
    assert {name: devices.state(name) for name in kit.PLATFORMS} == before


def test_what_cannot_be_handed_over_is_told_before_anything_is_changed(devices, eprune):
    moved = {"Count": "server", "Print": "camera"}
    for name in kit.PLATFORMS:
        path = devices.folder / "system" / "mappings" / f"{name}.xml"
        path.write_text(kit.mapping(name, moved))
    done = deploy(devices, eprune, "--live")
    assert done.code == 1
    assert done.err.splitlines()[0] == "Error: source 'Count' moves from camera to server: that takes a stop"
    done = deploy(devices, eprune, "--live", "--reset", "Print", "--reset", "Nobody")
    assert "--reset Nobody: there is no such actor" in done.err
    done = deploy(devices, eprune, "--reset", "Count")
    assert done.code == 2
    assert "--reset is for --live" in done.err
