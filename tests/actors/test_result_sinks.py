"""The sinks that say what a model's outputs mean: scores in integers, detections, segments."""

from __future__ import annotations

import json

import numpy as np
import pytest
from detection_lines import DetectionLines
from driver import fired, padded, prepared
from json_lines import JsonLines
from PIL import Image
from row_detections import RowDetections
from segment_lines import SegmentLines

BOX = [0.1, 0.2, 0.5, 0.6]  # ymin, xmin, ymax, xmax
#: The same as centre x, centre y, width, height.
CENTRED = [0.4, 0.3, 0.4, 0.4]


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def written(tmp_path, actor, ports, **tokens):
    prepared(actor, ports, {})
    fired(actor, **tokens)
    actor.finalize()
    [line] = lines(tmp_path / "out")
    return line


def test_scores_in_integers_are_shown_as_what_they_stand_for(tmp_path):
    sink = JsonLines(path=str(tmp_path / "out"), labels="a,b,c", scale="0.00390625", zero_point="-128")
    line = written(tmp_path, sink, {"scores": "int8[1,3]"}, scores=[-128, 64, 0])
    assert line == {"frame": 0, "class": "b", "score": 0.75}


PORTS = {"boxes": "float32[1,4,4]", "classes": "float32[1,4]", "scores": "float32[1,4]"}


def test_detections_best_first_and_only_those_that_count(tmp_path):
    sink = DetectionLines(path=str(tmp_path / "out"), labels="car,bus", score="0.3")
    line = written(
        tmp_path,
        sink,
        {**PORTS, "count": "float32[1]"},
        boxes=padded([BOX, BOX, BOX], 4),
        classes=[0, 1, 7, 0],
        scores=[0.5, 0.9, 0.2, 0.8],
        count=[3],
    )
    assert line == {
        "frame": 0,
        "objects": [{"class": "bus", "score": 0.9, "box": BOX}, {"class": "car", "score": 0.5, "box": BOX}],
    }


def test_a_class_without_a_label_is_its_number(tmp_path):
    sink = DetectionLines(path=str(tmp_path / "out"), labels="car,bus")
    line = written(tmp_path, sink, PORTS, boxes=[BOX] * 4, classes=[7] * 4, scores=[0.9, 0, 0, 0])
    assert [each["class"] for each in line["objects"]] == ["7"]


def test_ports_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="do not fit together"):
        prepared(DetectionLines(path=str(tmp_path / "out")), {**PORTS, "classes": "float32[1,5]"}, {})


FORMS = {
    "objectness": [*CENTRED, 0.5, 0.1, 0.8],
    "classes": [*CENTRED, 0.05, 0.4],
    "corners": [0.2, 0.1, 0.6, 0.5, 0.4, 1],
}


@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_rows_says_the_same(tmp_path, form, turned, pixels):
    """A box that is found twice is one object; of another class it is another."""
    height, width = 100, 200
    row = np.array(FORMS[form])
    if pixels:
        row[:4] *= [width, height, width, height]
    twice = row + ([1, 0, 1, 0] + [0] * (len(row) - 4) if pixels else 0)
    rows = np.zeros((30, len(row)))
    rows[4], rows[9] = row, twice
    if form == "corners":
        rows[9] = 0  # these detectors have selected already
    token = rows.T if turned else rows
    sink = RowDetections(form=form, size=f"{height},{width}", path=str(tmp_path / "out"), labels="car,bus")
    line = written(tmp_path, sink, {"rows": f"float32[1,{token.shape[0]},{token.shape[1]}]"}, rows=token)
    [found] = line["objects"]
    assert (found["class"], found["score"]) == ("bus", 0.4)
    assert found["box"] == pytest.approx(BOX, abs=1e-3)


def test_boxes_of_different_classes_do_not_suppress_each_other(tmp_path):
    rows = np.zeros((30, 6))
    rows[0], rows[1] = [*CENTRED, 0.9, 0], [*CENTRED, 0, 0.8]
    sink = RowDetections(form="classes", size="100,100", path=str(tmp_path / "out"))
    line = written(tmp_path, sink, {"rows": "float32[1,30,6]"}, rows=rows)
    assert [each["class"] for each in line["objects"]] == ["0", "1"]


def test_rows_in_integers(tmp_path):
    rows = np.zeros((30, 6))
    rows[3] = FORMS["classes"]
    sink = RowDetections(
        form="classes", size="100,100", path=str(tmp_path / "out"), scale="0.00390625", zero_point="-128"
    )
    line = written(tmp_path, sink, {"rows": "int8[1,30,6]"}, rows=np.rint(rows * 256) - 128)
    [found] = line["objects"]
    assert found["score"] == pytest.approx(0.4, abs=0.01)
    assert found["box"] == pytest.approx(BOX, abs=0.01)


def test_rows_without_anything_are_no_objects(tmp_path):
    sink = RowDetections(form="objectness", size="100,100", path=str(tmp_path / "out"))
    assert written(tmp_path, sink, {"rows": "float32[1,30,7]"}, rows=np.zeros((30, 7)))["objects"] == []


def test_labels_that_do_not_fit_the_columns_are_refused(tmp_path):
    sink = RowDetections(form="classes", size="100,100", labels="a,b,c", path=str(tmp_path / "out"))
    with pytest.raises(ValueError, match="3 labels for 2 classes"):
        prepared(sink, {"rows": "float32[1,30,6]"}, {})


def classes_map():
    wanted = np.zeros((4, 8), int)
    wanted[:2] = 2
    wanted[0, 0] = 1
    return wanted


def scores_of(wanted):
    return np.eye(3)[wanted]


@pytest.mark.parametrize(
    ("form", "token", "values"),
    [
        ("scores", "float32[1,4,8,3]", scores_of(classes_map())),
        ("planes", "float32[3,4,8]", scores_of(classes_map()).transpose(2, 0, 1)),
        ("map", "int64[1,4,8]", classes_map()),
        ("map", "uint8[1,4,8,1]", classes_map()),
        ("scores", "int8[1,4,8,3]", scores_of(classes_map()) * 100 - 50),
    ],
)
def test_segments_are_shares_of_the_picture(tmp_path, form, token, values):
    images = tmp_path / "maps"
    sink = SegmentLines(labels="road,car,sky", form=form, path=str(tmp_path / "out"), images=str(images))
    line = written(tmp_path, sink, {"in": token}, **{"in": values})
    assert line == {"frame": 0, "segments": {"road": 0.5, "sky": 0.4688, "car": 0.0312}}
    assert (np.asarray(Image.open(images / "000000.png")) == classes_map()).all()


def test_one_score_is_there_or_not(tmp_path):
    sink = SegmentLines(path=str(tmp_path / "out"), scale="0.01", zero_point="0")
    line = written(tmp_path, sink, {"in": "uint8[1,1,4,1]"}, **{"in": [10, 49, 51, 90]})
    assert line["segments"] == {"0": 0.5, "1": 0.5}


def test_what_is_no_picture_of_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not map of a picture"):
        prepared(SegmentLines(form="map", path=str(tmp_path / "out")), {"in": "float32[1,4,8]"}, {})
