"""The applications of docs/how-to/doors.md do what the page says, with a real camera, broker and callers."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
from driver import fired, prepared
from mqtt_source import MqttSource
from PIL import Image
from vehicle_renderer import render_vehicle

from eprune.deploy.ports import free_base_port
from tests.kit import pages, rtsp
from tests.kit.mosquitto import Broker
from tests.kit.programs import ROOT, environment
from tests.kit.waiting import until

TEXT = (ROOT / "docs" / "how-to" / "doors.md").read_text(encoding="utf-8")
WATCH, *SERVE = pages.sessions(TEXT)


@pytest.fixture
def checkout(tmp_path):
    """The files of the page, with ports that are free here."""
    (tmp_path / "graphs").symlink_to(ROOT / "graphs")
    ports = {"8554": free_base_port(1), "1883": free_base_port(1), "8080": free_base_port(1)}

    def here(text):
        for shown, free in ports.items():
            text = text.replace(shown, str(free))
        return text

    for name, text in pages.files(TEXT).items():
        (tmp_path / name).write_text(here(text))
    return tmp_path, here


def test_from_a_camera_to_a_broker(checkout):
    folder, here = checkout
    rtsp.film(folder / "film.mp4")
    broker = Broker(folder, int(here("1883")))
    camera = rtsp.Server(folder, int(here("8554")))
    source = MqttSource("street/#", port=here("1883"))
    try:
        prepared(source, {}, {"out": "uint8[<=200]"})
        command, shown = WATCH
        done = pages.run(here(command), folder)
        assert done.returncode == 0, done.stdout
        assert pages.missing(shown, done.stdout) == [], done.stdout
        lines = [fired(source)["out"] for _ in range(3)]
    finally:
        source.finalize()
        camera.kill()
        broker.kill()
    answers = [json.loads(bytes(line[: line.used])) for line in lines]
    assert [answer["frame"] for answer in answers] == [0, 1, 2]
    assert all(answer["class"] in ("car", "bus", "truck", "motorcycle") for answer in answers)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed here")
def test_a_network_behind_a_url(checkout):
    folder, here = checkout
    Image.fromarray(np.rint(render_vehicle(1, 1) * 255).astype(np.uint8)).save(folder / "photo.png")
    [command] = re.findall(r"^    \$ eprune (run serve.*)$", TEXT, re.MULTILINE)
    program = subprocess.Popen(
        [sys.executable, "-m", "eprune", *command.split(), "--frames", "1"],
        cwd=folder,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: program.poll() is not None or listens(int(here("8080"))))
        for curl, shown in reversed(SERVE):
            assert pages.run(here(curl), folder).stdout.strip() == shown.strip()
        assert program.wait(60) == 0, "it ends when the caller has its answer"
    finally:
        program.kill()
        _, err = program.communicate()
    assert "serve: 1 frame in" in err


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
