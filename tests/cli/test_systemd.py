"""`eprune codegen --systemd`: a service that a device's systemd takes, and that says what the program does."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys

import pytest
from application import LOCAL, SPLIT

from tests.kit.programs import finish, start_command


def unit(path):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(path)
    return parser


def complaints(output):
    """What systemd says, but for keys that only a later version knows and this one ignores."""
    return [line for line in output.splitlines() if not re.search("RestartSteps|RestartMaxDelaySec", line)]


def test_each_program_gets_a_unit_beside_it(app, eprune):
    done = eprune("codegen", *SPLIT, "--pyz", "--systemd", "-o", "build/")
    assert (done.code, done.out) == (0, "")
    assert sorted(path.name for path in (app / "build").iterdir()) == [
        "endpoint.pyz", "eprune-endpoint.service", "eprune-server.service", "server.pyz",
    ]  # fmt: skip
    assert "EPRUNE_LINK_SERVER=" in (app / "build/eprune-endpoint.service").read_text()


def test_the_folder_may_be_there_already(app, eprune):
    (app / "build").mkdir()
    done = eprune("codegen", *LOCAL, "--pyz", "--systemd", "-o", "build")
    assert (done.code, done.out) == (0, ""), done.err
    assert (app / "build/eprune-endpoint.service").exists()


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


def command_of(app, platform):
    """The command of a unit, as it is here."""
    command = unit(app / f"build/eprune-{platform}.service")["Service"]["ExecStart"]
    places = {"%t/%N": app / "build", "/usr/bin/env python3": sys.executable, "/opt/eprune": app / "build"}
    for there, here in {**places, "$EPRUNE_OPTIONS": ""}.items():
        command = command.replace(there, str(here))
    return command.split()


def test_the_unit_of_a_platform_that_only_receives_is_a_service_that_stays(app, eprune):
    eprune("codegen", *SPLIT, "--pyz", "--systemd", "-o", "build/")
    endpoint = command_of(app, "endpoint")
    assert "--serve" not in endpoint
    service = start_command(*command_of(app, "server"))
    for stream in (1, 2):
        assert subprocess.run(endpoint, capture_output=True, timeout=120, check=False).returncode == 0
        while json.loads(service.stderr.readline()).get("stream") != stream + 1:
            pass
    service.terminate()
    assert finish(service)[0] == 0


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed here")
def test_systemd_finds_nothing_wrong_with_it(app, eprune):
    eprune("codegen", *SPLIT, "--pyz", "--systemd", "-o", "build/")
    units = sorted(map(str, (app / "build").glob("*.service")))
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=60, check=False
    )
    assert [line for line in complaints(done.stderr) if "build/" in line or "eprune-" in line] == []
    assert done.returncode == 0, done.stderr


def test_a_service_that_fails_again_and_again_waits_longer_each_time(app, eprune):
    eprune("codegen", *LOCAL, "--pyz", "--systemd", "-o", "endpoint.pyz")
    service = unit(app / "eprune-endpoint.service")["Service"]
    assert (service["RestartSec"], service["RestartMaxDelaySec"]) == ("2", "60")
    assert int(service["RestartSteps"]) > 1
    assert int(service["LimitNOFILE"]) > 1024


@pytest.mark.parametrize("more", [("-o", "endpoint.py"), ("--pyz", "-o", "-"), ("--pyz", "-o", "/dev/null")])
def test_a_service_needs_the_one_file_that_it_runs(app, eprune, more):
    done = eprune("codegen", *LOCAL, "--systemd", *more)
    assert (done.code, done.out) == (2, "")
    assert "--systemd goes with --pyz and -o FILE" in done.err


def with_security(app, security):
    for path in (app / "platforms").glob("*.xml"):
        text = path.read_text()
        path.write_text(re.sub(r"<link ", f'<link security="{security}" ', text))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed here")
def test_a_service_with_tls_gets_its_keys(app, eprune):
    with_security(app, "tls")
    done = eprune("codegen", *SPLIT, "--pyz", "--systemd", "-o", "build/")
    assert done.code == 0, done.err
    text = (app / "build/eprune-server.service").read_text()
    assert "LoadCredential=server.key:/etc/eprune/keys/server.key\nEnvironment=EPRUNE_KEYS=%d\n" in text
    done = subprocess.run(
        ["systemd-analyze", "verify", str(app / "build/eprune-server.service")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert [line for line in complaints(done.stderr) if "eprune-" in line] == []


def test_a_service_with_tunnels_is_not_promised(app, eprune):
    with_security(app, "ssh")
    done = eprune("codegen", *SPLIT, "--pyz", "--systemd", "-o", "build/")
    assert done.code == 2
    assert "links over SSH, for which there is no unit" in done.err
    assert not list(app.glob("build/*.service"))
