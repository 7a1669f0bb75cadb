import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from driver import prepared
from frame_reader import FrameReader
from video_source import VideoSource, turned

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


RIGHT_ANGLES = {
    # the matrix of the file, and where red is: the picture is red above blue
    "as it is": ([1, 0, 0, 1], "above"),
    "a quarter to the right": ([0, 1, -1, 0], "right"),
    "upside down": ([-1, 0, 0, -1], "below"),
    "a quarter to the left": ([0, -1, 1, 0], "left"),
    "mirrored": ([-1, 0, 0, 1], "above"),
    "flipped": ([1, 0, 0, -1], "below"),
    "transposed": ([0, 1, 1, 0], "left"),
}
HALVES = {"above": np.s_[:5], "below": np.s_[-5:], "left": np.s_[:, :5], "right": np.s_[:, -5:]}


def filmed(path, matrix):
    """Three frames, red above blue, in a file whose track header has this matrix (a, b, c, d)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        pixels = np.zeros((48, 64, 3), np.uint8)
        pixels[:24], pixels[24:] = (255, 0, 0), (0, 0, 255)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    data = path.read_bytes()
    a, b, c, d = (value << 16 for value in matrix)
    old, new = (
        struct.pack(">9i", w, x, 0, y, z, 0, 0, 0, 1 << 30) for w, x, y, z in ((1 << 16, 0, 0, 1 << 16), (a, b, c, d))
    )
    place = data.index(old, data.index(b"tkhd"))
    path.write_bytes(data[:place] + new + data[place + len(old) :])
    return str(path)


def first(source, token):
    prepared(source, {}, {"out": token})
    out = np.zeros(source.outputs["out"].shape, np.uint8)
    source.fire({}, {"out": out})
    source.finalize()
    return out


@pytest.mark.parametrize(("matrix", "red"), RIGHT_ANGLES.values(), ids=RIGHT_ANGLES)
def test_frames_are_turned_as_the_file_says(tmp_path, matrix, red):
    shown = first(VideoSource(filmed(tmp_path / "phone.mp4", matrix)), "uint8[24,24,3]")
    half = shown[HALVES[red]]
    assert half[..., 0].min() > 200, "red"
    assert half[..., 2].max() < 60, "not blue"


def test_a_mirror_is_a_mirror():
    pixels = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    mirror = np.array([-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30], np.int32)
    assert turned(pixels, mirror).tolist() == [[[3, 4, 5], [0, 1, 2]]]
    askew = np.array([46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30], np.int32)
    assert turned(pixels, askew) is pixels


def notes(source):
    """What a source says; the greys that it gives come from ``levels``."""
    said = []
    source.tell = said.append
    return said


@pytest.fixture
def damaged(tmp_path):
    """Thirty frames, of which some are rubbish."""
    path = tmp_path / "film.avi"
    rng = np.random.default_rng(1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        for _ in range(30):
            grey = np.full((48, 64, 3), rng.integers(40, 200), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
    data = bytearray(path.read_bytes())
    places = [place.start() for place in re.finditer(b"\x89PNG", data)]
    for place in places[10:14]:
        data[place : place + 20] = bytes(20)
    path.write_bytes(data)
    return str(path)


def frames(source):
    prepared(source, {}, {"out": "uint8[1,12,16,3]"})
    count = 0
    try:
        while count < 100:
            source.fire({}, {"out": np.empty((1, 12, 16, 3), np.uint8)})
            count += 1
    except EndOfStream:
        pass
    source.finalize()
    return count


def test_what_cannot_be_decoded_is_skipped_where_that_is_wanted_and_said_once(damaged):
    with pytest.raises(ValueError, match="cannot be read further"):
        frames(VideoSource(damaged))
    source = VideoSource(damaged, repeat="2", on_error="skip")
    said = notes(source)
    count = frames(source)
    assert 2 * 20 <= count < 2 * 30
    (note,) = said
    assert f"{count // 2} frames were read" in note


def test_a_film_that_is_cut_short_is_said_to_be(damaged, tmp_path):
    data = Path(damaged).read_bytes()
    places = [place.start() for place in re.finditer(b"\x89PNG", data)]
    (tmp_path / "short.avi").write_bytes(data[: places[5] - 8])
    source = VideoSource(str(tmp_path / "short.avi"))
    said = notes(source)
    assert frames(source) == 5
    assert said == [f"{tmp_path / 'short.avi'}: states 30 frames, but only 5 are there"]


def test_a_film_of_which_nothing_can_be_used_is_no_empty_run(damaged, tmp_path):
    data = Path(damaged).read_bytes()
    place = data.index(b"\x89PNG")
    (tmp_path / "empty.avi").write_bytes(data[: place - 8])
    with pytest.raises(ValueError, match="holds no frames"):
        frames(VideoSource(str(tmp_path / "empty.avi")))


def test_of_several_streams_the_first_is_read_with_a_note(tmp_path):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("mpeg4", rate=25) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for stream, grey in zip(streams, (40, 200)):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    source = VideoSource(str(path))
    said = notes(source)
    assert levels(source) == pytest.approx([40], abs=6)
    assert said == [f"{path}: has 2 video streams; the first one is read"]


def test_whole_films_are_passed_without_a_word(video):
    source = FrameReader(str(video), repeat="2")
    said = notes(source)
    levels(source)
    assert said == []


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
