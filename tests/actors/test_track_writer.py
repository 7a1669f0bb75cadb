import json

import numpy as np
import pytest
import track_writer
from driver import fired, padded, prepared
from PIL import Image
from track_writer import TrackWriter

TRACKS = {"boxes": "float32[4,4]", "classes": "int32[4]", "ids": "int32[4]"}
FRAME = {"frame": "uint8[1,60,80,3]"}
GREY = np.full((60, 80, 3), 90)
BOX = [0.25, 0.5, 0.75, 0.875]


def tracks(boxes, classes, identities):
    return {
        "boxes": padded(np.reshape(boxes, (-1, 4)), 4),
        "classes": padded(classes, 4),
        "ids": padded(identities, 4),
    }


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_one_line_a_frame_with_the_tracks_in_it(tmp_path):
    writer = prepared(TrackWriter("car,bus", str(tmp_path / "out.jsonl")), TRACKS, {})
    fired(writer, **tracks([BOX, [0, 0, 1, 1]], [1, 0], [7, 9]))
    fired(writer, **tracks([], [], []))
    writer.finalize()
    assert lines(tmp_path / "out.jsonl") == [
        {
            "frame": 0,
            "tracks": [
                {"id": 7, "class": "bus", "box": BOX},
                {"id": 9, "class": "car", "box": [0, 0, 1, 1]},
            ],
        },
        {"frame": 1, "tracks": []},
    ]


def test_a_class_without_a_label_is_its_number(tmp_path):
    writer = prepared(TrackWriter("car,bus", str(tmp_path / "out.jsonl")), TRACKS, {})
    fired(writer, **tracks([BOX], [5], [1]))
    writer.finalize()
    assert lines(tmp_path / "out.jsonl")[0]["tracks"][0]["class"] == "5"


def test_boxes_are_drawn_where_they_are_and_ways_where_they_went(tmp_path):
    folder = tmp_path / "new" / "pictures"
    writer = prepared(TrackWriter("car,bus", str(tmp_path / "out"), str(folder)), {**TRACKS, **FRAME}, {})
    for step in range(5):
        moved = np.array(BOX) - [0, 0.1 * step, 0, 0.1 * step]
        fired(writer, frame=GREY, **tracks([moved], [0], [1]))
    writer.finalize()
    assert sorted(path.name for path in folder.iterdir()) == [f"{number:06}.jpg" for number in range(5)]
    first, last = (
        np.abs(np.asarray(Image.open(folder / f"{number:06}.jpg")).astype(int) - 90).max(2) > 40 for number in (0, 4)
    )
    assert first[16:44, 40].all(), "the left edge"
    assert not first[20:44, 50:66].any(), "the inside"
    assert not first[:, :30].any(), "the outside"
    assert last[29:32, 30:50].any(0).all(), "the way from the middle of the first box to that of the last"


def test_a_long_run_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(track_writer, "TRAILS", 3)
    writer = prepared(TrackWriter(path=str(tmp_path / "out"), images=str(tmp_path)), {**TRACKS, **FRAME}, {})
    for identity in range(1, 9):
        fired(writer, frame=GREY, **tracks([BOX], [0], [identity]))
    writer.finalize()
    assert list(writer.trails) == [6, 7, 8]


def test_frames_are_left_as_they_are(tmp_path):
    writer = prepared(TrackWriter(path=str(tmp_path / "o"), images=str(tmp_path)), {**TRACKS, **FRAME}, {})
    fired(writer, frame=GREY, **tracks([BOX], [0], [1]))  # the driver's inputs are read-only
    writer.finalize()


def test_without_pictures_frames_are_optional_and_no_folder_is_made(tmp_path):
    for ports in (TRACKS, {**TRACKS, **FRAME}):
        writer = prepared(TrackWriter(path=str(tmp_path / "out")), ports, {})
        fired(writer, frame=GREY, **tracks([BOX], [0], [1])) if "frame" in ports else None
        writer.finalize()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("ports", "images", "message"),
    [
        (TRACKS, "pictures", "needs an input port 'frame'"),
        ({**TRACKS, "frame": "float32[1,60,80,3]"}, "", "'frame': expected uint8"),
        ({**TRACKS, "ids": "int32[5]"}, "", "do not fit together"),
        ({"boxes": "float32[4,4]"}, "", "expected the ports boxes, classes, ids, not boxes"),
    ],
)
def test_ports_that_do_not_fit_are_refused_before_a_file_is_made(tmp_path, ports, images, message):
    path = tmp_path / "out"
    with pytest.raises(ValueError, match=message):
        prepared(TrackWriter(path=str(path), images=images and str(tmp_path / images)), ports, {})
    assert not path.exists()
