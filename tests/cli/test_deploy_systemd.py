"""`eprune deploy` where there is a systemd: its units are sound, and a real one runs them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time

import pytest
from application import ROOT

from eprune.codegen.targets import service
from eprune.deploy.build import programs_of
from eprune.formats.system import read_system, written_in
from tests.kit import booted
from tests.kit import fleet as kit

SYSTEM_PYTHON = "/usr/bin/python3"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed here")
@pytest.mark.parametrize("user", [False, True], ids=["system", "user"])
@pytest.mark.parametrize("security", ["none", "tls"])
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path, user, security):
    with kit.local(tmp_path) as fleet:
        fleet.write(security=security)
        programs = programs_of(read_system(*written_in(fleet.system)))
    root = f'{tmp_path}/50% of "$HOME" \\ and more'
    for program in programs:
        name = f"eprune-count-{program.platform}"
        command = ["/bin/echo", f"{root}/program.pyz", '--set=A.b="$x" %h']
        unit = service.deployed(program, name, command, root, user, security == "tls")
        (tmp_path / f"{name}.service").write_bytes(unit)
    units = sorted(map(str, tmp_path.glob("*.service")))
    scope = "--user" if user else "--system"
    done = subprocess.run(
        ["systemd-analyze", scope, "--recursive-errors=no", "verify", *units],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    known = re.compile("RestartSteps|RestartMaxDelaySec")
    wrong = [line for line in done.stderr.splitlines() if "eprune-count" in line and not known.search(line)]
    assert wrong == []


@pytest.mark.long
def test_a_real_systemd_runs_what_is_deployed(tmp_path):
    with kit.local(tmp_path) as fleet, booted.machine(tmp_path) as machine:
        fleet.write(security="tls")
        rewrite_places(fleet)
        keys = str(tmp_path / "keys")

        def eprune(*arguments):
            return machine.run(sys.executable, "-m", "eprune", *arguments, PYTHONPATH=str(ROOT))

        def shown(name, what):
            unit = f"eprune-count-{name}.service"
            return machine.run("systemctl", "show", f"--property={what}", "--value", unit).stdout.strip()

        def status():
            done = eprune("deploy", "status", fleet.system, "--format", "json")
            return {row["platform"]: row for row in json.loads(done.stdout)}

        assert eprune("certify", keys, *kit.PLATFORMS).returncode == 0
        done = eprune("deploy", fleet.system, "--keys", keys, "--bootstrap")
        assert done.returncode == 0, done.stderr
        first = status()
        assert {(row["service"], row["health"]) for row in first.values()} == {("system", "healthy")}
        for name in kit.PLATFORMS:
            assert shown(name, "ActiveState") == "active"
            assert shown(name, "UnitFileState") in ("enabled", "linked")
            pid = shown(name, "MainPID")
            owner = machine.run("stat", "--format=%u", f"/proc/{pid}").stdout.strip()
            assert int(owner) > 60000, "a user of its own"
        assert "running" in eprune("deploy", "logs", fleet.system, "-n", "1000").stdout

        # What is killed comes back.
        pid = shown("camera", "MainPID")
        machine.run("kill", "-9", pid)
        until = time.monotonic() + 30
        while status()["camera"]["health"] != "healthy" or shown("camera", "MainPID") == pid:
            assert time.monotonic() < until
        assert int(shown("camera", "NRestarts")) >= 1

        # What is changed while frames flow is the unit's main process then, and is kept running.
        before = {name: shown(name, "MainPID") for name in kit.PLATFORMS}
        restarts = {name: shown(name, "NRestarts") for name in kit.PLATFORMS}
        fleet.write(security="tls", period="0.02")
        rewrite_places(fleet)
        done = eprune("deploy", fleet.system, "--keys", keys, "--live")
        assert done.returncode == 0, done.stderr
        for name in kit.PLATFORMS:
            pid = shown(name, "MainPID")
            assert pid not in ("0", before[name])
            assert shown(name, "NRestarts") == restarts[name]
            assert status()[name]["version"] in machine.run("cat", f"/proc/{pid}/cmdline").stdout
        assert {row["health"] for row in status().values()} == {"healthy"}
        pid = shown("camera", "MainPID")
        machine.run("kill", "-9", pid)
        until = time.monotonic() + 30
        while status()["camera"]["health"] != "healthy" or shown("camera", "MainPID") == pid:
            assert time.monotonic() < until
        first = status()

        # What does not become healthy is undone.
        fleet.write(security="tls", broken="yes")
        rewrite_places(fleet)
        done = eprune("deploy", fleet.system, "--keys", keys)
        assert done.returncode == 1
        assert "the camera is broken" in done.stderr, done.stderr
        after = status()
        assert {name: row["version"] for name, row in after.items()} == {
            name: row["version"] for name, row in first.items()
        }
        until = time.monotonic() + 30
        while {row["health"] for row in status().values()} != {"healthy"}:
            assert time.monotonic() < until

        # What keeps it running may change, there and back.
        fleet.write(security="tls")
        rewrite_places(fleet)
        done = eprune("deploy", fleet.system, "--keys", keys, "--service", "plain")
        assert done.returncode == 0, done.stderr
        assert shown("camera", "LoadState") == "not-found"
        assert {(row["service"], row["health"]) for row in status().values()} == {("plain", "healthy")}
        done = eprune("deploy", "rollback", fleet.system)
        assert done.returncode == 0, done.stderr
        assert {(row["service"], row["health"]) for row in status().values()} == {("system", "healthy")}
        assert machine.run("pgrep", "-f", "supervisor.py").stdout == ""

        assert eprune("deploy", "stop", fleet.system).returncode == 0
        assert shown("camera", "ActiveState") == "inactive"
        assert eprune("deploy", "start", fleet.system).returncode == 0
        assert eprune("deploy", "undeploy", fleet.system).returncode == 0
        assert shown("camera", "LoadState") == "not-found"
        assert machine.run("ls", "-A", "/opt").stdout == ""
        assert "eprune" not in machine.run("find", "/etc/systemd/system").stdout


def rewrite_places(fleet):
    """The usual folder, and a Python that a user of systemd's can read."""
    for name in kit.PLATFORMS:
        path = fleet.folder / "system" / "platforms" / f"{name}.xml"
        path.write_text(re.sub('python="[^"]*" folder="[^"]*"', f'python="{SYSTEM_PYTHON}"', path.read_text()))
