"""`eprune deploy replan`: what runs on the devices that are left, when one has failed for good."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.kit import fleet as kit
from tests.kit.waiting import until


@pytest.fixture(scope="module")
def devices(tmp_path_factory):
    with kit.local(tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


@pytest.fixture
def replan(devices, eprune):
    """Explored, timed and deployed; and the command."""
    files = [f"{devices.system}/{name}.xml" for name in ("application", "platforms/camera", "platforms/server")]
    cuts, new = str(devices.folder / "cuts"), str(devices.folder / "new")
    for words in (
        ("explore", files[0], "-p", *files[1:], "-o", cuts, "--force"),
        ("profile", cuts, "--actors"),
        ("deploy", devices.system, "--service", "plain"),
    ):
        done = eprune(*words)
        assert done.code == 0, done.err
    return lambda *more: eprune("deploy", "replan", devices.system, "--cuts", cuts, "-o", new, *more)


@pytest.mark.long
def test_what_ran_on_a_failed_device_comes_onto_those_that_are_left(devices, eprune, replan):
    done = replan()
    assert (done.code, done.err.strip()) == (0, "all devices are there: nothing is to be placed anew")
    for pid in devices.supervisors("server") + devices.programs("server"):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not devices.programs("server"))

    done = replan()
    assert done.code == 0, done.err
    assert "server has failed: it is stopped" in done.err
    assert "endpoint only (partition point 2)" in done.err
    assert done.out == f"eprune deploy {devices.folder}/new --allow-outside\n"
    assert json.loads((devices.root("camera") / "current" / "deployment.json").read_text())["ports"]

    done = replan("--make", "--format", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {
        "failed": {"server": "it is stopped"},
        "system": f"{devices.folder}/new",
        "deployed": True,
    }
    assert json.loads((devices.root("camera") / "current" / "deployment.json").read_text())["ports"] == []
    assert devices.counts("camera")


def test_each_option_acts(devices, eprune, replan):
    gone = ("--gone", "server")
    assert "predicted" in replan(*gone, "--best", "latency").err
    assert replan(*gone, "--best", "beauty").code == 2
    assert replan(*gone, "-o", str(devices.folder / "other")).out.split()[2] == f"{devices.folder}/other"
    assert replan(*gone, "--cuts", str(devices.folder / "none")).code == 2
    assert json.loads(replan(*gone, "--format", "json").out)["deployed"] is False
    done = replan(*gone, "--timeout", "9")
    assert (done.code, "--timeout is for --make" in done.err) == (2, True)
    done = replan(*gone, "--quiet", "--make", "--timeout", "30")
    assert (done.code, "is healthy" in done.err) == (0, False)
    path = devices.folder / "cuts/explore.json"
    plan = json.loads(path.read_text())
    plan["constraints"]["required"] = {"latency": 1e-9, "rate": None}
    path.write_text(json.dumps(plan))
    done = replan(*gone)
    assert (done.code, "No cut meets what is required" in done.err) == (1, True)
    assert replan(*gone, "--no-require").code == 0


@pytest.mark.long
def test_where_nothing_can_do_without_the_failed_device_that_is_said(devices, replan):
    done = replan("--gone", "camera")
    assert done.code == 1
    assert "camera: it is to be done without" in done.err
    assert done.err.splitlines()[-1] == (
        "source 'Count' was on camera; if it can be elsewhere: --keep-on PLATFORM Count"
    )
    done = replan("--gone", "camera", "--keep-on", "server", "Count")
    assert (done.code, "server only" in done.err) == (0, True)
    done = replan("--gone", "camera", "server")
    assert (done.code, done.err.splitlines()[-1]) == (1, "no device is left")
    done = replan("--gone", "moon")
    assert done.code == 2
    assert "there is no platform 'moon'; there are camera, server" in done.err
