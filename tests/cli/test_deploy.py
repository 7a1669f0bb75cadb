"""`eprune deploy`: two devices behind real sshds, whose programs are real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

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
    """Two devices on which nothing is."""
    _shared.write()
    yield _shared
    _shared.write()
    done = eprune("deploy", "undeploy", _shared.system, "--purge")
    assert done.code == 0, done.err
    assert not list(_shared.folder.glob("devices/*"))


@pytest.fixture
def up(devices, eprune):
    """Deploy, by the plain supervisor, whatever else this machine has."""
    return lambda *more: eprune("deploy", "up", devices.system, "--service", "plain", "--timeout", "30", *more)


def status(devices, eprune):
    done = eprune("deploy", "status", devices.system, "--format", "json")
    return {row["platform"]: row for row in json.loads(done.out)}


@pytest.mark.long
def test_a_system_comes_onto_its_devices_and_all_the_rest_of_its_life(devices, up, eprune):
    done = up("--format", "json")
    assert done.code == 0, done.err
    first = json.loads(done.out)["versions"]
    assert {name: devices.current(name) for name in kit.PLATFORMS} == first
    rows = status(devices, eprune)
    assert [(row["health"], row["version"], row["previous"]) for row in rows.values()] == [
        ("healthy", first[name], None) for name in kit.PLATFORMS
    ]
    assert devices.counts()

    again = up()
    assert (again.code, again.err.count("runs already")) == (0, 2)
    back = eprune("deploy", "rollback", devices.system)
    assert (back.code, "there is no version before on server and camera" in back.err) == (1, True)

    devices.write(period="0.02")
    assert up().code == 0
    rows = status(devices, eprune)
    assert {name: row["previous"] for name, row in rows.items()} == first
    second = {name: row["version"] for name, row in rows.items()}
    assert second != first

    back = eprune("deploy", "rollback", devices.system)
    assert back.code == 0, back.err
    assert {name: devices.current(name) for name in kit.PLATFORMS} == first
    assert devices.counts()

    assert eprune("deploy", "stop", devices.system).code == 0
    assert not any(devices.programs(name) or devices.supervisors(name) for name in kit.PLATFORMS)
    assert {row["health"] for row in status(devices, eprune).values()} == {"stopped"}
    assert eprune("deploy", "start", devices.system).code == 0
    assert devices.counts()

    log = eprune("deploy", "logs", devices.system, "--on", "server", "-n", "5")
    assert len(log.out.splitlines()) == 5
    assert all(line.startswith("server: ") for line in log.out.splitlines())
    assert "camera: " in eprune("deploy", "logs", devices.system).out

    (devices.root("camera") / "data" / "result.txt").write_text("kept")
    gone = eprune("deploy", "undeploy", devices.system)
    assert (gone.code, "what its program wrote stays" in gone.err) == (0, True)
    assert [path.name for path in devices.device("camera").rglob("*") if path.is_file()] == ["lock", "result.txt"]
    assert not devices.device("server").exists()
    assert not any(devices.programs(name) or devices.supervisors(name) for name in kit.PLATFORMS)


@pytest.mark.long
def test_programs_that_do_not_become_healthy_bring_the_version_before_back(devices, up, eprune):
    assert up().code == 0
    before = {name: devices.state(name) for name in kit.PLATFORMS}
    devices.write(broken="yes")
    done = up()
    assert done.code == 1
    assert "camera: " in done.err and "the camera is broken" in done.err
    assert "is not healthy: it has failed 2 times" in done.err
    assert f"camera: version {devices.current('camera')} is back" in done.err
    assert {name: devices.state(name) for name in kit.PLATFORMS} == before
    assert devices.counts()


@pytest.mark.long
def test_a_program_that_is_killed_comes_back_by_itself(devices, up):
    assert up().code == 0
    (pid,) = devices.programs("camera")
    os.kill(pid, signal.SIGKILL)
    until(lambda: devices.programs("camera") not in ([pid], []))
    assert devices.counts()


@pytest.mark.long
def test_ctrl_c_leaves_nothing_half_done(devices, up):
    assert up().code == 0
    before = {name: devices.state(name) for name in kit.PLATFORMS}
    devices.write(period="0.02")
    process = subprocess.Popen(
        [sys.executable, "-m", "eprune", "deploy", devices.system, "--service", "plain"],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: (devices.root("server") / "trial.json").exists())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err
    assert {name: devices.state(name) for name in kit.PLATFORMS} == before
    assert devices.counts()


@pytest.mark.long
def test_what_deploys_may_be_killed_and_the_devices_go_back_by_themselves(devices, up):
    assert up().code == 0
    before = {name: devices.state(name) for name in kit.PLATFORMS}
    devices.write(broken="yes")
    command = [sys.executable, "-m", "eprune", "deploy", devices.system, "--service", "plain"]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
    until(lambda: (devices.root("server") / "trial.json").exists())
    process.kill()
    process.wait()
    until(lambda: {name: devices.state(name) for name in kit.PLATFORMS} == before)
    assert devices.counts()


@pytest.mark.long
def test_a_dry_run_and_doctor_change_nothing(devices, up, eprune):
    done = up("--dry-run")
    assert done.code == 0
    lines = [line.partition(". ")[2] for line in done.out.splitlines()]
    # Receivers start first, and stop last; nothing is stopped before everything is there.
    order = ["server: send what is new", "camera: stop", "server: stop", "server: switch", "server: start"]
    places = [lines.index(line) for line in [*order, "camera: start", "wait until all are healthy", "camera: keep"]]
    assert places == sorted(places)
    looked = eprune("deploy", "doctor", devices.system)
    assert (looked.code, "numpy" in looked.out) == (0, True)
    assert json.loads(eprune("deploy", "doctor", devices.system, "--format", "json").out)["ready"] is True
    assert not list(devices.folder.glob("devices/*"))


@pytest.mark.long
def test_certificates_come_to_the_devices_and_are_renewed_before_they_end(devices, up, eprune):
    devices.write(security="tls")
    keys = str(devices.folder / "keys")
    assert "need certificates: --keys FOLDER" in up().err
    assert "eprune certify" in up("--keys", keys).err
    assert eprune("certify", keys, *kit.PLATFORMS, "--days", "40").code == 0
    done = up("--keys", keys)
    assert done.code == 0, done.err
    assert devices.counts()
    for name in kit.PLATFORMS:
        folder = devices.root(name) / "current" / "keys"
        assert sorted(path.name for path in folder.iterdir()) == sorted(["ca.crt", f"{name}.crt", f"{name}.key"])
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {row["certificate_days"] for row in status(devices, eprune).values()} == {39}
    assert up("--keys", keys).err.count("runs already") == 2

    key = (Path(keys) / "camera.key").read_bytes()
    done = up("--keys", keys, "--renew-before", "60")
    assert done.code == 0, done.err
    assert "camera.crt: renewed, valid until" in done.err
    assert (Path(keys) / "camera.key").read_bytes() == key
    assert {row["certificate_days"] for row in status(devices, eprune).values()} == {364}
    assert devices.counts()


@pytest.mark.long
def test_what_ends_soon_and_cannot_be_renewed_is_told(devices, up, eprune):
    devices.write(security="tls")
    keys = devices.folder / "other"
    assert eprune("certify", str(keys), *kit.PLATFORMS, "--days", "10").code == 0
    (keys / "ca.key").unlink()
    done = up("--keys", str(keys))
    assert done.code == 0
    assert "is not renewed: ca.key is not here" in done.err
    shown = eprune("deploy", "status", devices.system)
    assert "its certificate ends in 9 days: eprune deploy renews it" in shown.out


def test_a_device_without_what_programs_need_is_told_before_anything_is_changed(devices, up, eprune, tmp_path):
    bare = tmp_path / "bare python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    change(devices, "camera", python=str(bare))
    done = up()
    assert done.code == 1
    assert "lacks numpy: --bootstrap makes an environment that has it" in done.err
    looked = eprune("deploy", "doctor", devices.system)
    assert (looked.code, "lacks numpy" in looked.out) == (1, True)
    assert not list(devices.folder.glob("devices/*"))


def change(devices, platform, **attributes):
    path = devices.folder / "system" / "platforms" / f"{platform}.xml"
    text = path.read_text()
    for name, value in attributes.items():
        text = re.sub(rf' {name}="[^"]*"', f' {name}="{value}"' if value else "", text, count=1)
    path.write_text(text)


def test_all_devices_that_cannot_be_reached_are_told_at_once(devices, up):
    for name in kit.PLATFORMS:
        change(devices, name, host="ssh://nobody@127.0.0.1:1")
    bin_ssh = devices.folder / "bin" / "ssh"
    script = bin_ssh.read_text()
    bin_ssh.write_text(script.replace("exit 99", "echo Connection refused >&2; exit 255"))
    try:
        done = up()
    finally:
        bin_ssh.write_text(script)
    assert done.code == 69
    assert [f"{name}: ssh://nobody@127.0.0.1:1 cannot be reached" in done.err for name in kit.PLATFORMS] == [True, True]


def test_a_platform_that_does_not_say_where_it_is(devices, up):
    change(devices, "camera", host="")
    done = up()
    assert done.code == 2
    assert "platform 'camera' does not say where it is" in done.err
    assert 'hint: state host="USER@HOST" in this file, or host="local" if it is this machine' in done.err


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        *(("host", text) for text in ("-oProxyCommand=true", "a b", "a;b", "pi@-l", "$(id)", "ssh://a:0", "a:99999")),
        *(("folder", text) for text in ("$(touch x)", "a;b", "~x", "-rf", "a&#10;b")),
        *(("python", text) for text in ("-c", "a b", "a;b", "$(id)")),
    ],
)
def test_what_could_be_more_than_a_place_is_refused(devices, up, attribute, value):
    change(devices, "camera", **{attribute: value})
    done = up()
    assert done.code == 2, done.err
    assert "camera.xml:1: error" in done.err


@pytest.mark.long
def test_names_that_mean_something_to_a_shell_are_names(devices, up, eprune):
    marker = devices.folder / "made by a shell"
    change(devices, "camera", python=f"/nowhere/$(touch '{marker}');python `id`")
    done = up()
    assert done.code != 0
    assert "camera" in done.err
    assert not marker.exists()
    change(devices, "camera", python=sys.executable, folder=f"{devices.folder}/devices/a folder+with @ blanks")
    assert up().code == 0
    assert (devices.folder / "devices/a folder+with @ blanks/count/camera/current/program.pyz").exists()
    assert eprune("deploy", "undeploy", devices.system).code == 0


def test_links_that_cannot_work_are_told(devices, up):
    path = devices.folder / "system/platforms/camera.xml"
    path.write_text(path.read_text().replace("<link ", '<link address="192.0.2.7" '))
    assert "nothing protects the link between 'camera' and 'server'" in up().err
    for name in kit.PLATFORMS:
        path = devices.folder / f"system/platforms/{name}.xml"
        path.write_text(path.read_text().replace('security="none"', 'security="ssh"'))
    assert "goes over SSH, for which there is no service" in up().err


@pytest.mark.long
def test_nothing_is_there_yet(devices, eprune):
    for subcommand in ("start", "stop", "rollback", "logs"):
        done = eprune("deploy", subcommand, devices.system)
        assert done.code == 1
        assert "nothing is deployed on" in done.err
    shown = eprune("deploy", "status", devices.system)
    assert (shown.code, shown.out.count("nothing is deployed there")) == (1, 2)
    assert not list(devices.folder.glob("devices/*"))


@pytest.mark.long
def test_logs_go_on_until_ctrl_c(devices, up):
    assert up().code == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "eprune", "deploy", "logs", devices.system, "-f", "-n", "1", "--on", "server"],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    numbers = [int(process.stdout.readline().split()[-1]) for _ in range(20)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert numbers == sorted(set(numbers))
    until(lambda: not kit.Fleet.processes(f"{devices.root('server')}/log/program.log"))


@pytest.mark.long
def test_bootstrap_makes_an_environment_with_what_is_missing(devices, up, eprune, tmp_path):
    bare = tmp_path / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    bare = tmp_path / "venv/bin/python"
    change(devices, "camera", python=str(bare))
    assert "lacks numpy" in up().err
    done = up("--bootstrap")
    assert done.code == 0, done.err
    assert devices.counts()
    description = json.loads((devices.root("camera") / "current/deployment.json").read_text())
    assert description["command"][0].startswith(str(devices.device("camera") / "environments"))
    # What was made is used from now on.
    begun = time.monotonic()
    assert "runs already" in up().err
    assert time.monotonic() - begun < 60


@pytest.mark.long
def test_an_environment_is_made_of_wheels_that_are_sent(devices, up, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    wheels = tmp_path / "wheels"
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "-d", wheels, "numpy", "psutil"], check=True)
    for name in kit.PLATFORMS:
        change(devices, name, python=str(tmp_path / "venv/bin/python"))
    empty = tmp_path / "empty"
    empty.mkdir()
    done = up("--bootstrap", "--wheels", str(empty))
    assert done.code == 1
    assert "cannot be installed" in done.err
    assert not list(devices.folder.glob("devices/*"))
    done = up("--bootstrap", "--wheels", str(wheels))
    assert done.code == 0, done.err
    assert devices.counts()
