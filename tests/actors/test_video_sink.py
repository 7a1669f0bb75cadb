"""Videos that are written, and read again by the source of videos."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from driver import fired, prepared
from video_sink import VideoSink
from video_source import VideoSource

from eprune.runtime import EndOfStream
from tests.kit.programs import ROOT, environment

av = pytest.importorskip("av", reason="PyAV is not installed")
TOKEN = "uint8[1,48,64,3]"
GREYS = [20, 90, 160, 230]


def write(path, greys=GREYS, **parameters):
    sink = prepared(VideoSink(str(path), **parameters), {"in": TOKEN}, {})
    for grey in greys:
        fired(sink, **{"in": np.full((48, 64, 3), grey)})
    sink.finalize()
    return sink


def levels(path):
    source = prepared(VideoSource(str(path)), {}, {"out": TOKEN})
    found = []
    try:
        while True:
            found.append(int(fired(source)["out"].mean()))
    except EndOfStream:
        source.finalize()
        return found


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_what_is_written_can_be_read(tmp_path, name):
    write(tmp_path / name, rate="10")
    assert np.allclose(levels(tmp_path / name), GREYS, atol=4)
    with av.open(str(tmp_path / name)) as video:
        assert video.streams.video[0].average_rate == 10


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_what_was_written_before_the_program_was_killed_can_be_read(tmp_path, name):
    code = f"""
import numpy, os
from driver import fired, prepared
from video_sink import VideoSink
sink = prepared(VideoSink({str(tmp_path / name)!r}, rate="10"), {{"in": "{TOKEN}"}}, {{}})
for _ in range(95):
    fired(sink, **{{"in": numpy.random.default_rng(1).integers(0, 255, (48, 64, 3))}})
os.kill(os.getpid(), 9)
"""
    paths = f"{ROOT / 'actors'}:{ROOT / 'tests' / 'actors'}:{ROOT}"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment(PYTHONPATH=paths), check=False, timeout=60)
    assert done.returncode == -9
    assert len(levels(tmp_path / name)) >= 80


def test_the_next_generation_writes_a_file_of_its_own(tmp_path):
    first = write(tmp_path / "film.mp4")
    second = VideoSink(str(tmp_path / "film.mp4"))
    second.resume(first.state())
    prepared(second, {"in": TOKEN}, {})
    fired(second, **{"in": np.full((48, 64, 3), 50)})
    second.finalize()
    assert np.allclose(levels(tmp_path / "film.mp4"), GREYS, atol=4)
    assert np.allclose(levels(tmp_path / "film-2.mp4"), [50], atol=4)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"path": "film.gif"}, "ends in .mp4 or .mkv"),
        ({"path": "film.mp4", "rate": "0"}, "1 to 1000"),
        ({"path": "film.mp4", "quality": "52"}, "0 to 51"),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(parameters, reason):
    with pytest.raises(ValueError, match=reason):
        VideoSink(**parameters)


@pytest.mark.parametrize("token", ["uint8[1,47,64,3]", "uint8[48,64,1]", "float32[1,48,64,3]"])
def test_ports_that_do_not_fit_are_refused(tmp_path, token):
    with pytest.raises(ValueError, match="port 'in'"):
        prepared(VideoSink(str(tmp_path / "film.mp4")), {"in": token}, {})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OSError, match=r"No such file or directory: .*nowhere/film\.mp4"):
        prepared(VideoSink(str(tmp_path / "nowhere" / "film.mp4")), {"in": TOKEN}, {})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_an_error(tmp_path):
    (tmp_path / "film.mkv").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        write(tmp_path / "film.mkv", [10, 200] * 300)


def test_without_pyav_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=r"pip install eprune\[video\]"):
        VideoSink("film.mp4")
