"""Each option of `eprune deploy` and its subcommands acts: two devices that are this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import jsonschema
import pytest

from eprune.views import schemas
from tests.kit import fleet as kit
from tests.kit.commands import call
from tests.kit.programs import environment


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Two devices that run a version, and ran another one before."""
    with kit.local(tmp_path_factory.mktemp("options")) as fleet:
        for period in ("0.02", "0.01"):
            fleet.write(period=period)
            done = up(fleet)
            assert done.code == 0, done.err
        yield fleet


def up(fleet, *more):
    return call("deploy", fleet.system, "--service", "plain", *more)


def planned(fleet, *more):
    """The versions that would be deployed."""
    done = up(fleet, "--dry-run", "--format", "json", *more)
    assert done.code == 0, done.err
    return json.loads(done.out)


@pytest.mark.long
def test_an_application_with_its_files(fleet, eprune):
    names = ("application.xml", "--platform", "platforms", "--mapping", "mappings")
    files = [name if name.startswith("-") else f"{fleet.system}/{name}" for name in names]
    done = eprune("deploy", "status", *files, "--format", "json")
    assert [row["health"] for row in json.loads(done.out)] == ["healthy", "healthy"]
    assert "there are no platform files: add them with -p" in eprune("deploy", files[0], *files[3:]).err
    assert "there are no mapping files: add them with -m" in eprune("deploy", *files[:3]).err
    # Given files take the place of those in the folder.
    done = eprune("deploy", "status", fleet.system, "-p", f"{fleet.system}/platforms/camera.xml")
    assert "'server'" in done.err
    assert done.code != 0


def test_a_parameter_is_set(fleet):
    without, with_it = planned(fleet), planned(fleet, "--set", "Count.period=0.03")
    assert without["steps"] == []
    assert with_it["versions"]["server"] == without["versions"]["server"]
    assert with_it["versions"]["camera"] != without["versions"]["camera"]
    assert "takes no parameter 'speed'" in up(fleet, "--dry-run", "--set", "Count.speed=1").err


READER = """\
class Count(Actor):
    PATHS = {"path": "read"}

    def __init__(self, path, period="0.01"):
        from pathlib import Path

        self.period, self.number, self.broken = float(period), 0, ""
        self.texts = sorted(each.read_text() for each in Path(path).rglob("*.txt"))
        print(self.texts, flush=True)

    def initialize(self):"""


@pytest.mark.long
def test_what_actors_read_is_sent(fleet):
    behaviours = fleet.folder / "system/behaviours.py"
    try:
        fleet.write(path="some inputs")
        before, _, after = behaviours.read_text().partition("class Count(Actor):")
        behaviours.write_text(f"{before}{READER}{after.partition('    def initialize(self):')[2]}")
        for name in ("a b.txt", "inner/ä.txt"):
            path = fleet.folder / "system/some inputs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        done = up(fleet, "--timeout", "20", "--with-inputs")
        assert done.code == 0, done.err
        assert "['a b.txt', 'inner/ä.txt']" in call("deploy", "logs", fleet.system, "--on", "camera").out
        done = up(fleet, "--dry-run")
        assert "some inputs, which is not sent: --with-inputs sends it" in done.err
        assert call("deploy", "rollback", fleet.system).code == 0
    finally:
        fleet.write(period="0.01")
    assert fleet.counts()


def test_an_unprotected_link_is_allowed(fleet):
    path = fleet.folder / "system/platforms/camera.xml"
    text = path.read_text()
    path.write_text(text.replace("<link ", '<link address="192.0.2.7" '))
    try:
        assert up(fleet, "--dry-run").code == 2
        assert planned(fleet, "--insecure")["steps"]
    finally:
        path.write_text(text)


def test_links_over_zenoh_are_told_where_it_is(fleet):
    paths = list((fleet.folder / "system/platforms").glob("*.xml"))
    texts = {path: path.read_text() for path in paths}
    for path, text in texts.items():
        path.write_text(text.replace("<link ", '<link via="zenoh" '))
    try:
        assert "need a router: --zenoh tcp/HOST:7447" in up(fleet, "--dry-run", "--insecure").err
        where = ("--zenoh", "tcp/192.0.2.1:7447")
        assert "nothing protects the link" in up(fleet, "--dry-run", *where).err
        one, other = (planned(fleet, "--insecure", "--zenoh", f"tcp/192.0.2.{n}:7447")["versions"] for n in (1, 2))
        assert one.keys() == other.keys()
        assert all(one[name] != other[name] for name in one)
    finally:
        for path, text in texts.items():
            path.write_text(text)


def test_a_program_answers_with_metrics(fleet):
    without, with_it = planned(fleet), planned(fleet, "--metrics", "camera=9400")
    assert with_it["versions"]["server"] == without["versions"]["server"]
    assert with_it["versions"]["camera"] != without["versions"]["camera"]
    for wrong in ("moon=9400", "camera", "camera=here", "camera=a b:1"):
        done = up(fleet, "--dry-run", "--metrics", wrong)
        assert (done.code, "expected PLATFORM=[HOST:]PORT, and PLATFORM one of camera, server" in done.err) == (2, True)


def test_a_service_manager_is_chosen(fleet):
    kind = "user" if os.geteuid() == 0 else "system"
    done = call("deploy", fleet.system, "--service", kind, "--dry-run")
    assert done.code == 1
    assert f"there is no service manager of the kind {kind!r} for this user" in done.err


def test_a_plan_is_only_shown(fleet):
    before = {name: fleet.state(name) for name in kit.PLATFORMS}
    done = up(fleet, "--dry-run", "--set", "Count.period=0.03")
    assert (done.code, "14. wait until all are healthy" in done.out) == (0, True)
    steps = planned(fleet, "--set", "Count.period=0.03")["steps"]
    assert steps[-1] == {"platform": "camera", "do": "keep"}
    assert {name: fleet.state(name) for name in kit.PLATFORMS} == before


def test_what_is_of_bootstrap_is_refused_without_it(fleet):
    for option in (("--wheels", "wheels"), ("--require", "numpy")):
        done = up(fleet, *option)
        assert (done.code, "are for --bootstrap: give it too" in done.err) == (2, True)


def test_a_package_that_nobody_knows_is_asked_for(fleet):
    path = fleet.folder / "system/behaviours.py"
    text = path.read_text()
    path.write_text(f"import unheard_of\n{text}")
    try:
        assert "lacks unheard_of: --bootstrap makes" in up(fleet).err
        assert "the module 'unheard_of': name it with --require" in up(fleet, "--bootstrap").err
        assert planned(fleet, "--bootstrap", "--require", "unheard-of")["steps"]
    finally:
        path.write_text(text)


def test_certificates_that_nothing_needs_are_refused(fleet):
    done = up(fleet, "--keys", "keys")
    assert (done.code, "there are none" in done.err) == (2, True)


@pytest.mark.long
def test_certificates_are_renewed_when_they_are_to_be(fleet, tmp_path):
    keys = str(tmp_path / "keys")
    assert call("certify", keys, *kit.PLATFORMS, "--days", "20").code == 0
    try:
        fleet.write(security="tls")
        certificates = (tmp_path / "keys" / "camera.crt").read_bytes()
        assert planned(fleet, "--keys", keys)["steps"]
        assert (tmp_path / "keys" / "camera.crt").read_bytes() == certificates, "a dry run changes nothing"
        assert up(fleet, "--keys", keys, "--renew-before", "19", "--timeout", "0.1").code == 1
        assert (tmp_path / "keys" / "camera.crt").read_bytes() == certificates
        assert "renewed" in up(fleet, "--keys", keys, "--timeout", "0.1").err
        assert (tmp_path / "keys" / "camera.crt").read_bytes() != certificates
    finally:
        fleet.write(period="0.01")
    assert fleet.counts()


@pytest.mark.long
def test_programs_have_so_long(fleet):
    done = up(fleet, "--timeout", "0.1", "--set", "Count.period=0.03")
    assert done.code == 1
    assert "is not healthy after 0.1 s" in done.err
    done = call("deploy", "rollback", fleet.system, "--timeout", "0.1")
    assert "is not healthy after 0.1 s" in done.err
    assert call("deploy", "stop", fleet.system).code == 0
    done = call("deploy", "start", fleet.system, "--timeout", "0.1")
    assert "is not healthy after 0.1 s" in done.err
    assert call("deploy", "start", fleet.system, "--timeout", "30").code == 0
    assert fleet.counts()


@pytest.mark.long
def test_quiet(fleet):
    for words in (("up",), ("rollback",), ("stop",), ("start",)):
        done = call("deploy", *words, fleet.system, "--quiet")
        assert (done.code, done.err) == (0, "")


def test_json(fleet):
    follow = jsonschema.Draft202012Validator(json.loads(schemas.schema_text("deploy"))).validate
    follow(json.loads(up(fleet, "--format", "json").out))
    rows = json.loads(call("deploy", "status", fleet.system, "--format", "json").out)
    follow(rows)
    assert {row["platform"]: row["version"] for row in rows} == {name: fleet.current(name) for name in kit.PLATFORMS}
    assert all(row["frames"] >= 0 and row["service"] == "plain" and row["certificate"] is None for row in rows)
    found = json.loads(call("deploy", "doctor", fleet.system, "--format", "json").out)
    assert found["platforms"]["camera"]["python"] == ".".join(map(str, sys.version_info[:3]))
    done = call("deploy", "logs", fleet.system, "--format", "json", "--lines", "3", "--on", "server")
    lines = [json.loads(line) for line in done.out.splitlines()]
    follow(lines[0])
    assert [line["platform"] for line in lines] == ["server"] * 3
    assert all(line["line"].isdigit() for line in lines)
    assert "there is no platform 'other'" in call("deploy", "logs", fleet.system, "--on", "other").err


def test_logs_follow(fleet):
    command = [sys.executable, "-m", "eprune", "deploy", "logs", fleet.system, "--lines", "0", "--on", "server"]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == ""
    with subprocess.Popen([*command, "--follow"], env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        numbers = [int(process.stdout.readline().split()[-1]) for _ in range(5)]
        process.terminate()
    assert numbers == list(range(numbers[0], numbers[0] + 5))


def test_results_are_purged(fleet):
    (fleet.root("camera") / "data" / "result.txt").write_text("kept")
    done = call("deploy", "undeploy", fleet.system, "--quiet")
    assert (done.code, done.err) == (0, "")
    assert (fleet.root("camera") / "data" / "result.txt").exists()
    assert call("deploy", "undeploy", fleet.system, "--purge").code == 0
    assert not fleet.device("camera").exists()
