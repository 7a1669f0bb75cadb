import sys

import numpy as np
import pytest
from driver import prepared
from frame_reader import FrameReader
from video_source import VideoSource

from eprune.runtime import EndOfStream

av = pytest.importorskip("av", reason="PyAV is not installed")
GREYS = [20, 90, 160, 230]


@pytest.fixture
def video(tmp_path):
    """Four frames of different greys."""
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for grey in GREYS:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def levels(source):
    """The grey of each frame."""
    prepared(source, {}, {"out": "uint8[1,12,16,3]"})
    found = []
    try:
        while len(found) < 20:
            out = np.full((1, 12, 16, 3), 77, np.uint8)
            source.fire({}, {"out": out})
            assert np.ptp(out) < 8
            found.append(int(out.mean()))
    except EndOfStream:
        pass
    source.finalize()
    return found


def test_frames_in_order_at_the_ports_size(video):
    assert np.allclose(levels(VideoSource(str(video))), GREYS, atol=6)


def test_the_reader_of_frames_takes_videos(video):
    assert np.allclose(levels(FrameReader(str(video), repeat="2")), GREYS * 2, atol=6)


def test_without_end(video):
    assert np.allclose(levels(VideoSource(str(video), repeat="0")), GREYS * 5, atol=6)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.mp4: no such file"):
        VideoSource(str(tmp_path / "nowhere.mp4"))


@pytest.mark.parametrize("content", [b"", b"no video at all" * 99])
def test_a_file_that_is_no_video_is_named(tmp_path, content):
    (tmp_path / "film.mp4").write_bytes(content)
    with pytest.raises(ValueError, match=r"film\.mp4: cannot be read as a video"):
        VideoSource(str(tmp_path / "film.mp4"))


def test_without_pyav_it_says_what_to_install(monkeypatch, video):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=r"pip install eprune\[video\]"):
        VideoSource(str(video))
