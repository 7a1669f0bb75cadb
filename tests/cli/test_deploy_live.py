"""`eprune deploy --live`: a version takes over while frames flow, on two devices behind real sshds."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from tests.kit import fleet as kit
from tests.kit.programs import environment
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
