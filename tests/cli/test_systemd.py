"""`eprune codegen --systemd`: a service that a device's systemd takes, and that says what the program does."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys

import pytest
from application import LOCAL, SPLIT


def unit(path):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(path)
    return parser


def test_each_program_gets_a_unit_beside_it(app, eprune):
    done = eprune("codegen", *SPLIT, "--pyz", "--systemd", "-o", "build/")
    assert (done.code, done.out) == (0, "")
    assert sorted(path.name for path in (app / "build").iterdir()) == [
        "endpoint.pyz", "eprune-endpoint.service", "eprune-server.service", "server.pyz",
    ]  # fmt: skip
    assert "EPRUNE_LINK_SERVER=" in (app / "build/eprune-endpoint.service").read_text()


def test_what_the_unit_runs_is_a_command_that_the_program_takes(app, eprune):
    eprune("codegen", *LOCAL, "--pyz", "--systemd", "-o", "endpoint.pyz")
    service = unit(app / "eprune-endpoint.service")["Service"]
    command = service["ExecStart"].replace("%t/%N", str(app)).replace("/usr/bin/env python3", sys.executable)
    command = command.replace("/opt/eprune/endpoint.pyz", str(app / "endpoint.pyz")).replace("$EPRUNE_OPTIONS", "")
    done = subprocess.run(command.split(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert '"state": "ended"' in (app / "status.json").read_text()
    assert (service["Type"], service["SuccessExitStatus"], service["RestartPreventExitStatus"]) == (
        "notify",
        "130",
        "2",
    )


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed here")
def test_systemd_finds_nothing_wrong_with_it(app, eprune):
    eprune("codegen", *SPLIT, "--pyz", "--systemd", "-o", "build/")
    units = sorted(map(str, (app / "build").glob("*.service")))
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=60, check=False
    )
    assert [line for line in done.stderr.splitlines() if "build/" in line or "eprune-" in line] == []
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("more", [("-o", "endpoint.py"), ("--pyz", "-o", "-"), ("--pyz", "-o", "/dev/null")])
def test_a_service_needs_the_one_file_that_it_runs(app, eprune, more):
    done = eprune("codegen", *LOCAL, "--systemd", *more)
    assert (done.code, done.out) == (2, "")
    assert "--systemd goes with --pyz and -o FILE" in done.err
