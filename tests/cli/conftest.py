"""The small application on disk, and two ways to call eprune."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys

import pytest
from application import ACTORS, APPLICATION, ENDPOINT, HELPER, JOIN, ROOT, SERVER, TWO, mapping
from prepared import prepare

from eprune.deploy.ports import free_base_port
from tests.kit import tiny_models
from tests.kit.commands import Done, call


@pytest.fixture
def app(tmp_path, monkeypatch):
    """An application of four actors with mappings ``local`` and ``split``, in the current folder."""
    monkeypatch.chdir(tmp_path)
    files = {
        "app.xml": APPLICATION,
        "behaviours.py": ACTORS,
        "helper.py": HELPER,
        "platforms/endpoint.xml": ENDPOINT,
        "platforms/server.xml": SERVER,
        "local/endpoint.xml": mapping("endpoint", dict.fromkeys(("In", "L1", "L2", "Out"), "endpoint")),
    }
    homes = {"In": "endpoint", "L1": "endpoint", "L2": "server", "Out": "server"}
    files.update((f"split/{platform}.xml", mapping(platform, homes)) for platform in ("endpoint", "server"))
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (tmp_path / "tiny.tflite").write_bytes(tiny_models.conv_pool_dense())
    return tmp_path


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A folder with everything that a command may be asked about, to be copied; all tests share it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = shared / "prepared", shared / "prepared.done"
    with (shared / "prepared.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            prepare(folder)
            done.touch()
    return folder


@pytest.fixture
def two_endpoints(app, eprune):
    """Two cameras on two endpoints, joined on the server."""
    base = free_base_port(8)
    (app / "two.xml").write_text(TWO)
    (app / "behaviours.py").write_text((app / "behaviours.py").read_text() + JOIN)
    for name, port in (("one", base), ("other", base + 4)):
        (app / f"platforms/{name}.xml").write_text(
            f'<platform name="{name}"><unit name="cpu0"/><link to="server" port="{port}"/></platform>\n'
        )
    (app / "platforms/server.xml").write_text(
        '<platform name="server"><unit name="cpu0"/>'
        f'<link to="one" port="{base}"/><link to="other" port="{base + 4}"/></platform>\n'
    )
    platforms = [f"platforms/{name}.xml" for name in ("one", "other", "server")]
    ends = ("--keep-on", "one", "A", "--keep-on", "other", "B")
    done = eprune("explore", "two.xml", "-p", *platforms, "-o", "cuts", "--frames", "2", *ends)
    assert done.code == 0, done.err
    return app / "cuts"


@pytest.fixture
def eprune():
    """Call eprune in this process: fast; what child processes print is not seen."""
    return call


@pytest.fixture
def eprune_process():
    """Call eprune as a process of its own."""

    def call(*arguments: str, stdin: str = "", **environment: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "eprune", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return call
