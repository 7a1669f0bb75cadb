import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from json_lines import JsonLines

from eprune.runtime import EndOfStream, PortType

SCORES = [[0.1, 0.7, 0.1, 0.1], [0.25, 0.1, 0.6, 0.05]]


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_one_line_a_frame_with_number_class_and_score(tmp_path, feed):
    path = tmp_path / "out.jsonl"
    feed(JsonLines(labels="car, bus,truck,motorcycle", path=str(path)), SCORES)
    assert lines(path) == [
        {"frame": 0, "class": "bus", "score": 0.7},
        {"frame": 1, "class": "truck", "score": 0.6},
    ]


def test_by_default_to_standard_output_which_stays_open(capfd, feed):
    feed(JsonLines(), SCORES)
    print("still open")
    first, _, last = capfd.readouterr().out.splitlines()
    assert json.loads(first) == {"frame": 0, "class": "1", "score": 0.7}
    assert last == "still open"


def test_scores_keep_every_bit(tmp_path, feed):
    scores = np.random.default_rng(1).random((50, 4), np.float32)
    feed(JsonLines(path=str(tmp_path / "out")), scores)
    assert [np.float32(line["score"]) for line in lines(tmp_path / "out")] == list(scores.max(1))


def test_integer_scores(tmp_path, feed):
    feed(JsonLines(path=str(tmp_path / "out")), [[3, 255, 0]], "uint8[1,3]")
    assert lines(tmp_path / "out") == [{"frame": 0, "class": "1", "score": 255}]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_in_json_is_null(tmp_path, feed, value):
    feed(JsonLines(path=str(tmp_path / "out")), [[0, value, 0, 0]])
    assert lines(tmp_path / "out")[0]["score"] is None


def test_labels_from_a_file(tmp_path, feed):
    (tmp_path / "labels.txt").write_text("Pkw\nBus\nLkw\nKraftrad, groß\n", encoding="utf-8")
    feed(JsonLines(labels=str(tmp_path / "labels.txt"), path=str(tmp_path / "out")), [[0, 0, 0, 1]])
    assert lines(tmp_path / "out")[0]["class"] == "Kraftrad, groß"


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (
            b"\xef\xbb\xbfcar\nbus\nvan\ncart\n",
            ["car", "bus", "van", "cart"],
        ),  # with a byte-order mark, as some editors write it
        (b"car\r\nbus\r\nvan\r\ncart\r\n\r\n\n", ["car", "bus", "van", "cart"]),
        (b"???\n\n bus \ntruck", ["???", "", "bus", "truck"]),
        (b"\n\n\ncar\n", ["", "", "", "car"]),
    ],
)
def test_the_lines_of_a_labels_file_keep_their_places(tmp_path, feed, data, names):
    (tmp_path / "labels.txt").write_bytes(data)
    scores = np.eye(4, dtype=np.float32)
    feed(JsonLines(labels=str(tmp_path / "labels.txt"), path=str(tmp_path / "out")), scores)
    shown = [json.loads(line)["class"] for line in (tmp_path / "out").read_text().splitlines()]
    assert shown == [name or str(number) for number, name in enumerate(names)]


def test_a_labels_file_that_is_no_text_or_too_large_is_named(tmp_path):
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"labels='.*labels.txt': is not text in UTF-8"):
        JsonLines(labels=str(tmp_path / "labels.txt"))
    with (tmp_path / "labels.txt").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match="more than 1048576 bytes"):
        JsonLines(labels=str(tmp_path / "labels.txt"))


def test_labels_that_do_not_fit_leave_the_file_alone(tmp_path, feed):
    path = tmp_path / "out"
    path.write_text("yesterday's results")
    with pytest.raises(ValueError, match="2 labels for 4 scores"):
        feed(JsonLines(labels="car,bus", path=str(path)), SCORES)
    assert path.read_text() == "yesterday's results"


def test_a_labels_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"labels='.*nowhere': expected names separated by commas, or a file"):
        JsonLines(labels=str(tmp_path / "nowhere"))


def test_lines_are_there_at_once(tmp_path):
    sink = JsonLines(path=str(tmp_path / "out"))
    sink.inputs = {"in": PortType("float32", (1, 4), 1)}
    sink.initialize()
    sink.fire({"in": np.zeros((1, 4), np.float32)}, {})
    assert len(lines(tmp_path / "out")) == 1
    sink.finalize()


def test_a_folder_that_is_missing_is_named(tmp_path, feed):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        feed(JsonLines(path=str(tmp_path / "nowhere" / "out")), SCORES)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_that_names_the_file(feed):
    with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"):
        feed(JsonLines(path="/dev/full"), SCORES)


def test_a_line_that_does_not_fit_on_the_disk_is_taken_back(tmp_path, feed):
    class Disk:
        """A file on a disk with room for ``room`` more bytes."""

        def __init__(self, file, room):
            self.file, self.room = file, room

        def write(self, data):
            if not self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = self.file.write(data[: self.room])
            self.room -= written
            return written

        def __getattr__(self, name):
            return getattr(self.file, name)

    class SmallDisk(JsonLines):
        def initialize(self):
            super().initialize()
            self.lines.file = Disk(self.lines.file, 60)

    path = tmp_path / "out"
    with pytest.raises(OSError, match="No space left on device"):
        feed(SmallDisk(path=str(path)), SCORES)
    assert lines(path) == [{"frame": 0, "class": "1", "score": 0.7}]


def test_a_reader_that_has_seen_enough_ends_the_stream(tmp_path, feed):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with pytest.raises(EndOfStream):
            feed(JsonLines(path=f"/dev/fd/{writer}"), SCORES)
    finally:
        os.close(writer)
