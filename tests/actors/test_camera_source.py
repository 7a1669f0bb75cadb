"""Cameras: a real RTSP server that is killed and comes back, and devices that are none."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from camera_source import CameraSource
from driver import prepared

from eprune.deploy.ports import free_base_port
from eprune.runtime import EndOfStream
from tests.kit import rtsp
from tests.kit.accelerator import NEEDS_CC
from tests.kit.programs import ROOT, environment

pytest.importorskip("av", reason="PyAV is not installed")
TOKEN = "uint8[1,12,16,3]"


@pytest.fixture
def server(tmp_path):
    rtsp.film(tmp_path / "film.mp4")
    running = rtsp.Server(tmp_path, free_base_port(1))
    yield running
    running.kill()


@pytest.fixture
def camera():
    """Opens a camera, whose ``said`` is what it notes; closed at the end."""
    opened = []

    def open_it(*args, **parameters):
        source = CameraSource(*args, **parameters)
        source.said = []
        source.tell = source.said.append
        opened.append(source)
        return prepared(source, {}, {"out": TOKEN, "same": TOKEN})

    yield open_it
    for source in opened:
        source.finalize()


def grey(source):
    """The grey of the next frame."""
    outputs = {name: np.full((1, 12, 16, 3), 77, np.uint8) for name in source.outputs}
    source.fire({}, outputs)
    assert np.ptp(outputs["out"]) < 8
    assert np.array_equal(outputs["out"], outputs["same"])
    return int(outputs["out"].mean())


def test_frames_come_as_the_camera_makes_them_and_a_slow_reader_gets_the_newest(server, camera):
    source = camera(server.url)
    seen = [grey(source) for _ in range(3)]
    before = source.figures["displaced"]
    time.sleep(0.5)
    seen.append(grey(source))
    assert source.figures["displaced"] - before > 5
    assert abs(seen[3] - seen[2]) > 10, "not the one after the last, which is half a second old"
    assert len(set(seen)) == 4


def test_a_camera_that_is_killed_and_comes_back_goes_on_and_that_is_said_once(server, camera):
    source = camera(server.url)
    grey(source)
    server.kill()
    again = threading.Timer(1.5, server.start)
    again.start()
    while not source.lost:
        time.sleep(0.01)
    for _ in range(3):  # one may have come before
        grey(source)
    again.join()
    assert source.figures["lost"] == 1
    [said] = source.said
    assert "lost (its stream has ended); is opened again for 60 s" in said


def test_a_camera_that_stays_away_ends_the_run_with_its_name(server, camera):
    source = camera(server.url, patience="1")
    server.kill()
    with pytest.raises(OSError, match=rf"{server.url}: Connection refused, 1 s after it was lost"):
        while True:
            grey(source)


def test_without_patience_the_end_of_the_stream_is_the_end(server, camera):
    source = camera(server.url, patience="0")
    grey(source)
    server.kill()
    with pytest.raises(EndOfStream):
        while True:
            grey(source)
    assert source.said == []


def test_the_password_is_in_no_message(server, camera, monkeypatch, tmp_path):
    monkeypatch.setenv("CAMERA", "eve:s3cret/@")
    with pytest.raises(OSError, match="404") as failure:
        camera(server.url.replace("film", "nothing"), login="CAMERA")
    assert "s3cret" not in str(failure.value) + repr(failure.value)
    (tmp_path / "login").write_text("eve:s3cret\n")
    grey(camera(server.url, login_file=str(tmp_path / "login")))
    with pytest.raises(ValueError, match="use login or login_file") as refused:
        CameraSource("rtsp://eve:s3cret@127.0.0.1/film.mp4")
    assert "s3cret" not in str(refused.value)


def test_a_login_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("CAMERA", raising=False)
    with pytest.raises(ValueError, match="login='CAMERA': the environment variable is not set"):
        CameraSource("rtsp://127.0.0.1/a", login="CAMERA")
    (tmp_path / "login").write_text("s3cret\n")
    with pytest.raises(ValueError, match=r"does not hold USER:PASSWORD$"):
        CameraSource("rtsp://127.0.0.1/a", login_file=str(tmp_path / "login"))
    with pytest.raises(ValueError, match="one of the two"):
        CameraSource("rtsp://127.0.0.1/a", login="CAMERA", login_file="login")


def test_nobody_waits_for_a_frame_when_the_run_is_stopped(server, camera):
    source = camera(server.url)
    server.kill()
    threading.Timer(0.5, source.interrupt).start()
    with pytest.raises(EndOfStream):
        while True:
            grey(source)


LOOK = """
import sys
from driver import fired, prepared
from camera_source import CameraSource
from eprune.runtime import EndOfStream
source = CameraSource("/dev/video42", size="96x64", rate="40", patience=sys.argv[1])
prepared(source, {}, {"out": "uint8[64,96,3]"})
try:
    for _ in range(55):
        out = fired(source)["out"]
        print(out.min(), out.max())
except EndOfStream as error:
    print(type(error).__name__, error)
source.finalize()
"""


@NEEDS_CC
@pytest.mark.skipif(sys.platform != "linux", reason="V4L2 is Linux's")
def test_a_v4l2_camera(tmp_path):
    """FFmpeg's V4L2 on made-up answers of a kernel: there is no camera, nor v4l2loopback, on a test machine."""
    library = tmp_path / "v4l2.so"
    code = ROOT / "tests" / "kit" / "v4l2.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, code, "-ldl"], check=True)
    paths = os.pathsep.join(str(ROOT / part) for part in ("actors", "tests/actors", "."))

    def look(patience):
        done = subprocess.run(
            [sys.executable, "-c", LOOK, patience],
            env=environment(PYTHONPATH=paths, LD_PRELOAD=str(library)),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout.splitlines(), done.stderr

    (*greys, end), _ = look("0")
    assert len(set(greys)) > 10
    assert all(len(set(line.split())) == 1 for line in greys)
    assert end.strip() == "EndOfStream"
    greys, err = look("9")
    assert len(greys) == 55, "five more than it makes before it is pulled out"
    assert "actor: /dev/video42: lost (No such device); is opened again for 9 s" in err


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("/dev/video987", "/dev/video987: no such camera"),
        ("/dev/null", "/dev/null: is not a camera"),
        ("rtsp://127.0.0.1:9/a", "rtsp://127.0.0.1:9/a: Connection refused"),
    ],
)
def test_a_camera_that_is_not_there_is_named(camera, source, reason):
    with pytest.raises(OSError, match=f"^{reason}$"):
        camera(source)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"source": "film.mp4"}, "expected /dev/video0, rtsp://HOST"),
        ({"source": "ftp://host/a"}, "expected rtsp://HOST"),
        ({"source": "rtsp:///a"}, "expected rtsp://HOST"),
        ({"source": "rtsp://host/a", "transport": "http"}, "expected tcp or udp"),
        ({"source": "rtsp://host/a", "size": "640x480"}, "for V4L2"),
        ({"source": "/dev/video0", "size": "big"}, "640x480"),
        ({"source": "/dev/video0", "login": "CAMERA"}, "for RTSP"),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(parameters, reason):
    with pytest.raises(ValueError, match=reason):
        CameraSource(**parameters)


def test_without_pyav_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=r"pip install eprune\[video\]"):
        CameraSource("/dev/video0")
